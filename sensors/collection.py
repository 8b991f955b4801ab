"""Watches the collection: pools that wait, and hours that are behind their answers."""

import dagster as dg

from assets.behind import behind
from assets.pools import COLLECTION, SAMPLER
from pipeline.calendars import HOUR, Clock, ceil, floor
from pipeline.lake import Lake
from pipeline.pools.collector_setup import CollectorSetup
from pipeline.pools.shelf import Shelf
from pipeline.pools.waiting import n_waiting
from sensors.asking import tags
from sensors.clockwork import collected_span, is_under_way


@dg.sensor(
    job_name="collect",
    minimum_interval_seconds=60,
    description="Asks for a collection run when pools are due that nobody visits: while the five-minute schedule is "
    "off, after an outage, or when more wait than a cycle serves. Off until you switch it on.",
)
def pools_waiting(
    context: dg.SensorEvaluationContext,
    clock: dg.ResourceParam[Clock],
    collector: dg.ResourceParam[CollectorSetup],
) -> dg.RunRequest | dg.SkipReason:
    """Asks for a collection run when pools wait to be seen and no run has asked the API since they were due."""
    if is_under_way(context.instance, "collect"):
        return dg.SkipReason("a collection run is under way")
    now = clock.now()
    found = n_waiting(collector.memory_file, collector.source, floor(now, SAMPLER.grid))
    if found < COLLECTION.waiting_pools:
        return dg.SkipReason(f"{found:,} pools wait to be seen; {COLLECTION.waiting_pools:,} are worth a run")
    slot = ceil(now, SAMPLER.grid)
    return dg.RunRequest(
        run_key=f"{collector.source} {slot.isoformat()}",
        tags=tags(f"{found:,} pools waiting", collected_span(now)),
    )


@dg.sensor(
    job_name="catch_up",
    minimum_interval_seconds=120,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Asks for the hours whose answers or bars arrived after they were last computed: after an outage, a "
    "kill, or when histories were fetched. It asks for nothing while nothing is collected.",
)
def hours_to_catch_up(
    context: dg.SensorEvaluationContext,
    lake: dg.ResourceParam[Lake],
    shelf: dg.ResourceParam[Shelf],
    clock: dg.ResourceParam[Clock],
) -> dg.RunRequest | dg.SkipReason:
    """Asks for the hours whose answers or bars arrived after they were last computed."""
    if is_under_way(context.instance, "catch_up"):
        return dg.SkipReason("a run that catches up is under way")
    now = clock.now()
    found = behind(lake, shelf, now)
    if found is None:
        return dg.SkipReason("every hour is as new as what was told of it")
    span, told = found
    # Asked for once an hour, so that a run that failed is tried again.
    why = "answers or bars arrived after these hours were computed"
    return dg.RunRequest(run_key=f"{told} {floor(now, HOUR).isoformat()}", tags=tags(why, span))
