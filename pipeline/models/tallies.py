"""Weighted sums of which every figure is a function: rows are sorted once and weighted as often as one likes.

Belongs here: binning, ranking and summing. Stays out: the figures made of the sums (`metrics`), and where weights come
from (`intervals`). A bootstrap over pools gives all rows of a pool one weight, so what is kept is a sum for each pool,
and a thousand weightings are a handful of matrix products.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

type Floats = np.ndarray[Any, np.dtype[np.float64]]
type Ints = np.ndarray[Any, np.dtype[np.int64]]

MAX_LEVELS: Final = 2_000
"""Levels of equal numbers of positives that a resample ranks by; with no more positives than that, ranks are exact."""


@dataclass(frozen=True)
class ClassTally:
    """One class against the rest under B weightings.

    Attributes:
        positive: (B, levels) weight of the rows of this class at each level of its probability, rising.
        negative: (B, levels) weight of the other rows.
        said: (B, bins) sum of the probabilities in each calibration bin.
        first_level: (bins,) where each bin begins among the levels; a bin is a run of them.
        squared: (B,) sum of squared distances between what was said and what came.
    """

    positive: Floats
    negative: Floats
    said: Floats
    first_level: Ints
    squared: Floats


@dataclass(frozen=True)
class Tally:
    """All sums under B weightings: `confusion` (B, came, most probable), `loss` (B,), one tally a class."""

    confusion: Floats
    loss: Floats
    classes: tuple[ClassTally, ...]


@dataclass(frozen=True)
class _ClassRows:
    levels: Any
    bins: Any
    first_level: Ints
    squared: Floats

    def weighted(self, weights: Floats) -> ClassTally:
        ranked, n = (self.levels @ weights).T, self.levels.shape[0] // 2
        said = (self.bins @ weights).T
        return ClassTally(ranked[:, :n], ranked[:, n:], said, self.first_level, self.squared @ weights)


@dataclass(frozen=True)
class Tallies:
    """The rows, summed up by the units that get a weight (pools, or the rows themselves)."""

    cells: Any = field(repr=False)
    loss: Floats = field(repr=False)
    classes: tuple[_ClassRows, ...] = field(repr=False)

    def weighted(self, weights: Floats) -> Tally:
        """The sums under each column of `weights` (units, B)."""
        n = len(self.classes)
        confusion = (self.cells @ weights).T.reshape(weights.shape[1], n, n)
        return Tally(confusion, self.loss @ weights, tuple(rows.weighted(weights) for rows in self.classes))


def tallies(y: Ints, p: Floats, unit: Ints, *, n_bins: int, max_levels: int | None = None) -> Tallies:
    """Sort and sum the rows once.

    Args:
        y: (n,) positions among the classes. p: (n, K) probabilities.
        unit: (n,) from 0: what gets one weight.
        n_bins: bins of equal mass for calibration.
        max_levels: the most levels by which a class's rows are ranked, beside the bins; None: ranks are exact.
    """
    n_units, n_classes = int(unit.max(initial=-1)) + 1, p.shape[1]
    cells = _summed(y * n_classes + p.argmax(axis=1), unit, None, (n_classes**2, n_units))
    loss: Floats = np.bincount(unit, weights=row_log_loss(y, p), minlength=n_units).astype(np.float64)
    classes = tuple(
        _class_rows(y == k, np.ascontiguousarray(p[:, k]), unit, n_units, n_bins, max_levels) for k in range(n_classes)
    )
    return Tallies(cells, loss, classes)


def row_log_loss(y: Ints, p: Floats) -> Floats:
    """-ln of the probability given to what came, per row, in nats.

    A zero counts as the distance between 1 and the next float, as scikit-learn has it; its true loss is infinite.
    """
    return np.asarray(-np.log(np.maximum(p[np.arange(len(y)), y], np.finfo(np.float64).eps)))


def calibration_bins(score: Floats, n_bins: int) -> Ints:
    """A bin for each probability: equal mass by rank, equal values always together.

    Where there are no more than `n_bins` distinct values, each is a bin of its own, and Murphy's parts are exact.
    """
    order, starts = _sorted(score)
    bins = np.empty(len(score), np.int64)
    bins[order] = np.repeat(_bins_of_values(starts, len(score), n_bins), np.diff(np.r_[starts, len(score)]))
    return bins


def levels_of(is_positive: Sequence[bool] | Any, starts: Ints, bins: Ints, max_levels: int | None) -> Ints:
    """The level of each distinct value, from 0, rising; values of one level count as tied.

    Neighbours without a positive are one level, since no order among them shows in any figure. Where there are more
    than `max_levels` positives, neighbours share a level until it holds its share of the positives.

    Args:
        is_positive: (n,) by rising value. starts: where each distinct value begins. bins: the bin of each value.
    """
    n_positive = np.add.reduceat(np.asarray(is_positive, np.int64), starts)
    before = np.cumsum(n_positive) - n_positive
    total = int(before[-1] + n_positive[-1])
    if max_levels is not None and total > max_levels:
        share = before * max_levels // total
        is_new = share[1:] != share[:-1]
    else:
        is_new = (n_positive[1:] > 0) | (n_positive[:-1] > 0)
    return np.asarray(np.r_[0, np.cumsum(is_new | (bins[1:] != bins[:-1]))], np.int64)


def _class_rows(is_true: Any, score: Floats, unit: Ints, n_units: int, n_bins: int, most: int | None) -> _ClassRows:
    squared: Floats = np.bincount(unit, weights=(score - is_true) ** 2, minlength=n_units).astype(np.float64)
    if not len(score):
        empty = _summed(np.zeros(0, int), unit, None, (0, n_units))
        return _ClassRows(empty, empty, np.zeros(0, int), squared)
    order, starts = _sorted(score)
    bins = _bins_of_values(starts, len(score), n_bins)
    bins = np.cumsum(np.r_[0, bins[1:] != bins[:-1]])  # numbered without gaps
    truth, at = is_true[order], unit[order]
    levels = levels_of(truth, starts, bins, most)
    lengths, n_levels = np.diff(np.r_[starts, len(score)]), int(levels[-1]) + 1
    place = np.repeat(levels, lengths) + np.where(truth, 0, n_levels)
    return _ClassRows(
        _summed(place, at, None, (2 * n_levels, n_units)),
        _summed(np.repeat(bins, lengths), at, score[order], (int(bins[-1]) + 1, n_units)),
        levels[np.searchsorted(bins, np.arange(int(bins[-1]) + 1))],
        squared,
    )


def _sorted(score: Floats) -> tuple[Ints, Ints]:
    """The order of rising values, and where in it each distinct value begins."""
    order = np.argsort(score, kind="stable")
    rising = score[order]
    starts = np.flatnonzero(np.r_[True, rising[1:] != rising[:-1]]) if len(score) else np.zeros(0, np.int64)
    return order, starts


def _bins_of_values(starts: Ints, n: int, n_bins: int) -> Ints:
    return np.arange(len(starts)) if len(starts) <= n_bins else starts * n_bins // n


def _summed(row: Ints, unit: Ints, values: Floats | None, shape: tuple[int, int]) -> Any:
    """Sparse (row, unit) sums of `values`, or counts."""
    # scipy ships no types, and is slow to import: the code location loads this file.
    from scipy import sparse  # type: ignore[import-untyped]  # noqa: PLC0415

    data = np.ones(len(row)) if values is None else values
    return sparse.coo_array((data, (row.astype(np.int32), unit.astype(np.int32))), shape=shape).tocsr()
