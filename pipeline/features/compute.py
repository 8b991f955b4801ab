"""From what was observed to features, over history.

Belongs here: the one way through which every feature of many pools is computed: a partition with the look-back it
needs, or all of history. Stays out: formulas, engines, one pool's events (`online`) and the lake.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import polars as pl

from pipeline.calendars import Span
from pipeline.errors import InputError
from pipeline.features.engine_list import ENGINES
from pipeline.features.engines.from_snapshots import snapshot_rows
from pipeline.features.feature import Feature
from pipeline.features.inputs import EngineName
from pipeline.features.registry import FAMILIES, REGISTRY, features_of
from pipeline.features.sources import Sources
from pipeline.features.spec import FeaturesSpec
from pipeline.tables import FAMILY_TABLES, FEATURES, POOL_TIME_KEY

type Inputs = Mapping[EngineName, Sequence[Any]]
"""Inputs by the engine that computes them."""


def compute_features(sources: Sources, span: Span, spec: FeaturesSpec) -> pl.DataFrame:
    """Every registered feature of every snapshot with `span.start` <= event_time < `span.end`.

    Args:
        sources: rows over `span.widened(back=look_back(spec))`, in any order.
        span: the moments asked for.
        spec: thresholds.

    Returns:
        FEATURES rows, one for each snapshot in the span, sorted by key; `known_at` is the snapshot's.

    Raises:
        InputError: a key column is missing, or two different snapshots have the same key.
    """
    frame = compute_columns(sources, span, spec, REGISTRY.values())
    return frame.select(pl.col(name).cast(dtype) for name, dtype in FEATURES.schema.items())


def compute_family(family: str, sources: Sources, span: Span, spec: FeaturesSpec) -> pl.DataFrame:
    """The same for one family: rows of its table."""
    frame = compute_columns(sources, span, spec, features_of(family))
    return frame.select(pl.col(name).cast(dtype) for name, dtype in FAMILY_TABLES[family].schema.items())


def compute_columns(sources: Sources, span: Span, spec: FeaturesSpec, features: Iterable[Feature]) -> pl.DataFrame:
    """The same for chosen features only: the key, `known_at`, and one column each."""
    chosen = list(features)
    return input_rows(sources, span, spec, inputs_of(chosen)).select(formulas(chosen, spec))


def inputs_of(features: Iterable[Feature]) -> Inputs:
    """What the features are made from, each input once, under the engine that computes it."""
    inputs: dict[EngineName, list[Any]] = {}
    for read in dict.fromkeys(read for feature in features for read in feature.inputs):
        inputs.setdefault(read.engine, []).append(read)
    return inputs


def input_rows(sources: Sources, span: Span, spec: FeaturesSpec, inputs: Inputs) -> pl.DataFrame:
    """The snapshots of the span, sorted by key, with every input as a column under its name."""
    rows = snapshot_rows(sources.snapshots, inputs.get("snapshots", []), span, spec)
    for name, wanted in inputs.items():
        over_history = ENGINES[name].over_history
        if over_history is not None:
            rows = over_history(rows, wanted, sources, span, spec)
    return rows


def formulas(features: Iterable[Feature], spec: FeaturesSpec) -> list[pl.Expr]:
    """The key, `known_at`, and each feature's formula over one row of inputs."""
    return [*map(pl.col, POOL_TIME_KEY), pl.col("known_at"), *(feature.expr(spec) for feature in features)]


def join_families(families: Mapping[str, pl.DataFrame]) -> pl.DataFrame:
    """All families side by side: rows of FEATURES.

    Args:
        families: rows of each family's table, over the same snapshots, in any order.

    Raises:
        InputError: a family is missing, or knows other snapshots than the first.
    """
    missing = [family for family in FAMILIES if family not in families]
    if missing:
        raise InputError(f"cannot join the families: there is no {missing!r}; compute all of {FAMILIES!r}")
    ordered = {family: families[family].sort(POOL_TIME_KEY) for family in FAMILIES}
    head = next(iter(ordered.values())).select(*POOL_TIME_KEY, "known_at")
    for family, frame in ordered.items():
        if not frame.select(head.columns).equals(head):
            raise InputError(
                f"cannot join the families: {family!r} has {frame.height:,} rows and not the {head.height:,} snapshots "
                f"of {FAMILIES[0]!r}; compute every family for the same hours"
            )
    columns = [frame.drop(head.columns) for frame in ordered.values()]
    return pl.concat([head, *columns], how="horizontal").select(FEATURES.schema.names())
