"""The permutation canary: whoever learns from labels that mean nothing must learn nothing.

Belongs here: permuting labels by pool, and when the mean of many permutations is sure enough. Stays out: other
canaries.
"""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any, Final

import numpy as np
import polars as pl
from scipy.special import stdtrit  # type: ignore[import-untyped]  # scipy ships no types

from pipeline.models.canary_report import CanaryResult
from pipeline.models.learner import Classes, Floats, matrix
from pipeline.models.learners.boosted_xgboost import DEFAULTS, fit
from pipeline.models.members import with_prior
from pipeline.models.metrics import roc_auc
from pipeline.models.splits import Split, walk_forward
from pipeline.models.training_set import TrainingSet, pool_numbers
from pipeline.tables import OUTCOMES

MIN_PER_SIDE: Final = 5
"""An outcome counts in a test block only with this many rows of it and of the others."""
THREE_SIGMA: Final = 0.99865
"""The level of three standard deviations, one-sided."""


def check_permuted_labels(training_set: TrainingSet) -> CanaryResult:
    """With labels permuted by pool, the training path must find nothing: mean AUC within the spec's bounds.

    A pool's labels move together to another pool, so that a pool on both sides of a split still shows. The AUC is
    taken within each decision age (the mix of outcomes differs by age, which is no leak), each outcome against the
    rest, and averaged over outcomes, ages and folds. Permutations are added until their mean is sure (`is_sure`).
    """
    spec, c = training_set.spec, training_set.spec.canaries
    rng = np.random.default_rng(spec.seed)
    folds = walk_forward(training_set.frame, n_folds=spec.n_folds, embargo=timedelta(hours=spec.embargo_hours))
    x = matrix(training_set.frame, training_set.feature_names)
    half_width = (c.auc_high - c.auc_low) / 2
    aucs: list[float] = []
    while len(aucs) < c.max_permutations and (len(aucs) < c.min_permutations or not is_sure(aucs, half_width)):
        aucs.append(_permuted_auc(training_set, x, folds, rng))
    mean, error, sure = float(np.mean(aucs)), standard_error(aucs), is_sure(aucs, half_width)
    words = (
        f"labels permuted by pool give a mean AUC of {mean:.3f} (standard error {error:.3f}, {len(aucs)} permutations, "
        f"{len(folds)} folds); it must lie in [{c.auc_low}, {c.auc_high}]"
    )
    if not sure:
        words += f"; too few pools ({training_set.n_pools}) to tell"
    numbers = {"auc": mean, "standard_error": error, "n_permutations": len(aucs), "n_folds": len(folds)}
    return CanaryResult("permuted_labels", sure and c.auc_low <= mean <= c.auc_high, words, numbers)


def is_sure(aucs: Sequence[float], half_width: float) -> bool:
    """Whether the mean's interval at three sigma, Student's with n - 1 degrees of freedom, fits into the half-width.

    Three standard errors alone would not do: estimated from five values and looked at again after each one, they
    refuse up to 1 sound set in 40. With Student's quantile it is at most 1 in 200, whatever the spread (simulated in
    the tests).
    """
    if len(aucs) < 2:
        return False
    return float(stdtrit(len(aucs) - 1, THREE_SIGMA)) * standard_error(aucs) <= half_width


def standard_error(aucs: Sequence[float]) -> float:
    """Of the mean; infinite of fewer than two values."""
    return float(np.std(aucs, ddof=1) / np.sqrt(len(aucs))) if len(aucs) > 1 else float("inf")


def permute_by_pool(frame: pl.DataFrame, y: Classes, rng: np.random.Generator) -> Classes:
    """Each pool's outcomes replaced by those of another pool at the same decision ages.

    Where the other pool has no row of an age, its outcome at the nearest earlier age stands in, else the next later.
    """
    pool = pool_numbers(frame)
    ages, at = np.unique(frame["decision_age_hours"].to_numpy(), return_inverse=True)
    table = np.full((int(pool.max()) + 1, len(ages)), -1, np.int64)
    table[pool, at] = y
    for k in range(1, len(ages)):
        table[:, k] = np.where(table[:, k] < 0, table[:, k - 1], table[:, k])
    for k in range(len(ages) - 2, -1, -1):
        table[:, k] = np.where(table[:, k] < 0, table[:, k + 1], table[:, k])
    return np.asarray(table[rng.permutation(len(table))][pool, at])


def _permuted_auc(training_set: TrainingSet, x: Any, folds: Sequence[Split], rng: np.random.Generator) -> float:
    """Mean AUC over folds, ages and outcomes after one permutation; NaN where no outcome has enough rows."""
    spec, c = training_set.spec, training_set.spec.canaries
    cheap = {
        **DEFAULTS, "n_rounds": c.n_rounds, "max_depth": c.max_depth, "learning_rate": c.learning_rate,
        "min_child_weight": c.min_child_weight,
    }  # fmt: skip
    y, weight = permute_by_pool(training_set.frame, training_set.y, rng), training_set.weight
    age = training_set.frame["decision_age_hours"].to_numpy()
    aucs: list[float] = []
    for fold in folds:
        model = fit(*with_prior(x[fold.train], y[fold.train], weight[fold.train]), spec.seed, cheap)
        aucs.extend(aucs_by_age(y[fold.test], model.predict(x[fold.test]), age[fold.test]))
    return float(np.mean(aucs)) if aucs else float("nan")


def aucs_by_age(y: Classes, p: Floats, age: Any) -> list[float]:
    """The AUC of each outcome that has enough rows against the rest, within each decision age."""
    found = []
    for hours in np.unique(age):
        rows = age == hours
        for k in range(len(OUTCOMES)):
            truth = (y[rows] == k).astype(np.float64)
            if min(truth.sum(), (1 - truth).sum()) >= MIN_PER_SIDE:
                found.append(float(roc_auc(truth, p[rows, k], np.ones((1, int(rows.sum()))))[0]))
    return found
