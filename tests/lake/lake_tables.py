"""Two small tables to try the lake on, and frames of them."""

from datetime import UTC, datetime, timedelta

import polars as pl

from pipeline.calendars import HOUR, Span
from pipeline.tables import UTC as UTC_TIME
from pipeline.tables import Column, Table

START = datetime(2020, 9, 8, tzinfo=UTC)

READINGS = Table(
    "readings",
    "lake",
    "pool, time",
    (
        Column("network", pl.String(), "the chain"),
        Column("pool", pl.String(), "the pool"),
        Column("event_time", UTC_TIME, "when"),
        Column("n_trades", pl.Int64(), "how many"),
        Column("price", pl.Float64(), "how much", nullable=True),
    ),
    key=("network", "pool", "event_time"),
)

NOTES = Table(
    "notes",
    "lake",
    "topic, name",
    (
        Column("topic", pl.String(), "what it is about"),
        Column("name", pl.String(), "which one"),
        Column("text", pl.String(), "what it says", nullable=True),
    ),
    key=("topic", "name"),
    time=None,
    partition_by=("topic",),
)


def readings(
    minutes: range | list[int], *, pool: str = "0xa", network: str = "eth", n_trades: int | None = None
) -> pl.DataFrame:
    """One reading at each of the minutes after `START`; the trades are the minute, or `n_trades`."""
    rows = [
        {
            "network": network,
            "pool": pool,
            "event_time": START + timedelta(minutes=minute),
            "n_trades": minute if n_trades is None else n_trades,
            "price": None if minute % 7 == 0 else minute / 3,
        }
        for minute in minutes
    ]
    return pl.DataFrame(rows, schema=READINGS.schema)


def notes(*rows: tuple[str, str, str | None]) -> pl.DataFrame:
    return pl.DataFrame(list(rows), schema=NOTES.schema, orient="row")


def hours(first: int, last: int) -> Span:
    """The span from hour `first` to hour `last` after `START`."""
    return Span(START + first * HOUR, START + last * HOUR)


def ordered(frame: pl.DataFrame | pl.LazyFrame) -> list[tuple[object, ...]]:
    rows = frame.lazy().collect()
    return rows.sort(rows.columns).rows()
