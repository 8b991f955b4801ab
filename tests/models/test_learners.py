"""The battery: every learner that the registry of members knows, a new one included."""

import json

import numpy as np
import pytest
from outcome_rows import N_FEATURES, fitted, rows, small

from pipeline.models.learners import boosted_lightgbm, boosted_xgboost, forest, logistic
from pipeline.models.members import LEARNERS, class_weights, load_member, with_prior
from pipeline.models.metrics import row_log_loss
from pipeline.tables import OUTCOMES

EVERY = pytest.mark.parametrize("learner", list(LEARNERS))


def through_json(state):
    return json.loads(json.dumps(state, allow_nan=False))


@EVERY
def test_a_member_read_back_from_plain_json_says_the_same_to_the_last_bit(learner):
    member, (x, _, _) = fitted(learner, power=0.5), rows(50, seed=3)
    back = load_member(through_json(member.state()), N_FEATURES)
    np.testing.assert_array_equal(back.predict(x), member.predict(x))
    assert json.dumps(back.state()) == json.dumps(member.state())


@EVERY
def test_the_same_rows_and_seed_give_the_same_state(learner):
    assert json.dumps(fitted(learner).state()) == json.dumps(fitted(learner).state())
    if learner != "logistic":  # which draws nothing
        assert json.dumps(fitted(learner, seed=2).state()) != json.dumps(fitted(learner).state())


@EVERY
def test_probabilities_have_a_column_an_outcome_sum_to_one_and_know_something(learner):
    x, y, _ = rows(200, seed=3)
    p = fitted(learner).predict(x)
    assert p.shape == (200, len(OUTCOMES))
    np.testing.assert_allclose(p.sum(axis=1), 1, atol=1e-12)
    assert row_log_loss(y, p).mean() < np.log(len(OUTCOMES)) - 0.02
    assert fitted(learner).predict(x[:0]).shape == (0, len(OUTCOMES))


@EVERY
@pytest.mark.parametrize("absent", [0, 6])
def test_an_outcome_that_training_never_saw_keeps_a_chance(learner, absent):
    p = fitted(learner, without=absent).predict(rows(200, seed=3)[0])
    assert 1e-6 < p[:, absent].min() < p[:, absent].mean() < 0.1


@EVERY
def test_rows_of_nothing_and_of_the_largest_numbers_are_answered(learner):
    edge = np.full((1, N_FEATURES), 1e29, np.float32)
    p = fitted(learner).predict(np.vstack([np.full_like(edge, np.nan), edge, -edge]))
    assert np.isfinite(p).all()
    np.testing.assert_allclose(p.sum(axis=1), 1, atol=1e-12)


@EVERY
def test_importance_is_a_share_and_the_telling_feature_leads(learner):
    told = fitted(learner).importance(N_FEATURES)
    assert told.sum() == pytest.approx(1)
    assert told.argmax() == 0
    assert told[5:].sum() == 0  # nobody has the one, the other never varies


@EVERY
def test_weighting_rare_outcomes_up_is_undone_in_what_is_said(learner):
    x, y, weight = rows(2_000)
    kept = (y != 2) | (np.random.default_rng(1).random(len(y)) < 0.1)
    x, y, weight = x[kept], y[kept], weight[kept]
    from pipeline.models.members import fit_member

    for power in (0.0, 1.0):
        member = fit_member(learner, x, y, weight, small(learner), seed=1, n_kept=5, power=power)
        assert member.predict(x)[:, 2].mean() == pytest.approx((y == 2).mean(), abs=0.02)


def test_the_logistic_regression_is_scikit_learns_on_the_same_design():
    from sklearn.linear_model import LogisticRegression

    x, y, weight = with_prior(*rows())
    design = logistic.Design.of(x)
    theirs = LogisticRegression(C=0.03, max_iter=150).fit(design(x), y, sample_weight=weight)
    ours = logistic.fit(x, y, weight, 1, logistic.DEFAULTS)
    np.testing.assert_allclose(ours.predict(x), theirs.predict_proba(design(x)), atol=1e-9)


def test_the_forest_is_scikit_learns_to_the_last_bit():
    x, y, weight = with_prior(*rows())
    grown = forest.grown(x, y, weight, 1, small("random_forest"))
    ours = forest.as_arrays(grown, N_FEATURES)
    fresh = rows(300, seed=9)[0]
    np.testing.assert_array_equal(ours.predict(fresh), grown.predict_proba(fresh))


def test_xgboost_alone_reads_its_trees_with_the_same_answers():
    import xgboost

    x, y, weight = with_prior(*rows())
    ours = boosted_xgboost.fit(x, y, weight, 1, small("xgboost"))
    booster = xgboost.Booster()
    booster.load_model(bytearray(ours.state()["trees"].encode()))
    raw = booster.predict(xgboost.DMatrix(x)).astype(np.float64)
    np.testing.assert_allclose(ours.predict(x), raw / raw.sum(axis=1, keepdims=True), atol=1e-9)


def test_lightgbm_alone_reads_its_trees_with_the_same_answers():
    import lightgbm

    x, y, weight = with_prior(*rows())
    ours = boosted_lightgbm.fit(x, y, weight, 1, small("lightgbm"))
    theirs = lightgbm.Booster(model_str=ours.state()["trees"])
    np.testing.assert_array_equal(ours.predict(x), theirs.predict(x))


def test_class_weights_of_power_one_make_all_outcomes_count_alike():
    y, weight = np.array([0] * 60 + [1] * 6), np.ones(66)
    found = class_weights(y, weight, 1.0)
    assert found[0] * 61 == pytest.approx(found[1] * 7) == pytest.approx(found[2] * 1)


def damages(state):
    """Each value of a state replaced by others, one at a time."""
    for name, value in state.items():
        for wrong in (None, -1, 1e300, "", "AAAA", "NaN", [], {}, [value], 2**40):
            if wrong != value:
                yield {**state, name: wrong}
        yield {other: v for other, v in state.items() if other != name}
    yield {**state, "more": 1}


@EVERY
def test_a_damaged_state_is_refused_and_never_kills(learner):
    state = through_json(fitted(learner).state())
    for wrong in [*damages(state), *({**state, "fitted": w} for w in damages(state["fitted"]))]:
        with pytest.raises((ValueError, KeyError, TypeError, AttributeError)):
            load_member(wrong, N_FEATURES)


@pytest.mark.parametrize("learner", ["xgboost", "lightgbm"])
def test_trees_that_lead_in_circles_or_out_of_their_arrays_are_refused(learner):
    state = through_json(fitted(learner).state())
    text = state["fitted"]["trees"]
    if learner == "xgboost":
        model = json.loads(text)
        tree = model["learner"]["gradient_booster"]["model"]["trees"][0]
        spoilt = []
        for name, value in (("left_children", 0), ("split_indices", 99), ("right_children", 10**6)):
            kept = tree[name][0]
            tree[name][0] = value
            spoilt.append(json.dumps(model))
            tree[name][0] = kept
    else:
        spoilt = [
            text.replace("left_child=1", "left_child=0", 1),
            text.replace("split_feature=", "split_feature=99 ", 1),
        ]
        spoilt.append(text.replace("num_class=7", "num_class=3", 1))
    for wrong in spoilt:
        assert wrong != text
        with pytest.raises((ValueError, KeyError, TypeError)):
            load_member({**state, "fitted": {"trees": wrong}}, N_FEATURES)


def test_a_forest_whose_nodes_lead_back_is_refused():
    from pipeline.models.learners.states import packed, unpacked

    state = through_json(fitted("random_forest").state())
    n = state["fitted"]["n_nodes"]
    left = unpacked(state["fitted"]["left"], n)
    left[0] = 0
    with pytest.raises(ValueError, match="leads back"):
        load_member({**state, "fitted": {**state["fitted"], "left": packed(left)}}, N_FEATURES)
