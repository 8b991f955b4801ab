"""Labels: what became of each pool, and since when we know."""

from datetime import datetime
from typing import Any

import dagster as dg
import polars as pl

from assets.hours import hourly_asset, refreshed
from assets.snapshots import SPEC as SNAPSHOTS_SPEC
from pipeline.calendars import HOUR, Clock, Span, floor
from pipeline.labels.market import born_by, label_market
from pipeline.labels.market_spec import MarketSpec
from pipeline.labels.observations import Observed
from pipeline.labels.outcomes import label_outcomes
from pipeline.labels.spec import LabelsSpec
from pipeline.lake import Lake
from pipeline.pools.shelf import Shelf
from pipeline.provenance import Input, Recipe, code_of
from pipeline.snapshots.schedule import interval_when_grown
from pipeline.tables import CANDLES, POOLS, QUARANTINE, SNAPSHOTS

SPEC = LabelsSpec()
CODE = code_of("labels", SPEC)
FOLLOWED = SNAPSHOTS_SPEC.follow
ASKED_EVERY = interval_when_grown(SNAPSHOTS_SPEC)
INPUTS = (
    Input("snapshots", back=SPEC.observed_back, ahead=SPEC.observed_ahead),
    Input("candles", ahead=SPEC.look_ahead),
)
MARKET = MarketSpec()
MARKET_INPUTS = tuple(Input(name, back=MARKET.back, ahead=MARKET.ahead) for name in ("snapshots", "candles"))
MARKET_CODE = code_of("labels", MARKET)


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
        seen = lake.scan(SNAPSHOTS, span.widened(back=SPEC.observed_back, ahead=SPEC.observed_ahead)).collect()
        return label_outcomes(
            seen.filter(pl.col("event_time").is_between(span.start, span.end, closed="left")),
            lake.scan(CANDLES, span.widened(ahead=SPEC.look_ahead)).collect(),
            lake.scan(POOLS, span.widened(back=FOLLOWED + SPEC.observed_back)).collect(),
            standstills,
            now,
            SPEC,
            Observed(seen, ASKED_EVERY),
        )

    return refreshed(context, lake, recipe, compute)


@hourly_asset(deps=["snapshots", "candles", "pools"])
def market_labels(
    context: dg.AssetExecutionContext, lake: dg.ResourceParam[Lake], clock: dg.ResourceParam[Clock]
) -> dg.MaterializeResult[Any]:
    """What each network's market did after each hour: its regime over 12 h, rotation of the base asset over 6 h."""
    now, pools = clock.now(), lake.scan(POOLS).collect()
    recipe = market_recipe(pools, now)
    return refreshed(context, lake, recipe, lambda span: market_of(lake, pools, span, now))


def market_recipe(pools: pl.DataFrame, now: datetime) -> Recipe:
    """What an hour's market labels are made from; POOLS keeps no record by hour, so what it says is told here."""
    known = born_by(pools)
    return Recipe(
        "market_labels",
        MARKET_INPUTS,
        MARKET_CODE,
        depends_on=lambda hour: (
            f"{known(hour + HOUR + MARKET.ahead)} {min(floor(now, HOUR), hour + HOUR + MARKET.maturity)}"
        ),
    )


def market_of(lake: Lake, pools: pl.DataFrame, span: Span, now: datetime) -> pl.DataFrame:
    """The market labels of a span of hours, however it is cut."""
    around = span.widened(back=MARKET.back, ahead=MARKET.ahead)
    seen, bars = (lake.scan(target, around).collect() for target in (SNAPSHOTS, CANDLES))
    return label_market(bars, seen, pools, span, now, MARKET)


def stood_still(lake: Lake) -> pl.DataFrame:
    """The instants at which a recorded clock stood still: no label may reach across one."""
    refused = lake.scan(QUARANTINE).filter(pl.col("reason") == "clock_stood_still")
    return refused.select("source", "network", "event_time").unique().sort("source", "network", "event_time").collect()
