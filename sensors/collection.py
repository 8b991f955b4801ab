"""Watches the collection: pools that wait, and hours that are behind their answers."""

from datetime import timedelta

import dagster as dg

from assets.hours import range_tags
from assets.labels import SPEC as LABELS_SPEC
from assets.pools import COLLECTION, RAW, SAMPLER, candles_recipe
from pipeline.calendars import DAY, HOUR, Clock, Span, ceil, floor
from pipeline.lake import Lake
from pipeline.pools.collector_setup import CollectorSetup
from pipeline.pools.shelf import Shelf
from pipeline.pools.waiting import digest, hours_behind, n_waiting
from sensors.clockwork import collected_span

LOOK_BACK = 8 * DAY
"""As far back as a followed pool's history may change."""


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
    del context  # a grid point is asked for once
    now = clock.now()
    found = n_waiting(collector.memory_file, collector.source, floor(now, SAMPLER.grid))
    if found < COLLECTION.waiting_pools:
        return dg.SkipReason(f"{found:,} pools wait to be seen; {COLLECTION.waiting_pools:,} are worth a run")
    slot = ceil(now, SAMPLER.grid)
    return dg.RunRequest(
        run_key=f"{collector.source} {slot.isoformat()}",
        tags={**range_tags(collected_span(now)), "poolcast/trigger": f"{found:,} pools waiting"},
    )


@dg.sensor(
    job_name="catch_up",
    minimum_interval_seconds=120,
    description="Asks for the hours whose answers or bars arrived after they were last computed: after an outage, or "
    "when histories were fetched. Off until you switch it on.",
)
def hours_to_catch_up(
    context: dg.SensorEvaluationContext,
    lake: dg.ResourceParam[Lake],
    shelf: dg.ResourceParam[Shelf],
    clock: dg.ResourceParam[Clock],
) -> dg.SensorResult | dg.SkipReason:
    """Asks for the hours whose answers or bars arrived after they were last computed."""
    del context  # what was asked for is known by its run key
    hour = floor(clock.now(), HOUR)
    span = Span(hour - LOOK_BACK, hour - HOUR)
    requests = []
    # The labels of a day before a bar may have waited for it.
    for recipe, back in ((RAW, timedelta(0)), (candles_recipe(shelf), LABELS_SPEC.look_ahead)):
        behind = hours_behind(lake, recipe, span)
        if behind:
            asked = Span(floor(behind[0] - back, HOUR), behind[-1] + HOUR)
            key = f"{recipe.table} {digest(lake, recipe, behind)}"
            requests.append(dg.RunRequest(run_key=key, tags=range_tags(asked)))
    return dg.SensorResult(run_requests=requests) if requests else dg.SkipReason("every hour is as new as its answers")
