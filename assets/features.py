"""Features: what a model may know at a time."""

from typing import Any

import dagster as dg
import polars as pl

from assets.hours import hourly_asset, refreshed
from pipeline.calendars import Span
from pipeline.features.compute import LOOK_BACK, compute_features
from pipeline.features.spec import FeaturesSpec
from pipeline.lake import Lake
from pipeline.provenance import Input, Recipe, code_of
from pipeline.tables import SNAPSHOTS

SPEC = FeaturesSpec()
FEATURES = Recipe("features", (Input("snapshots", back=LOOK_BACK),), code_of("features", SPEC))


@hourly_asset(deps=["snapshots"])
def features(context: dg.AssetExecutionContext, lake: dg.ResourceParam[Lake]) -> dg.MaterializeResult[Any]:
    """Every registered feature at every snapshot, from that pool's past snapshots alone."""

    def compute(span: Span) -> pl.DataFrame:
        return compute_features(lake.scan(SNAPSHOTS, span.widened(back=LOOK_BACK)), span, SPEC)

    return refreshed(context, lake, FEATURES, compute)
