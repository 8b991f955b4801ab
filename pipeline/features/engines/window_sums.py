"""Sums and moments over the last rows of each row, without subtraction.

Belongs here: arithmetic over windows of a sorted numpy column, exact enough for values of any size. A running sum that
takes away what leaves the window loses the small values behind a large one; a difference of squares loses the spread
behind a large mean. Here every window is put together from blocks of 1, 2, 4, ... rows, which only ever adds: the
relative error of a sum of terms of one sign is below 1e-14, and a cost of log2(longest window) passes.
Stays out: what the windows and the terms are (`market_bars`, `from_index`).
"""

from collections.abc import Iterator
from typing import Any, Final

import numpy as np

from pipeline.errors import InputError

type Reals = np.ndarray[Any, np.dtype[np.float64]]
type Ints = np.ndarray[Any, np.dtype[np.int64]]
type Flags = np.ndarray[Any, np.dtype[np.bool_]]

_ROWS_AT_ONCE: Final = 16_384


def first_of_run(run: Ints) -> Ints:
    """Where the run of equal numbers that each row belongs to begins.

    >>> first_of_run(np.array([0, 0, 2, 2, 2])).tolist()
    [0, 0, 2, 2, 2]
    """
    starts = np.flatnonzero(np.diff(run, prepend=run[0] - 1)) if len(run) else np.empty(0, np.int64)
    return np.repeat(starts, np.diff(starts, append=len(run)))


def latest_by(run: Ints, time: Ints, of: Ints, moment: Ints) -> Ints:
    """The place of the last row of the same run as row `of[i]` whose time is at or before `moment[i]`; -1 if none.

    Args:
        run: which series each row belongs to, ascending.
        time: ascending within each run, any whole unit.
        of: places of rows, any number of them.
        moment: one for each of these, in the same unit.

    Raises:
        InputError: runs and times are so many that their combination does not fit into 63 bits.

    >>> latest_by(np.array([0, 0, 1, 1]), np.array([0, 5, 5, 9]), np.arange(4), np.array([4, 5, 4, 7])).tolist()
    [0, 1, -1, 2]
    """
    if not len(run):
        return np.empty(0, np.int64)
    first = first_of_run(run)
    since = time - time[first]
    wide = int(since.max()) + 2
    if (int(run[-1]) + 1) * wide >= 2**63:
        raise InputError(f"looking back in {int(run[-1]) + 1} series over {wide!r} steps of time: take fewer at once")
    wanted = run[of] * wide + np.clip(moment - time[first[of]], -1, wide - 2)
    found = np.searchsorted(run * wide + since, wanted, side="right") - 1
    return np.where(found >= first[of], found, -1)


def window_sums(terms: Reals, n: Ints) -> Reals:
    """The sum of the last `n[i]` terms up to and including i, for every row i; `n[i]` lies between 0 and i + 1.

    >>> window_sums(np.array([1e16, 1.0, 2.0, 3.0]), np.array([1, 1, 2, 3])).tolist()
    [1e+16, 1.0, 3.0, 6.0]
    """
    total = np.zeros(len(terms))
    for since, start, stop in _pieces(n):
        total[start:stop] = _sums(terms[since:stop], _from(n[since:stop], start - since))[start - since :]
    return total


def _pieces(n: Ints) -> Iterator[tuple[int, int, int]]:
    """The rows in pieces that fit into a processor's cache: where the windows begin, where the rows do, their end."""
    for start in range(0, len(n), _ROWS_AT_ONCE):
        stop = min(start + _ROWS_AT_ONCE, len(n))
        yield max(start + 1 - int(n[start:stop].max()), 0), start, stop


def _from(n: Ints, first: int) -> Ints:
    """The windows of the rows from `first` on; those before are only looked into."""
    return np.where(np.arange(len(n)) < first, 0, n)


def _sums(terms: Reals, left: Ints) -> Reals:
    total, at = np.zeros(len(terms)), np.arange(len(terms))
    block, size = terms, 1
    while left.any():
        odd = np.flatnonzero(left & size)
        total[odd] += block[at[odd]]
        at[odd] -= size
        left[odd] -= size
        # From here on a block is one twice as long; its first rows are short of terms, and no window reaches them.
        longer = block.copy()
        longer[size:] += block[:-size]
        block, size = longer, 2 * size
    return total


def window_counts(is_counted: Flags, n: Ints) -> Ints:
    """How many of the last `n[i]` rows up to and including i count, for every row i.

    >>> window_counts(np.array([True, False, True]), np.array([1, 1, 3])).tolist()
    [1, 0, 2]
    """
    upto = np.concatenate([[0], np.cumsum(is_counted, dtype=np.int64)])
    here = np.arange(len(is_counted)) + 1
    counted: Ints = upto[here] - upto[here - n]
    return counted


def window_means(terms: Reals, n: Ints, least: int) -> Reals:
    """The mean of the known terms among the last `n[i]`; NaN where fewer than `least` are known.

    >>> window_means(np.array([1.0, np.nan, 3.0]), np.array([1, 2, 3]), 2).tolist()
    [nan, nan, 2.0]
    """
    is_known = np.isfinite(terms)
    n_known = window_counts(is_known, n)
    total = window_sums(np.where(is_known, terms, 0.0), n)
    means: Reals = np.divide(total, n_known, out=np.full(len(terms), np.nan), where=n_known >= max(least, 1))
    return means


def window_moments(x: Reals, y: Reals, n: Ints) -> tuple[Reals, Reals, Reals]:
    """Sums of squared deviations of x and of y and of their products, over the last `n[i]` rows, for every row i.

    Blocks are merged by the update of Chan, Golub & LeVeque (1983), "Algorithms for computing the sample variance",
    which adds squares of differences of means and so never takes one large number from another.

    >>> sxx, syy, sxy = window_moments(np.array([1.0, 2.0, 3.0]), np.array([2.0, 4.0, 6.0]), np.array([1, 2, 3]))
    >>> sxx.tolist(), syy.tolist(), sxy.tolist()
    ([0.0, 0.5, 2.0], [0.0, 2.0, 8.0], [0.0, 1.0, 4.0])
    """
    spreads = np.zeros((3, len(x)))
    for since, start, stop in _pieces(n):
        piece = _spreads(np.array([x[since:stop], y[since:stop]]), _from(n[since:stop], start - since))
        spreads[:, start:stop] = piece[:, start - since :]
    return spreads[0], spreads[1], spreads[2]


def _spreads(block_means: Reals, left: Ints) -> Reals:
    """The three sums, one row each; a block of 2^k rows is known by its means and its own three sums."""
    rows = len(left)
    means, spreads = np.zeros((2, rows)), np.zeros((3, rows))
    done, at = np.zeros(rows, np.int64), np.arange(rows)
    block_spreads, size = np.zeros((3, rows)), 1
    while left.any():
        odd = np.flatnonzero(left & size)
        weight = size / (done[odd] + size)
        apart = block_means[:, at[odd]] - means[:, odd]
        spreads[:, odd] += block_spreads[:, at[odd]] + _products(apart) * (done[odd] * weight)
        means[:, odd] += apart * weight
        at[odd] -= size
        left[odd] -= size
        done[odd] += size
        apart = block_means[:, size:] - block_means[:, :-size]
        longer_means, longer_spreads = block_means.copy(), block_spreads.copy()
        longer_means[:, size:] = block_means[:, :-size] + apart / 2
        longer_spreads[:, size:] += block_spreads[:, :-size] + _products(apart) * (size / 2)
        block_means, block_spreads, size = longer_means, longer_spreads, 2 * size
    return spreads


def _products(apart: Reals) -> Reals:
    return np.array([apart[0] * apart[0], apart[1] * apart[1], apart[0] * apart[1]])
