"""The registry agrees with the vocabulary, and its hash follows the formulas and nothing else."""

import ast
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest

from pipeline.calendars import DAY, HOUR
from pipeline.errors import UsageError
from pipeline.features import definitions, registry
from pipeline.features.definitions import feature_definitions
from pipeline.features.engines import from_index
from pipeline.features.families import core, trends
from pipeline.features.feature import Example, feature
from pipeline.features.inputs import Lagged, now
from pipeline.features.registry import (
    FAMILIES,
    FEATURE_NAMES,
    LOOK_BACK,
    REGISTRY,
    collect,
    feature_set_hash,
    features_of,
    look_backs,
    named,
)
from pipeline.features.spec import FeaturesSpec, RiskPoints
from pipeline.tables import FAMILY_COLUMNS, FEATURES

ALL = tuple(REGISTRY.values())


def test_the_registry_has_the_tables_feature_columns_in_the_tables_order():
    carried = {"source", "network", "pool", "event_time", "known_at"}
    assert tuple(c.name for c in FEATURES.columns if c.name not in carried) == FEATURE_NAMES == tuple(REGISTRY)
    assert all(name == found.name for name, found in REGISTRY.items())


def test_the_snapshot_model_has_its_28_features():
    n_features = {family: len(features_of(family)) for family in FAMILIES}
    model = {"core": 9, "momentum": 6, "smart_money": 3, "trends": 6, "patterns": 3, "sentiment": 3}
    assert {family: n_features[family] for family in model} == model  # two of the trends are drawdowns, beside the 28
    assert n_features["technical"] == 3 * 23


def test_the_look_back_covers_the_furthest_feature_and_the_tolerance():
    spec = FeaturesSpec()
    reach = look_backs(ALL, spec)
    assert reach["snapshots"] == from_index.reach(spec)
    assert look_backs(features_of("trends"), spec)["snapshots"] == DAY + spec.lag_tolerance
    assert reach["tokens"] == HOUR + spec.token_tolerance
    assert reach["candles"] >= 7 * DAY
    assert reach["trades"] >= 7 * DAY
    assert max(reach.values()) == LOOK_BACK
    assert look_backs([REGISTRY["reserve_usd"]], spec) == {"snapshots": spec.lag_tolerance}


def test_a_name_or_family_there_is_not_is_refused_with_what_there_is():
    assert named("rsi_5m").family == "technical"
    with pytest.raises(UsageError, match="no feature 'rsi'"):
        named("rsi")
    with pytest.raises(UsageError, match="no family"):
        features_of("astrology")


def test_the_hash_is_the_same_in_another_process():
    code = "from pipeline.features.registry import feature_set_hash; print(feature_set_hash())"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == feature_set_hash()


def changed(position, **parts):
    return (*ALL[:position], replace(ALL[position], **parts), *ALL[position + 1 :])


@pytest.mark.parametrize(
    "features",
    [
        changed(0, formula=lambda x, _: x["reserve_usd"] * 2),
        changed(0, inputs=now("price_usd")),
        changed(5, inputs=(*ALL[5].inputs, Lagged("reserve_usd", HOUR))),
        ALL[1:],
    ],
    ids=["formula", "input", "inputs", "fewer"],
)
def test_the_hash_changes_with_any_part_of_a_feature(features):
    assert feature_set_hash(features=features) != feature_set_hash()


def test_the_hash_changes_with_a_threshold_and_not_with_words():
    assert feature_set_hash(FeaturesSpec(spike_ratio=4.0)) != feature_set_hash(FeaturesSpec())
    assert feature_set_hash(FeaturesSpec(lag_tolerance_minutes=20)) != feature_set_hash()
    assert feature_set_hash(FeaturesSpec(risk=RiskPoints(young=11.0))) != feature_set_hash()
    assert feature_set_hash(features=changed(0, null_rule="said otherwise")) == feature_set_hash()


def test_the_hash_changes_with_the_code_of_an_engine(monkeypatch):
    before, code = feature_set_hash(), registry._engines_code()
    assert {"from_snapshots", "from_tokens", "inputs", "engine"} <= set(code)
    assert not {name for name in code if name.startswith("online") or name in FAMILIES}
    monkeypatch.setattr(registry, "_engines_code", lambda: {**code, "from_tokens": "other"})
    assert feature_set_hash() != before


def test_the_code_is_read_once_however_often_the_hash_is_asked_for(monkeypatch):
    before = feature_set_hash(), feature_definitions()

    def never(file):
        raise AssertionError(f"read {file} again")

    monkeypatch.setattr(registry, "wordless", never)
    monkeypatch.setattr(definitions, "wordless", never)
    assert (feature_set_hash(), feature_definitions()) == before


def test_no_constant_of_an_indicator_hides_where_the_hash_does_not_look():
    assert {"indicator_terms", "market_terms", "spec", "feature", "engine_list", "algebra"} <= set(
        registry._engines_code()
    )
    engines = Path(registry.__file__).parent / "engines"
    for file in (file for file in engines.glob("*.py") if not file.stem.startswith(("online", "__"))):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.ImportFrom) and ".online_" in (node.module or ""):
                taken = [name.name for name in node.names]
                assert not [name for name in taken if name.isupper()], f"{file.stem} takes {taken!r}"


def test_a_modules_code_is_the_same_whatever_its_docstrings_say(tmp_path):
    def code(source):
        (tmp_path / "module.py").write_text(source)
        return ast.dump(registry.wordless(tmp_path / "module.py"))

    assert code('"""One."""\nx = 1  # why') == code('"""Two."""\nx = 1')
    assert code('x = 1\n"""Said of x."""') == code('x = 1\n"""Said otherwise."""')
    assert code("x = 1") != code("x = 2")


def test_a_feature_defined_twice_or_nowhere_is_refused():
    twin = ModuleType("twin")
    twin.reserve_usd = replace(core.reserve_usd, null_rule="a twin")
    with pytest.raises(UsageError, match="twice"):
        collect((core, twin), {"core": FAMILY_COLUMNS["core"]})
    with pytest.raises(UsageError, match="no family defines"):
        collect((core, trends), FAMILY_COLUMNS)


@pytest.mark.parametrize(
    ("name", "given", "said"),
    [("no_such_feature", {"reserve_usd": 1.0}, "no column"), ("reserve_usd", {}, "example")],
)
def test_a_definition_that_contradicts_itself_or_the_tables_is_refused(name, given, said):
    with pytest.raises(UsageError, match=said):
        feature(name, family="core", inputs=now("reserve_usd"), null_rule="", example=Example(given, None))


@pytest.mark.parametrize(
    "wrong",
    [
        {"spike_ratio": 0.0},
        {"majority": 1.0},
        {"lag_tolerance_minutes": -1},
        {"stale_bars": 0},
        {"min_returns": 2},
        {"smart_win_share": 0.0},
    ],
)
def test_thresholds_without_meaning_are_refused(wrong):
    with pytest.raises(UsageError):
        FeaturesSpec(**wrong)
