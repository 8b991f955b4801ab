"""Labels: what became of each pool, and since when we know."""

from typing import Any

import dagster as dg
import polars as pl

from assets.hours import hourly_asset, refreshed
from pipeline.calendars import HOUR, Clock, Span
from pipeline.labels.outcomes import label_outcomes
from pipeline.labels.spec import LabelsSpec
from pipeline.lake import Lake
from pipeline.provenance import EVER, Input, Recipe, code_of
from pipeline.tables import CANDLES, POOLS, QUARANTINE, SNAPSHOTS

SPEC = LabelsSpec()
CODE = code_of("labels", SPEC)
INPUTS = (Input("snapshots"), Input("candles", ahead=SPEC.look_ahead), Input("pools", back=EVER))


@hourly_asset(deps=["snapshots", "candles", "pools"])
def labels(
    context: dg.AssetExecutionContext, lake: dg.ResourceParam[Lake], clock: dg.ResourceParam[Clock]
) -> dg.MaterializeResult[Any]:
    """What became of each pool 1, 6 and 24 h after each snapshot: labelled, censored with a reason, or pending."""
    now = clock.now()
    standstills = stood_still(lake)
    gaps = [str(moment) for moment in standstills["event_time"]]
    # An hour's labels go on changing until its longest horizon has passed, whatever its inputs do.
    recipe = Recipe("labels", INPUTS, CODE, depends_on=lambda hour: f"{min(now, hour + HOUR + SPEC.maturity)} {gaps}")

    def compute(span: Span) -> pl.DataFrame:
        return label_outcomes(
            lake.scan(SNAPSHOTS, span).collect(),
            lake.scan(CANDLES, span.widened(ahead=SPEC.look_ahead)).collect(),
            lake.scan(POOLS).collect(),
            standstills,
            now,
            SPEC,
        )

    return refreshed(context, lake, recipe, compute)


def stood_still(lake: Lake) -> pl.DataFrame:
    """The instants at which a recorded clock stood still: no label may reach across one."""
    refused = lake.scan(QUARANTINE).filter(pl.col("reason") == "clock_stood_still")
    return refused.select("source", "network", "event_time").unique().sort("source", "network", "event_time").collect()
