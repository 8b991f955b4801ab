import numpy as np
import polars as pl
import pytest
from model_rows import NAMES, SPEC, training_set

from pipeline.models.baselines import fit_baselines, majority, one_feature_rule
from pipeline.models.spec import BASELINES
from pipeline.tables import OUTCOMES


def test_every_baseline_gives_probabilities_for_rows_it_never_saw():
    made, new = training_set(60), training_set(20, seed=9).frame
    found = fit_baselines(made.frame, NAMES, made.y, made.weight, SPEC)
    assert tuple(found) == BASELINES
    for baseline in found.values():
        p = baseline.predict_proba(new)
        assert p.shape == (100, len(OUTCOMES))
        assert p.min() > 0
        np.testing.assert_allclose(p.sum(axis=1), 1)


def test_the_rule_takes_the_feature_that_tells_most():
    made = training_set(60)
    assert one_feature_rule(made.frame, NAMES, made.y, made.weight, 10).feature == "signal"


def test_a_null_has_frequencies_of_its_own():
    frame = pl.DataFrame({"a": [None] * 50 + [1.0] * 50})
    y = np.array([0] * 50 + [4] * 50)
    p = one_feature_rule(frame, ["a"], y, np.ones(100), 10).predict_proba(pl.DataFrame({"a": [None, 1.0, 7.0]}))
    assert p.argmax(axis=1).tolist() == [0, 4, 4]


def test_a_bin_that_was_empty_in_training_says_the_prior():
    frame = pl.DataFrame({"a": np.arange(50.0)})
    y = np.array([0, 4] * 25)
    rule = one_feature_rule(frame, ["a"], y, np.ones(50), 5)
    p = rule.predict_proba(pl.DataFrame({"a": [None]}, schema={"a": pl.Float64}))
    assert p[0, 0] == pytest.approx(26 / 57)


def test_the_majority_leaves_a_little_to_the_others():
    p = majority(np.array([4, 4, 0]), np.ones(3), epsilon=0.001).predict_proba(pl.DataFrame({"a": [1]}))
    assert p[0, 4] == pytest.approx(0.994)
    assert p[0, 1] == 0.001
