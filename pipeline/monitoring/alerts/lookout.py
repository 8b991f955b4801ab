"""Looks over the tables of others for what somebody should know.

Belongs here: which tables are looked at, and how far back. Stays out: what in them is worth an alert (`sources`).
"""

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

    def drift() -> Looked:
        return drifted(_lately(lake, DRIFT_REPORTS, now, spec.told_late).collect(), now, spec)

    def quality() -> Looked:
        rows = _lately(lake, QUALITY_REPORTS, now, SCORES_BACK).filter(pl.col("part") == "score")
        return below_floor(rows.collect(), now)

    looked, events = Looked(frozenset()), list[Event]()
    for look in (drift, quality, lambda: stale(ages(lake, now), OLDEST, now), None):
        try:
            with reporting("look for what somebody should know"):
                if look is None:
                    events = moves(lake.scan(DEPLOYMENTS).collect(), now, spec)
                else:
                    looked |= look()
        except PoolcastError as error:
            if problems is None:
                raise
            problems.append(str(error))
    return looked, events


def _lately(lake: Lake, target: Table, now: datetime, back: timedelta) -> pl.LazyFrame:
    return lake.scan(target, Span(now - back, now + HOUR))
