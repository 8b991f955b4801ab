"""Features: what a model may know at a time, one asset a family and one of them all."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import dagster as dg
import polars as pl

from assets.away import tried_again
from assets.hours import hourly_asset, refreshed
from pipeline.calendars import Span
from pipeline.features.compute import join_families
from pipeline.features.engines.extra_indicators import require_in_vocabulary
from pipeline.features.feature import Family
from pipeline.features.in_parts import compute_family_in_parts
from pipeline.features.registry import FAMILIES, features_of, look_backs
from pipeline.features.sources import Sources
from pipeline.features.spec import FeaturesSpec
from pipeline.lake import Lake
from pipeline.provenance import Input, Recipe, code_of
from pipeline.tables import FAMILY_TABLES, POOLS, table
from pipeline.workers import Workers

SPEC = FeaturesSpec()
require_in_vocabulary(SPEC)
APART = (
    "catalogue", "in_parts", "lineage", "online", "online_bars", "online_first_hour", "online_index",
    "online_indicators", "online_market_bars", "online_snapshots", "online_tokens", "online_trades", "online_volume",
    "online_wilder", "plots",
)  # fmt: skip
"""Modules that no stored row depends on."""
CODE = code_of("features", SPEC, without=APART)
REACH = {family: look_backs(features_of(family), SPEC) for family in FAMILIES}
"""How far back each family reads each table."""
RECIPES = {
    family: Recipe(FAMILY_TABLES[family].name, tuple(Input(name, back=back) for name, back in reach.items()), CODE)
    for family, reach in REACH.items()
}
FOLLOWING = tuple(RECIPES[family] for family, reach in REACH.items() if set(reach) <= {"snapshots", "tokens"})
"""Families whose hours change only by what was learned in them. Bars and trades told late cannot change an hour before
they were told; so an hour of the others is brought up to date by the runs that follow it, and not chased later."""
FEATURES = Recipe("features", tuple(Input(target.name) for target in FAMILY_TABLES.values()), CODE)
_WORDS = {
    "core": "What a pool is worth, who holds its token, how old and how risky it is",
    "momentum": "How price and traded value changed over the windows of the snapshot",
    "smart_money": "What wallets do whose record before that moment was good",
    "trends": "How fast things move, and where they stand against where they have been",
    "patterns": "Yes or no: a spike of volume, a pump, a dump",
    "sentiment": "What is said of the token; null until a source tells it",
    "activity": "How much is traded",
    "technical": "Indicators on bars of 5, 15 and 60 minutes, as TA-Lib computes them",
    "market": "Momentum, depth, spread, volatility, stability of liquidity",
    "correlation": "How the pool moves with its quote token and with the other pools of its network",
    "flow": "Who trades how much on which side",
}


def family_asset(family: Family) -> dg.AssetsDefinition:
    """The asset of one family: its features at every snapshot."""
    reach = REACH[family]

    @hourly_asset(
        name=FAMILY_TABLES[family].name,
        deps=[*reach, "pools"],
        description=f"{_WORDS[family]}: {len(features_of(family))} features a snapshot, from what was known then.",
    )
    def compute_one(
        context: dg.AssetExecutionContext, lake: dg.ResourceParam[Lake], workers: dg.ResourceParam[Workers]
    ) -> dg.MaterializeResult[Any]:
        def compute(span: Span) -> pl.DataFrame:
            return compute_family_in_parts(family, sources_of(lake, reach, span), span, SPEC, workers)

        with tried_again():
            return refreshed(context, lake, RECIPES[family], compute)

    return compute_one


def sources_of(lake: Lake, reach: Mapping[str, timedelta], span: Span) -> Sources:
    """The tables that are read, as far back as they are."""
    told = {name: lake.scan(table(name), span.widened(back=back)) for name, back in reach.items()}
    return Sources(pools=lake.scan(POOLS), **told)


FAMILY_ASSETS = [family_asset(family) for family in FAMILIES]


@hourly_asset(deps=FAMILY_ASSETS)
def features(context: dg.AssetExecutionContext, lake: dg.ResourceParam[Lake]) -> dg.MaterializeResult[Any]:
    """Every registered feature at every snapshot: the families side by side, one row a snapshot."""

    def compute(span: Span) -> pl.DataFrame:
        return join_families({family: lake.scan(t, span).collect() for family, t in FAMILY_TABLES.items()})

    return refreshed(context, lake, FEATURES, compute)
