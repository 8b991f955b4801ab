"""Snapshots: a pool's observed state, on the sampler's schedule."""

from typing import Any

import dagster as dg
import polars as pl

from assets.hours import hourly_asset, refreshed
from pipeline.calendars import Span
from pipeline.lake import Lake
from pipeline.provenance import Input, Recipe, code_of
from pipeline.snapshots.snapshots import take_snapshots
from pipeline.snapshots.spec import SnapshotsSpec
from pipeline.tables import POOLS, RESERVES

SPEC = SnapshotsSpec()
SNAPSHOTS = Recipe(
    "snapshots",
    (Input("reserves", back=SPEC.look_back), Input("pools", back=SPEC.look_back)),
    code_of("snapshots", SPEC),
)


@hourly_asset(deps=["reserves", "pools"])
def snapshots(context: dg.AssetExecutionContext, lake: dg.ResourceParam[Lake]) -> dg.MaterializeResult[Any]:
    """Price, reserve and trading windows of every followed pool, as often as its tier asks for."""

    def compute(span: Span) -> pl.DataFrame:
        updates = lake.scan(RESERVES, span.widened(back=SPEC.look_back))
        return take_snapshots(updates, lake.scan(POOLS).collect(), span, SPEC)

    return refreshed(context, lake, SNAPSHOTS, compute)
