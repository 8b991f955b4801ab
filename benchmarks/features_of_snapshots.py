"""How fast the features of the snapshot model are, over history and event by event.

    python benchmarks/features_of_snapshots.py [SNAPSHOTS.parquet] [--pools 1000] [--days 6] [--seed 0]

History: every feature of the snapshot model (core, momentum, smart money, trends, patterns, sentiment) over a seeded
market of `--pools` pools seen every five minutes, their token facts beside them, or over a file of snapshots. Beside it
the same simple features as most people compute them: pandas, grouped by pool, on a sample.
Online: all features of one pool over 100,000 events (snapshots, bars, swaps), 50th and 99th percentile of a call.
"""

import argparse
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

sys.path.insert(0, str(Path(__file__).parents[1]))

from pipeline.calendars import MINUTE, Span
from pipeline.features.compute import compute_columns
from pipeline.features.online import Event, start, update
from pipeline.features.registry import features_of
from pipeline.features.sources import Sources
from pipeline.features.spec import FeaturesSpec
from pipeline.tables import POOLS, SNAPSHOTS, TOKENS, WINDOWS_MINUTES, Table

MODEL = ("core", "momentum", "smart_money", "trends", "patterns", "sentiment")
SPEC = FeaturesSpec()
START = datetime(2020, 9, 8, tzinfo=UTC)
N_EVENTS = 100_000
AROUND = (100, 10_000, 100_000)
HEAD = {"source": "simulation:0", "network": "eth"}


def rows_of(table: Table, columns: dict[str, Any]) -> pl.DataFrame:
    """Rows of a table, null where nothing is given."""
    frame = pl.DataFrame(columns).with_columns(pl.lit(value).alias(name) for name, value in HEAD.items())
    given = (pl.col(name) if name in frame.columns else pl.lit(None).alias(name) for name in table.schema)
    return frame.select(one.cast(dtype) for one, dtype in zip(given, table.schema.values(), strict=True))


def market(n_pools: int, days: int, seed: int) -> Sources:
    """Pools seen every five minutes, each with a token of which something is told every hour."""
    rng = np.random.default_rng(seed)
    n = days * 288
    pools = np.repeat(np.arange(n_pools), n)
    times = np.datetime64(START.replace(tzinfo=None), "us") + np.tile(np.arange(n), n_pools) * np.timedelta64(5, "m")
    size = n_pools * n
    price = np.exp(rng.normal(0, 1, size))
    columns: dict[str, Any] = {
        "pool": pl.Series(pools).cast(pl.String), "event_time": pl.Series(times).dt.replace_time_zone("UTC"),
        "price_quote": price, "price_usd": price * 375, "reserve_usd": np.exp(rng.normal(9, 2, size)),
        "inclusion_probability": np.ones(size), "n_missed": np.zeros(size, np.int64),
    }  # fmt: skip
    columns |= {"known_at": columns["event_time"], "observed_at": columns["event_time"]}
    columns["created_at"] = pl.Series([START - 3 * MINUTE]).new_from_index(0, size)
    for window in WINDOWS_MINUTES:
        columns[f"price_change_{window}_pct"] = rng.normal(0, 10, size)
        columns[f"volume_{window}_usd"] = np.exp(rng.normal(5, 2, size))
        columns[f"n_buys_{window}"] = rng.integers(0, 20, size)
        columns[f"n_sells_{window}"] = rng.integers(0, 20, size)
    told = np.arange(size) % 12 == 0
    facts = {
        "token": columns["pool"].filter(pl.Series(told)), "event_time": columns["event_time"].filter(pl.Series(told)),
        "n_holders": rng.integers(1, 999, told.sum()), "top10_pct": rng.uniform(0, 100, told.sum()),
        "is_mint_revoked": rng.random(told.sum()) < 0.5, "has_socials": rng.random(told.sum()) < 0.5,
    }  # fmt: skip
    names = pl.Series(np.arange(n_pools)).cast(pl.String)
    listed = {"pool": names, "base_token": names, "created_at": [START] * n_pools, "known_at": [START] * n_pools}
    return Sources(
        rows_of(SNAPSHOTS, columns).lazy(),
        pools=rows_of(POOLS, listed).lazy(),
        tokens=rows_of(TOKENS, {**facts, "known_at": facts["event_time"]}).lazy(),
    )


def in_pandas(sample: pl.DataFrame) -> None:
    """Nine of the features, as they are written in most notebooks: pandas, one group at a time."""
    frame = sample.to_pandas().sort_values(["pool", "event_time"])
    for _, group in frame.groupby("pool"):
        one = group.set_index("event_time")
        buys, sells = one["n_buys_h1"], one["n_sells_h1"]
        hour = one["reserve_usd"].shift(freq="1h").reindex(one.index, method="ffill", tolerance="15min")
        traded = one["volume_h1_usd"].shift(freq="1h").reindex(one.index, method="ffill", tolerance="15min")
        one.assign(
            age=(one.index - one["created_at"]).dt.total_seconds() / 3600,
            pressure=buys / (buys + sells),
            trend=100 * (one["reserve_usd"] / hour - 1),
            change=100 * (one["volume_h1_usd"] / traded - 1),
            drawdown=one["price_quote"] / one["price_quote"].rolling("24h").max() - 1,
            drained=one["reserve_usd"] / one["reserve_usd"].rolling("24h").max() - 1,
            speed=one["volume_m5_usd"] / one["volume_h1_usd"] * 12,
            pumping=(one["price_change_m5_pct"] > 10) & (one["n_buys_m5"] > one["n_sells_m5"]),
            spike=one["volume_m5_usd"] >= one["volume_h1_usd"] / 4,
        )


def history(sources: Sources) -> None:
    """Rows per second of the snapshot model's features, and of nine of them in pandas."""
    snapshots = sources.snapshots.collect()
    sources = Sources(snapshots.lazy(), pools=sources.pools, tokens=sources.tokens)
    time_ = snapshots["event_time"]
    span = Span(time_.min(), time_.max() + timedelta(microseconds=1))  # type: ignore[arg-type,operator]
    chosen = features_of(*MODEL)
    begun = time.perf_counter()
    compute_columns(sources, span, SPEC, chosen)
    ours = snapshots.height / (time.perf_counter() - begun)
    names = snapshots["pool"].unique().sort().head(100)
    sample = snapshots.filter(pl.col("pool").is_in(names.implode()))
    begun = time.perf_counter()
    in_pandas(sample)
    theirs = sample.height / (time.perf_counter() - begun)
    print(f"history: {snapshots.height:,} snapshots, {len(chosen)} features: {ours:,.0f} rows/s")
    print(
        f"         nine of them in pandas, by pool ({sample.height:,} rows): {theirs:,.0f} rows/s; x{ours / theirs:.1f}"
    )


def events(seed: int) -> Iterator[Event]:
    """What is learned of one pool: swaps all the time, a bar and a snapshot every five minutes, a fact every hour."""
    rng = np.random.default_rng(seed)
    pool = {**HEAD, "pool": "p"}
    for i in range(N_EVENTS):
        at = START + (i // 5) * 5 * MINUTE
        price = float(np.exp(rng.normal(0, 0.1)))
        kind = i % 5
        if kind < 3:
            row = {"event_time": at - MINUTE, "known_at": at, "trade_id": str(i), "answer_id": str(i), "block": i,
                   "trader": f"w{i % 37}", "kind": "buy" if rng.random() < 0.5 else "sell", "base_amount": 1.0,
                   "quote_amount": price, "price_usd": price, "volume_usd": price,
                   "is_smart": bool(i % 7 == 0)}  # fmt: skip
            yield Event("trades", pool | row)
        elif kind == 3:
            row = {"event_time": at - 5 * MINUTE, "known_at": at, "timeframe": "5min", "open": price, "close": price,
                   "high": price * 1.01, "low": price * 0.99, "volume_usd": 5.0}  # fmt: skip
            yield Event("candles", pool | row)
        else:
            row = {name: 1.0 + i % 9 for name, dtype in SNAPSHOTS.schema.items() if dtype == pl.Float64()}
            row |= {f"n_{side}_{w}": 3 + i % 4 for side in ("buys", "sells") for w in WINDOWS_MINUTES}
            yield Event("snapshots", pool | row | {"event_time": at, "known_at": at, "created_at": START})


def online(seed: int) -> None:
    """Microseconds of a call, around some events; a snapshot gives every feature.

    By the processor's time of this thread: what a machine shared with others does in between is not the code's.
    """
    state = start(SPEC)
    took = np.zeros(N_EVENTS)
    is_snapshot = np.zeros(N_EVENTS, dtype=bool)
    for i, event in enumerate(events(seed)):
        begun = time.thread_time_ns()
        update(state, event)
        took[i] = (time.thread_time_ns() - begun) / 1e3
        is_snapshot[i] = event.table == "snapshots"
    for middle in AROUND:
        near = slice(max(0, middle - 1_000 if middle > 1_000 else 50), min(N_EVENTS, middle + 1_000))
        p50, p99 = np.percentile(took[near], [50, 99])
        s50, s99 = np.percentile(took[near][is_snapshot[near]], [50, 99])
        said = f"p50 {p50:.0f} us, p99 {p99:.0f} us; of snapshots p50 {s50:.0f} us, p99 {s99:.0f} us"
        print(f"online:  around event {middle:>7,}: {said}")


def main() -> None:
    """Print both figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("snapshots", nargs="?", type=Path)
    parser.add_argument("--pools", type=int, default=1000)
    parser.add_argument("--days", type=int, default=6)
    parser.add_argument("--seed", type=int, default=0)
    told = parser.parse_args()
    history(Sources(pl.scan_parquet(told.snapshots)) if told.snapshots else market(told.pools, told.days, told.seed))
    online(told.seed)


if __name__ == "__main__":
    main()
