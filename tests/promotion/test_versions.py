"""Whether a version can still be asked of the features of today, told from its tags alone."""

import json

import pytest
from training_runs import FEATURES, a_run

from pipeline.errors import InputError, RegistryError
from pipeline.promotion.versions import Fed, RegisteredVersion, asked_otherwise, why_mute

OWN = {name: str(place) for place, name in enumerate(FEATURES)}


def a_version(**tags: str) -> RegisteredVersion:
    told = {"feature_set": "then", "feature_names": json.dumps(FEATURES), "feature_definitions": json.dumps(OWN)}
    return RegisteredVersion.from_tags("pool-outcome", 7, "run", told | tags)


def test_other_features_may_come_go_and_change():
    assert why_mute(a_version(), Fed("now", OWN)) == ""
    assert why_mute(a_version(), Fed("now", {**OWN, "new": "9", "n_holders": "8"})) == ""


@pytest.mark.parametrize(
    ("now", "why"),
    [
        ({**OWN, "age_hours": "9"}, "of its 3 features 1 is defined otherwise since it learned ('age_hours')"),
        (
            {**OWN, "age_hours": "9", "reserve_usd": "9"},
            "of its 3 features 2 are defined otherwise since it learned ('age_hours', 'reserve_usd')",
        ),
        ({"age_hours": "0", "reserve_usd": "1"}, "of its 3 features 1 is gone ('price_change_1h_pct')"),
        ({}, "of its 3 features 3 are gone ('age_hours', 'reserve_usd', 'price_change_1h_pct')"),
    ],
)
def test_a_feature_of_its_own_that_changed_or_went_is_named(now: dict[str, str], why: str):
    assert why_mute(a_version(), Fed("now", now)) == why


def test_of_many_features_a_few_are_named():
    names = [f"f{place}" for place in range(134)]
    told = a_version(feature_names=json.dumps(names), feature_definitions=json.dumps(dict.fromkeys(names, "1")))
    why = why_mute(told, Fed("now", dict.fromkeys(names, "2")))
    assert why.endswith("('f0', 'f1', 'f2', 'f3', 'f4' and 129 more)")
    assert len(why) < 200


def test_a_feature_that_it_takes_and_does_not_define_is_taken_for_changed():
    less = a_version(feature_definitions=json.dumps({"age_hours": "0", "reserve_usd": "1"}))
    assert "1 is defined otherwise since it learned ('price_change_1h_pct')" in why_mute(less, Fed("now", OWN))


def test_a_version_of_before_is_asked_while_its_whole_set_is_the_same():
    old = RegisteredVersion.from_tags("pool-outcome", 7, "run", {"feature_set": "then"})
    assert why_mute(old, Fed("then", {})) == ""
    assert "registered without saying how its own were defined" in why_mute(old, Fed("now", OWN))


@pytest.mark.parametrize("tag", ["feature_names", "feature_definitions"])
def test_tags_that_are_none_of_ours_are_an_error_and_not_shown_at_length(tag: str):
    for wrong in ("{", "7", "x" * 10_000):
        with pytest.raises(RegistryError, match=f"version 7: its tags must tell {tag} as JSON") as raised:
            why_mute(a_version(**{tag: wrong}), Fed("now", {}))
        assert len(str(raised.value)) < 1_000


def test_a_training_defines_exactly_what_its_model_takes():
    assert json.loads(a_run(feature_definitions=OWN).told_inputs["feature_definitions"]) == OWN
    assert set(a_run().told_inputs) == {"feature_names"}
    with pytest.raises(InputError, match="exactly the definitions of these"):
        a_run(feature_definitions={"age_hours": "1"})


RULE = {"rug_price_pct": -80.0, "rug_drained_pct": None}


def test_thresholds_that_changed_since_a_version_learned_are_named_and_those_that_did_not_are_not():
    told = a_version(**a_run(label_rule=RULE).told_inputs)
    assert asked_otherwise(told, RULE) == ""
    assert asked_otherwise(told, {**RULE, "rug_price_pct": -60.0}) == "rug_price_pct was -80.0, is -60.0"
    assert asked_otherwise(told, {**RULE, "rug_drained_pct": -90.0}) == "rug_drained_pct was None, is -90.0"


@pytest.mark.parametrize("tag", ["{", "7", "[1]", '["ab"]'])
def test_a_version_that_does_not_tell_its_thresholds_is_never_an_error(tag: str):
    assert asked_otherwise(a_version(), RULE) == ""
    assert len(asked_otherwise(a_version(label_rule=tag), RULE)) < 200
