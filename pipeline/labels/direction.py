"""Where the price went over a window, and how surely: the confidence of a mean bar return.

Belongs here: the estimate and its distribution. Stays out: the bands that name a direction (`judgement`).
"""

import numpy as np

from pipeline.labels.bars import Bars, Decisions, Window
from pipeline.labels.range_extrema import Floats, Ints
from pipeline.labels.spec import LabelsSpec

_NO_SPREAD = 1e-12
"""Relative: where the returns differ by less than their own rounding, they have no spread to measure a mean by."""


def sureness(t: Floats, freedom: Ints | Floats) -> Floats:
    """One less the two-sided p-value of Student's t (Student 1908); NaN where either is no number."""
    from scipy.special import stdtr  # type: ignore[import-untyped]  # noqa: PLC0415 - slow, and Dagster loads this file

    found: Floats = 2 * stdtr(freedom, t) - 1
    return found


def confidence_of(n: Ints, total: Floats, squares: Floats, least: int) -> Floats:
    """How surely the mean of `n` returns with this sum and sum of squares differs from nothing, in [0, 1].

    2 F(|t|) - 1 with t the mean over its standard error and F Student's distribution with n - 1 degrees of freedom
    (Student 1908): one less the two-sided p-value. Uniform on a random walk, near one on a steady drift. NaN with fewer
    than `least` returns, or without spread.

    >>> confidence_of(np.array([16]), np.array([0.0]), np.array([1.0]), 10).tolist()
    [0.0]
    """
    with np.errstate(all="ignore"):
        mean = total / n
        variance = (squares - total * mean) / (n - 1)
        t = np.abs(mean) / np.sqrt(variance / n)
        found = sureness(t, n - 1)
        is_told = (n >= least) & (variance > _NO_SPREAD * squares / n) & np.isfinite(found)
    return np.where(is_told, np.clip(found, 0.0, 1.0), np.nan)


def direction_confidence(bars: Bars, decisions: Decisions, window: Window, spec: LabelsSpec) -> Floats:
    """`confidence_of` the log returns from the decision's price to the close of each bar of its window."""
    n = np.maximum(window.stop - window.first, 0)
    if not len(bars.close):
        return np.full(len(n), np.nan)
    first = np.minimum(window.first, len(bars.close) - 1)
    last = np.maximum(window.stop - 1, 0)
    with np.errstate(all="ignore"):
        opening = np.log(bars.close[first] / decisions.price)
        total = np.log(bars.close[last] / decisions.price)
        moves = np.append(np.log(bars.close[1:] / bars.close[:-1]), 0.0)
    # Moves i is from bar i to the next; a window's own are those from its first bar to its last but one.
    squares = opening**2 + stretch_sums(moves**2, window.first, np.maximum(window.stop - 1, window.first))
    return confidence_of(n, total, squares, spec.direction_bars)


def stretch_sums(values: Floats, start: Ints, stop: Ints) -> Floats:
    """Sum of `values[start:stop]` for each pair, 0 for an empty one, each by itself: cuts change nothing."""
    if not len(start):
        return np.zeros(0)
    pairs = np.empty(2 * len(start), np.int64)
    pairs[0::2], pairs[1::2] = start, stop
    with np.errstate(all="ignore"):
        sums = np.add.reduceat(np.append(values, 0.0), np.minimum(pairs, len(values)))[::2]
    return np.where(stop > start, sums, 0.0)
