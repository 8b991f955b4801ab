"""Swaps that a collector recorded on Solana in September 2025, as rows of TRADES."""

import gzip
import json
from pathlib import Path

import polars as pl
import pytest

from pipeline.calendars import HOUR, MINUTE
from pipeline.tables import TRADES

FOLDER = Path(__file__).parents[2] / "../shared/data/solana_collector_2025-09"
_TOLD = {
    "pool": pl.col("pool_id").str.strip_prefix("solana_"), "trade_id": pl.col("id"), "block": pl.col("block_number"),
    "trader": pl.col("tx_from_address"), "kind": pl.col("side"), "volume_usd": pl.col("volume_usd").cast(pl.Float64),
}  # fmt: skip


def recorded_trades() -> pl.DataFrame:
    """The 5,305 swaps of a backup and the 565 of a recovered database, some of which the collector told late."""
    if not FOLDER.exists():
        pytest.skip("no recorded trades beside the project")
    backup = pl.DataFrame(json.loads(gzip.decompress((FOLDER / "backup_2025-09-16_trades.json.gz").read_bytes())))
    at = pl.col("block_timestamp").str.to_datetime(time_unit="us", time_zone="UTC")
    # It does not say when it was told: a minute later, as if the pool had been asked for once a minute.
    backup = _rows(backup.with_columns(event_time=at, known_at=at.dt.truncate("1m") + MINUTE))
    recovered = pl.read_csv(gzip.decompress((FOLDER / "recovered_sqlite_2025-09-13_trades.csv.gz").read_bytes()))
    times = [
        pl.col(name).str.to_datetime(time_unit="us", strict=False, format=None).dt.replace_time_zone("UTC").alias(as_)
        for name, as_ in (("block_timestamp", "event_time"), ("created_at", "known_at"))
    ]
    recovered = recovered.with_columns(times).with_columns(
        pl.max_horizontal("event_time", "known_at").alias("known_at")
    )
    return pl.concat([backup, _rows(recovered)])


def _rows(told: pl.DataFrame) -> pl.DataFrame:
    is_buy = pl.col("side") == "buy"
    given, taken = (pl.col(f"{way}_token_amount").cast(pl.Float64) for way in ("from", "to"))
    quote, base = pl.when(is_buy).then(given).otherwise(taken), pl.when(is_buy).then(taken).otherwise(given)
    frame = told.with_columns(**_TOLD).with_columns(
        pl.lit("recording:solana_collector").alias("source"), pl.lit("solana").alias("network"),
        pl.col("known_at").cast(pl.String).alias("answer_id"), base.alias("base_amount"), quote.alias("quote_amount"),
        (pl.col("volume_usd") / base).alias("price_usd"),
    )  # fmt: skip
    return frame.select(pl.col(name).cast(dtype) for name, dtype in TRADES.schema.items())


def snapshots_every_hour(trades: pl.DataFrame) -> pl.DataFrame:
    """A snapshot of each pool at every full hour of its swaps, which counts them truly; the pools are born before."""
    pools = trades.group_by("source", "network", "pool").agg(
        first=pl.col("event_time").min(), last=pl.col("event_time").max()
    )
    hours = pl.datetime_ranges(pl.col("first").dt.truncate("1h") + HOUR, pl.col("last") + HOUR, "1h", time_zone="UTC")
    rows = pools.with_columns(event_time=hours, created_at=pl.col("first") - 30 * HOUR).explode("event_time")
    rows = rows.drop("first", "last").sort("source", "network", "pool", "event_time")
    for kind in ("buy", "sell"):
        for window, hours_back in (("h1", 1), ("h24", 24)):
            since = pl.col("at") - hours_back * HOUR
            counts = (
                rows.select("pool", at="event_time")
                .join(trades.filter(kind=kind).select("pool", "event_time"), on="pool")
                .filter(pl.col("event_time") > since, pl.col("event_time") <= pl.col("at"))
                .group_by("pool", "at")
                .len(f"n_{kind}s_{window}")
                .with_columns(pl.col(f"n_{kind}s_{window}").cast(pl.Int64))
            )
            rows = rows.join(counts, left_on=["pool", "event_time"], right_on=["pool", "at"], how="left")
    return rows.with_columns(pl.col("^n_.*$").fill_null(0)).sort("source", "network", "pool", "event_time")
