"""What the price did between a decision and its horizon, read from bars: end, extrema, rug, first touch of a barrier.

Belongs here: walking windows over the bars, vectorised. Stays out: how bars lie in memory (`bars`), what an outcome is
called, whether the window was watched to its end, and whether it is over (`judgement`).
"""

from dataclasses import dataclass
from typing import Final

import numpy as np

from pipeline.labels.bars import NEVER, Bars, Bytes, Decisions, Flags, Window
from pipeline.labels.range_extrema import Floats, Ints, RangeMinimum
from pipeline.labels.spec import LabelsSpec

NO_TOUCH, UPPER, LOWER = 0, 1, 2
NO_RUG, DRAINED, DUMPED, BOTH = 0, 1, 2, 3
RUG_KINDS: Final = {DRAINED: "drained", DUMPED: "dumped", BOTH: "both"}


@dataclass(frozen=True)
class Paths:
    """What happened in each window: prices in quote tokens, times in us or `NEVER`, `touch` one of three codes.

    Extremes and touches were when their bar was over, whenever it was learned; a rug is dated by when it was learned,
    for it is told at once. `peak_at` and `trough_at` are `NEVER` where the reference itself, held from the decision on,
    was the extreme.
    `is_reserve_told`: every bar of the window, or up to the one that was a rug, knows its reserve (true of no bars).
    `rug_kind` is one of four codes; `rug_start` is when the bar began in which the pool was first a rug.
    """

    end: Floats
    peak: Floats
    trough: Floats
    peak_at: Ints
    trough_at: Ints
    rug_at: Ints
    rug_start: Ints
    rug_kind: Bytes
    touch: Bytes
    touch_at: Ints
    last_start: Ints
    all_known_at: Ints
    is_reserve_told: Flags


def walk(bars: Bars, decisions: Decisions, window: Window, spec: LabelsSpec) -> Paths:
    """Walk each decision's window (t, t + horizon] over the bars.

    The bars that start in [t, t + horizon) tile the window. An update exactly at t is both in the snapshot at t and in
    the bar that starts at t; it is not after t, and it does no harm, because the reference is that update's price and
    peak and trough include the reference anyway (it holds until the next update). Only an update at the very same
    instant but earlier in its block could show through the bar's high or low. The observation at t + horizon is the
    last close of a bar that starts before it; an update exactly at t + horizon belongs to the next bar and is not seen.
    """
    first, stop = window.first, window.stop
    is_empty = first >= stop
    price = decisions.price
    end = price.copy()
    end[~is_empty] = bars.close[stop[~is_empty] - 1]
    lowest, highest = bars.low.minimum(first, stop), -bars.negated_high.minimum(first, stop)
    touch, touch_at = _first_touch(bars, window, price, spec)
    rug = first_rug(bars, window, decisions, spec)
    return Paths(
        end=end,
        peak=np.fmax(price, highest),
        trough=np.fmin(price, lowest),
        peak_at=_extreme_at(bars, bars.negated_high, window, -highest, -price),
        trough_at=_extreme_at(bars, bars.low, window, lowest, price),
        rug_at=bars.at(bars.known_at, rug, stop),
        rug_start=bars.at(bars.start, rug, stop),
        rug_kind=kind_of(bars, rug, stop, decisions, spec),
        touch=touch,
        touch_at=touch_at,
        last_start=bars.at(bars.start, stop - 1 + is_empty, stop),
        all_known_at=np.where(is_empty, 0, -bars.negated_known_at.minimum(first, stop)).astype(np.int64),
        is_reserve_told=bars.blind_before[np.minimum(rug + 1, stop)] == bars.blind_before[first],
    )


def first_rug(bars: Bars, window: Window, decisions: Decisions, spec: LabelsSpec) -> Ints:
    """The first bar of each window in which the pool was a rug; `stop` where there is none.

    Either the price fell beyond `rug_price_pct`, or the reserve fell beyond `rug_reserve_pct` with the price beyond
    `rug_reserve_price_pct` in the same bar. No range minimum answers a conjunction, so the two conditions leapfrog:
    from the next bar that meets one to the next bar that meets the other, until one bar meets both. Where the spec
    says so, a reserve that fell beyond `rug_drained_pct` is a rug at any price.
    """
    first, stop = window.first, window.stop
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


def kind_of(bars: Bars, rug: Ints, stop: Ints, decisions: Decisions, spec: LabelsSpec) -> Bytes:
    """Which conditions the bar of the rug meets: price (`DUMPED`), reserve (`DRAINED`), or both."""
    kind = np.full(len(rug), NO_RUG, np.int8)
    found = np.flatnonzero(rug < stop)
    at = rug[found]
    low, reserve = bars.low.levels[0, at], bars.reserve_low.levels[0, at]
    price, reference = decisions.price[found], decisions.reserve[found]
    is_dumped = low <= _limit(price, spec.beyond(spec.rug_price_pct))
    is_drained = (reserve <= _limit(reference, spec.beyond(spec.rug_reserve_pct))) & (
        low <= _limit(price, spec.beyond(spec.rug_reserve_price_pct))
    )
    if spec.rug_drained_pct is not None:
        is_drained |= reserve <= _limit(reference, spec.beyond(spec.rug_drained_pct))
    kind[found] = is_drained * DRAINED + is_dumped * DUMPED
    return kind


def _first_touch(bars: Bars, window: Window, price: Floats, spec: LabelsSpec) -> tuple[Bytes, Ints]:
    # Lopez de Prado (2018), ch. 3. Where one bar meets both barriers their order is unknown: the worse one counts.
    first, stop = window.first, window.stop
    upper = bars.negated_high.first_at_most(first, stop, -_limit(price, spec.reaching(spec.barrier_upper_pct), np.inf))
    lower = bars.low.first_at_most(first, stop, _limit(price, spec.reaching(spec.barrier_lower_pct)))
    touch = np.where(lower <= upper, LOWER, UPPER)
    at = np.minimum(lower, upper)
    return np.where(at < stop, touch, NO_TOUCH).astype(np.int8), bars.at(bars.over_at, at, stop)


def _extreme_at(bars: Bars, table: RangeMinimum, window: Window, limit: Floats, reference: Floats) -> Ints:
    """When the bar was over that holds the extreme of a window: `NEVER` where none went beyond the reference."""
    found = table.first_at_most(window.first, window.stop, limit)
    return np.where(limit < reference, bars.at(bars.over_at, found, window.stop), NEVER)


def _limit(reference: Floats, ratio: float, none: float = -np.inf) -> Floats:
    """The value that `ratio` times the reference is; out of reach where there is no reference."""
    with np.errstate(over="ignore"):
        return np.where(np.isnan(reference), none, reference * ratio)
