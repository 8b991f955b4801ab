"""The slope that turns a raw forecast into one of the target.

Belongs here: the fit of the slope and its limits. Stays out: which forecasts it is fitted on (`walk`).

The slope is fitted on the inner folds and used after the last block, but a model that learned from forty pools and one
that learned from a hundred say the same thing in unlike sizes. So raw forecasts are measured in their own standard
deviation over the rows the model learned from, which is known before anything is forecast. Whatever was fitted, a
forecast is never made larger than the model said it.
"""

from typing import Final

import numpy as np

from pipeline.models.by_pool import pool_means
from pipeline.models.returns.dataset import Floats
from pipeline.models.splits import Rows

SILENT: Final = 0.02
"""A model whose forecasts of its own training rows vary by less than this share of the target's deviation says 0."""
_N_DRAWS: Final = 200


def slope(raw: Floats, target: Floats, pool: Rows) -> float:
    """The factor of least squared error, each pool one unit, and at least 0.

    The target's mean over an hour is 0, so there is no constant to fit. A forecast that was wrong way round on what it
    had not seen is worth nothing, not its opposite: 0. After shrinking by the slope, the error of a forecast is
    below that of none exactly by its squared correlation with the target (Theil 1966).

    >>> slope(np.array([1.0, -1.0]), np.array([0.1, -0.1]), np.array([0, 1]))
    0.1
    """
    return max(0.0, _ratio(*_moments(raw, target, pool)))


def shrunken_slope(raw: Floats, target: Floats, pool: Rows, seed: int) -> float:
    """`slope` b times max(0, 1 - se^2 / b^2): a slope within its own standard error is 0 (James & Stein 1961).

    se is that of draws of whole pools with replacement, since a pool's rows are not independent. Fewer than two pools
    say nothing of it: 0.
    """
    cross, power = _moments(raw, target, pool)
    found = _ratio(cross, power)
    if len(cross) < 2 or found <= 0:
        return 0.0
    n = len(cross)
    counts = np.random.default_rng(seed).multinomial(n, np.full(n, 1 / n), size=_N_DRAWS)
    with np.errstate(divide="ignore", invalid="ignore"):
        draws = (counts @ cross) / (counts @ power)
    error = float(np.std(draws[np.isfinite(draws)]))
    return found * max(0.0, 1 - error**2 / found**2)


def size_of(raw: Floats, target: Floats) -> float:
    """The standard deviation of forecasts of training rows; 0 where it is below `SILENT` of the target's."""
    size = float(np.std(raw))
    return size if size > SILENT * float(np.std(target)) else 0.0


def multiplier(fitted: float, size: float) -> float:
    """What raw forecasts of this size are multiplied by: the slope fitted in units of it, at most 1.

    >>> multiplier(0.05, 0.1), multiplier(0.5, 0.1), multiplier(0.5, 0.0)
    (0.5, 1.0, 0.0)
    """
    return min(fitted / size, 1.0) if size > 0 else 0.0


def _moments(raw: Floats, target: Floats, pool: Rows) -> tuple[Floats, Floats]:
    """(n_pools,) mean over a pool's rows of forecast x target, and of the squared forecast."""
    return pool_means(raw * target, pool), pool_means(raw**2, pool)


def _ratio(cross: Floats, power: Floats) -> float:
    return float(cross.sum() / power.sum()) if power.sum() > 0 else 0.0
