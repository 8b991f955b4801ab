"""Candles and bars the tests of the bins are made from."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl

from pipeline.bins.instruments import instrument_name
from pipeline.tables import CANDLES

START = datetime(2020, 9, 8, 17, tzinfo=UTC)
MIXED_CASE_POOLS = ("0xAbC", "0xabc", "0xaBc", "Amount/../<b>", "EQ-ton_Address", "nan")


def candle(at: datetime, **values: object) -> dict[str, object]:
    """One five-minute bar with a trade; `values` replaces what a test is about."""
    row: dict[str, object] = {
        "source": "recording:test", "network": "eth", "pool": "0xAbC", "timeframe": "5min", "event_time": at,
        "known_at": at + timedelta(minutes=5), "built_from": "reserves", "is_backfilled": False,
        "open": 1.0, "high": 1.0, "low": 1.0, "close": 1.0, "volume_quote": 1.0, "volume_usd": 375.0,
        "n_buys": 1, "n_sells": 0, "quote_reserve_low": 9.0, "quote_reserve_close": 9.0,
    }  # fmt: skip
    return row | values


def candles(*rows: dict[str, object]) -> pl.DataFrame:
    return pl.DataFrame(list(rows), schema=CANDLES.schema)


def named(bars: pl.DataFrame) -> pl.DataFrame:
    """Bars as the writer takes them, of bars with `network` and `pool`."""
    names = {pool: instrument_name(*pool) for pool in bars.select("network", "pool").unique().iter_rows()}
    instruments = [names[pool] for pool in bars.select("network", "pool").iter_rows()]
    return bars.with_columns(pl.Series("instrument", instruments, pl.String))


def identities(bars: pl.DataFrame) -> dict[str, tuple[str, ...]]:
    """What each name of `named` bars stands for."""
    pools = bars.select("instrument", "network", "pool").unique().iter_rows()
    return {name: (network, pool) for name, network, pool in pools}


def made_bars(pools: tuple[str, ...] = MIXED_CASE_POOLS, n_hours: int = 60, seed: int = 0) -> pl.DataFrame:
    """Random bars with gaps, one walk a pool, each starting at its own hour."""
    rng = np.random.default_rng(seed)
    parts = []
    for at, pool in enumerate(pools):
        hours = np.flatnonzero(rng.random(n_hours) < 0.6) + 7 * at
        price = np.exp(np.cumsum(rng.normal(size=hours.size))) * 10.0 ** (at - 3)
        parts.append(
            pl.DataFrame(
                {
                    "hours": hours,
                    "open": price,
                    "high": price * 1.1,
                    "low": price * 0.9,
                    "close": price * 1.05,
                    "volume": rng.random(hours.size),
                    "vwap": price * 1.01,
                }
            ).with_columns(network=pl.lit("eth"), pool=pl.lit(pool))
        )
    time = (pl.lit(START, pl.Datetime("us", "UTC")) + pl.duration(hours="hours")).alias("event_time")
    return named(pl.concat(parts).select("network", "pool", time, pl.exclude("network", "pool", "hours")))


def recorded_bars(recording: Path, n_pools: int | None = None) -> pl.DataFrame:
    """Hourly bars of the first pools of a recording: every update counts as a trade, which is enough to read back."""
    price = pl.col("quote_reserve") / pl.col("base_reserve")
    pools = pl.scan_parquet(recording / "pools.parquet").select("pool", "network")
    return named(
        pl.scan_parquet(recording / "reserves.parquet")
        .join(pools.head(n_pools) if n_pools else pools, on="pool")
        .filter(pl.col("base_reserve").is_finite() & (pl.col("base_reserve") > 0))
        .group_by("network", "pool", pl.col("time").dt.truncate("1h").alias("event_time"), maintain_order=True)
        .agg(
            price.first().alias("open"),
            price.max().alias("high"),
            price.min().alias("low"),
            price.last().alias("close"),
            pl.col("quote_reserve").diff().abs().sum().alias("volume"),
            price.mean().alias("vwap"),
        )
        .collect()
    )
