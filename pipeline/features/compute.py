"""From snapshots to features.

Belongs here: the one way through which every feature is computed. Stays out: formulas and the lake.
"""

from collections.abc import Iterable

import polars as pl

from pipeline.calendars import Span
from pipeline.features.feature import Feature
from pipeline.features.registry import FEATURE_NAMES, LOOK_BACK, REGISTRY, feature_set_hash, look_back
from pipeline.features.spec import FeaturesSpec
from pipeline.features.steps import look_back_columns, read_snapshots
from pipeline.tables import FEATURES, POOL_TIME_KEY

__all__ = ["FEATURE_NAMES", "LOOK_BACK", "REGISTRY", "compute_columns", "compute_features", "feature_set_hash"]


def compute_features(snapshots: pl.DataFrame | pl.LazyFrame, span: Span, spec: FeaturesSpec) -> pl.DataFrame:
    """Every registered feature of every snapshot with `span.start` <= event_time < `span.end`.

    Args:
        snapshots: SNAPSHOTS rows over `span.widened(back=look_back(spec))`, in any order.
        span: the moments asked for.
        spec: thresholds.

    Returns:
        FEATURES rows, one for each snapshot in the span, sorted by key; `known_at` is the snapshot's.

    Raises:
        InputError: a key column is missing, or two different snapshots have the same key.
    """
    frame = compute_columns(snapshots, span, spec, REGISTRY.values())
    return frame.select(pl.col(name).cast(dtype) for name, dtype in FEATURES.schema.items())


def compute_columns(
    snapshots: pl.DataFrame | pl.LazyFrame, span: Span, spec: FeaturesSpec, features: Iterable[Feature]
) -> pl.DataFrame:
    """The same for chosen features only: the key, `known_at`, and one column each."""
    chosen = list(features)
    inputs = [read for feature in chosen for read in feature.inputs]
    frame = read_snapshots(
        snapshots, ["known_at", *(read.column for read in inputs)], span.widened(back=look_back(spec))
    )
    rows = look_back_columns(frame, span, inputs, spec)
    return rows.select(*POOL_TIME_KEY, "known_at", *(feature.expr(spec) for feature in chosen))
