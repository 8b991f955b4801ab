"""Watches the watch itself: failed runs, missed schedules, old tables; and lets people be told.

Belongs here: what only Dagster knows (runs, checks, ticks), and starting deliveries. A tick writes rows and starts a
process; it speaks to nobody. Stays out: what is worth an alert and who hears of it (`pipeline.monitoring.alerts`).
"""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from itertools import islice

import dagster as dg
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
from pipeline.monitoring.alerts.deliver import due
from pipeline.monitoring.alerts.journal import look, record, remembered
from pipeline.monitoring.alerts.lookout import looked_over
from pipeline.monitoring.alerts.rules import Rules
from pipeline.monitoring.alerts.setup import AlertSetup
from pipeline.monitoring.alerts.sources import FailedRun, Ticking, failed, job_of, missed
from pipeline.monitoring.alerts.state import Looked, still_open
from pipeline.tables import ALERTS
from resources.messenger import is_delivering, start_delivery

LOOK_EVERY = 5 * MINUTE
"""How often tables, schedules and ages are looked at; what failed is written down at once."""
OF_RUNS = ("run.failed", "check.failed")
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
) -> None:
    """Writes a failed run into `alerts`, and each blocking check that failed in it."""
    record(lake, failed(as_failed(context.instance, context.dagster_run, wall_clock.now())), wall_clock.now())


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
    now = wall_clock.now()
    memory = json.loads(context.cursor or "{}")
    told = []
    if now >= datetime.fromisoformat(memory.get("looked_at", "1970-01-01T00:00:00+00:00")) + LOOK_EVERY:
        before = {key: datetime.fromisoformat(since) for key, since in memory.get("over_since", {}).items()}
        n_new, over_since = _look(context.instance, lake, clock, now, before, alert_setup)
        memory = {"looked_at": now.isoformat(), "over_since": {k: t.isoformat() for k, t in over_since.items()}}
        told.append(f"looked: {n_new} new")
    told.append(_let_be_told(lake, now, alert_setup))
    return dg.SensorResult(skip_reason="; ".join(told), cursor=json.dumps(memory))


def _look(
    instance: dg.DagsterInstance,
    lake: Lake,
    clock: Clock,
    now: datetime,
    over_since: Mapping[str, datetime],
    setup: AlertSetup,
) -> tuple[int, Mapping[str, datetime]]:
    looked, events = looked_over(lake, clock.now(), setup.spec)
    looked |= missed(ticking(instance, now), now) | not_yet_over(instance, lake, now)
    try:
        rules = setup.rules()
    except InputError:  # told below; what happens is written down all the same
        rules = Rules()
    return look(lake, setup.folder, looked, events, over_since, now, rules=rules, spec=setup.spec)


def _let_be_told(lake: Lake, now: datetime, setup: AlertSetup) -> str:
    """Start a delivery where one is due; what was done, in words."""
    try:
        receivers = setup.receivers()
        if not receivers:
            return "alerts are written down and nobody is told: POOLCAST_ALERTS_TO names no receiver"
        if is_delivering():
            return "a delivery is under way"
        if due(lake, receivers, now, setup.rules(), setup.spec).is_empty:
            return "everybody was told everything that is due"
    except PoolcastError as error:
        return f"nobody is told: {error}"
    start_delivery(setup.folder.parent)
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
