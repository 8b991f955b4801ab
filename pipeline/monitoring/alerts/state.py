"""One alert for as long as a thing is so, and one when it is over, however it flaps.

Belongs here: the fold over `alerts` that knows what is open, and the decision what to say next. Pure.
Stays out: what is so at the moment (`sources`, the sensors).

A thing that comes and goes begins at most once in a cool-down, and is over only once it has been over for a while, so
in a cool-down nobody hears more than one beginning and one end. What stays so is told again when the window of its
kind has passed, unless somebody acknowledged it.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Final

import polars as pl

from pipeline.calendars import MINUTE
from pipeline.monitoring.alerts.events import KINDS, Event
from pipeline.monitoring.alerts.spec import AlertsSpec

_AFTER_THE_WINDOW: Final = 5 * MINUTE
"""A reminder is due a little after the window: what was raised at its start was told a moment later."""


@dataclass(frozen=True)
class Looked:
    """What somebody found who looked at some kinds of things.

    Attributes:
        kinds: the kinds looked at; what is open of these and not found is over.
        found: what is so, each raised.
        still: keys of what was told elsewhere and is not over yet.
    """

    kinds: frozenset[str]
    found: tuple[Event, ...] = ()
    still: frozenset[str] = frozenset()

    def __or__(self, other: "Looked") -> "Looked":
        return Looked(self.kinds | other.kinds, self.found + other.found, self.still | other.still)


@dataclass(frozen=True)
class Changes:
    """What to say, and since when what is not over yet has looked as if it were (for the next look)."""

    events: tuple[Event, ...]
    over_since: Mapping[str, datetime]


def newest(history: pl.DataFrame) -> dict[str, dict[str, Any]]:
    """The last row of each key that has a beginning and an end; one that is `raised` is open."""
    lasting = history.filter(pl.col("state") != "told").sort("known_at", "event_time", "alert_id")
    return {row["key"]: row for row in lasting.iter_rows(named=True)}


def changes(
    history: pl.DataFrame,
    looked: Looked,
    over_since: Mapping[str, datetime],
    now: datetime,
    *,
    spec: AlertsSpec,
    window: Callable[[str], timedelta],
    acknowledged: Collection[str] = (),
) -> Changes:
    """What is to be said after a look.

    Args:
        history: rows of `alerts`.
        looked: what is so.
        over_since: what the look before gave.
        now: the moment of the look.
        spec: cool-down, and how long a thing must be over.
        window: after how long what stays so is told again, by kind.
        acknowledged: ids of alerts that somebody acknowledged.
    """
    last = newest(history)
    begun = dict(history.filter(pl.col("state") == "raised").group_by("key").agg(pl.col("known_at").max()).iter_rows())
    events = []
    for event in looked.found:
        row, since = last.get(event.key), begun.get(event.key)
        if row is None or row["state"] != "raised":
            if since is None or now - since >= spec.cool_down:
                events.append(replace(event, state="raised", mark=now.isoformat()))
        elif row["alert_id"] not in acknowledged and now - row["known_at"] >= window(event.kind) + _AFTER_THE_WINDOW:
            events.append(replace(event, state="raised", title=f"still: {event.title}", mark=now.isoformat()))
    so = {event.key for event in looked.found} | looked.still
    waiting = {}
    for key, row in last.items():
        if row["state"] == "raised" and row["kind"] in looked.kinds and key not in so:
            since = min(over_since.get(key, now), now)  # a clock that went ahead may have been set right
            if now - since >= spec.settle:
                events.append(_over(row, since, begun[key]))
            else:
                waiting[key] = since
        elif row["kind"] not in looked.kinds and key in over_since:
            waiting[key] = over_since[key]
    return Changes(tuple(events), waiting)


def _over(row: Mapping[str, Any], over: datetime, last_told: datetime) -> Event:
    meaning = KINDS[row["kind"]].meaning if row["kind"] in KINDS else "it was so"
    return Event(
        kind=row["kind"],
        subject=row["subject"],
        title=row["title"].removeprefix("still: "),
        body=f"It is no longer so that {meaning}; last told at {last_told:%Y-%m-%d %H:%M} UTC.",
        event_time=over,
        state="recovered",
        severity="info",
        mark=row["alert_id"],
    )


def still_open(history: pl.DataFrame, kinds: Sequence[str]) -> list[dict[str, Any]]:
    """The last row of everything of some kinds that is not over."""
    return [row for row in newest(history).values() if row["state"] == "raised" and row["kind"] in kinds]
