"""A small market for the battery: snapshots, tokens, bars and trades of a few pools, some quiet, late or unknown.

The same seed gives the same rows. Of the bars and trades some are learned late, as an API tells them.
"""

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl

from pipeline.calendars import DAY, HOUR, MINUTE, Span
from pipeline.features.sources import Sources
from pipeline.tables import CANDLES, POOLS, SNAPSHOTS, TOKENS, TRADES, WINDOWS_MINUTES, Table

START = datetime(2020, 9, 8, 12, tzinfo=UTC)
SPAN = Span(START - DAY, START + 9 * DAY)
NEVER_NULL = {c.name for c in SNAPSHOTS.columns if not c.nullable} - {"interval_minutes"}
HEAD = {"source": "simulation:1", "network": "eth"}
WALLETS = [f"0xwallet{i}" for i in range(6)]


@dataclass(frozen=True)
class Market:
    """The tables of the market, as frames."""

    snapshots: pl.DataFrame
    pools: pl.DataFrame
    tokens: pl.DataFrame
    candles: pl.DataFrame
    trades: pl.DataFrame

    def sources(self) -> Sources:
        return Sources(*(frame.lazy() for frame in vars(self).values()))

    def each(self, change) -> "Market":
        """The market with `change(name, frame)` for every table but the pools."""
        return replace(self, **{n: change(n, f) for n, f in vars(self).items() if n != "pools"})

    def known_by(self, moment: datetime) -> "Market":
        """The market as it was known at a moment."""
        return self.each(lambda _, frame: frame.filter(pl.col("known_at") <= moment))

    def learned_from(self, moment: datetime) -> "Market":
        """The market without what was true, and without what was learned, before a moment."""
        return self.each(lambda _, f: f.filter(pl.col("event_time") >= moment, pl.col("known_at") >= moment))

    def span(self) -> Span:
        """The moments of the snapshots."""
        time = self.snapshots["event_time"]
        return Span(time.min(), time.max() + timedelta(microseconds=1))


def rows_of(table: Table, columns: dict, **constants) -> pl.DataFrame:
    """Rows of a table, null where nothing is given."""
    frame = pl.DataFrame(columns).with_columns(pl.lit(value).alias(name) for name, value in constants.items())
    given = [pl.col(n) if n in frame.columns else pl.lit(None).alias(n) for n in table.schema]
    return frame.select(c.cast(t) for c, t in zip(given, table.schema.values(), strict=True))


def _snapshots(rng: np.random.Generator, name: str, born: datetime, trades: pl.DataFrame) -> pl.DataFrame:
    """A pool's snapshots at mixed intervals over two days and more; its counts of the last hour are true."""
    steps = rng.choice([5, 5, 15, 15, 15, 60, 240], size=int(rng.integers(1, 120)))
    first = START + int(rng.integers(0, 12)) * 5 * MINUTE
    n = len(steps)
    times = [first + int(m) * MINUTE for m in np.cumsum(steps) - steps[0]]
    price = np.exp(np.cumsum(rng.normal(0, 0.3, n)))
    quote = np.exp(rng.normal(3, 2, n)) * (rng.random(n) > 0.1)
    columns = {
        "event_time": times, "known_at": times, "created_at": [born] * n, "interval_minutes": steps,
        "price_quote": price, "price_usd": price * (375 + rng.normal(0, 3, n)), "quote_reserve": quote,
        "base_reserve": quote / price, "reserve_usd": 2 * quote * 375, "observed_at": times,
        "inclusion_probability": [1.0] * n, "n_missed": [0] * n, "lp_burned_pct": rng.uniform(0, 100, n),
    }  # fmt: skip
    for window in WINDOWS_MINUTES:
        busy = rng.random(n) > 0.3
        columns[f"price_change_{window}_pct"] = np.maximum(rng.normal(0, 40, n), -100)
        columns[f"volume_{window}_usd"] = np.exp(rng.normal(4, 3, n)) * busy
        for kind in ("buy", "sell"):
            columns[f"n_{kind}s_{window}"] = rng.integers(0, 9, n) * busy
    for kind in ("buy", "sell"):
        told = trades.filter(pl.col("kind") == kind)["event_time"].to_list()
        columns[f"n_{kind}s_h1"] = [sum(t - HOUR < moment <= t for moment in told) for t in times]
    return rows_of(SNAPSHOTS, columns, pool=name, **HEAD)


def _candles(rng: np.random.Generator, name: str, born: datetime) -> pl.DataFrame:
    """Five-minute bars of two days, with gaps; one in ten is learned late."""
    starts = [i for i in range(576) if rng.random() < 0.6]
    n = len(starts)
    close = np.exp(np.cumsum(rng.normal(0, 0.05, n)))
    opened = close * np.exp(rng.normal(0, 0.02, n))
    grid = datetime(born.year, born.month, born.day, born.hour, tzinfo=UTC)
    times = [grid + (i + 12) * 5 * MINUTE for i in starts]
    late = rng.choice([0, 0, 0, 0, 0, 0, 0, 0, 1, 90], n)
    columns = {
        "event_time": times,
        "known_at": [t + 5 * MINUTE + int(m) * MINUTE for t, m in zip(times, late, strict=True)],
        "open": opened, "close": close, "high": np.maximum(opened, close) * np.exp(rng.exponential(0.02, n)),
        "low": np.minimum(opened, close) * np.exp(-rng.exponential(0.02, n)),
        "volume_usd": np.where(rng.random(n) < 0.01, np.nan, np.exp(rng.normal(4, 2, n))),
    }  # fmt: skip
    kind = {"timeframe": "5min", "built_from": "reserves", "is_backfilled": False}
    frame = rows_of(CANDLES, columns, pool=name, **kind, **HEAD)
    return frame.with_columns(pl.col("volume_usd").fill_nan(None))


def _trades(rng: np.random.Generator, name: str, born: datetime) -> pl.DataFrame:
    """Swaps of two days, told in batches some minutes after; most in the first hours."""
    n = int(rng.integers(20, 120))
    after = np.sort(np.where(rng.random(n) < 0.4, rng.uniform(0, 3600, n), rng.exponential(30_000, n)))
    times = [born + timedelta(seconds=float(s)) for s in after]
    told = rng.choice([0, 0, 60, 400, 5000], n)
    usd = np.exp(rng.normal(3, 2, n))
    columns = {
        "event_time": times,
        "known_at": [t + timedelta(seconds=int(s)) for t, s in zip(times, told, strict=True)],
        "trade_id": [f"{name}-{i}" for i in range(n)], "answer_id": [f"{name}-{s}" for s in told],
        "block": np.arange(n), "tx_hash": [f"0x{i}" for i in range(n)],
        "trader": rng.choice(np.array([*WALLETS, None]), n, p=[0.3, 0.2, 0.2, 0.1, 0.1, 0.09, 0.01]).tolist(),
        "kind": rng.choice(["buy", "sell"], n), "volume_usd": usd, "price_usd": np.exp(rng.normal(0, 0.2, n)),
    }  # fmt: skip
    columns |= {"base_amount": usd / columns["price_usd"], "quote_amount": usd / 375}
    return rows_of(TRADES, columns, pool=name, **HEAD)


def _tokens(rng: np.random.Generator, name: str) -> pl.DataFrame:
    """What answers told of a token over a few days; each speaks of some facts only."""
    n = int(rng.integers(0, 30))
    times = [START + float(h) * HOUR for h in np.sort(rng.uniform(-2, 60, n))]
    columns = {
        "event_time": times, "known_at": times, "answer_id": [f"{name}-{i}" for i in range(n)],
        "n_holders": rng.integers(1, 500, n), "top10_pct": rng.uniform(0, 100, n),
        "is_mint_revoked": rng.random(n) < 0.5, "is_freeze_revoked": rng.random(n) < 0.5,
        "has_socials": rng.random(n) < 0.5,
    }  # fmt: skip
    frame = rows_of(
        TOKENS, columns, token=f"0xtoken-{name}", is_name_hostile=False, source=HEAD["source"], network="eth"
    )
    facts = ("n_holders", "top10_pct", "is_mint_revoked", "is_freeze_revoked", "has_socials")
    holes = {c: rng.random(n) < 0.3 for c in facts}
    return frame.with_columns(pl.when(~pl.Series(hole, dtype=pl.Boolean)).then(c).alias(c) for c, hole in holes.items())


def market(seed: int, n_pools: int = 4) -> Market:
    """A market of a few pools."""
    rng = np.random.default_rng(seed)
    names = [f"pool{i}" for i in range(n_pools)]
    births = [START - float(rng.integers(0, 300)) * timedelta(seconds=1) for _ in names]
    trades = [_trades(rng, name, born) for name, born in zip(names, births, strict=True)]
    snapshots = pl.concat(map(_snapshots, [rng] * n_pools, names, births, trades))
    holes = {c: rng.random(snapshots.height) < 0.03 for c in snapshots.columns if c not in NEVER_NULL}
    pools = {
        "pool": names, "known_at": births, "created_at": births, "base_token": [f"0xtoken-{name}" for name in names],
        "quote_token": ["0xweth"] * n_pools,
    }  # fmt: skip
    return Market(
        snapshots.with_columns(pl.when(~pl.Series(hole)).then(pl.col(c)).alias(c) for c, hole in holes.items()),
        rows_of(POOLS, pools, dex="uniswap_v2", is_quote_price_nominal=False, **HEAD),
        pl.concat(_tokens(rng, name) for name in names),
        pl.concat(map(_candles, [rng] * n_pools, names, births)),
        pl.concat(trades),
    )
