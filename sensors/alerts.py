"""Watches the watch itself: failed runs, missed schedules, old tables; and lets people be told.

Belongs here: what only Dagster knows (runs, checks, ticks), and starting deliveries. A tick writes rows and starts a
process; it speaks to nobody. Stays out: what is worth an alert and who hears of it (`pipeline.monitoring.alerts`).
"""

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import islice
from typing import Self

import dagster as dg
import polars as pl
from dagster._core.scheduler.instigation import (
    InstigatorState,
    InstigatorStatus,
    InstigatorType,
    ScheduleInstigatorData,
)
from dagster._utils.schedules import reverse_cron_string_iterator
from dagster_shared.error import SerializableErrorInfo

from pipeline.calendars import MINUTE, Clock
from pipeline.errors import InputError, PoolcastError
from pipeline.lake import Lake
from pipeline.lake.disk import reporting
from pipeline.monitoring.alerts.deliver import due
from pipeline.monitoring.alerts.events import Event
from pipeline.monitoring.alerts.journal import look, record, remembered
from pipeline.monitoring.alerts.lookout import looked_over
from pipeline.monitoring.alerts.rules import Rules
from pipeline.monitoring.alerts.setup import AlertSetup
from pipeline.monitoring.alerts.sources import FailedRun, Ticking, failed, job_of, missed
from pipeline.monitoring.alerts.spec import AlertsSpec
from pipeline.monitoring.alerts.state import Looked, still_open
from pipeline.tables import ALERTS
from resources.messenger import is_delivering, start_delivery

LOOK_EVERY = 5 * MINUTE
"""How often tables, schedules and ages are looked at; what failed is written down at once."""
OF_RUNS = ("run.failed", "check.failed")
GAP = 3 * LOOK_EVERY
"""Looks that far apart are a stop and a start."""
MOST_FORGOTTEN = 200
N_EXPECTED = 3
"""Ticks before now that a schedule is asked about."""


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
    now = wall_clock.now()
    try:
        with reporting("write a failed run down"):
            record(lake, failed(as_failed(context.instance, context.dagster_run, now)), now)
    except PoolcastError as error:  # Dagster does not ask again; `alerts_told` finds the run all the same
        return dg.SkipReason(str(error))
    return None


def as_failed(instance: dg.DagsterInstance, run: dg.DagsterRun, now: datetime) -> FailedRun:
    """What of a failed run is worth telling."""
    stats = instance.get_run_stats(run.run_id)
    wanted = {dg.DagsterEventType.ASSET_CHECK_EVALUATION, dg.DagsterEventType.STEP_FAILURE}
    events = [log.dagster_event for log in instance.all_logs(run.run_id, of_type=wanted) if log.dagster_event]
    checks = [
        e.asset_check_evaluation_data for e in events if e.event_type is dg.DagsterEventType.ASSET_CHECK_EVALUATION
    ]
    errors = [e.event_specific_data.error for e in events if e.is_step_failure]  # type: ignore[union-attr]
    return FailedRun(
        run_id=run.run_id,
        job=run.job_name,
        ended=datetime.fromtimestamp(stats.end_time, UTC) if stats.end_time else now,
        steps=tuple(dict.fromkeys(str(e.step_key) for e in events if e.is_step_failure)),
        checks=tuple(
            (f"{check.asset_key.to_user_string()} {check.check_name}", check.description or "")
            for check in checks
            if not check.passed and check.blocking
        ),
        error=next((words for error in errors if error and (words := _first_line(error))), ""),
    )


def _first_line(error: SerializableErrorInfo) -> str:
    """What was raised, and not that Dagster noticed."""
    while error.cause is not None:
        error = error.cause
    return next(iter(error.message.strip().splitlines()), "")


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
    events += forgotten(instance, lake, now, setup.spec)
    try:
        rules = setup.rules()
    except InputError:  # told below; what happens is written down all the same
        rules = Rules()
    n_new, over = look(lake, setup.folder, looked, events, memory.over_since, now, rules=rules, spec=setup.spec)
    return n_new, _Memory(now, since, over), problems


def forgotten(instance: dg.DagsterInstance, lake: Lake, now: datetime, spec: AlertsSpec) -> list[Event]:
    """The runs that failed lately and are not written down: when they did, the disk may have been full."""
    rows = remembered(lake, ALERTS, now).filter(pl.col("kind").is_in(OF_RUNS))
    known = set(rows["body"].str.extract(r"^Run (\w+)"))
    wanted = dg.RunsFilter(statuses=[dg.DagsterRunStatus.FAILURE], updated_after=now - spec.told_late)
    runs = [run for run in instance.get_runs(wanted, limit=MOST_FORGOTTEN) if run.run_id[:8] not in known]
    return [event for run in runs for event in failed(as_failed(instance, run, now))]


def _let_be_told(lake: Lake, now: datetime, setup: AlertSetup) -> str:
    """Start a delivery where one is due; what was done, in words."""
    try:
        with reporting("start a delivery"):
            receivers = setup.receivers()
            if not receivers:
                return "alerts are written down and nobody is told: POOLCAST_ALERTS_TO names no receiver"
            if is_delivering():
                return "a delivery is under way"
            if due(lake, receivers, now, setup.rules(), setup.spec).is_empty:
                return "everybody was told everything that is due"
            start_delivery(setup.folder.parent)
    except PoolcastError as error:
        return f"nobody is told: {error}"
    return "a delivery was started"


def ticking(instance: dg.DagsterInstance, now: datetime) -> list[Ticking]:
    """The schedules that are switched on, by a person or in code, and when each last ticked."""
    states = instance.all_instigator_state(instigator_type=InstigatorType.SCHEDULE)
    on = [s for s in states if s.status in (InstigatorStatus.RUNNING, InstigatorStatus.DECLARED_IN_CODE)]
    return [found for state in on if (found := _ticking(instance, state, now)) is not None]


def _ticking(instance: dg.DagsterInstance, state: InstigatorState, now: datetime) -> Ticking | None:
    data = state.instigator_data
    if not isinstance(data, ScheduleInstigatorData) or not isinstance(data.cron_schedule, str):
        return None
    ticks = instance.get_ticks(state.instigator_origin_id, state.selector_id, limit=1)
    known = [ticks[0].timestamp if ticks else None, data.last_iteration_timestamp, data.start_timestamp]
    since = max((moment for moment in known if moment is not None), default=None)
    expected = islice(reverse_cron_string_iterator(now.timestamp(), data.cron_schedule, "UTC"), N_EXPECTED)
    return Ticking(
        name=state.name,
        expected=[moment.astimezone(UTC) for moment in expected],
        since=None if since is None else datetime.fromtimestamp(since, UTC),
    )


def not_yet_over(instance: dg.DagsterInstance, lake: Lake, now: datetime) -> Looked:
    """Of the failed runs and checks that are open, those whose job did not succeed since."""
    is_open = still_open(remembered(lake, ALERTS, now), OF_RUNS)
    succeeded = {job: _last_success(instance, job) for job in {job_of(row["subject"]) for row in is_open}}
    still = {row["key"] for row in is_open if succeeded[job_of(row["subject"])] <= row["event_time"].timestamp()}
    return Looked(frozenset(OF_RUNS), still=frozenset(still))


def _last_success(instance: dg.DagsterInstance, job: str) -> float:
    wanted = dg.RunsFilter(job_name=job, statuses=[dg.DagsterRunStatus.SUCCESS])
    records = instance.get_run_records(wanted, limit=1)
    return (records[0].end_time or 0.0) if records else 0.0
