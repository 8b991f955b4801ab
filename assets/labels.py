"""Labels: what became of each pool, and since when we know."""

from typing import Any

import dagster as dg
import polars as pl

from assets.hours import hourly_asset, refreshed
from assets.snapshots import SPEC as SNAPSHOTS_SPEC
from pipeline.calendars import HOUR, Clock, Span, floor
from pipeline.labels.outcomes import label_outcomes
from pipeline.labels.spec import LabelsSpec
from pipeline.lake import Lake
from pipeline.pools.shelf import Shelf
from pipeline.provenance import Input, Recipe, code_of
from pipeline.tables import CANDLES, POOLS, QUARANTINE, SNAPSHOTS

SPEC = LabelsSpec()
CODE = code_of("labels", SPEC)
FOLLOWED = SNAPSHOTS_SPEC.follow
INPUTS = (Input("snapshots"), Input("candles", ahead=SPEC.look_ahead))


@hourly_asset(deps=["snapshots", "candles", "pools"])
def labels(
    context: dg.AssetExecutionContext,
    lake: dg.ResourceParam[Lake],
    shelf: dg.ResourceParam[Shelf],
    clock: dg.ResourceParam[Clock],
) -> dg.MaterializeResult[Any]:
    """What became of each pool 1, 6 and 24 h after each snapshot: labelled, censored with a reason, or pending."""
    now, recorded = clock.now(), shelf.content()
    standstills = stood_still(lake)
    gaps = [str(moment) for moment in standstills["event_time"]]
    # An hour's labels go on changing until its longest horizon has passed, whatever its inputs do.
    recipe = Recipe(
        "labels",
        INPUTS,
        CODE,
        depends_on=lambda hour: f"{recorded} {min(floor(now, HOUR), hour + HOUR + SPEC.maturity)} {gaps}",
    )

    def compute(span: Span) -> pl.DataFrame:
        return label_outcomes(
            lake.scan(SNAPSHOTS, span).collect(),
            lake.scan(CANDLES, span.widened(ahead=SPEC.look_ahead)).collect(),
            lake.scan(POOLS, span.widened(back=FOLLOWED)).collect(),
            standstills,
            now,
            SPEC,
        )

    return refreshed(context, lake, recipe, compute)


def stood_still(lake: Lake) -> pl.DataFrame:
    """The instants at which a recorded clock stood still: no label may reach across one."""
    refused = lake.scan(QUARANTINE).filter(pl.col("reason") == "clock_stood_still")
    return refused.select("source", "network", "event_time").unique().sort("source", "network", "event_time").collect()
