"""The registry agrees with the vocabulary, and its hash follows the formulas and nothing else."""

import subprocess
import sys
from dataclasses import replace
from datetime import timedelta
from types import ModuleType

import polars as pl
import pytest

from pipeline.calendars import DAY, HOUR, MINUTE
from pipeline.errors import UsageError
from pipeline.features import core, registry, trends
from pipeline.features.compute import FEATURE_NAMES, LOOK_BACK, REGISTRY, feature_set_hash
from pipeline.features.feature import Example, Lagged, feature, now
from pipeline.features.registry import collect
from pipeline.features.spec import FeaturesSpec
from pipeline.tables import FEATURES

ALL = tuple(REGISTRY.values())


def test_the_registry_has_the_tables_feature_columns_in_the_tables_order():
    carried = {"source", "network", "pool", "event_time", "known_at"}
    assert tuple(c.name for c in FEATURES.columns if c.name not in carried) == FEATURE_NAMES == tuple(REGISTRY)
    assert all(name == found.name for name, found in REGISTRY.items())


def test_the_look_back_covers_the_furthest_feature_and_the_tolerance():
    assert LOOK_BACK == DAY + 15 * MINUTE
    assert max(found.look_back for found in ALL) == DAY


def test_the_hash_is_the_same_in_another_process():
    code = "from pipeline.features.registry import feature_set_hash; print(feature_set_hash())"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == feature_set_hash()


def changed(position, **parts):
    return (*ALL[:position], replace(ALL[position], **parts), *ALL[position + 1 :])


@pytest.mark.parametrize(
    "features",
    [
        changed(0, formula=lambda _: pl.col("reserve_usd") * 2),
        changed(0, name="another"),
        changed(0, family="trends"),
        changed(0, look_back=HOUR),
        changed(5, inputs=(*ALL[5].inputs, Lagged("reserve_usd", HOUR))),
        ALL[1:],
    ],
    ids=["formula", "name", "family", "look-back", "inputs", "fewer"],
)
def test_the_hash_changes_with_any_part_of_a_feature(features):
    if features[0].name == "another":
        with pytest.raises(UsageError):
            feature_set_hash(features=features)
    else:
        assert feature_set_hash(features=features) != feature_set_hash()


def test_the_hash_changes_with_a_threshold_and_not_with_words():
    assert feature_set_hash(FeaturesSpec(spike_ratio=4.0)) != feature_set_hash(FeaturesSpec())
    assert feature_set_hash(FeaturesSpec(lag_tolerance_minutes=20)) != feature_set_hash()
    assert feature_set_hash(features=changed(0, null_rule="said otherwise")) == feature_set_hash()


def test_the_hash_changes_with_the_code_that_looks_back(monkeypatch):
    before = feature_set_hash()
    monkeypatch.setattr(registry, "steps", core)
    assert feature_set_hash() != before


def test_a_modules_code_is_the_same_whatever_its_docstrings_say(monkeypatch):
    def code(source):
        monkeypatch.setattr(registry.inspect, "getsource", lambda _: source)
        return registry._code(core)

    assert code('"""One."""\nx = 1  # why') == code('"""Two."""\nx = 1')
    assert code("x = 1") != code("x = 2")


def test_a_feature_defined_twice_or_nowhere_is_refused():
    twin = ModuleType("twin")
    twin.reserve_usd = replace(core.reserve_usd, null_rule="a twin")
    with pytest.raises(UsageError, match="twice"):
        collect((core, twin))
    with pytest.raises(UsageError, match="no family defines"):
        collect((core, trends))


@pytest.mark.parametrize(
    ("name", "inputs", "look_back", "given", "said"),
    [
        ("no_such_feature", now("reserve_usd"), timedelta(0), {"reserve_usd": 1.0}, "no column"),
        ("reserve_usd", now("no_such_input"), timedelta(0), {"no_such_input": 1.0}, "no column"),
        ("reserve_usd", now("reserve_usd"), HOUR, {"reserve_usd": 1.0}, "look-back"),
        ("reserve_usd", now("reserve_usd"), timedelta(0), {}, "example"),
    ],
)
def test_a_definition_that_contradicts_itself_or_the_tables_is_refused(name, inputs, look_back, given, said):
    with pytest.raises(UsageError, match=said):
        feature(name, family="core", inputs=inputs, look_back=look_back, null_rule="", example=Example(given, None))


@pytest.mark.parametrize("wrong", [{"spike_ratio": 0.0}, {"majority": 1.0}, {"lag_tolerance_minutes": -1}])
def test_thresholds_without_meaning_are_refused(wrong):
    with pytest.raises(UsageError):
        FeaturesSpec(**wrong)
