"""Runs the graph over a recording.

Belongs here: which hours a replay asks for, and with which clock. Stays out: the run itself (`runs`), what assets do,
and what a demo makes of the result (`demo`).
"""

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta

import dagster as dg

from assets.hours import HOURS
from pipeline.calendars import HOUR, Span, ceil
from pipeline.errors import InputError, UsageError
from pipeline.pools.shelf import Told
from pipeline.runs import Finished, run_job


def replay(
    defs: dg.Definitions,
    instance: dg.DagsterInstance,
    told: Told,
    *,
    until: datetime | None = None,
    assets: Sequence[str] | None = None,
    tags: dict[str, str] | None = None,
) -> Finished:
    """Materialise `assets` (None: the whole loop) over the hours of a recording, as of `until` (None: its end).

    Its clock stands there, and it learns from that recording alone.

    Raises:
        InputError: the recording is older than the first partition.
        RunFailedError: a step or a blocking check failed; the message says which and why.
    """
    recording = told.recording
    span = told.span if until is None else Span(told.span.start, until)
    if span.start < HOURS.start:
        raise InputError(
            f"recording {recording.name!r} begins {span.start:%Y-%m-%d %H:%M}, before the first hour there is a "
            f"partition for, {HOURS.start:%Y-%m-%d %H:%M}: leave out what is older"
        )
    return run_job(
        defs,
        instance,
        "loop",
        span,
        assets=assets,
        tags={"poolcast/recording": recording.name, **(tags or {})},
        resources={
            "clock": {"config": {"at": span.end.isoformat()}},
            "source": {"config": {"name": recording.source}},
        },
    )


def replay_in_steps(
    defs: dg.Definitions,
    instance: dg.DagsterInstance,
    told: Told,
    moments: Sequence[datetime],
    *,
    assets: Sequence[str] | None = None,
    tags: dict[str, str] | None = None,
) -> Iterator[tuple[datetime, Finished]]:
    """Replay a recording again and again, each time as of a later moment: what the loop would have done then.

    At each moment the loop knows what had been told by then and no more: it scores what came since, looks at what
    became of it, judges, and trains anew. Hours that did not change are left alone: a step costs what is new.

    Raises:
        InputError, RunFailedError: see `replay`; the steps before stay.
    """
    for moment in moments:
        yield moment, replay(defs, instance, told, until=moment, assets=assets, tags=tags)


def moments_of(span: Span, first: timedelta, every: timedelta) -> list[datetime]:
    """Whole hours to stop at: `first` after the span's start, then `every` so often, and its end.

    Raises:
        UsageError: a step is shorter than an hour, or the first lies beyond the end.

    >>> from datetime import UTC
    >>> day = datetime(2020, 9, 8, tzinfo=UTC)
    >>> [m.day for m in moments_of(Span(day, day + timedelta(days=20)), timedelta(days=7), timedelta(days=5))]
    [15, 20, 25, 28]
    """
    if min(first, every) < HOUR or span.start + first > span.end:
        raise UsageError(
            f"cannot step through {span.start:%Y-%m-%d %H:%M} to {span.end:%Y-%m-%d %H:%M} in steps of {every!r} after"
            f" {first!r}: steps last an hour or more, and the first must end before the recording does"
        )
    moment, found = ceil(span.start + first, HOUR), []
    while moment < span.end:
        found.append(moment)
        moment = ceil(moment + every, HOUR)
    return [*found, span.end]
