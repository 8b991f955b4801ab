"""Which features a learner sees: those that tell most of the outcome, by the training rows alone.

Belongs here: the choice inside a fold. Stays out: how many are kept, which is tried like any other parameter
(`tuning`).
"""

from typing import Final

import numpy as np

from pipeline.models.learner import Classes, Floats, Matrix
from pipeline.tables import OUTCOMES

_N_BINS: Final = 8


def select(x: Matrix, y: Classes, weight: Floats, n_kept: int) -> Classes:
    """Places of the features kept, rising: the `n_kept` of the highest mutual information with the outcome.

    A feature that no training row has, or that says one and the same in all of them, is never kept. Mutual
    information is taken over quantile bins and a bin of its own for missing, less what as many bins would tell of
    outcomes that mean nothing (Miller & Madow 1955). Ties go to the earlier feature. Where no feature varies, the
    first stands for all: a learner needs one column.

    >>> x = np.array([[0, 1, 5], [1, 2, 5], [0, 2, 5], [1, 1, 5]], np.float32)
    >>> select(x, np.array([0, 1, 0, 1]), np.ones(4), 1).tolist()
    [0]
    """
    worth = information(x, y, weight)
    usable = np.flatnonzero(np.isfinite(worth))
    if not len(usable):
        return np.zeros(1, np.int64)
    best = usable[np.argsort(-worth[usable], kind="stable")][:n_kept]
    return np.sort(best).astype(np.int64)


def information(x: Matrix, y: Classes, weight: Floats) -> Floats:
    """(n_features,) mutual information with the outcome in nats, corrected for bins; -inf where nothing varies."""
    return np.array([_information(x[:, k], y, weight) for k in range(x.shape[1])])


def _information(column: Matrix, y: Classes, weight: Floats) -> float:
    is_missing = np.isnan(column)
    known = column[~is_missing]
    if not len(known) or (not is_missing.any() and known.min() == known.max()):
        return float("-inf")
    edges = np.unique(np.quantile(known, np.linspace(0, 1, _N_BINS + 1)[1:-1], method="lower"))
    at = np.where(is_missing, len(edges) + 1, np.searchsorted(edges, column, side="right"))
    table = np.bincount(at * len(OUTCOMES) + y, weights=weight, minlength=(len(edges) + 2) * len(OUTCOMES))
    joint = table.reshape(-1, len(OUTCOMES))
    joint = joint[joint.sum(axis=1) > 0][:, joint.sum(axis=0) > 0]
    total = joint.sum()
    expected = joint.sum(axis=1, keepdims=True) * joint.sum(axis=0) / total
    told = float(np.sum(np.where(joint > 0, joint * np.log(np.where(joint > 0, joint / expected, 1.0)), 0.0)) / total)
    return float(told - (joint.shape[0] - 1) * (joint.shape[1] - 1) / (2 * total))
