"""What runs by the clock: collection every five minutes, training every week."""

import dagster as dg

from assets.hours import range_tags
from assets.labels import SPEC as LABELS_SPEC
from pipeline.calendars import DAY, HOUR, Span, floor
from pipeline.lake import Lake
from pipeline.tables import LABELS

COLLECTED = LABELS_SPEC.maturity + HOUR
"""As far back as a label may still be pending, and the running hour. Unchanged hours are left alone."""


@dg.schedule(
    job_name="collect",
    cron_schedule="*/5 * * * *",
    execution_timezone="UTC",
    description="Collects the running hour and lets the labels of the last day mature. Off until you switch it on.",
)
def every_five_minutes(context: dg.ScheduleEvaluationContext) -> dg.RunRequest:
    """Collects the running hour and lets the labels of the last day mature. Off until somebody switches it on."""
    hour = floor(context.scheduled_execution_time, HOUR)
    return dg.RunRequest(tags=range_tags(Span(hour - COLLECTED, hour + HOUR)))


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
        run_key=f"{floor(context.scheduled_execution_time, DAY):%Y-%m-%d}", tags={"poolcast/trigger": "weekly schedule"}
    )
