"""What every pool of a recording or a simulation was like at any moment.

Belongs here: the updates as arrays, the state and trailing windows of one pool, which pools are listed. Stays out: how
an answer spells it (`wire`). The definitions are those of the snapshots stage, written a second time on purpose: a
test holds the two together.
"""

import math
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from pipeline.errors import InputError
from pipeline.tables import API_WINDOWS, POOLS, RESERVES, Table

Reals = NDArray[np.float64]
Ints = NDArray[np.int64]

MICROSECOND: Final = timedelta(microseconds=1)
MINUTE_US: Final = 60_000_000
WINDOW_MINUTES: Final = dict(zip(API_WINDOWS, (5, 15, 30, 60, 360, 1440), strict=True))
"""Lengths of the trailing windows of an answer."""

NO_TRADE, BUY, SELL, UNKNOWN = 0, 1, 2, 3
"""What an update was; UNKNOWN: it, or the state before it, holds something that is no amount."""

_BACK: Final = np.array([0, *WINDOW_MINUTES.values()], dtype=np.int64) * MINUTE_US
_PLACE: Final = ("block", "tx_index", "log_index")


@dataclass(frozen=True)
class PoolFacts:
    """What does not change about a pool; moments in microseconds since the epoch, `first`:`last` are its updates.

    `listed_us` is when the API begins to list it: its creation, or its first update if that is later. `first_priced`
    is the place of the first update, counted from `first`, with a price above zero (a number past the last if none).
    """

    network: str
    address: str
    dex: str
    base_token: str
    quote_token: str
    quote_symbol: str | None
    base_decimals: int | None
    quote_decimals: int | None
    quote_price_usd: float
    created_us: int
    listed_us: int
    first: int
    last: int
    first_priced: int


@dataclass(frozen=True)
class Window:
    """One trailing window, (t - w, t]; NaN and None: not known.

    `change_pct` is against the state at t - w, or against the first known price if there was none yet.
    """

    change_pct: float
    volume_quote: float
    n_buys: int | None
    n_sells: int | None


@dataclass(frozen=True)
class State:
    """A pool at one moment, after its last update at or before it, in whole tokens; NaN: not known."""

    base: float
    quote: float
    price: float
    windows: dict[str, Window]


@dataclass(frozen=True)
class Updates:
    """All updates, one entry each, sorted by pool and then in the order in which they happened.

    `base` and `quote` are the reserves after it (NaN: not known), `base_volume` and `volume` the base and quote tokens
    that were traded, `place` its block, transaction and log entry. `n_buys`, `n_sells` and `n_unknown` count the
    updates before each index: they have one entry more.
    """

    times: Ints
    base: Reals
    quote: Reals
    base_volume: Reals
    volume: Reals
    kind: NDArray[np.int8]
    place: Ints
    n_buys: Ints
    n_sells: Ints
    n_unknown: Ints


class Market:
    """All pools that had an update, and what they were like at any moment. Build one with `Market.of`."""

    def __init__(self, source: str, pools: Sequence[PoolFacts], updates: Updates) -> None:
        self.source, self.pools, self.updates = source, tuple(pools), updates
        self._by_key = {(pool.network, pool.address): pool for pool in pools}
        self._by_birth = _by_birth(pools)
        self._by_token = _by_token(pools)

    @classmethod
    def of(cls, reserves: pl.DataFrame, pools: pl.DataFrame, source: str) -> "Market":
        """The market that rows of RESERVES and POOLS tell of; one of several networks, in any order.

        Updates before their pool's creation or of unknown pools are left out, and so are repeated ones.

        Args:
            reserves: rows of RESERVES.
            pools: rows of POOLS.
            source: who told us, as the server says it: `recording:NAME` or `simulation:SEED`.

        Raises:
            InputError: a column is missing, there is no pool, or one is told twice.
        """
        _require(reserves, RESERVES)
        _require(pools, POOLS)
        if pools.is_empty() or pools.select("network", "pool").is_duplicated().any():
            raise InputError(
                f"a market needs pools, each told once, found {pools.height} rows: pass one source's pools"
            )
        ordered = pools.sort("network", "created_at", "pool").with_row_index("index")
        updates = _updates(reserves, ordered)
        columns = {name: updates[name].to_numpy() for name in ("base", "quote", "base_volume", "volume")}
        kind = updates["kind"].to_numpy()
        n_buys, n_sells, n_unknown = (_counted(kind == told) for told in (BUY, SELL, UNKNOWN))
        arrays = Updates(
            times=updates["time_us"].to_numpy(),
            **columns,
            kind=kind,
            place=updates.select(_PLACE).to_numpy(),
            n_buys=n_buys,
            n_sells=n_sells,
            n_unknown=n_unknown,
        )
        starts = np.searchsorted(updates["index"].to_numpy(), np.arange(ordered.height + 1))
        return cls(source, list(_facts(ordered, starts, arrays)), arrays)

    @property
    def networks(self) -> list[str]:
        """Names of the chains, sorted."""
        return sorted(name for name in self._by_birth if name is not None)

    @property
    def first_birth_us(self) -> int:
        """When the first pool was created."""
        return min(pool.created_us for pool in self.pools)

    def dexes(self, network: str) -> list[str]:
        """Names of the exchanges of a chain, sorted."""
        return sorted({pool.dex for pool in self._by_birth[network][1]})

    def pool(self, network: str, address: str, moment_us: int) -> PoolFacts | None:
        """The pool, if it is listed at the moment."""
        pool = self._by_key.get((network, address))
        return pool if pool is not None and pool.listed_us <= moment_us else None

    def newest(self, network: str | None, moment_us: int) -> Iterator[PoolFacts]:
        """The pools listed at the moment, of a chain or of all (None), the last created first."""
        births, pools = self._by_birth.get(network, ([], []))
        for index in range(bisect_right(births, moment_us) - 1, -1, -1):
            if pools[index].listed_us <= moment_us:
                yield pools[index]

    def pools_of_token(self, network: str, token: str, moment_us: int) -> list[PoolFacts]:
        """The pools listed at the moment that hold the token, in order of birth."""
        return [pool for pool in self._by_token.get((network, token), []) if pool.listed_us <= moment_us]

    def n_known(self, pool: PoolFacts, moment_us: int) -> int:
        """How many updates of the pool happened at or before the moment."""
        return int(np.searchsorted(self.updates.times[pool.first : pool.last], moment_us, side="right"))

    def state(self, pool: PoolFacts, moment_us: int) -> State:
        """The pool at the moment, at which it must be listed."""
        cuts = np.searchsorted(self.updates.times[pool.first : pool.last], moment_us - _BACK, side="right").tolist()
        end = pool.first + cuts[0]
        price = self._price(end - 1)
        first_price = self._price(pool.first + pool.first_priced) if pool.first_priced < cuts[0] else math.nan
        windows = {}
        for name, seen in zip(WINDOW_MINUTES, cuts[1:], strict=True):
            start = pool.first + seen
            windows[name] = self._window(start, end, price, self._price(start - 1) if seen else first_price)
        return State(float(self.updates.base[end - 1]), float(self.updates.quote[end - 1]), price, windows)

    def _price(self, index: int) -> float:
        base, quote = float(self.updates.base[index]), float(self.updates.quote[index])
        price = quote / base if base else math.nan
        return price if math.isfinite(price) else math.nan

    def _window(self, start: int, end: int, price: float, reference: float) -> Window:
        change = (price / reference - 1) * 100 if reference else math.nan
        if start == end:
            return Window(change, 0.0, 0, 0)
        if self.updates.n_unknown[end] > self.updates.n_unknown[start]:
            return Window(change, math.nan, None, None)
        # Summed slice by slice: differences of running totals would lose a small trade that follows large ones.
        volume = float(self.updates.volume[start:end].sum())
        n_buys, n_sells = (
            self.updates.n_buys[end] - self.updates.n_buys[start],
            self.updates.n_sells[end] - self.updates.n_sells[start],
        )
        return Window(change, volume, int(n_buys), int(n_sells))


def _require(frame: pl.DataFrame, table: Table) -> None:
    missing = [name for name in table.schema if name not in frame.columns]
    if missing:
        raise InputError(f"rows of {table.name!r} lack the columns {missing!r}: pass the table's own frame")


def _is_amount(*names: str) -> pl.Expr:
    return pl.all_horizontal([(pl.col(name).is_finite() & (pl.col(name) >= 0)).fill_null(False) for name in names])


def _updates(reserves: pl.DataFrame, pools: pl.DataFrame) -> pl.DataFrame:
    """index, time_us, block, tx_index, log_index, base, quote, kind, volumes; sorted by pool and time, each once."""
    base, quote = pl.col("base_reserve"), pl.col("quote_reserve")
    moved_base, moved_quote = base - pl.col("base_reserve_before"), quote - pl.col("quote_reserve_before")
    is_first = pl.any_horizontal(pl.col("base_reserve_before", "quote_reserve_before").is_null())
    is_told = _is_amount("base_reserve", "quote_reserve", "base_reserve_before", "quote_reserve_before")
    kind = (
        pl.when(is_first)
        .then(NO_TRADE)
        .when(~is_told)
        .then(UNKNOWN)
        .when((moved_quote > 0) & (moved_base < 0))
        .then(BUY)
        .when((moved_quote < 0) & (moved_base > 0))
        .then(SELL)
        .otherwise(NO_TRADE)
    )
    return (
        reserves.join(pools.select("index", "network", "pool", "created_at"), on=["network", "pool"], how="inner")
        .filter(pl.col("event_time") >= pl.col("created_at"))
        .select(
            "index",
            pl.col("event_time").dt.epoch("us").alias("time_us"),
            *_PLACE,
            pl.when(_is_amount("base_reserve")).then(base).otherwise(float("nan")).alias("base"),
            pl.when(_is_amount("quote_reserve")).then(quote).otherwise(float("nan")).alias("quote"),
            kind.cast(pl.Int8).alias("kind"),
            *(
                pl.when(kind.is_in([BUY, SELL])).then(moved.abs()).otherwise(0.0).alias(name)
                for name, moved in (("base_volume", moved_base), ("volume", moved_quote))
            ),
        )
        .sort("index", "time_us", *_PLACE, maintain_order=True)
        .unique(["index", *_PLACE], keep="first", maintain_order=True)
    )


def _counted(is_so: NDArray[np.bool_]) -> Ints:
    return np.concatenate([[0], np.cumsum(is_so)]).astype(np.int64)


def _facts(pools: pl.DataFrame, starts: Ints, updates: Updates) -> Iterator[PoolFacts]:
    with np.errstate(all="ignore"):
        price = updates.quote / updates.base
    priced = np.flatnonzero(np.isfinite(price) & (price > 0))
    first_priced = np.append(priced, len(price))[np.searchsorted(priced, starts[:-1])]
    bounds = zip(starts[:-1].tolist(), starts[1:].tolist(), first_priced.tolist(), strict=True)
    rows = pools.with_columns(pl.col("created_at").dt.epoch("us").alias("created_us")).iter_rows(named=True)
    for row, (first, last, priced_at) in zip(rows, bounds, strict=True):
        if first == last:
            continue  # A pool that never had an update is never listed.
        worth = row["quote_price_usd"]
        yield PoolFacts(
            row["network"],
            row["pool"],
            row["dex"],
            row["base_token"],
            row["quote_token"],
            row["quote_symbol"],
            row["base_decimals"],
            row["quote_decimals"],
            worth if worth is not None and math.isfinite(worth) and worth >= 0 else math.nan,
            row["created_us"],
            max(row["created_us"], int(updates.times[first])),
            first,
            last,
            priced_at - first,
        )


def _by_birth(pools: Sequence[PoolFacts]) -> dict[str | None, tuple[list[int], list[PoolFacts]]]:
    found: dict[str | None, list[PoolFacts]] = {None: []}
    for pool in sorted(pools, key=lambda p: (p.created_us, p.network, p.address)):
        found[None].append(pool)
        found.setdefault(pool.network, []).append(pool)
    return {network: ([pool.created_us for pool in born], born) for network, born in found.items()}


def _by_token(pools: Sequence[PoolFacts]) -> dict[tuple[str, str], list[PoolFacts]]:
    found: dict[tuple[str, str], list[PoolFacts]] = {}
    for pool in sorted(pools, key=lambda p: (p.created_us, p.address)):
        for token in {pool.base_token, pool.quote_token}:
            found.setdefault((pool.network, token), []).append(pool)
    return found
