"""A table through four versions of the code, and a lake in which the first of them wrote.

Each later spec declares one more change; `NOW` has all of them.
"""

from dataclasses import replace

import polars as pl
from lake_tables import READINGS, hours, readings

from pipeline.lake import Lake
from pipeline.tables import Column
from pipeline.tables.changes import Added, Dropped, Renamed, Retyped

FIRST = replace(
    READINGS, columns=(*READINGS.columns[:-1], Column("code", pl.String(), "a number as text"), READINGS.columns[-1])
)
NOW = replace(
    READINGS,
    columns=(
        Column("network", pl.String(), "the chain"),
        Column("address", pl.String(), "the pool"),
        Column("at", pl.Datetime("us", "UTC"), "when"),
        Column("n_swaps", pl.Int64(), "how many"),
        Column("code", pl.Int64(), "a number"),
        Column("twice", pl.Float64(), "twice as many"),
        Column("depth", pl.Float64(), "how deep", nullable=True),
    ),
    key=("network", "address", "at"),
    time="at",
    changes=(
        Renamed("pool", "address"),
        Renamed("event_time", "at"),
        Added("depth"),
        Retyped("code", pl.String()),
        Renamed("n_trades", "n_swaps"),
        Added("twice", pl.col("n_swaps").cast(pl.Float64) * 2),
        Dropped("price", pl.Float64()),
    ),
)


def old_rows(minutes: range, *, pool: str = "0xa", network: str = "eth") -> pl.DataFrame:
    rows = readings(minutes, pool=pool, network=network).with_columns(code=pl.col("n_trades").cast(pl.String))
    return rows.select(FIRST.schema.names())


def old_lake(lake: Lake, n_days: int = 6) -> Lake:
    """Many days and files, some of them merged, an hour replaced: versions 1 to `n_days` + 2."""
    for day in range(n_days):
        rows = [old_rows(range(day * 1440, day * 1440 + 1440, 5), pool=p, network=n) for p, n in POOLS]
        lake.append(FIRST, pl.concat(rows))
    lake.replace(FIRST, old_rows(range(1800, 1860), pool="0xc"), hours(30, 31))
    lake.compact(FIRST)
    return lake


POOLS = (("0xa", "eth"), ("0xb", "eth"), ("0xa", "bsc"))


def mapped(old: pl.DataFrame) -> pl.DataFrame:
    """What the changes make of old rows, written out by hand."""
    return pl.DataFrame(
        {
            "network": old["network"],
            "address": old["pool"],
            "at": old["event_time"],
            "n_swaps": old["n_trades"],
            "code": pl.Series([int(code) for code in old["code"]], dtype=pl.Int64),
            "twice": pl.Series([2.0 * n for n in old["n_trades"]], dtype=pl.Float64),
            "depth": pl.Series([None] * len(old), dtype=pl.Float64),
        }
    )
