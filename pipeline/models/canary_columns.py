"""The column canary: no single feature may tell an outcome as only the future can.

Belongs here: the measure, and the planted column that shows the measure sees. Stays out: leaks that are hidden under
noise, which no such measure can tell from a good feature (`canary_history` finds those).
"""

from datetime import timedelta
from typing import Final

import numpy as np
import polars as pl

from pipeline.models.canary_report import CanaryResult
from pipeline.models.learner import Classes
from pipeline.models.metrics import roc_auc
from pipeline.models.spec import CanarySpec
from pipeline.models.splits import last_block
from pipeline.models.training_set import TrainingSet, pool_numbers
from pipeline.tables import OUTCOMES

PLANTED: Final = "return_end_pct"
"""What is planted: the outcome's own return, which nobody can know at the decision."""


def check_future_columns(training_set: TrainingSet) -> tuple[CanaryResult, CanaryResult]:
    """No single feature may tell an outcome as well as only the future can; a planted one must.

    The first result says that every real feature stays under the bound, the second that the detector sees: the
    same measure on the outcome's own return must exceed it. A feature counts as over the bound when its AUC less
    two standard errors is. Only rows before the last block are looked at.
    """
    spec = training_set.spec
    rows = last_block(
        training_set.frame, share=spec.last_block_share, embargo=timedelta(hours=spec.embargo_hours)
    ).train
    frame, y = training_set.frame[rows], training_set.y[rows]
    aucs = {name: one_feature_auc(frame, frame[name], y, spec.canaries) for name in training_set.feature_names}
    planted = one_feature_auc(frame, frame[PLANTED], y, spec.canaries)
    bound = spec.canaries.feature_auc_bound
    caught = {name: auc for name, auc in aucs.items() if auc > bound}
    highest = max(aucs, key=lambda name: aucs[name])
    words = f"the most telling feature is {highest!r}, lower AUC bound {aucs[highest]:.3f}; none may exceed {bound}"
    if caught:
        words += f"; these know the future: { {n: round(v, 4) for n, v in caught.items()}!r}"
    seen = f"the planted return has a lower AUC bound of {planted:.3f}; the detector sees if that exceeds {bound}"
    return (
        CanaryResult("future_columns", not caught, words, aucs),
        CanaryResult("planted_future", planted > bound, seen, {"auc": planted}),
    )


def one_feature_auc(frame: pl.DataFrame, column: pl.Series, y: Classes, spec: CanarySpec) -> float:
    """How well one column tells any outcome from the rest: the highest AUC, either way up, less two standard errors.

    The standard error is Hanley and McNeil's (1982) with pools for rows. Outcomes of fewer than
    `min_pools_per_class` pools are left out: one lucky pool would look like clairvoyance. Null ranks lowest.
    """
    score = column.cast(pl.Float64).fill_null(-np.inf).to_numpy()
    pool = pool_numbers(frame)
    n_pools, best, ones = int(pool.max()) + 1, 0.0, np.ones((1, len(y)))
    for k in range(len(OUTCOMES)):
        n_with = len(np.unique(pool[y == k]))
        n_without = n_pools - n_with
        if n_with < spec.min_pools_per_class or n_without < spec.min_pools_per_class:
            continue
        auc = float(roc_auc((y == k).astype(np.float64), score, ones)[0])
        auc = max(auc, 1 - auc)
        best = max(best, auc - 2 * _auc_error(auc, n_with, n_without))
    return best


def _auc_error(auc: float, n_with: int, n_without: int) -> float:
    q1, q2 = auc / (2 - auc), 2 * auc**2 / (1 + auc)
    spread = auc * (1 - auc) + (n_with - 1) * (q1 - auc**2) + (n_without - 1) * (q2 - auc**2)
    return float(np.sqrt(max(spread, 0.0) / (n_with * n_without)))
