"""Watches the watch itself: failed runs, missed schedules, old tables; and lets people be told.

Belongs here: when to look, what one look leaves to the next, and starting deliveries. A tick writes rows and starts a
process; it speaks to nobody. Stays out: reading what Dagster knows (`runs_and_ticks`), what is worth an alert and who
hears of it (`pipeline.monitoring.alerts`).
"""

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Self

import dagster as dg

from pipeline.calendars import MINUTE, Clock
from pipeline.errors import InputError, PoolcastError
from pipeline.lake import Lake
from pipeline.lake.disk import reporting
from pipeline.monitoring.alerts.deliver import due
from pipeline.monitoring.alerts.journal import look, record
from pipeline.monitoring.alerts.lookout import looked_over
from pipeline.monitoring.alerts.reach import gaps
from pipeline.monitoring.alerts.rules import Rules
from pipeline.monitoring.alerts.setup import AlertSetup
from pipeline.monitoring.alerts.sources import failed, missed
from resources.messenger import is_delivering, start_delivery
from sensors.runs_and_ticks import as_failed, forgotten, not_yet_over, registry_asked, ticking

LOOK_EVERY = 5 * MINUTE
"""How often tables, schedules and ages are looked at; what failed is written down at once."""
GAP = 3 * LOOK_EVERY
"""Looks that far apart are a stop and a start."""


@dg.run_failure_sensor(
    name="failed_runs",
    minimum_interval_seconds=30,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Writes a failed run into `alerts`, and each blocking check that failed in it. It sends nothing.",
)
def failed_runs(
    context: dg.RunFailureSensorContext, lake: dg.ResourceParam[Lake], wall_clock: dg.ResourceParam[Clock]
) -> dg.SkipReason | None:
    """Writes a failed run into `alerts`, and each blocking check that failed in it."""
    now, run = wall_clock.now(), context.instance.get_run_by_id(context.dagster_run.run_id)
    if run is not None and run.status is dg.DagsterRunStatus.CANCELED:
        return dg.SkipReason("somebody stopped it at the terminal")
    try:
        with reporting("write a failed run down"):
            record(lake, failed(as_failed(context.instance, context.dagster_run, now)), now)
    except PoolcastError as error:  # Dagster does not ask again; `alerts_told` finds the run all the same
        return dg.SkipReason(str(error))
    return None


@dg.sensor(
    name="alerts_told",
    minimum_interval_seconds=60,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Looks every five minutes for what somebody should know, and lets those be told whom "
    "POOLCAST_ALERTS_TO names, in a process of its own. It asks for no run.",
)
def alerts_told(
    context: dg.SensorEvaluationContext,
    lake: dg.ResourceParam[Lake],
    clock: dg.ResourceParam[Clock],
    wall_clock: dg.ResourceParam[Clock],
    alert_setup: dg.ResourceParam[AlertSetup],
) -> dg.SensorResult:
    """Looks for what somebody should know, and lets people be told."""
    now, memory, told = wall_clock.now(), _Memory.of(context.cursor), []
    if memory.is_look_due(now):
        try:
            with reporting("look for what somebody should know"):
                n_new, memory, problems = _look(context.instance, lake, clock, now, memory, alert_setup)
            told += [f"looked: {n_new} new", *problems]
        except PoolcastError as error:
            told.append(f"could not look, the next tick tries again: {error}")
    told.append(_let_be_told(lake, now, alert_setup))
    return dg.SensorResult(skip_reason="; ".join(told), cursor=memory.as_text())


@dataclass(frozen=True)
class _Memory:
    """What one look leaves to the next: when it was, since when looks have come without a gap, what seems over."""

    looked_at: datetime | None = None
    looking_since: datetime | None = None
    over_since: Mapping[str, datetime] = field(default_factory=dict)

    @classmethod
    def of(cls, cursor: str | None) -> Self:
        """What a cursor says; a person may have set it to anything, which is no memory."""
        with suppress(ValueError, TypeError, AttributeError, KeyError):
            told = json.loads(cursor or "{}")
            over = {str(key): _utc(since) for key, since in told.get("over_since", {}).items()}
            return cls(_utc(told["looked_at"]), _utc(told.get("looking_since", told["looked_at"])), over)
        return cls()

    def as_text(self) -> str:
        """The memory as a cursor."""
        if self.looked_at is None or self.looking_since is None:
            return "{}"
        over = {key: moment.isoformat() for key, moment in self.over_since.items()}
        moments = {"looked_at": self.looked_at.isoformat(), "looking_since": self.looking_since.isoformat()}
        return json.dumps({**moments, "over_since": over})

    def is_look_due(self, now: datetime) -> bool:
        """Whether it is time; a look in the future was made by a clock that went wrong."""
        return self.looked_at is None or not self.looked_at <= now < self.looked_at + LOOK_EVERY

    def watched_since(self, now: datetime) -> datetime:
        """Since when we look without a gap: what was due while nothing ran was missed by nobody."""
        if self.looked_at is None or self.looking_since is None or not self.looked_at <= now <= self.looked_at + GAP:
            return now
        return self.looking_since


def _utc(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)


def _look(
    instance: dg.DagsterInstance, lake: Lake, clock: Clock, now: datetime, memory: _Memory, setup: AlertSetup
) -> tuple[int, _Memory, list[str]]:
    problems: list[str] = []
    looked, events = looked_over(lake, clock.now(), setup.spec, problems)
    since = memory.watched_since(now)
    looked |= missed(ticking(instance, now), now, watched_since=since) | not_yet_over(instance, lake, now)
    looked |= registry_asked(instance)
    events += forgotten(instance, lake, now, setup.spec)
    try:
        rules = setup.rules()
    except InputError:  # told below; what happens is written down all the same
        rules = Rules()
    n_new, over = look(lake, setup.folder, looked, events, memory.over_since, now, rules=rules, spec=setup.spec)
    return n_new, _Memory(now, since, over), problems


def _let_be_told(lake: Lake, now: datetime, setup: AlertSetup) -> str:
    """Start a delivery where one is due; what was done, in words."""
    try:
        with reporting("start a delivery"):
            receivers = setup.receivers()
            if not receivers:
                return "alerts are written down and nobody is told: POOLCAST_ALERTS_TO names no receiver"
            if is_delivering():
                return "a delivery is under way"
            rules = setup.rules()
            if due(lake, receivers, now, rules, setup.spec).is_empty:
                unheard = (gap.words for gap in gaps(rules, receivers))
                return "; ".join(["everybody was told everything that is due", *unheard])
            start_delivery(setup.folder.parent)
    except PoolcastError as error:
        return f"nobody is told: {error}"
    return "a delivery was started"
