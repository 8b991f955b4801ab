"""Looks over the tables of others for what somebody should know.

Belongs here: which tables are looked at, and how far back. Stays out: what in them is worth an alert (`sources`).
"""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Final

import polars as pl

from pipeline.calendars import DAY, HOUR, Span
from pipeline.errors import PoolcastError
from pipeline.lake import Lake
from pipeline.lake.disk import reporting
from pipeline.monitoring.alerts.events import Event
from pipeline.monitoring.alerts.sources import below_floor, drifted, moves, stale
from pipeline.monitoring.alerts.spec import AlertsSpec
from pipeline.monitoring.alerts.state import Looked
from pipeline.monitoring.freshness import OLDEST, ages
from pipeline.tables import DEPLOYMENTS, DRIFT_REPORTS, QUALITY_REPORTS, Table

SCORES_BACK: Final = 14 * DAY
"""So far back a row of low scores may have begun that still stands."""


def looked_over(
    lake: Lake, now: datetime, spec: AlertsSpec, problems: list[str] | None = None
) -> tuple[Looked, list[Event]]:
    """What the tables say is so, and what they say happened.

    A table that cannot be read hides no other: why is added to `problems`. Without such a list, it is raised.
    """
    looked, events = Looked(frozenset()), list[Event]()
    with _looking(problems):
        looked |= drifted(_lately(lake, DRIFT_REPORTS, now, spec.told_late).collect(), now, spec)
    with _looking(problems):
        scores = _lately(lake, QUALITY_REPORTS, now, SCORES_BACK).filter(pl.col("part") == "score")
        looked |= below_floor(scores.collect(), now)
    with _looking(problems):
        looked |= stale(ages(lake, now), OLDEST, now)
    with _looking(problems):
        events = moves(lake.scan(DEPLOYMENTS).collect(), now, spec)
    return looked, events


@contextmanager
def _looking(problems: list[str] | None) -> Iterator[None]:
    """One look: that it failed is added to the problems, where there is a list of them."""
    try:
        with reporting("look for what somebody should know"):
            yield
    except PoolcastError as error:
        if problems is None:
            raise
        problems.append(str(error))


def _lately(lake: Lake, target: Table, now: datetime, back: timedelta) -> pl.LazyFrame:
    return lake.scan(target, Span(now - back, now + HOUR))
