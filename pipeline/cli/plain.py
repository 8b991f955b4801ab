"""Plain Parquet files in place of the lake: snapshots as in the tables, or OHLCV bars of anybody's.

Belongs here: telling the two apart, bringing bars into the vocabulary, working through a file in parts that fit into
memory, and writing a file whole or not at all. Stays out: computing.
"""

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC as UTC_ZONE
from datetime import datetime
from pathlib import Path
from typing import Final

import polars as pl
import pyarrow.parquet as pq
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from pipeline.calendars import DAY, Span
from pipeline.cli.parquet import require_parquet
from pipeline.cli.screen import err
from pipeline.errors import InputError, UsageError
from pipeline.tables import CANDLES, POOL_KEY, POOL_TIME_KEY, SNAPSHOTS, UTC

OHLCV: Final = ("symbol", "time", "open", "high", "low", "close", "volume")
ROWS_AT_ONCE: Final = 500_000
_MINUTE_US: Final = 60_000_000
_CREDIBLE: Final = (datetime(1970, 1, 2, tzinfo=UTC_ZONE), datetime(2200, 1, 1, tzinfo=UTC_ZONE))
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


def read_plain(path: Path, bar_minutes: int | None = None) -> PlainFile:
    """Read a file of snapshots or of OHLCV bars.

    Args:
        path: the file.
        bar_minutes: the length of its bars; None: found from the distances between them.

    Raises:
        InputError: it is no Parquet, holds neither, or rows that cannot be used; the message says which.
    """
    require_parquet(path)
    try:
        told = _with_time(pl.scan_parquet(path, glob=False))
        schema = told.collect_schema()
        if set(OHLCV) <= set(schema):
            return _of_bars(told, schema, bar_minutes)
        if {"network", "pool", "event_time"} <= set(schema):
            return _of_snapshots(told, schema)
    except pl.exceptions.PolarsError as error:
        raise InputError(f"cannot use {str(path)!r}: {error}; give a Parquet file of snapshots or bars") from error
    raise InputError(
        f"{str(path)!r} holds neither snapshots (network, pool, event_time, ...) nor bars ({', '.join(OHLCV)}); its "
        f"columns are {list(schema)!r}"
    )


def _with_time(told: pl.LazyFrame) -> pl.LazyFrame:
    """Bars may call their start `date`, as QLib's users do."""
    held = set(told.collect_schema())
    is_of_bars = set(OHLCV) - {"time"} <= held
    return told.rename({"date": "time"}) if is_of_bars and "date" in held and "time" not in held else told


def _utc(schema: pl.Schema, column: str) -> pl.Expr:
    dtype = schema[column]
    if not isinstance(dtype, pl.Datetime):
        named = "'time' (or 'date')" if column == "time" else repr(column)
        raise InputError(f"column {named} holds {dtype}, not moments: write it as timestamps in UTC")
    moment = pl.col(column)
    return (moment.dt.replace_time_zone("UTC") if dtype.time_zone is None else moment.dt.convert_time_zone("UTC")).cast(
        UTC
    )


def _of_snapshots(told: pl.LazyFrame, schema: pl.Schema) -> PlainFile:
    columns = {"source": _NAMED["source"], **{name: pl.col(name) for name in schema if name in SNAPSHOTS.schema}}
    columns |= {name: _utc(schema, name) for name in columns if SNAPSHOTS.schema[name] == UTC}
    columns.setdefault("known_at", columns["event_time"])
    columns.setdefault("created_at", pl.lit(None, UTC))
    chosen = told.select(expr.cast(SNAPSHOTS.schema[name]).alias(name) for name, expr in columns.items())
    is_named = pl.all_horizontal(pl.col(POOL_TIME_KEY).is_not_null())
    is_credible = pl.col("event_time").is_between(*_CREDIBLE)
    n_lost = chosen.select((~(is_named & is_credible)).fill_null(value=True).sum()).collect(engine="streaming").item()
    if n_lost:
        raise InputError(f"found {n_lost:,} snapshots without a pool or a credible time: leave them out")
    return PlainFile(chosen, CANDLES.empty().lazy(), None)


def _of_bars(told: pl.LazyFrame, schema: pl.Schema, stated: int | None) -> PlainFile:
    bars = told.select(
        pl.col("symbol").cast(pl.String).alias("pool"),
        _utc(schema, "time").alias("start"),
        *(pl.col(name).cast(pl.Float64).fill_nan(None) for name in OHLCV[2:]),
    )
    _require_sound(bars)
    minutes = _bar_minutes(bars, stated)
    end = pl.col("start") + pl.duration(minutes=minutes)
    # A longer bar stands at the place of its last five minutes: it is closed where it ends, and fills its own bucket.
    candles = bars.select(
        **_NAMED, pool="pool", timeframe=pl.lit("5min"), event_time=end - pl.duration(minutes=5), known_at=end,
        open="open", high="high", low="low", close="close", volume_usd="volume",
    )  # fmt: skip
    snapshots = bars.select(**_NAMED, pool="pool", event_time=end, known_at=end, created_at=pl.lit(None, UTC))
    return PlainFile(snapshots, candles, minutes)


def _require_sound(bars: pl.LazyFrame) -> None:
    start, high, low = pl.col("start"), pl.col("high"), pl.col("low")
    prices = pl.col("high", "low", "close")
    faults = bars.select(
        (pl.col("pool").is_null() | start.is_null()).sum().alias("without a symbol or a time"),
        (~start.is_between(*_CREDIBLE)).sum().alias(f"not between {_CREDIBLE[0]:%Y} and {_CREDIBLE[1]:%Y}"),
        (~pl.all_horizontal((prices.is_finite() & (prices >= 0)).fill_null(value=False)))
        .sum()
        .alias("without a finite high, low and close from zero up"),
        ((low > pl.col("close")) | (pl.col("close") > high)).sum().alias("with the close outside of low and high"),
    )
    told = {what: n for what, n in faults.collect(engine="streaming").row(0, named=True).items() if n}
    if told:
        raise InputError(f"found bars that cannot be used: {', '.join(f'{n:,} {what}' for what, n in told.items())}")


def _bar_minutes(bars: pl.LazyFrame, stated: int | None) -> int:
    """The length of the bars: as stated, or the least distance between two, if that is the same of every symbol."""
    start = pl.col("start")
    gaps = bars.sort("pool", "start").select("pool", start.diff().over("pool").dt.total_microseconds().alias("gap"))
    least = gaps.drop_nulls().group_by("pool").agg(pl.col("gap").min()).collect(engine="streaming")
    if (least["gap"] == 0).any():
        raise InputError("found a symbol with two bars of one time: keep one")
    if stated is None and least["gap"].n_unique() > 1:
        counted = least.group_by(pl.col("gap") / _MINUTE_US).len().sort("gap").head(5).rows()
        raise InputError(
            f"symbols differ in the least distance of their bars: {counted!r} (minutes, symbols); state --bar-minutes, "
            "or give bars of each length a file of their own"
        )
    length = stated * _MINUTE_US if stated else least["gap"][0] if least.height else 5 * _MINUTE_US
    minutes = length // _MINUTE_US
    if length % _MINUTE_US or minutes < 5 or 60 % minutes or minutes % 5:
        raise InputError(f"the bars are {length / _MINUTE_US:g} min long; 5, 10, 15, 20, 30 or 60 min can be used")
    n_off = bars.select((start.dt.epoch("us") % length != 0).sum()).collect(engine="streaming").item()
    if n_off:
        raise InputError(f"found {n_off:,} bars that do not start on the {minutes}-min grid (UTC): align them")
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
def parquet_writer(source: Path, target: Path) -> Iterator[Callable[[pl.DataFrame], None]]:
    """Write a Parquet file part by part; it appears when all is written, and never in part.

    Raises:
        InputError: there was nothing to write, or what was read cannot be computed with.
        UsageError: it is the file that is read, or there is no such folder.
    """
    if not target.absolute().parent.is_dir():
        raise UsageError(f"there is no folder {str(target.parent)!r} to write {target.name!r} into: make it first")
    if target.exists() and target.samefile(source):
        raise UsageError(f"{str(target)!r} is the file that is read: write to another")
    unfinished = target.with_name(f".{target.name}.{os.getpid()}.part")
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # ended from outside is ended as by Ctrl-C: in order
    writer: pq.ParquetWriter | None = None

    def write(frame: pl.DataFrame) -> None:
        nonlocal writer
        arrow = frame.to_arrow()
        writer = writer or pq.ParquetWriter(unfinished, arrow.schema, compression="zstd")
        writer.write_table(arrow)

    try:
        try:
            yield write
        except pl.exceptions.PolarsError as error:
            raise InputError(f"{str(source)!r} holds values that cannot be computed with: {error}") from error
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
