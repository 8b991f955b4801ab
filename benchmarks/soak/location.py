"""The code location of a soak: poolcast's own, except that its schedules go by the market's clock.

Dagster's scheduler knows the machine's time alone, and no cron is finer than a minute. In its place stands one sensor
that asks each schedule at each of its ticks in the market's time. The runs it asks for go the usual way: the same
queue, launcher, jobs and doors.
"""

from datetime import datetime, timedelta

import dagster as dg
from dagster._utils.schedules import cron_string_iterator

from pipeline.calendars import Clock
from pipeline.definitions import build_defs
from pipeline.lake import Lake

USUAL = build_defs()
SCHEDULES = [schedule for schedule in USUAL.schedules or () if isinstance(schedule, dg.ScheduleDefinition)]


def last_tick(cron: str, after: datetime, until: datetime) -> datetime | None:
    """The last tick in (after, until]: what was missed while nobody looked is asked for once, as Dagster does."""
    found = None
    for tick in cron_string_iterator((after + timedelta(seconds=1)).timestamp(), cron, "UTC"):
        if tick > until:
            return found
        found = tick
    return found


@dg.sensor(
    name="market_clockwork",
    jobs=[job for job in USUAL.jobs or () if job.name in {schedule.job_name for schedule in SCHEDULES}],
    minimum_interval_seconds=1,
    description="Every schedule, at its ticks in the market's time.",
)
def market_clockwork(
    context: dg.SensorEvaluationContext, clock: dg.ResourceParam[Clock], lake: dg.ResourceParam[Lake]
) -> dg.SensorResult:
    """Ask each schedule at its ticks since the last look."""
    now = clock.now()
    since = datetime.fromisoformat(context.cursor) if context.cursor else now
    requests = []
    for schedule in SCHEDULES:
        tick = last_tick(str(schedule.cron_schedule), since, now)
        if tick is None:
            continue
        asked = schedule.evaluate_tick(
            dg.build_schedule_context(
                instance=context.instance,
                scheduled_execution_time=tick,
                resources={"clock": clock, "lake": lake},
            )
        )
        requests += [
            dg.RunRequest(
                run_key=f"{schedule.name} {tick.isoformat()}",
                job_name=schedule.job_name,
                run_config=request.run_config,
                tags={**request.tags, "soak/tick": tick.isoformat()},
            )
            for request in asked.run_requests or ()
        ]
    return dg.SensorResult(run_requests=requests, cursor=now.isoformat())


defs = dg.Definitions(
    assets=USUAL.assets,
    asset_checks=USUAL.asset_checks,
    jobs=USUAL.jobs,
    sensors=[*(USUAL.sensors or ()), market_clockwork],
    resources=USUAL.resources,
    executor=USUAL.executor,
    loggers=USUAL.loggers,
)
