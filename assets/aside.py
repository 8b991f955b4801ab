"""Rows that break what their table says are put aside before anything is written; people may let single ones in.

Belongs here: reading and writing the quarantine around one hourly table. Stays out: which rows are broken
(`pipeline.expectations.triage`) and how a person looks at them (`poolcast quality quarantine`).

Reasons of ours are sentences, those under which parsers refuse a record are single words; so one table's rows of both
kinds lie side by side.
"""

from datetime import datetime

import polars as pl

from pipeline.calendars import Span
from pipeline.expectations.aside import STOPPED
from pipeline.expectations.bands import OutcomeBands
from pipeline.expectations.triage import Triage, is_let_in, triage
from pipeline.labels.spec import LabelsSpec
from pipeline.lake import Lake
from pipeline.tables import QUARANTINE, RELEASES, Table

BANDS = OutcomeBands.of(LabelsSpec())
RELEASED = "released"
GONE = "withdrawn"
"""What stands in the place of the reason once a record is let in, or is no longer made. Single words: no reasons."""


def admitted(lake: Lake, target: Table, rows: pl.DataFrame, span: Span) -> pl.DataFrame:
    """The rows of a span that may be written; the others lie in the quarantine before this returns.

    Killed in between, the hours are computed again and put aside the same records under the same names.
    """
    ids = released_ids(lake, target)
    found = triage(target, rows, ids, BANDS)
    _put_aside(lake, target, found, span, ids)
    return found.sound


def put_aside_in(lake: Lake, target: Table, span: Span) -> pl.DataFrame:
    """What lies in the quarantine of a table's hours because of its expectations: rows, and hours that are stopped."""
    inside = pl.col("event_time").is_between(span.start, span.end, closed="left")
    is_ours = pl.col("reason").str.contains(" ", literal=True)
    return lake.scan(QUARANTINE).filter(pl.col("table_name") == target.name, inside, is_ours).collect()


def stopped_among(aside: pl.DataFrame) -> pl.DataFrame:
    """The hours of which nothing was written."""
    return aside.filter(pl.col("reason") == STOPPED)


def stopped_hours(lake: Lake, target: Table, span: Span) -> list[datetime]:
    """The hours of a table of which nothing was written, as they stand in the quarantine."""
    return sorted(stopped_among(put_aside_in(lake, target, span))["event_time"])


def released_ids(lake: Lake, target: Table) -> frozenset[str]:
    """The records that a person let into the table."""
    rows = lake.scan(RELEASES).filter(pl.col("table_name") == target.name)
    return frozenset(rows.select("record_id").collect()["record_id"])


def without_let_in(lake: Lake, target: Table, rows: pl.DataFrame) -> pl.DataFrame:
    """The rows, without those that break a rule and that a person let in."""
    ids = released_ids(lake, target)
    return rows.filter(~is_let_in(target, rows, ids, BANDS)) if ids else rows


def _put_aside(lake: Lake, target: Table, found: Triage, span: Span, released: frozenset[str]) -> None:
    before = put_aside_in(lake, target, span)
    if found.is_clean and before.is_empty():
        return
    now = pl.concat([found.aside, found.stopped])
    left = before.join(now, on=QUARANTINE.key, how="anti")
    word = pl.when(pl.col("record_id").is_in(list(released))).then(pl.lit(RELEASED)).otherwise(pl.lit(GONE))
    lake.upsert(QUARANTINE, pl.concat([now, left.with_columns(reason=word)]))
