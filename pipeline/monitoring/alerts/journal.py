"""Keeps alerts, deliveries and acknowledgements in the lake: an alert is a row before anything is sent.

Belongs here: reading and writing the three tables. Stays out: what is written (`state`, `outbox`).
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

import polars as pl

from pipeline.calendars import DAY, END_OF_TIME, HOUR, MINUTE, Span
from pipeline.errors import UsageError
from pipeline.lake import Lake
from pipeline.lake.disk import locked
from pipeline.monitoring.alerts.events import Event, rows_of
from pipeline.monitoring.alerts.rules import Rules
from pipeline.monitoring.alerts.spec import AlertsSpec
from pipeline.monitoring.alerts.state import Looked, changes
from pipeline.tables import ALERT_ACKS, ALERT_DELIVERIES, ALERTS, Table
from pipeline.text import inert

REMEMBERED: Final = 30 * DAY
"""As far back as alerts and deliveries are read: what is older is history, and nobody is told of it any more."""
_AHEAD: Final = MINUTE
"""Rows further ahead were dated by a clock that has been set right. Clocks of machines differ by less, and nobody who
writes meanwhile meets them."""


def record(lake: Lake, events: Iterable[Event], now: datetime) -> int:
    """Write the events down, each once however often it is given; how many were new."""
    return lake.append(ALERTS, rows_of(events, now)).n_rows


def remembered(lake: Lake, table: Table, now: datetime, back: timedelta = REMEMBERED) -> pl.DataFrame:
    """The rows of one of the three tables that still matter."""
    return lake.scan(table, Span(now - back, now + HOUR)).collect()


def look(
    lake: Lake,
    folder: Path,
    looked: Looked,
    told: Sequence[Event],
    over_since: Mapping[str, datetime],
    now: datetime,
    *,
    rules: Rules,
    spec: AlertsSpec,
) -> tuple[int, Mapping[str, datetime]]:
    """Write down what a look changed: what began, what is over, and what was told of anyway.

    Args:
        lake: where the tables lie.
        folder: holds the lock, so that two who look at once write a beginning once.
        looked: what is so.
        told: events without an end.
        over_since: what the look before gave.
        now: the moment of the look.
        rules: the windows after which what stays so is told again.
        spec: cool-down and the like.

    Returns:
        How many alerts were new, and what the next look needs. A look that finds rows of a time to come dates them
        anew and leaves everything else to the next.
    """
    with locked(folder / "look.lock"):
        if _set_right(lake, now):
            return 0, over_since
        history, acks = remembered(lake, ALERTS, now), remembered(lake, ALERT_ACKS, now)
        changed = changes(
            history, looked, over_since, now, spec=spec, window=lambda kind: rules.treatment(kind).dedup,
            acknowledged=set(acks["alert_id"]),
        )  # fmt: skip
        known = set(history["alert_id"])
        new = [event for event in (*told, *changed.events) if event.alert_id not in known]
        return (record(lake, new, now) if new else 0), changed.over_since


def _set_right(lake: Lake, now: datetime) -> int:
    """Date rows of a time to come as of now, when they were there already; gives their number.

    Else a beginning of then hides each end until then, and is told twice.
    """
    ahead, n_rows = Span(now + _AHEAD, END_OF_TIME), 0
    for table in (ALERTS, ALERT_DELIVERIES, ALERT_ACKS):
        rows = lake.scan(table, ahead).sort("known_at").collect()
        if rows.height:
            moments = [name for name in ("event_time", "known_at") if name in rows.columns]
            dated = rows.with_columns(pl.min_horizontal(name, pl.lit(ahead.start)).alias(name) for name in moments)
            lake.replace(table, dated.unique(table.key, keep="first", maintain_order=True), ahead)
            n_rows += rows.height
    return n_rows


def acknowledge(lake: Lake, start: str, actor: str, reason: str | None, now: datetime) -> str:
    """Write down that somebody knows of the alert whose id starts so; gives the whole id.

    Raises:
        UsageError: no alert, or more than one, has such an id.
    """
    found = sorted(i for i in remembered(lake, ALERTS, now)["alert_id"] if start and i.startswith(start))
    if len(found) != 1:
        raise UsageError(
            f"found {len(found)} alerts of the last {REMEMBERED.days} days whose id starts with {start!r}: give the id "
            "of one, as `poolcast alerts list` shows it"
        )
    row = {
        "alert_id": found[0],
        "known_at": now,
        "actor": inert(actor),
        "reason": inert(reason, 500) if reason else None,
    }
    lake.append(ALERT_ACKS, pl.DataFrame([row], ALERT_ACKS.schema))
    return str(found[0])


def listed(lake: Lake, now: datetime, back: timedelta = REMEMBERED) -> pl.DataFrame:
    """The alerts, newest first, each with who acknowledged it and to how many receivers it was told."""
    alerts = remembered(lake, ALERTS, now, back)
    acks = remembered(lake, ALERT_ACKS, now, back).sort("known_at").unique("alert_id", keep="first")
    sent = remembered(lake, ALERT_DELIVERIES, now, back).filter(pl.col("decision") == "sent")
    told = sent.group_by("alert_id").agg(n_receivers=pl.col("receiver").n_unique())
    known = acks.select("alert_id", acknowledged_by="actor", acknowledged_at="known_at", acknowledged_reason="reason")
    return (
        alerts.join(known, on="alert_id", how="left")
        .join(told, on="alert_id", how="left")
        .with_columns(pl.col("n_receivers").fill_null(0))
        .sort("known_at", "event_time", "alert_id", descending=True)
    )
