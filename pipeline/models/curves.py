"""ROC and precision-recall curves with bands from a bootstrap over pools.

Belongs here: the points of the curves. Stays out: the areas under them (`metrics`), drawing (`pictures`).
"""

from dataclasses import dataclass, field
from typing import Final, Literal

import numpy as np

from pipeline.models.intervals import FigureRules, drawn_units, draws_of
from pipeline.models.metrics import Floats, Ints
from pipeline.models.tallies import MAX_LEVELS, ClassTally, tallies

GRID: Final = np.linspace(0, 1, 101)

type Kind = Literal["roc", "pr"]


@dataclass(frozen=True)
class Curve:
    """A curve and its band, the band's ends on `GRID`; empty where the class, or its opposite, does not occur.

    `x`, `y`: of ROC the false and true positive rate, of PR recall and precision.
    """

    x: Floats = field(repr=False)
    y: Floats = field(repr=False)
    low: Floats = field(repr=False)
    high: Floats = field(repr=False)


def curve(kind: Kind, truth: Ints, score: Floats, pool: Ints, rules: FigureRules, *, max_points: int = 1_000) -> Curve:
    """The curve of all rows, and where most resamples of pools lie (vertical averaging: Macskassy & Provost 2004).

    Args:
        truth: (n,) 0 or 1. score: (n,) probabilities. pool: (n,) from 0.
        rules: resamples, confidence and seed.
        max_points: the curve is thinned to about that many points.
    """
    none = np.zeros(0)
    if truth.min(initial=1) == truth.max(initial=0):
        return Curve(none, none, none, none)
    rng = np.random.default_rng(rules.seed)
    unit = drawn_units(pool, rng)
    sums = tallies(truth, np.stack([1 - score, score], axis=1), unit, n_bins=1, max_levels=min(MAX_LEVELS, max_points))
    n_units = int(unit.max()) + 1
    x, y = (values[0] for values in _points(kind, sums.weighted(np.ones((n_units, 1))).classes[1]))
    if kind == "pr":  # thresholds below the last positive find nothing more
        end = int(np.argmax(x == x[-1])) + 1
        x, y = x[:end], y[:end]
    drawn: list[Floats] = []
    for counts in draws_of(n_units, rules.n_resamples, rng):
        all_x, all_y = _points(kind, sums.weighted(counts).classes[1])
        drawn.extend(_on_grid(kind, all_x[k], all_y[k]) for k in range(len(all_x)))
    if not drawn:
        return Curve(x, y, none, none)
    tail = (1 - rules.confidence) / 2
    with np.errstate(invalid="ignore"):
        low, high = np.nanquantile(np.stack(drawn), [tail, 1 - tail], axis=0)
    return Curve(x, y, low, high)


def _points(kind: Kind, tally: ClassTally) -> tuple[Floats, Floats]:
    """x and y at each threshold, falling, each (B, levels + 1); NaN in a resample without one of both sides."""
    hits = np.cumsum(tally.positive[:, ::-1], axis=1)
    false = np.cumsum(tally.negative[:, ::-1], axis=1)
    start = np.zeros((len(hits), 1))
    with np.errstate(invalid="ignore", divide="ignore"):
        recall = hits / hits[:, -1:]
        if kind == "roc":
            return np.hstack([start, false / false[:, -1:]]), np.hstack([start, recall])
        precision = hits / (hits + false)
    # Where nothing is said yet, precision is that of the first threshold at which something is.
    precision = np.hstack([np.full_like(start, np.nan), precision])
    first = np.isfinite(precision).argmax(axis=1)[:, None]
    is_before = np.arange(precision.shape[1]) < first
    precision = np.where(is_before, np.take_along_axis(precision, first, axis=1), precision)
    return np.hstack([start, recall]), precision


def _on_grid(kind: Kind, x: Floats, y: Floats) -> Floats:
    """One curve's height on `GRID`: ROC in straight lines, PR as the steps it is."""
    if not np.isfinite(x).all():
        return np.full(len(GRID), np.nan)
    if kind == "roc":
        # Of the points above one another, the highest: that is what the curve reaches there.
        last = np.flatnonzero(np.r_[x[1:] != x[:-1], True])
        return np.asarray(np.interp(GRID, x[last], y[last]))
    return np.asarray(y[np.minimum(np.searchsorted(x, GRID - 1e-12, side="left"), len(y) - 1)])
