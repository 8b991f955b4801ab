"""Snapshots: a pool's observed state, on the sampler's schedule."""

from datetime import datetime
from typing import Any

import dagster as dg
import polars as pl

from assets.hours import hourly_asset, refreshed
from pipeline.calendars import HOUR, Clock, Span, floor
from pipeline.lake import Lake
from pipeline.pools.shelf import Shelf
from pipeline.provenance import Input, Recipe, code_of
from pipeline.snapshots.observed import observed_snapshots
from pipeline.snapshots.recorded import take_snapshots
from pipeline.snapshots.spec import SnapshotsSpec
from pipeline.tables import POOLS, RAW_POOLS, RESERVES, SNAPSHOTS

SPEC = SnapshotsSpec()
OBSERVED_BACK = 2 * SPEC.grid
INPUTS = (Input("reserves", back=SPEC.look_back), Input("raw_pools", back=OBSERVED_BACK))
CODE = code_of("snapshots", SPEC)


@hourly_asset(deps=["reserves", "raw_pools", "pools"])
def snapshots(
    context: dg.AssetExecutionContext,
    lake: dg.ResourceParam[Lake],
    shelf: dg.ResourceParam[Shelf],
    clock: dg.ResourceParam[Clock],
) -> dg.MaterializeResult[Any]:
    """Price, reserve and trading windows of every followed pool, as often as its tier and the budget allow."""
    now = clock.now()
    imported = [recording.source for recording in shelf.recordings()]

    def compute(span: Span) -> pl.DataFrame:
        updates = lake.scan(RESERVES, span.widened(back=SPEC.look_back))
        born = lake.scan(POOLS, span.widened(back=SPEC.follow), sources=imported).collect()
        taken = take_snapshots(updates, born, span, SPEC)
        observed = observed_snapshots(lake.scan(RAW_POOLS, span.widened(back=OBSERVED_BACK)).collect(), span, now, SPEC)
        # A recording may be imported and collected from a sandbox; the import saw all of it.
        return pl.concat([taken, observed]).unique(SNAPSHOTS.key, keep="first", maintain_order=True)

    return refreshed(context, lake, recipe_of(shelf, now), compute)


def recipe_of(shelf: Shelf, now: datetime) -> Recipe:
    """What an hour of snapshots is made from.

    A grid point that has not come yet has no snapshot; once it has, its hour is computed again.
    """
    recorded = shelf.content()
    return Recipe(
        "snapshots", INPUTS, CODE, depends_on=lambda hour: f"{recorded} {min(floor(now, SPEC.grid), hour + HOUR)}"
    )
