"""Looks over the tables of others for what somebody should know.

Belongs here: which tables are looked at, and how far back. Stays out: what in them is worth an alert (`sources`).
"""

from datetime import datetime, timedelta
from typing import Final

import polars as pl

from pipeline.calendars import DAY, HOUR, Span
from pipeline.lake import Lake
from pipeline.monitoring.alerts.events import Event
from pipeline.monitoring.alerts.sources import below_floor, drifted, moves, stale
from pipeline.monitoring.alerts.spec import AlertsSpec
from pipeline.monitoring.alerts.state import Looked
from pipeline.monitoring.freshness import OLDEST, ages
from pipeline.tables import DEPLOYMENTS, DRIFT_REPORTS, QUALITY_REPORTS, Table

SCORES_BACK: Final = 14 * DAY
"""So far back a row of low scores may have begun that still stands."""


def looked_over(lake: Lake, now: datetime, spec: AlertsSpec) -> tuple[Looked, list[Event]]:
    """What the tables say is so, and what they say happened."""
    reports = _lately(lake, DRIFT_REPORTS, now, spec.told_late).collect()
    scores = _lately(lake, QUALITY_REPORTS, now, SCORES_BACK).filter(pl.col("part") == "score").collect()
    looked = drifted(reports, now, spec) | below_floor(scores, now) | stale(ages(lake, now), OLDEST, now)
    return looked, moves(lake.scan(DEPLOYMENTS).collect(), now, spec)


def _lately(lake: Lake, target: Table, now: datetime, back: timedelta) -> pl.LazyFrame:
    return lake.scan(target, Span(now - back, now + HOUR))
