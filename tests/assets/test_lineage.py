"""Column lineage: every column it names exists, and a feature changes with no column that it does not name."""

from functools import cache

import dagster as dg
import polars as pl
import pytest

from assets.lineage import lineage_of
from assets.policy import TABLE_OF
from pipeline.definitions import defs
from pipeline.features.compute import compute_features
from pipeline.features.lineage import made_of
from pipeline.features.registry import REGISTRY
from pipeline.features.spec import FeaturesSpec
from pipeline.graph import graph_nodes
from pipeline.tables import FEATURES, POOL_KEY, TABLES
from tests.features.battery_market import SPAN, Market, market

NODES = {node["asset"]: node for node in graph_nodes(defs)}
OF_TABLE = {name: TABLE_OF.get(name, name) for name in NODES}
FOUND_BY = {"source", "network", "pool", "token", "event_time", "known_at", "timeframe"}
"""By these a row is found: which pool it is of, of when, and since when it is known."""


@pytest.mark.parametrize("name", sorted(TABLES))
def test_every_column_in_a_lineage_is_a_column_of_an_asset_before_it(name: str) -> None:
    told = lineage_of(name)
    assert set(told) <= set(TABLES[name].schema)
    before = {parent for asset, node in NODES.items() if OF_TABLE[asset] == name for parent in node["made_from"]}
    for places in told.values():
        assert {table for table, _ in places} <= before
        assert all(column in TABLES[table].schema for table, column in places)


def test_what_is_read_from_answers_and_every_feature_and_label_says_what_it_is_made_of() -> None:
    whole = {"raw_pools", "tokens", "trades", "raw_candles", "labels", "market_labels", "features"}
    untold = {"sentiment_score", "sentiment_confidence", "has_sentiment"}
    for name in whole:
        missing = set(TABLES[name].schema) - set(lineage_of(name))
        assert missing <= (untold | {"known_at"}), name


def test_dagster_is_given_the_lineage_as_it_is_told() -> None:
    spec = next(spec for spec in defs.resolve_all_asset_specs() if spec.key == dg.AssetKey("features_trends"))
    told = spec.metadata["dagster/column_lineage"].deps_by_column
    assert [(dep.asset_key.to_user_string(), dep.column_name) for dep in told["liquidity_trend"]] == [
        ("snapshots", "reserve_usd")
    ]


@cache
def calm() -> tuple[Market, pl.DataFrame]:
    given = market(3)
    return given, compute_features(given.sources(), SPAN, FeaturesSpec())


def columns() -> list[tuple[str, str]]:
    given, _ = calm()
    return [(table, name) for table in vars(given) for name in getattr(given, table).columns if name not in FOUND_BY]


def disturbed(frame: pl.DataFrame, name: str) -> pl.DataFrame:
    """The frame with one column's values handed round among its rows: as plausible as before, and all wrong."""
    if name == "created_at":
        return frame.with_columns(pl.col(name) - pl.duration(hours=7))
    told = frame[name].drop_nulls().unique().sort()
    if len(told) < 2:
        return frame.with_columns(pl.lit(None, frame.schema[name]).alias(name))
    return frame.with_columns(frame[name].reverse().alias(name))


@pytest.mark.parametrize(("table", "name"), columns())
def test_a_feature_changes_with_no_column_that_it_does_not_name(table: str, name: str) -> None:
    given, usual = calm()
    frames = vars(given) | {table: disturbed(getattr(given, table), name)}
    found = compute_features(Market(**frames).sources(), SPAN, FeaturesSpec())
    keys = [*POOL_KEY, "event_time"]
    both = usual.sort(keys), found.sort(keys)
    changed = {one for one in REGISTRY if not both[0][one].equals(both[1][one])}
    named = {one for one, feature in REGISTRY.items() if (table, name) in made_of(feature)}
    assert changed <= named
    assert FEATURES.schema.names() == found.columns
