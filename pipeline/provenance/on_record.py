"""The record of hours: of each hour of each table, what it was computed from, what it holds, and how many rows.

Belongs here: every read and write of PARTITIONS. Stays out: what a fingerprint is made of (`recipe`).
"""

from collections.abc import Collection, Iterable, Mapping
from datetime import datetime
from typing import Final

import polars as pl

from pipeline.calendars import HOUR, Span, spans_of
from pipeline.lake import Lake
from pipeline.lake.rows import require_time
from pipeline.tables import PARTITIONS, Table, table

EXPIRED: Final = "expired"
"""What stands in the place of a fingerprint for an hour whose rows were let go for their age."""
VOID: Final = "void"
"""The same for an hour whose rows are not sound, or are not there: the next refresh computes it."""


def hours_on_record(lake: Lake, name: str, span: Span) -> pl.DataFrame:
    """The rows of PARTITIONS of a table, or of a work that leaves no hours of one."""
    return lake.scan(PARTITIONS, span).filter(pl.col("table_name") == name).collect()


def rows_on_record(lake: Lake, name: str) -> int:
    """All rows of a table that is replaced by hour, without reading it."""
    hours = lake.scan(PARTITIONS).filter(pl.col("table_name") == name)
    return int(hours.select(pl.col("n_rows").sum()).collect().item())


def recorded(lake: Lake, name: str, span: Span) -> dict[datetime, tuple[str, int]]:
    """Fingerprint and rows on record by hour, of the hours that still hold as many rows as the record says.

    An hour whose rows somebody deleted, or brought back from an older copy, is not on record.
    """
    target = table(name)
    if lake.version(target) is None:
        return {}
    rows = hours_on_record(lake, name, span)
    hour = pl.col(require_time(target)).dt.truncate("1h").alias("hour")
    there = dict(lake.scan(target, span).group_by(hour).len().collect().iter_rows())
    told = rows.select("hour", "fingerprint", "n_rows").iter_rows()
    return {at: (print_, n) for at, print_, n in told if there.get(at, 0) == n}


def record(lake: Lake, target: Table, rows: pl.DataFrame, prints: Mapping[datetime, str]) -> None:
    """Put on record what the given hours of `target` hold and what they were computed from."""
    found = content_by_hour(rows, require_time(target))
    frame = _of_hours(target, prints, list(prints.values())).join(found, on="hour", how="left")
    lake.upsert(
        PARTITIONS,
        frame.select(
            "table_name",
            "hour",
            "fingerprint",
            pl.col("content").fill_null(0).cast(pl.String).alias("content_hash"),
            pl.col("n_rows").fill_null(0),
        ),
    )


def record_hours(lake: Lake, target: Table, hours: Iterable[datetime], columns: Collection[str] | None = None) -> None:
    """Put on record what the given hours of a table hold that is filled by appends, not replaced by hour.

    Expired hours stay as they are on record.

    Args:
        hours: starts of hours; those that hold no row are on record as empty.
        columns: the columns whose content counts, the time among them; None: all. As a stored row is never changed,
            those that settle the others are enough.
    """
    time = require_time(target)
    wanted = list(target.schema if columns is None else dict.fromkeys([time, *columns]))
    for run in spans_of(hours):
        expired = set(hours_on_record(lake, target.name, run).filter(pl.col("fingerprint") == EXPIRED)["hour"])
        rows = lake.scan(target, run).select(wanted).collect()
        record(lake, target, rows, {hour: "" for hour in run.hours() if hour not in expired})


def record_work(lake: Lake, name: str, prints: Mapping[datetime, str]) -> None:
    """Put on record that hours were worked on, for a work of this name that leaves no hours of a table."""
    rows = [(name, hour, print_, "0", 0) for hour, print_ in prints.items()]
    lake.upsert(PARTITIONS, pl.DataFrame(rows, schema=PARTITIONS.schema, orient="row"))


def expire(lake: Lake, target: Table, n_rows: Mapping[datetime, int]) -> None:
    """Mark hours of `target` as expired, before their rows are let go; `n_rows` says how many will be left in each.

    What the hours held stays on record: for what was made from them, nothing changes.
    """
    if not n_rows:
        return
    span = Span(min(n_rows), max(n_rows) + HOUR)
    told = hours_on_record(lake, target.name, span).select("hour", "content_hash")
    frame = _of_hours(target, n_rows, EXPIRED).with_columns(n_rows=pl.Series(list(n_rows.values()), dtype=pl.Int64))
    marked = frame.join(told, on="hour", how="left").with_columns(pl.col("content_hash").fill_null("0"))
    lake.upsert(PARTITIONS, marked)


def void(lake: Lake, name: str, span: Span) -> None:
    """Take the hours of `span` off the record: their rows are not sound, the next refresh computes them again.

    Expired hours stay marked: what they were made from is gone.
    """
    rows = hours_on_record(lake, name, span).filter(pl.col("fingerprint") != EXPIRED)
    lake.upsert(PARTITIONS, rows.with_columns(pl.lit(VOID).alias("fingerprint")))


def _of_hours(target: Table, hours: Iterable[datetime], prints: list[str] | str) -> pl.DataFrame:
    at = pl.Series("hour", list(hours), PARTITIONS.schema["hour"])
    printed = pl.lit(prints) if isinstance(prints, str) else pl.Series(prints, dtype=pl.String)
    return pl.DataFrame({"hour": at}).with_columns(table_name=pl.lit(target.name), fingerprint=printed)


def content_by_hour(frame: pl.DataFrame, time: str) -> pl.DataFrame:
    """Rows and content hash of each hour that holds rows: `hour`, `content` (u64), `n_rows`.

    The hash of an hour is the wrapping sum of its rows' hashes, so the order of rows does not matter.
    """
    return (
        frame.select(pl.col(time).dt.truncate("1h").alias("hour"), frame.hash_rows(seed=1).alias("content"))
        .group_by("hour")
        .agg(pl.col("content").sum(), pl.len().cast(pl.Int64).alias("n_rows"))
        .sort("hour")
    )
