"""The code location of a soak: poolcast's own, except that its schedules go by the market's clock.

Dagster's scheduler knows the machine's time alone, and no cron is finer than a minute. In its place stands one sensor
that asks each schedule at each of its ticks in the market's time. The runs it asks for go the usual way: the same
queue, launcher, jobs and doors.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime

import dagster as dg
from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition
from dagster._utils.schedules import cron_string_iterator

from pipeline.calendars import Clock
from pipeline.definitions import build_defs
from pipeline.lake import Lake

Job = dg.JobDefinition | UnresolvedAssetJobDefinition


def last_tick(cron: str, after: datetime, until: datetime) -> datetime | None:
    """The last tick in (after, until]: what was missed while nobody looked is asked for once, as Dagster does."""
    found = None
    for tick in cron_string_iterator(after.timestamp(), cron, "UTC"):
        if tick > until:
            return found
        if tick > after:
            found = tick
    return found


def clockwork_of(schedules: Sequence[dg.ScheduleDefinition], jobs: Iterable[Job]) -> dg.SensorDefinition:
    """The sensor that stands in the scheduler's place."""
    wanted = {schedule.job_name for schedule in schedules}

    @dg.sensor(
        name="market_clockwork",
        jobs=[job for job in jobs if job.name in wanted],
        minimum_interval_seconds=1,
        description="Every schedule, at its ticks in the market's time.",
    )
    def market_clockwork(
        context: dg.SensorEvaluationContext, clock: dg.ResourceParam[Clock], lake: dg.ResourceParam[Lake]
    ) -> dg.SensorResult:
        now = clock.now()
        since = datetime.fromisoformat(context.cursor) if context.cursor else now
        requests = []
        for schedule in schedules:
            tick = last_tick(str(schedule.cron_schedule), since, now)
            if tick is not None:
                asked = schedule.evaluate_tick(
                    dg.build_schedule_context(
                        instance=context.instance,
                        scheduled_execution_time=tick,
                        resources={"clock": clock, "lake": lake},
                    )
                )
                requests += [_at(tick, schedule, request) for request in asked.run_requests or ()]
        return dg.SensorResult(run_requests=requests, cursor=now.isoformat())

    return market_clockwork


def _at(tick: datetime, schedule: dg.ScheduleDefinition, request: dg.RunRequest) -> dg.RunRequest:
    """What a schedule asks for, as a sensor asks for it: once a tick."""
    key = f"{schedule.name} {tick.isoformat()}"
    return dg.RunRequest(
        run_key=key, job_name=schedule.job_name, run_config=request.run_config, tags={**request.tags, "soak/tick": key}
    )


def build_soaked_defs() -> dg.Definitions:
    """Poolcast's own definitions, its schedules replaced by the one sensor."""
    usual = build_defs()
    jobs = [job for job in usual.jobs or () if isinstance(job, Job)]
    schedules = [schedule for schedule in usual.schedules or () if isinstance(schedule, dg.ScheduleDefinition)]
    return dg.Definitions(
        assets=usual.assets,
        asset_checks=usual.asset_checks,
        jobs=usual.jobs,
        sensors=[*(usual.sensors or ()), clockwork_of(schedules, jobs)],
        resources=usual.resources,
        executor=usual.executor,
        loggers=usual.loggers,
    )


defs = build_soaked_defs()
