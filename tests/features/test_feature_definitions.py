"""A feature's own hash follows what its values follow from, and nothing that belongs to other features alone."""

import subprocess
import sys
from dataclasses import replace
from datetime import timedelta

import pytest

from pipeline.calendars import HOUR
from pipeline.features import definitions
from pipeline.features.definitions import feature_definitions
from pipeline.features.engine_list import ENGINES
from pipeline.features.inputs import Lagged, now
from pipeline.features.registry import FEATURE_NAMES, REGISTRY, feature_set_hash
from pipeline.features.spec import FeaturesSpec, RiskPoints
from pipeline.tables import SNAPSHOTS

ALL = tuple(REGISTRY.values())
WAS = feature_definitions()


def differing(now_: dict[str, str]) -> set[str]:
    return {name for name in WAS if now_.get(name) != WAS[name]}


def with_one_changed(name: str, **parts) -> list:
    return [replace(one, **parts) if one.name == name else one for one in ALL]


def read_by(*engines: str) -> set[str]:
    """The features that read any of these engines."""
    return {one.name for one in ALL if any(read.engine in engines for read in one.inputs)}


def test_every_feature_has_one_of_its_own_and_the_same_in_another_process():
    assert tuple(WAS) == FEATURE_NAMES
    assert len(set(WAS.values())) == len(WAS)
    code = "from pipeline.features.definitions import feature_definitions; print(feature_definitions()['rsi_5m'])"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == WAS["rsi_5m"]


@pytest.mark.parametrize(
    "parts",
    [
        {"formula": lambda x, _: x["reserve_usd"] * 2},
        {"inputs": now("price_usd")},
        {"inputs": (*REGISTRY["reserve_usd"].inputs, Lagged("reserve_usd", HOUR))},
    ],
    ids=["formula", "input", "inputs"],
)
def test_a_changed_feature_changes_its_own_hash_alone_and_the_sets(parts):
    features = with_one_changed("reserve_usd", **parts)
    assert differing(feature_definitions(features=features)) == {"reserve_usd"}
    assert feature_set_hash(features=features) != feature_set_hash()


def test_a_feature_more_or_less_leaves_all_others_as_they_were():
    fewer = feature_definitions(features=ALL[1:])
    assert differing(fewer) == {ALL[0].name}
    more = feature_definitions(features=[*ALL, replace(ALL[0], formula=lambda x, _: x["reserve_usd"] + 1)])
    assert differing({**WAS, **more}) == {ALL[0].name}
    assert differing(feature_definitions(features=with_one_changed("rsi_5m", null_rule="said otherwise"))) == set()


def test_a_threshold_counts_for_the_features_whose_formula_or_engine_reads_it():
    assert differing(feature_definitions(FeaturesSpec(risk=RiskPoints(young=11.0)))) == {"risk_score"}
    assert differing(feature_definitions(FeaturesSpec(spike_ratio=4.0))) == {"has_volume_spike"}
    assert differing(feature_definitions(FeaturesSpec(stale_bars=13))) == read_by("bars", "index")
    assert differing(feature_definitions(FeaturesSpec(smart_trades=4))) == read_by("trades")
    assert differing(feature_definitions(FeaturesSpec(lag_tolerance_minutes=20))) == set(WAS)


def test_the_code_of_an_engine_counts_for_the_features_that_it_feeds(monkeypatch):
    modules = definitions._modules()

    def told_with(name):
        other = {**modules, name: replace(modules[name], code="other")}
        monkeypatch.setattr(definitions, "_modules", lambda: other)
        return differing(feature_definitions())

    assert told_with("from_tokens") == read_by("tokens")
    assert told_with("indicator_terms") == read_by("bars"), "what a module imports is part of it"
    assert told_with("swaps") == read_by("trades")
    assert told_with("market_index") == read_by("index")
    assert told_with("from_snapshots") == set(WAS)


def test_every_module_of_the_engines_counts_for_some_feature_or_engine():
    reached = definitions._with_imported({"from_snapshots", "extra_indicators"}, definitions._modules())
    modules = definitions._modules()
    for one in ALL:
        reached |= set(definitions._definition(one, FeaturesSpec(), modules)["engines"])
    assert reached == set(modules)
    assert {engine for one in ALL for engine in (read.engine for read in one.inputs)} <= set(ENGINES)


def test_the_range_of_an_observed_column_counts_for_who_reads_it(monkeypatch):
    columns = tuple(replace(c, maximum=1e9) if c.name == "reserve_usd" else c for c in SNAPSHOTS.columns)
    monkeypatch.setattr(definitions, "SNAPSHOTS", replace(SNAPSHOTS, columns=columns))
    found = differing(feature_definitions())
    assert {"reserve_usd", "risk_score"} <= found
    assert not found & (read_by("bars") | {"age_hours", "n_holders"})


def test_how_far_back_an_input_reaches_counts(monkeypatch):
    from pipeline.features.inputs import OfBar

    monkeypatch.setattr(OfBar, "look_back", timedelta(days=3))
    assert differing(feature_definitions()) == read_by("bars")
