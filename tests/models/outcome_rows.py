"""Rows for learners: numbers with gaps, huge and constant columns, and outcomes that the first column tells."""

import numpy as np

from pipeline.models.members import Member, fit_member
from pipeline.models.spec import Learner
from pipeline.tables import OUTCOMES

N_FEATURES = 7


def rows(n: int = 400, seed: int = 0, *, without: int | None = None):
    rng = np.random.default_rng(seed)
    y = rng.integers(0, len(OUTCOMES), n)
    x = rng.normal(size=(n, N_FEATURES))
    x[:, 0] += y
    x[:, 1] = np.exp(8 * x[:, 1])
    x[rng.random(x.shape) < 0.2] = np.nan
    x[:, 5], x[:, 6] = np.nan, 3.0
    kept = y != without
    weight = rng.uniform(0.2, 1, n)
    return x[kept].astype(np.float32), y[kept].astype(np.int64), weight[kept]


def fitted(learner: Learner, *, power: float = 0.0, without: int | None = None, seed: int = 1) -> Member:
    x, y, weight = rows(without=without)
    params = {**small(learner)}
    return fit_member(learner, x, y, weight, params, seed=seed, n_kept=5, power=power)


def small(learner: Learner) -> dict[str, int | float]:
    """A learner's defaults, with fewer rounds and trees."""
    from pipeline.models.members import LEARNERS

    few = {"n_rounds": 12, "n_trees": 12, "n_iterations": 40}
    defaults = LEARNERS[learner].DEFAULTS
    return {**defaults, **{name: value for name, value in few.items() if name in defaults}}
