"""What Dagster's own record tells the watch: runs and checks that failed, schedules and when they ticked.

Belongs here: reading the instance, in the words of `pipeline.monitoring.alerts`. Stays out: when it is asked, and what
follows (`sensors.alerts`).
"""

from datetime import UTC, datetime
from itertools import islice

import dagster as dg
import polars as pl
from dagster._core.scheduler.instigation import (
    InstigatorState,
    InstigatorStatus,
    InstigatorType,
    ScheduleInstigatorData,
)
from dagster._core.storage.asset_check_execution_record import AssetCheckExecutionRecordStatus
from dagster._utils.schedules import reverse_cron_string_iterator
from dagster_shared.error import SerializableErrorInfo

from pipeline.lake import Lake
from pipeline.monitoring.alerts.events import Event
from pipeline.monitoring.alerts.journal import remembered
from pipeline.monitoring.alerts.sources import FailedRun, Ticking, failed, job_of, registry_away
from pipeline.monitoring.alerts.spec import AlertsSpec
from pipeline.monitoring.alerts.state import Looked, still_open
from pipeline.tables import ALERTS

OF_RUNS = ("run.failed", "check.failed")
MOST_FORGOTTEN = 200
N_EXPECTED = 3
"""Ticks before now that a schedule is asked about."""


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


def forgotten(instance: dg.DagsterInstance, lake: Lake, now: datetime, spec: AlertsSpec) -> list[Event]:
    """The runs that failed lately and are not written down: when they did, the disk may have been full."""
    rows = remembered(lake, ALERTS, now).filter(pl.col("kind").is_in(OF_RUNS))
    known = set(rows["body"].str.extract(r"^Run (\w+)"))
    wanted = dg.RunsFilter(statuses=[dg.DagsterRunStatus.FAILURE], updated_after=now - spec.told_late)
    runs = [run for run in instance.get_runs(wanted, limit=MOST_FORGOTTEN) if run.run_id[:8] not in known]
    return [event for run in runs for event in failed(as_failed(instance, run, now))]


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


def registry_asked(instance: dg.DagsterInstance) -> Looked:
    """Whether the registry answered when `trial` asked it last."""
    key = dg.AssetCheckKey(dg.AssetKey("trial"), "registry_answers")
    told = {AssetCheckExecutionRecordStatus.SUCCEEDED, AssetCheckExecutionRecordStatus.FAILED}
    records = instance.event_log_storage.get_asset_check_execution_history(key, limit=1, status=told)
    if not records:
        return Looked(frozenset())
    (last,) = records
    if last.status is AssetCheckExecutionRecordStatus.SUCCEEDED:
        return registry_away(None)
    event = last.event.dagster_event if last.event else None
    words = event.asset_check_evaluation_data.description if event else None
    return registry_away((datetime.fromtimestamp(last.create_timestamp, UTC), words or ""))


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
