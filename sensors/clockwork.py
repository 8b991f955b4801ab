"""What runs by the clock: collection, labels, bins, freshness, predictions, upkeep, training."""

from collections.abc import Sequence
from datetime import datetime

import dagster as dg

from assets.labels import SPEC as LABELS_SPEC
from assets.pools import SAMPLER
from pipeline.calendars import DAY, HOUR, Clock, Span, floor
from pipeline.lake import Lake
from pipeline.tables import LABELS
from sensors.asking import tags

MATURING = LABELS_SPEC.maturity + HOUR
"""As far back as a label may still be pending, and the running hour. Unchanged hours are left alone."""


WAITING = [dg.DagsterRunStatus.QUEUED, dg.DagsterRunStatus.NOT_STARTED, dg.DagsterRunStatus.STARTING]
UNFINISHED = [*WAITING, dg.DagsterRunStatus.STARTED]


def is_under_way(instance: dg.DagsterInstance, job: str) -> bool:
    """Whether a run of the job waits or works: another would only wait for it, and then ask for hours gone by."""
    return _has_run(instance, job, UNFINISHED)


def is_waiting(instance: dg.DagsterInstance, job: str) -> bool:
    """Whether a run of the job has yet to begin."""
    return _has_run(instance, job, WAITING)


def _has_run(instance: dg.DagsterInstance, job: str, statuses: Sequence[dg.DagsterRunStatus]) -> bool:
    return instance.get_runs_count(dg.RunsFilter(job_name=job, statuses=statuses)) > 0


def collected_span(now: datetime) -> Span:
    """The hours that a collection run beginning at `now` may add to: the last two, and that of its grid point."""
    last = floor(now + SAMPLER.grid, HOUR)
    return Span(floor(now, HOUR) - HOUR, last + HOUR)


@dg.schedule(
    job_name="collect",
    cron_schedule="*/5 * * * *",
    execution_timezone="UTC",
    description="Asks the API for new pools and due visits until the next five minutes. Off until you switch it on.",
)
def every_five_minutes(
    context: dg.ScheduleEvaluationContext, clock: dg.ResourceParam[Clock]
) -> dg.RunRequest | dg.SkipReason:
    """Asks the API for new pools and due visits until the next five minutes. Off until somebody switches it on."""
    # A cycle ends at the grid point, and its run some seconds after: at each tick the run before is still working. The
    # next one waits for it in the queue; skipping it would leave every second grid point unserved.
    if is_waiting(context.instance, "collect"):
        return dg.SkipReason("a collection run waits already")
    return dg.RunRequest(tags=tags("the five minutes that begin", collected_span(clock.now())))


@dg.schedule(
    job_name="mature",
    cron_schedule="7 * * * *",
    execution_timezone="UTC",
    description="Lets the labels of the last day mature, seven minutes past every hour. Off until you switch it on.",
)
def every_hour(context: dg.ScheduleEvaluationContext, clock: dg.ResourceParam[Clock]) -> dg.RunRequest:
    """Lets the labels of the last day mature. Off until somebody switches it on."""
    del context
    hour = floor(clock.now(), HOUR)
    return dg.RunRequest(tags=tags("the hour: labels mature", Span(hour - MATURING, hour + HOUR)))


@dg.schedule(
    job_name="export",
    cron_schedule="17 * * * *",
    execution_timezone="UTC",
    description="Adds to the QLib bins what is new, and checks them, 17 past every hour. Off until you switch it on.",
)
def every_hour_export(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
    """Adds to the QLib bins what is new, and checks them. Off until somebody switches it on."""
    if is_under_way(context.instance, "export"):
        return dg.SkipReason("the export before is still under way")
    return dg.RunRequest(tags=tags("the hour: bars are exported"))


@dg.schedule(
    job_name="watch",
    cron_schedule="37 * * * *",
    execution_timezone="UTC",
    description="Looks whether the data is sound and whether the world has moved, 37 past every hour. Off until you "
    "switch it on.",
)
def every_hour_watch(
    context: dg.ScheduleEvaluationContext, clock: dg.ResourceParam[Clock]
) -> dg.RunRequest | dg.SkipReason:
    """Looks whether the data is sound and whether the world has moved. Off until somebody switches it on."""
    if is_under_way(context.instance, "watch"):
        return dg.SkipReason("the watch before is still under way")
    hour = floor(clock.now(), HOUR)
    # The assets choose what they look at; the checks of what they write look at these hours, and not at years of it.
    return dg.RunRequest(tags=tags("the hour: data and drift are watched", Span(hour - HOUR, hour + HOUR)))


@dg.schedule(
    job_name="look_at_freshness",
    cron_schedule="*/15 * * * *",
    execution_timezone="UTC",
    description="Looks whether what is collected is as fresh as it should be. Off until you switch it on.",
)
def every_quarter_hour(_context: dg.ScheduleEvaluationContext) -> dg.RunRequest:
    """Looks whether what is collected is as fresh as it should be. Off until somebody switches it on."""
    return dg.RunRequest(tags=tags("the quarter hour: is everything fresh"))


@dg.schedule(
    job_name="serve",
    cron_schedule="*/15 * * * *",
    execution_timezone="UTC",
    description="Lets the models speak about the newest snapshots, judges what matured. Off until you switch it on.",
)
def every_quarter_hour_serve(
    context: dg.ScheduleEvaluationContext, clock: dg.ResourceParam[Clock]
) -> dg.RunRequest | dg.SkipReason:
    """Lets the models speak about the newest snapshots, judges what matured. Off until somebody switches it on."""
    if is_under_way(context.instance, "serve"):
        return dg.SkipReason("the run before is still under way")
    hour = floor(clock.now(), HOUR)
    # The assets choose their rows themselves; the checks look at these hours, and not at years of predictions.
    return dg.RunRequest(tags=tags("the quarter hour: models are asked and judged", Span(hour - MATURING, hour + HOUR)))


@dg.schedule(
    job_name="maintain",
    cron_schedule="17 4 * * *",
    execution_timezone="UTC",
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description="Expires what is past its retention, merges small files, deletes what no version needs; every night.",
)
def every_night(_context: dg.ScheduleEvaluationContext) -> dg.RunRequest:
    """Expires what is past its retention, merges small files, deletes what no version needs; every night at 04:17."""
    return dg.RunRequest(tags=tags("the night: upkeep"))


@dg.schedule(
    job_name="report",
    cron_schedule="3 5 * * *",
    execution_timezone="UTC",
    description="Draws what is missing and what became of the pools, every morning. Off until you switch it on.",
)
def every_morning(_context: dg.ScheduleEvaluationContext) -> dg.RunRequest:
    """Draws what is missing and what became of the pools, every morning at 05:03. Off until somebody switches it on."""
    return dg.RunRequest(tags=tags("the morning: pictures are drawn"))


@dg.schedule(
    job_name="train",
    cron_schedule="0 3 * * 0",
    execution_timezone="UTC",
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description="Trains, evaluates and lets the gate decide, every Sunday at 03:00 UTC.",
)
def every_sunday(context: dg.ScheduleEvaluationContext, lake: dg.ResourceParam[Lake]) -> dg.RunRequest | dg.SkipReason:
    """Trains, evaluates and lets the gate decide, every Sunday at 03:00 UTC."""
    if lake.version(LABELS) is None:
        return dg.SkipReason("there are no labels yet, so there is nothing to learn from")
    return dg.RunRequest(
        run_key=f"{floor(context.scheduled_execution_time, DAY):%Y-%m-%d}", tags=tags("weekly schedule")
    )
