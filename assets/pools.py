"""Pools: what the market told us, kept as told, then parsed."""

from typing import Any

import dagster as dg
import polars as pl

from assets.hours import hourly_asset, refreshed
from assets.metadata import frame_metadata
from pipeline.calendars import Clock, Span
from pipeline.lake import Lake
from pipeline.pools import candles as bars
from pipeline.pools.shelf import Shelf, content_at, together
from pipeline.pools.spec import PoolsSpec
from pipeline.provenance import EVER, Input, Recipe, code_of, record_all
from pipeline.tables import POOLS, QUARANTINE, RESERVES

SPEC = PoolsSpec()
CODE = code_of("pools", SPEC)
CANDLES = Recipe("candles", (Input("reserves"), Input("pools", back=EVER)), CODE)


@hourly_asset()
def reserves(
    context: dg.AssetExecutionContext,
    lake: dg.ResourceParam[Lake],
    shelf: dg.ResourceParam[Shelf],
    wall_clock: dg.ResourceParam[Clock],
) -> dg.MaterializeResult[Any]:
    """What the market told us, kept as told. Records that cannot be true lie in `quarantine`, each with its reason."""
    # The machine's own time, also in a replay: what is later than that nobody can have recorded.
    told = shelf.read(SPEC, wall_clock.now())
    frames = together(told)
    lake.append(QUARANTINE, frames.quarantine)
    recipe = Recipe("reserves", (), CODE, depends_on=lambda hour: content_at(told, hour))

    def compute(span: Span) -> pl.DataFrame:
        return frames.reserves.filter(pl.col("event_time").is_between(span.start, span.end, closed="left"))

    return refreshed(context, lake, recipe, compute)


@dg.asset(deps=[reserves])
def pools(
    lake: dg.ResourceParam[Lake], shelf: dg.ResourceParam[Shelf], wall_clock: dg.ResourceParam[Clock]
) -> dg.MaterializeResult[Any]:
    """Every pool told of: its tokens, its birth, and until when its source vouches for its record."""
    frames = together(shelf.read(SPEC, wall_clock.now()))
    lake.upsert(POOLS, frames.pools)
    record_all(lake, POOLS)
    return dg.MaterializeResult(metadata=frame_metadata(POOLS, frames.pools))


@hourly_asset(deps=[reserves, pools])
def candles(context: dg.AssetExecutionContext, lake: dg.ResourceParam[Lake]) -> dg.MaterializeResult[Any]:
    """Five-minute bars of price, volume and reserve. Bars without an update do not exist; none is invented."""

    def compute(span: Span) -> pl.DataFrame:
        return bars.candles(lake.scan(RESERVES, span).collect(), lake.scan(POOLS).collect(), SPEC)

    return refreshed(context, lake, CANDLES, compute)
