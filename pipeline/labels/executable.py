"""What a stated position would have brought: bought one snapshot late, sold at the horizon, impact and fees paid.

Belongs here: the constant-product formula and which reserves it is given. Stays out: whether the window may be told.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline.labels.bars import HOUR_US, MINUTE_US, Bars, Decisions, Flags, Window
from pipeline.labels.observations import States
from pipeline.labels.range_extrema import Floats, Ints
from pipeline.labels.spec import LabelsSpec


@dataclass(frozen=True)
class State:
    """Price (quote tokens a base token) and quote reserve at a moment (us); NaN where not known."""

    time: Ints
    price: Floats
    reserve: Floats


def round_trip_pct(
    position: Floats, entry: tuple[Floats, Floats], leave: tuple[Floats, Floats], fee_pct: float
) -> Floats:
    """The return, in per cent, of buying with `position` quote tokens and selling all of it later.

    Uniswap v2 (Adams, Zinsmeister & Robinson 2020): x * y = k holds for what is left of a payment after the fee. With
    quote reserve Q and base reserve B = Q / price, paying d for base gives B d' / (Q + d'), d' = d (1 - fee); selling
    x for quote gives Q x' / (B + x'), x' = x (1 - fee). The pool's own history does not feel the position, which is
    small or is not: then the figure is too good. It is never above the gross return less two fees.

    Args:
        position: quote tokens paid.
        entry: price and quote reserve when buying.
        leave: the same when selling; a reserve or price of 0 gives -100 %.
        fee_pct: fee on each of the two trades.

    Returns:
        NaN where anything is unknown, or where there is nothing to buy.

    >>> one = np.array([1.0])
    >>> round_trip_pct(10 * one, (one, 10 * one), (one, 1e12 * one), 0.0).round(2).tolist()
    [-50.0]
    """
    (price, quote), (price_then, quote_then) = entry, leave
    kept = 1 - fee_pct / 100
    with np.errstate(all="ignore"):
        paid = position * kept
        bought = quote / price * (paid / (quote + paid))
        sold = bought * kept
        # Written so that nothing overflows where the price does: worth is what selling without impact would give.
        worth = sold * price_then
        received = worth * (quote_then / (quote_then + worth))
        gone = (quote_then == 0) | (price_then == 0)
        change = np.where(gone & np.isfinite(bought), 0.0, received) / position * 100 - 100
    is_buyable = (quote > 0) & (position > 0)
    return np.where(is_buyable & np.isfinite(change), change, np.nan)


def executable(
    states: States, bars: Bars, decisions: Decisions, hours: int, vouched: Flags, spec: LabelsSpec
) -> tuple[Floats, Ints, Ints]:
    """`round_trip_pct` of the spec's position over each decision's window, and when it is bought (us).

    Bought at the first snapshot after the decision, if it comes within `entry_share` of the horizon, at its price and
    reserves. Where the source vouches for its record (`vouched`), sold at the horizon from the last bar's closing price
    and reserve, or, if nothing happened after the entry, from the pool as it was then: an observation at the very
    horizon may hold an update that the label's own return does not see (`paths.walk`). Elsewhere sold from the last bar
    or observation, whichever is later and knows them; it must lie within `observation_share` of the horizon's end.

    Returns:
        Per cent, NaN where entry or exit is not known; when it was bought and since when entry and exit observations
        are known (us), 0 where nothing is told. Bars are known as the path is.
    """
    end = decisions.time + hours * HOUR_US
    at = states.after(decisions.pool_number, decisions.time)
    entry = _entry(states, at, decisions, hours, spec)
    window = bars.window(decisions, hours)
    last = np.where(vouched, at, np.maximum(states.after(decisions.pool_number, end) - 1, at))
    leave = _exit(states, bars, (entry, last), window)
    late = end - leave.time <= round(hours * HOUR_US * spec.observation_share)
    is_known = vouched | late
    quote_usd = _take(states.quote_usd, at)
    position = spec.position_usd / np.where(np.isnan(entry.price), np.nan, quote_usd)
    found = round_trip_pct(position, (entry.price, entry.reserve), (leave.price, leave.reserve), spec.fee_pct)
    found = np.where(is_known, found, np.nan)
    known_at = np.maximum(_take(states.known_at, at), _take(states.known_at, last))
    return found, np.where(np.isnan(found), 0, entry.time), np.where(np.isnan(found), 0, known_at)


def _entry(states: States, at: Ints, decisions: Decisions, hours: int, spec: LabelsSpec) -> State:
    time = _take(states.time, at)
    latest = decisions.time + round(hours * HOUR_US * spec.entry_share)
    is_there = (_take(states.pool_number, at) == decisions.pool_number) & (at < len(states.time)) & (time <= latest)
    nothing = np.where(is_there, 0.0, np.nan)
    return State(time, _take(states.price, at) + nothing, _take(states.reserve, at) + nothing)


def _exit(states: States, bars: Bars, entry: tuple[State, Ints], window: Window) -> State:
    """What is sold from: the last bar, if it ends after the entry and not before the observation, else that."""
    bought, seen = entry
    time, price, reserve = (_take(v, seen) for v in (states.time, states.price, states.reserve))
    # An observation that does not know its reserve tells of no exit, and one without a price only of an empty pool.
    price = np.where(reserve == 0, 0.0, price)
    last = np.maximum(window.stop - 1, 0)
    bar_end = _take(bars.start, last) + bars.bar_minutes * MINUTE_US
    bar_reserve = _take(bars.reserve_close, last)
    is_bar = (window.first < window.stop) & (bar_end > bought.time) & ~np.isnan(bar_reserve)
    is_bar &= (bar_end >= time) | np.isnan(reserve)
    return State(
        np.where(is_bar, bar_end, time),
        np.where(is_bar, _take(bars.close, last), price),
        np.where(is_bar, bar_reserve, reserve),
    )


def _take[T: np.generic](values: npt.NDArray[T], index: Ints) -> npt.NDArray[T]:
    """`values[index]`, the last one where the index runs over; zeros where there are none."""
    if not len(values):
        return np.zeros(len(index), values.dtype)
    taken: npt.NDArray[T] = values[np.minimum(index, len(values) - 1)]
    return taken
