"""What the price did between a decision and its horizon, read from bars: end, extrema, rug, first touch of a barrier.

Belongs here: laying bars out per pool and walking windows over them, vectorised. Stays out: what an outcome is called,
whether the window was watched to its end, and whether it is over (`outcomes`).

Times are int64 microseconds since 1970; `NEVER` stands for what did not happen, so that the earlier of two is a
minimum.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from pipeline.errors import InputError
from pipeline.labels.range_extrema import Floats, Ints, RangeMinimum
from pipeline.labels.spec import LabelsSpec

NEVER = np.iinfo(np.int64).max
MINUTE_US = 60_000_000
POOL_SHIFT = 32
"""A bar's key is its pool's number above and its place on the grid below this bit: one sorted array for all pools."""

Bytes = npt.NDArray[np.int8]
Flags = npt.NDArray[np.bool_]
NO_TOUCH, UPPER, LOWER = 0, 1, 2


@dataclass(frozen=True)
class Bars:
    """All bars, each pool's contiguous and in time order; maxima are kept as minima of the negated values.

    `blind_before[i]` is how many of the first i bars do not know their reserve; its last element is of all bars.
    """

    keys: Ints
    start: Ints
    known_at: Ints
    close: Floats
    low: RangeMinimum
    negated_high: RangeMinimum
    reserve_low: RangeMinimum
    blind_before: Ints
    negated_known_at: RangeMinimum

    @classmethod
    def of(cls, candles: pl.DataFrame, spec: LabelsSpec) -> "Bars":
        """The bars of `candles` (CANDLES columns and `pool_number`).

        Raises:
            InputError: a price is null or not finite, a bar is off the grid, or a pool has a bar twice.
        """
        _require_sound(candles, spec)
        ordered = candles.sort("pool_number", "event_time")
        start = _micros(ordered, "event_time")
        keys = bar_keys(ordered["pool_number"].to_numpy(), start, spec)
        if len(keys) > 1 and (np.diff(keys) == 0).any():
            raise InputError("labels need each bar once, found a pool with the same bar twice: deduplicate the candles")
        known_at = _micros(ordered, "known_at")
        longest = min(max(spec.horizons_hours) * 60 // spec.bar_minutes, _longest_run(ordered))
        # A bar that does not know its reserve can never look drained; `blind_before` keeps it from looking sound.
        reserve = ordered["quote_reserve_low"].fill_null(np.inf).to_numpy()
        blind = ordered["quote_reserve_low"].is_null().to_numpy()
        return cls(
            keys,
            start,
            known_at,
            ordered["close"].to_numpy(),
            RangeMinimum.over(ordered["low"].to_numpy(), longest),
            RangeMinimum.over(-ordered["high"].to_numpy(), longest),
            RangeMinimum.over(reserve, longest),
            np.concatenate([[0], np.cumsum(blind, dtype=np.int64)]),
            RangeMinimum.over(-known_at.astype(np.float64), longest),
        )

    def at(self, values: Ints, index: Ints, stop: Ints) -> Ints:
        """`values[index]`, or `NEVER` where the search ran into the end of its window."""
        if not len(values):
            return np.full(len(index), NEVER)
        return np.where(index < stop, values[np.minimum(index, len(values) - 1)], NEVER)


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
            frame["pool_number"].to_numpy(),
            _micros(frame, "event_time"),
            _positive(frame["price_quote"]),
            _positive(frame["quote_reserve"]),
        )


@dataclass(frozen=True)
class Paths:
    """What happened in each window: prices in quote tokens, times in us or `NEVER`, `touch` one of three codes.

    `peak_at` and `trough_at` are `NEVER` where the reference itself, held from the decision on, was the extreme.
    `is_reserve_told`: every bar of the window, or up to the one that was a rug, knows its reserve (true of no bars).
    """

    end: Floats
    peak: Floats
    trough: Floats
    peak_at: Ints
    trough_at: Ints
    rug_at: Ints
    touch: Bytes
    touch_at: Ints
    last_start: Ints
    all_known_at: Ints
    is_reserve_told: Flags


def walk(bars: Bars, decisions: Decisions, hours: int, spec: LabelsSpec) -> Paths:
    """Walk each decision's window (t, t + hours] over the bars.

    The bars that start in [t, t + hours) tile the window. An update exactly at t is both in the snapshot at t and in
    the bar that starts at t; it is not after t, and it does no harm, because the reference is that update's price and
    peak and trough include the reference anyway (it holds until the next update). Only an update at the very same
    instant but earlier in its block could show through the bar's high or low. The observation at t + hours is the last
    close of a bar that starts before it; an update exactly at t + hours belongs to the next bar and is not seen.
    """
    first = np.searchsorted(bars.keys, bar_keys(decisions.pool_number, decisions.time, spec))
    horizon_us = hours * 60 * MINUTE_US
    stop = np.searchsorted(bars.keys, bar_keys(decisions.pool_number, decisions.time + horizon_us, spec))
    is_empty = first >= stop
    price = decisions.price
    end = price.copy()
    end[~is_empty] = bars.close[stop[~is_empty] - 1]
    lowest, highest = bars.low.minimum(first, stop), -bars.negated_high.minimum(first, stop)
    touch, touch_at = _first_touch(bars, first, stop, price, spec)
    rug = first_rug(bars, first, stop, decisions, spec)
    return Paths(
        end=end,
        peak=np.fmax(price, highest),
        trough=np.fmin(price, lowest),
        peak_at=_extreme_at(bars, bars.negated_high, (first, stop), -highest, -price),
        trough_at=_extreme_at(bars, bars.low, (first, stop), lowest, price),
        rug_at=bars.at(bars.known_at, rug, stop),
        touch=touch,
        touch_at=touch_at,
        last_start=bars.at(bars.start, stop - 1 + is_empty, stop),
        all_known_at=np.where(is_empty, 0, -bars.negated_known_at.minimum(first, stop)).astype(np.int64),
        is_reserve_told=bars.blind_before[np.minimum(rug + 1, stop)] == bars.blind_before[first],
    )


def first_rug(bars: Bars, first: Ints, stop: Ints, decisions: Decisions, spec: LabelsSpec) -> Ints:
    """The first bar of each window in which the pool was a rug; `stop` where there is none.

    Either the price fell beyond `rug_price_pct`, or the reserve fell beyond `rug_reserve_pct` with the price beyond
    `rug_reserve_price_pct` in the same bar. No range minimum answers a conjunction, so the two conditions leapfrog:
    from the next bar that meets one to the next bar that meets the other, until one bar meets both. Where the spec
    says so, a reserve that fell beyond `rug_drained_pct` is a rug at any price.
    """
    crash = bars.low.first_at_most(first, stop, _limit(decisions.price, spec.beyond(spec.rug_price_pct)))
    fallen = _limit(decisions.price, spec.beyond(spec.rug_reserve_price_pct))
    drained = _limit(decisions.reserve, spec.beyond(spec.rug_reserve_pct))
    if spec.rug_drained_pct is not None:
        empty = bars.reserve_low.first_at_most(
            first, stop, _limit(decisions.reserve, spec.beyond(spec.rug_drained_pct))
        )
        crash = np.minimum(crash, empty)
    # Nothing after the crash can be the first rug, so the search for the other kind ends there.
    found = crash.copy()
    active = np.flatnonzero(bars.reserve_low.minimum(first, crash) <= drained)
    at = first[active]
    while len(active):
        end = crash[active]
        dry = bars.reserve_low.first_at_most(at, end, drained[active])
        both = bars.low.first_at_most(dry, end, fallen[active])
        is_settled = (both == dry) | (both >= end)
        found[active[is_settled]] = both[is_settled]
        active, at = active[~is_settled], both[~is_settled]
    return found


def bar_keys(pool_number: Ints, time: Ints, spec: LabelsSpec) -> Ints:
    """One sortable number for (pool, place on the bar grid)."""
    return (pool_number.astype(np.int64) << POOL_SHIFT) + time // (spec.bar_minutes * MINUTE_US)


def _first_touch(bars: Bars, first: Ints, stop: Ints, price: Floats, spec: LabelsSpec) -> tuple[Bytes, Ints]:
    # Lopez de Prado (2018), ch. 3. Where one bar meets both barriers their order is unknown: the worse one counts.
    upper = bars.negated_high.first_at_most(first, stop, -_limit(price, spec.reaching(spec.barrier_upper_pct), np.inf))
    lower = bars.low.first_at_most(first, stop, _limit(price, spec.reaching(spec.barrier_lower_pct)))
    touch = np.where(lower <= upper, LOWER, UPPER)
    at = np.minimum(lower, upper)
    return np.where(at < stop, touch, NO_TOUCH).astype(np.int8), bars.at(bars.known_at, at, stop)


def _extreme_at(bars: Bars, table: RangeMinimum, window: tuple[Ints, Ints], limit: Floats, reference: Floats) -> Ints:
    """When the extreme of a window could first be seen: `NEVER` where no bar went beyond the reference."""
    first, stop = window
    return np.where(limit < reference, bars.at(bars.known_at, table.first_at_most(first, stop, limit), stop), NEVER)


def _limit(reference: Floats, ratio: float, none: float = -np.inf) -> Floats:
    """The value that `ratio` times the reference is; out of reach where there is no reference."""
    with np.errstate(over="ignore"):
        return np.where(np.isnan(reference), none, reference * ratio)


def _positive(values: pl.Series) -> Floats:
    numbers = values.cast(pl.Float64).to_numpy()
    return np.where(np.isfinite(numbers) & (numbers > 0), numbers, np.nan)


def _micros(frame: pl.DataFrame, column: str) -> Ints:
    return frame[column].dt.epoch("us").to_numpy()


def _longest_run(ordered: pl.DataFrame) -> int:
    longest = ordered["pool_number"].rle().struct.field("len").max()
    return int(longest) if isinstance(longest, int) else 1


def _require_sound(candles: pl.DataFrame, spec: LabelsSpec) -> None:
    prices = pl.col("low", "high", "close")
    unsound = candles.select(pl.any_horizontal(~prices.is_finite().fill_null(value=False)).sum()).item()
    if unsound:
        raise InputError(f"labels need finite bar prices, found {unsound!r} bars without: quarantine them upstream")
    require_on_grid(candles, "a bar", spec)


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
