"""Plain Parquet files in place of the lake: snapshots as in the tables, or OHLCV bars of anybody's.

Belongs here: telling the two apart, bringing bars into the vocabulary, working through a file in parts that fit into
memory, and writing a file whole or not at all. Stays out: computing.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import polars as pl
import pyarrow.parquet as pq
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from pipeline.calendars import DAY, Span
from pipeline.cli.screen import err
from pipeline.errors import InputError
from pipeline.tables import CANDLES, POOL_KEY, SNAPSHOTS, UTC

OHLCV: Final = ("symbol", "time", "open", "high", "low", "close", "volume")
ROWS_AT_ONCE: Final = 500_000
_MINUTE_US: Final = 60_000_000
_NAMED: Final = {"source": pl.lit("file"), "network": pl.lit("file")}


@dataclass(frozen=True)
class PlainFile:
    """A file in the vocabulary: `snapshots` are the decisions; `candles` are empty if the file holds no bars.

    `bar_minutes` is the length of the file's bars; None: it holds snapshots.
    """

    snapshots: pl.LazyFrame
    candles: pl.LazyFrame
    bar_minutes: int | None


@dataclass(frozen=True)
class Written:
    """What was written."""

    n_rows: int
    n_pools: int
    n_columns: int


def read_plain(path: Path) -> PlainFile:
    """Read a file of snapshots or of OHLCV bars.

    Raises:
        InputError: it is no Parquet, holds neither, has times that are not UTC, bars twice or bars longer than an hour.
    """
    try:
        told = pl.scan_parquet(path)
        schema = told.collect_schema()
    except pl.exceptions.PolarsError as error:
        raise InputError(f"cannot read {str(path)!r} as Parquet: {error}; give a Parquet file") from error
    if set(OHLCV) <= set(schema):
        return _of_bars(told, schema)
    if {"network", "pool", "event_time"} <= set(schema):
        return _of_snapshots(told, schema)
    raise InputError(
        f"{str(path)!r} holds neither snapshots (network, pool, event_time, ...) nor bars ({', '.join(OHLCV)}); its "
        f"columns are {list(schema)!r}"
    )


def _utc(schema: pl.Schema, column: str) -> pl.Expr:
    dtype = schema[column]
    if not isinstance(dtype, pl.Datetime):
        raise InputError(f"column {column!r} holds {dtype}, not moments: write it as timestamps in UTC")
    moment = pl.col(column)
    return (moment.dt.replace_time_zone("UTC") if dtype.time_zone is None else moment.dt.convert_time_zone("UTC")).cast(
        UTC
    )


def _of_snapshots(told: pl.LazyFrame, schema: pl.Schema) -> PlainFile:
    columns = {"source": _NAMED["source"], **{name: pl.col(name) for name in schema if name in SNAPSHOTS.schema}}
    columns |= {name: _utc(schema, name) for name in columns if SNAPSHOTS.schema[name] == UTC}
    columns.setdefault("known_at", columns["event_time"])
    columns.setdefault("created_at", pl.lit(None, UTC))
    chosen = [expr.cast(SNAPSHOTS.schema[name]).alias(name) for name, expr in columns.items()]
    return PlainFile(told.select(chosen), CANDLES.empty().lazy(), None)


def _of_bars(told: pl.LazyFrame, schema: pl.Schema) -> PlainFile:
    bars = told.select(
        pl.col("symbol").cast(pl.String).alias("pool"),
        _utc(schema, "time").alias("start"),
        *(pl.col(name).cast(pl.Float64).fill_nan(None) for name in OHLCV[2:]),
    )
    minutes = _bar_minutes(bars)
    end = pl.col("start") + pl.duration(minutes=minutes)
    # A longer bar stands at the place of its last five minutes: it is closed where it ends, and fills its own bucket.
    candles = bars.select(
        **_NAMED, pool="pool", timeframe=pl.lit("5min"), event_time=end - pl.duration(minutes=5), known_at=end,
        open="open", high="high", low="low", close="close", volume_usd="volume",
    )  # fmt: skip
    snapshots = bars.select(**_NAMED, pool="pool", event_time=end, known_at=end, created_at=pl.lit(None, UTC))
    return PlainFile(snapshots, candles, minutes)


def _bar_minutes(bars: pl.LazyFrame) -> int:
    """The length of the bars: the least distance between two of one symbol; the file is judged on the way."""
    found = (
        bars.group_by("pool")
        .agg(pl.col("start").sort().diff().dt.total_microseconds().min().alias("gap"), pl.col("start").null_count())
        .select(pl.col("gap").min(), pl.col("start").sum())
        .collect(engine="streaming")
    )
    least, n_null = found.row(0)
    unsound = ~pl.all_horizontal(pl.col("high", "low", "close").is_finite().fill_null(value=False))
    n_unsound = bars.select(unsound.sum()).collect(engine="streaming").item()
    if n_null or n_unsound:
        raise InputError(f"found {n_null:,} bars without a time and {n_unsound:,} without a finite high, low and close")
    if least == 0:
        raise InputError("found a symbol with two bars of one time: keep one")
    minutes = 5 if least is None else least // _MINUTE_US
    if minutes < 5 or 60 % minutes or (least or 0) % _MINUTE_US:
        raise InputError(
            f"the bars are {(least or 0) / _MINUTE_US:g} min long; bars of 5, 10, 12, 15, 20, 30 or 60 min can be used"
        )
    return int(minutes)


def as_told(frame: pl.DataFrame, minutes: int | None) -> pl.DataFrame:
    """Bars get the names of their file back: `time` is the bar's start, `known_at` its end."""
    if minutes is None:
        return frame
    start = (pl.col("event_time") - pl.duration(minutes=minutes)).alias("time")
    return frame.select(pl.col("pool").alias("symbol"), start, pl.exclude("source", "network", "pool", "event_time"))


def parts_of(snapshots: pl.LazyFrame) -> Iterator[tuple[pl.DataFrame, int]]:
    """The file's pools, in groups of about ROWS_AT_ONCE rows, and how many rows each group has."""
    counted = snapshots.group_by(POOL_KEY).len().sort(POOL_KEY).collect(engine="streaming")
    part = (pl.col("len").cum_sum() - pl.col("len")) // ROWS_AT_ONCE
    for _, group in counted.group_by(part.alias("part"), maintain_order=True):
        yield group.select(POOL_KEY), int(group["len"].sum())


def span_of(snapshots: pl.LazyFrame) -> Span:
    """The moments of the snapshots."""
    first, last = snapshots.select(a=pl.col("event_time").min(), b=pl.col("event_time").max()).collect().row(0)
    return Span(first, last + DAY)


@contextmanager
def parquet_writer(target: Path) -> Iterator[Callable[[pl.DataFrame], None]]:
    """Write a Parquet file part by part; it appears when all is written, and never in part."""
    unfinished = target.with_name(f".{target.name}.part")
    writer: pq.ParquetWriter | None = None

    def write(frame: pl.DataFrame) -> None:
        nonlocal writer
        arrow = frame.to_arrow()
        writer = writer or pq.ParquetWriter(unfinished, arrow.schema, compression="zstd")
        writer.write_table(arrow)

    try:
        yield write
        if writer is None:
            raise InputError("there is no row to compute anything of: the file is empty")
        writer.close()
        unfinished.replace(target)
    finally:
        if writer is not None and writer.is_open:
            writer.close()
        unfinished.unlink(missing_ok=True)


@contextmanager
def shown() -> Iterator[Callable[[int, int], None]]:
    """How far the work is, on the terminal."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=err, transient=True) as progress:
        task = progress.add_task("rows", total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)
