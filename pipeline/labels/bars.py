"""Bars and decisions as arrays: each pool's bars contiguous and in time order, ready to be searched.

Belongs here: the layout, what a bar must be to enter it, and which bars a window holds. Stays out: what happened in a
window (`paths`), and observations of the reserve (`observations`).

Times are int64 microseconds since 1970; `NEVER` stands for what did not happen, so that the earlier of two is a
minimum.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import polars as pl

from pipeline.errors import InputError
from pipeline.labels.range_extrema import Floats, Ints, RangeMinimum
from pipeline.labels.spec import LabelsSpec
from pipeline.tables import POOL_KEY

NEVER: Final = np.iinfo(np.int64).max
MINUTE_US: Final = 60_000_000
HOUR_US: Final = 60 * MINUTE_US
POOL_SHIFT: Final = 32
"""A bar's key is its pool's number above and its place on the grid below this bit: one sorted array for all pools."""

BAR_COLUMNS: Final = (
    *POOL_KEY, "event_time", "known_at", "high", "low", "close", "quote_reserve_low", "quote_reserve_close",
)  # fmt: skip

Bytes = npt.NDArray[np.int8]
Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Decisions:
    """The reference of each window: pool, time (us), price and quote reserve; NaN where there is none."""

    pool_number: Ints
    time: Ints
    price: Floats
    reserve: Floats

    @classmethod
    def of(cls, frame: pl.DataFrame) -> "Decisions":
        """The references in `frame` (`pool_number`, `event_time`, `price_quote`, `quote_reserve`)."""
        return cls(
            frame["pool_number"].to_numpy().astype(np.int64),
            micros(frame, "event_time"),
            _positive(frame["price_quote"]),
            _positive(frame["quote_reserve"]),
        )


@dataclass(frozen=True)
class Window:
    """The bars of each decision's window: [first, stop) in the layout, empty where `stop` <= `first`."""

    first: Ints
    stop: Ints


@dataclass(frozen=True)
class Bars:
    """All bars, each pool's contiguous and in time order; maxima are kept as minima of the negated values.

    `blind_before[i]` is how many of the first i bars do not know their reserve; its last element is of all bars.
    `per_slot` rows of a pool may share a place on the grid, told apart by their `rank`.
    """

    keys: Ints
    per_slot: int
    bar_minutes: int
    start: Ints
    known_at: Ints
    close: Floats
    reserve_close: Floats
    low: RangeMinimum
    negated_high: RangeMinimum
    reserve_low: RangeMinimum
    blind_before: Ints
    negated_known_at: RangeMinimum

    @classmethod
    def of(cls, candles: pl.DataFrame, spec: LabelsSpec, per_slot: int = 1) -> "Bars":
        """The bars of `candles` (`BAR_COLUMNS` and `pool_number`; with several rows a slot also `rank`).

        Raises:
            InputError: a price is null or not finite, a bar is off the grid, or a pool has a bar twice.
        """
        _require_sound(candles, spec)
        order = ["pool_number", "event_time", *(["rank"] if per_slot > 1 else [])]
        ordered = candles.sort(order)
        start = micros(ordered, "event_time")
        keys = place(ordered["pool_number"].to_numpy(), start, spec.bar_minutes, per_slot)
        if per_slot > 1:
            keys = keys + ordered["rank"].to_numpy()
        if len(keys) > 1 and (np.diff(keys) == 0).any():
            raise InputError("labels need each bar once, found a pool with the same bar twice: deduplicate the candles")
        known_at = micros(ordered, "known_at")
        longest = min(per_slot * max(spec.horizons_hours) * 60 // spec.bar_minutes, _longest_run(ordered))
        # A bar that does not know its reserve can never look drained; `blind_before` keeps it from looking sound.
        reserve = ordered["quote_reserve_low"].fill_null(np.inf).to_numpy()
        blind = ordered["quote_reserve_low"].is_null().to_numpy()
        return cls(
            keys,
            per_slot,
            spec.bar_minutes,
            start,
            known_at,
            ordered["close"].to_numpy(),
            ordered["quote_reserve_close"].fill_null(np.nan).to_numpy(),
            RangeMinimum.over(ordered["low"].to_numpy(), longest),
            RangeMinimum.over(-ordered["high"].to_numpy(), longest),
            RangeMinimum.over(reserve, longest),
            np.concatenate([[0], np.cumsum(blind, dtype=np.int64)]),
            RangeMinimum.over(-known_at.astype(np.float64), longest),
        )

    @property
    def over_at(self) -> Ints:
        """When each bar was over: what happened in it had happened by then."""
        return self.start + self.bar_minutes * MINUTE_US

    def window(self, decisions: Decisions, hours: int) -> Window:
        """The bars that start in [t, t + hours) of each decision; they tile its window."""
        starts = (decisions.time, decisions.time + hours * HOUR_US)
        first, stop = (self.search(decisions.pool_number, time) for time in starts)
        return Window(first, stop)

    def search(self, pool_number: Ints, time: Ints) -> Ints:
        """The first bar of each pool that starts at or after each time, in the layout."""
        return np.searchsorted(self.keys, place(pool_number, time, self.bar_minutes, self.per_slot))

    def at(self, values: Ints, index: Ints, stop: Ints) -> Ints:
        """`values[index]`, or `NEVER` where the search ran into the end of its window."""
        if not len(values):
            return np.full(len(index), NEVER)
        return np.where(index < stop, values[np.minimum(index, len(values) - 1)], NEVER)


def place(pool_number: Ints, time: Ints, bar_minutes: int, per_slot: int = 1) -> Ints:
    """One sortable number for (pool, place on the bar grid)."""
    return (pool_number.astype(np.int64) << POOL_SHIFT) + time // (bar_minutes * MINUTE_US) * per_slot


def micros(frame: pl.DataFrame, column: str) -> Ints:
    """A time column as microseconds since 1970."""
    return frame[column].dt.epoch("us").to_numpy()


def require_on_grid(frame: pl.DataFrame, what: str, spec: LabelsSpec) -> None:
    """Check that every `event_time` of `frame` lies on the bar grid.

    Raises:
        InputError: one does not, so that a bar would be partly before and partly after a decision.
    """
    time = pl.col("event_time")
    off = frame.filter(time.dt.epoch("us") % (spec.bar_minutes * MINUTE_US) != 0).head(1)
    if len(off):
        raise InputError(
            f"labels need times on the {spec.bar_minutes}-min grid, found {what} at {off['event_time'][0]!r}: "
            "sample and aggregate on the grid"
        )


def _positive(values: pl.Series) -> Floats:
    numbers = values.cast(pl.Float64).to_numpy()
    return np.where(np.isfinite(numbers) & (numbers > 0), numbers, np.nan)


def _longest_run(ordered: pl.DataFrame) -> int:
    longest = ordered["pool_number"].rle().struct.field("len").max()
    return int(longest) if isinstance(longest, int) else 1


def _require_sound(candles: pl.DataFrame, spec: LabelsSpec) -> None:
    prices = pl.col("low", "high", "close")
    unsound = candles.select(pl.any_horizontal(~prices.is_finite().fill_null(value=False)).sum()).item()
    if unsound:
        raise InputError(f"labels need finite bar prices, found {unsound!r} bars without: quarantine them upstream")
    require_on_grid(candles, "a bar", spec)
