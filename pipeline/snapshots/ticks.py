"""Time as whole grid steps, and what the sampler could have seen of every pool at each of them.

Belongs here: the index over all pools' updates that the schedule and the windows both look into.
Stays out: when a pool is looked at (`schedule`) and what is said about it then (`windows`).

Snapshots and the starts of their windows all lie on the grid, so an update at any moment is first seen at the grid
point at or after it, and updates between two grid points may be summed: nothing is lost and nothing is early.
"""

from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

Reals = NDArray[np.float64]
Ints = NDArray[np.int64]
Flags = NDArray[np.bool_]

POOL_INDEX = "pool_index"
MICROSECONDS_A_MINUTE = 60_000_000
NEVER = np.int64(np.iinfo(np.int64).max)


def first_tick_at_or_after(moments_us: Ints, grid_minutes: int) -> Ints:
    """Grid steps since the epoch, rounded up, of moments in microseconds since the epoch.

    >>> first_tick_at_or_after(np.array([0, 1, 300_000_000]), 5).tolist()
    [0, 1, 1]
    """
    return -((-moments_us) // (grid_minutes * MICROSECONDS_A_MINUTE))


@dataclass(frozen=True)
class History:
    """All pools' updates, summed between grid points, sorted by pool and time; NaN is unknown inside here.

    Of each *bin* (pool, tick): `base` and `quote`, the reserves after its last update; `volume` (quote tokens),
    `buys` and `sells`, its trades. A bin with an update nobody can read has NaN there, and so has each window over it.
    Of each *pool*: `starts`, the index of its first bin (and one more at the end); `first_tick`, when a state was first
    seen; `first_price`, its first price above zero; `first_price_tick`, when that was first seen. NEVER if never.
    `keys` is pool * `width` + tick - `origin`, increasing.
    """

    keys: Ints
    base: Reals
    quote: Reals
    volume: Reals
    buys: Reals
    sells: Reals
    starts: Ints
    first_price: Reals
    first_price_tick: Ints
    first_tick: Ints
    origin: int
    width: int

    def position(self, pools: Ints, ticks: Ints) -> Ints:
        """Index of the bin that holds each pool's state as of each tick; `starts[pool] - 1` where it had none yet."""
        offset = np.clip(ticks - self.origin, 0, self.width - 1)
        return np.searchsorted(self.keys, pools * self.width + offset, side="right") - 1


def _is_amount(*names: str) -> pl.Expr:
    columns = [pl.col(name).is_finite() & (pl.col(name) >= 0) for name in names]
    return pl.all_horizontal(columns).fill_null(False)


def trades() -> list[pl.Expr]:
    """Expressions `volume`, `buys`, `sells` over RESERVES rows: quote tokens traded, and 1.0 or 0.0.

    Quote up and base down is a purchase, quote down and base up a sale, of as many quote tokens as moved; everything
    else moves liquidity. Without a state before there is no trade; with one that cannot be read all three are NaN.
    """
    gained = pl.col("quote_reserve") - pl.col("quote_reserve_before")
    given = pl.col("base_reserve") - pl.col("base_reserve_before")
    is_first = pl.col("base_reserve_before").is_null() | pl.col("quote_reserve_before").is_null()
    is_known = _is_amount("base_reserve", "quote_reserve", "base_reserve_before", "quote_reserve_before")
    is_buy, is_sell = (gained > 0) & (given < 0), (gained < 0) & (given > 0)

    def read(value: pl.Expr) -> pl.Expr:
        return pl.when(is_first).then(0.0).when(is_known).then(value).otherwise(float("nan"))

    return [
        read(pl.when(is_buy | is_sell).then(gained.abs()).otherwise(0.0)).alias("volume"),
        read(is_buy.cast(pl.Float64)).alias("buys"),
        read(is_sell.cast(pl.Float64)).alias("sells"),
    ]


def states() -> list[pl.Expr]:
    """Expressions `base` and `quote` over RESERVES rows: the reserves after the update, NaN where not an amount."""
    names = {"base": "base_reserve", "quote": "quote_reserve"}
    return [
        pl.when(_is_amount(column)).then(pl.col(column)).otherwise(float("nan")).alias(name)
        for name, column in names.items()
    ]


def _first_prices(pools: Ints, ticks: Ints, base: Reals, quote: Reals, n_pools: int) -> tuple[Reals, Ints]:
    """Each pool's first price above zero, and the tick at which it could first be seen."""
    with np.errstate(all="ignore"):
        price = quote / base
    known = np.flatnonzero(np.isfinite(price) & (price > 0))
    owners, first = np.unique(pools[known], return_index=True)
    found, seen = np.full(n_pools, np.nan), np.full(n_pools, NEVER)
    found[owners], seen[owners] = price[known[first]], ticks[known[first]]
    return found, seen


def build_history(updates: pl.DataFrame, n_pools: int, grid_minutes: int) -> History:
    """Index updates for looking up a state as of any grid point.

    Args:
        updates: at least one row of POOL_INDEX, `time_us`, `base`, `quote`, `volume`, `buys`, `sells`, sorted by pool
            and then in the order in which they happened.
        n_pools: how many pools there are; POOL_INDEX counts from 0.
        grid_minutes: distance between two grid points.
    """
    columns = {name: updates[name].to_numpy() for name in updates.columns}
    pools = columns[POOL_INDEX].astype(np.int64)
    ticks = first_tick_at_or_after(columns["time_us"], grid_minutes)
    # Step 0 of every pool stays free: a look-up before all updates lands there, never among the previous pool's.
    origin = int(ticks.min()) - 1
    width = int(ticks.max()) - origin + 1
    keys = pools * width + (ticks - origin)
    heads = np.flatnonzero(np.diff(keys, prepend=keys[0] - 1))
    tails = np.append(heads[1:], len(keys)) - 1
    starts = np.searchsorted(keys[heads], np.arange(n_pools + 1) * width)
    first_tick = np.append(ticks[heads], NEVER)[starts[:-1]]
    first_price, first_price_tick = _first_prices(pools, ticks, columns["base"], columns["quote"], n_pools)
    return History(
        keys=keys[heads],
        base=columns["base"][tails],
        quote=columns["quote"][tails],
        volume=np.add.reduceat(columns["volume"], heads),
        buys=np.add.reduceat(columns["buys"], heads),
        sells=np.add.reduceat(columns["sells"], heads),
        starts=starts,
        first_price=first_price,
        first_price_tick=first_price_tick,
        first_tick=np.where(starts[1:] > starts[:-1], first_tick, NEVER),
        origin=origin,
        width=width,
    )
