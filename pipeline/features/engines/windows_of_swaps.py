"""Sums over sliding windows, for many pools and moments at once.

Belongs here: looking up what holds in each pool at each moment. Stays out: what is summed.

A swap is in the window (t - w, t] as known at t from the moment it was learned until w after it happened. So a sum over
the window is what was learned by t less what happened by t - w: two places in two running sums, one in the order of
learning and one in the order of the chain. The cost does not depend on how many swaps a window holds. Whole numbers
only, or what leaves would not undo what entered.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from pipeline.calendars import DAY, HOUR
from pipeline.features.engines.swaps import US

type Whole = NDArray[np.int64]

_PAIRS_AT_ONCE: Final = 4_000_000
"""Pairs of a moment and a swap in memory at a time."""


def bisect_within(values: Whole, first: Whole, last: Whole, targets: Whole, *, right: bool) -> Whole:
    """`first` plus how many of `values[first:last]`, which are sorted, lie below each target (`right`: or are it).

    >>> values, one = np.array([5, 9, 1, 2, 2]), np.array([2])
    >>> bisect_within(values, one, np.array([5]), np.array([2]), right=True)
    array([5])
    """
    low, high = first.astype(np.int64), last.astype(np.int64)
    while (is_open := low < high).any():
        middle = (low + high) >> 1
        probe = values[np.where(is_open, middle, 0)]
        is_above = is_open & ((probe <= targets) if right else (probe < targets))
        low = np.where(is_above, middle + 1, low)
        high = np.where(is_open & ~is_above, middle, high)
    return low


def ranges_of(numbers: Whole, asked: Whole) -> tuple[Whole, Whole]:
    """Where each of the numbers `asked` for (-1: none) begins and ends among `numbers`, which are sorted.

    >>> ranges_of(np.array([0, 0, 2]), np.array([2, 1, -1]))
    (array([2, 2, 0]), array([3, 2, 0]))
    """
    begin = np.searchsorted(numbers, np.arange(max(asked.max(initial=-1), -1) + 2))
    is_asked = asked >= 0
    return np.where(is_asked, begin[asked], 0), np.where(is_asked, begin[asked + 1], 0)


def between(values: pl.Series, first: Whole, last: Whole) -> pl.Series:
    """The sums of `values[first:last]`, exact as long as they fit the column's type, whatever lies before them."""
    so_far = pl.concat([pl.Series(values.name, [0], values.dtype), values.cum_sum()])
    return so_far.gather(last) - so_far.gather(first)


def whole(values: pl.Series) -> Whole:
    """A column of whole numbers as an array."""
    return values.cast(pl.Int64).to_numpy()


@dataclass(frozen=True, eq=False)
class View:
    """Moments, and what of each one's pool lies in a window that ends there.

    Attributes:
        swaps: as `read_swaps` gives them, of any pools.
        pool_no: each moment's pool; -1: one without swaps.
        at_us: the moments, in microseconds.
    """

    swaps: pl.DataFrame
    pool_no: Whole
    at_us: Whole

    @cached_property
    def pools(self) -> tuple[Whole, Whole]:
        """Where each moment's pool begins and ends, in either order of the swaps."""
        return ranges_of(whole(self.swaps["pool_no"]), self.pool_no)

    @cached_property
    def learned(self) -> Whole:
        """How many swaps were learned by each moment, those of the pools before counted in."""
        return bisect_within(whole(self.swaps["known_us"]), *self.pools, self.at_us, right=True)

    @cached_property
    def chain(self) -> Whole:
        """The rows of the swaps in the order of the chain."""
        return np.argsort(whole(self.swaps["order"]))

    def past(self, window: timedelta) -> Whole:
        """How many swaps had happened by `window` before each moment, those of the pools before counted in."""
        return self._past_hour if window == HOUR else self._past_day if window == DAY else self._past(window)

    @cached_property
    def _past_hour(self) -> Whole:
        return self._past(HOUR)

    @cached_property
    def _past_day(self) -> Whole:
        return self._past(DAY)

    def _past(self, window: timedelta) -> Whole:
        event = whole(self.swaps["event_us"])[self.chain]
        return bisect_within(event, *self.pools, self.at_us - window // US, right=True)

    def sums(self, window: timedelta, columns: Sequence[pl.Expr]) -> list[pl.Series]:
        """The sum of each column over the window, one a moment.

        Args:
            window: how long a swap counts after it happened.
            columns: whole numbers, null counting as zero.
        """
        counts = pl.col("known_us") < pl.col("event_us") + window // US
        values = self.swaps.select(
            pl.when(counts).then(column).fill_null(0).alias(column.meta.output_name()) for column in columns
        )
        return [
            between(value, self.pools[0], self.learned)
            - between(value.gather(self.chain), self.pools[0], self.past(window))
            for value in values
        ]

    def sums_over_wallets(
        self, window: timedelta, columns: Sequence[pl.Expr], of_wallet: Sequence[pl.Expr]
    ) -> list[pl.Series]:
        """Sums over wallets of functions of each one's own sums over the window, one a moment.

        Args:
            window: how long a swap counts after it happened.
            columns: whole numbers without nulls; swaps without a wallet are passed over.
            of_wallet: functions of these sums under their names; zero where the sums are.
        """
        n = self.swaps.height
        changes = self._changes(window, columns)
        names = changes.columns[3:]
        # A wallet's sums are zero before its first change and after its last, so they need no new start each.
        summed = changes.sort("wallet_in_pool", "at_us").with_columns(pl.col(name).cum_sum() for name in names)
        rows = np.full(2 * n, summed.height)
        rows[summed["slot"].to_numpy()] = np.arange(summed.height)
        found = []
        for function in of_wallet:
            steps = summed.select(function - function.shift(1).fill_null(0)).to_series()
            steps = pl.concat([steps, pl.Series(steps.name, [0], steps.dtype)])
            entered, left = steps.gather(rows[:n]), steps.gather(rows[n:])
            first = self.pools[0]
            found.append(between(entered, first, self.learned) + between(left, first, self.past(window)))
        return found

    def _changes(self, window: timedelta, columns: Sequence[pl.Expr]) -> pl.DataFrame:
        """Each swap as it enters and as it leaves (negated): `slot` is its place in one order or the other."""
        n = self.swaps.height
        places = np.empty(n, dtype=np.int64)
        places[self.chain] = np.arange(n)
        leaves = pl.col("event_us") + window // US
        wallet = (pl.col("pool_no").cast(pl.Int64) * 2**32 + pl.col("wallet_no")).alias("wallet_in_pool")
        swaps = self.swaps.with_columns(slot=pl.int_range(pl.len()), place=n + pl.Series(places))
        counted = swaps.filter(pl.col("wallet_no").is_not_null(), pl.col("known_us") < leaves)
        entered = counted.select(wallet, pl.col("known_us").alias("at_us"), "slot", *columns)
        names = entered.columns[3:]
        # Polars negates no 128-bit numbers, but takes them from zero.
        left = entered.with_columns(
            *counted.select(leaves.alias("at_us"), pl.col("place").alias("slot")),
            *((0 - pl.col(name)).alias(name) for name in names),
        )
        return pl.concat([entered, left])

    def largest(self, window: timedelta, column: str) -> Whole:
        """The largest value in the window, one a moment; -1 where there is none.

        Args:
            window: how long a swap counts after it happened.
            column: whole numbers, not negative; nulls are passed over.
        """
        value = self.swaps[column].fill_null(-1).to_numpy()[self.chain]
        event, known = (whole(self.swaps[name])[self.chain] for name in ("event_us", "known_us"))
        low = self.past(window)
        high = bisect_within(event, low, self.pools[1], self.at_us, right=True)
        found = np.full(len(self.at_us), -1, dtype=np.int64)
        for rows in _chunks(high - low):
            length = high[rows] - low[rows]
            start = np.cumsum(length) - length
            at = np.arange(length.sum()) - np.repeat(start - low[rows], length)
            seen = np.where(known[at] <= np.repeat(self.at_us[rows], length), value[at], -1)
            found[rows] = np.maximum.reduceat(seen, start)
        return found


def _chunks(lengths: Whole) -> Iterator[Whole]:
    """Rows whose length is not zero, in runs of bounded total length."""
    rows = np.flatnonzero(lengths)
    run = np.cumsum(lengths[rows]) // _PAIRS_AT_ONCE
    yield from (part for part in np.split(rows, np.flatnonzero(np.diff(run)) + 1) if len(part))
