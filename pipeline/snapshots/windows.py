"""What a snapshot says about the stretch of time before it.

Belongs here: change and sums over the trailing windows, as the GeckoTerminal API gives them.
Stays out: the state at the moment itself, and how long the windows are (`tables.WINDOWS_MINUTES`).
"""

import numpy as np

from pipeline.snapshots.schedule import Visits
from pipeline.snapshots.ticks import History, Ints, Reals


def sums_between(values: Reals, start: Ints, stop: Ints) -> Reals:
    """Sum of `values[start:stop]` for each pair, 0 for an empty one.

    Each slice is summed by itself. The difference of two running totals would be cheaper, but would depend on where
    the totals began, and would lose a small trade that follows large ones.

    >>> sums_between(np.array([1e30, 1.0, 2.0]), np.array([0, 1, 3]), np.array([1, 3, 3])).tolist()
    [1e+30, 3.0, 0.0]
    """
    pairs = np.empty(2 * len(start), np.int64)
    pairs[0::2], pairs[1::2] = start, stop
    with np.errstate(invalid="ignore", over="ignore"):
        sums = np.add.reduceat(np.append(values, 0.0), pairs)[::2]
    return np.where(stop > start, sums, 0.0)


def price_at(history: History, position: Ints) -> Reals:
    """Price of base in quote tokens at each position; NaN where the pool holds no base, or it overflows.

    An infinite price would be a fine denominator: every change against it is -100 %.
    """
    with np.errstate(all="ignore"):
        price = history.quote[position] / history.base[position]
    return np.where(np.isfinite(price), price, np.nan)


def window_columns(history: History, visits: Visits, ticks: int, name: str) -> dict[str, Reals]:
    """The columns of one trailing window of `ticks` grid steps, (t - w, t], for each visit; NaN is unknown.

    `price_change_NAME_pct` is 100 (p(t) / p(t - w) - 1), or against the first known price where no state was seen by
    t - w. `volume_NAME` is in quote tokens. `n_buys_NAME` and `n_sells_NAME` count. Windows that reach back before
    birth hold what happened since: the API repeats the short window's figures in the longer ones of a new pool.
    """
    begin = history.starts[visits.pool]
    before = history.position(visits.pool, visits.tick - ticks)
    start, stop = before + 1, visits.position + 1
    was_seen = before >= begin
    # A pool that had no price yet at the visit may get its first one later: that one is not known here.
    has_price = visits.tick >= history.first_price_tick[visits.pool]
    first_price = np.where(has_price, history.first_price[visits.pool], np.nan)
    reference = np.where(was_seen, price_at(history, before), first_price)
    with np.errstate(all="ignore"):
        change = (price_at(history, visits.position) / reference - 1) * 100
    return {
        f"price_change_{name}_pct": change,
        f"volume_{name}": sums_between(history.volume, start, stop),
        f"n_buys_{name}": sums_between(history.buys, start, stop),
        f"n_sells_{name}": sums_between(history.sells, start, stop),
    }
