import json

import numpy as np
import pytest
from scipy.special import softmax

from pipeline.models.combination import alone, equal, fit_stack, fit_vote, load_combination
from pipeline.models.metrics import row_log_loss


def members(n: int = 1_500, seed: int = 0):
    """A good member, a noisy one, one that is too sharp, and outcomes."""
    rng = np.random.default_rng(seed)
    logits = 1.5 * rng.normal(size=(n, 7))
    y = np.array([rng.choice(7, p=p) for p in softmax(logits, axis=1)])
    noisy = softmax(rng.normal(size=(n, 7)), axis=1)
    return [softmax(logits, axis=1), noisy, softmax(3 * logits, axis=1)], y, np.ones(n)


def loss(p, y) -> float:
    return float(row_log_loss(y, p).mean())


def test_the_vote_finds_who_knows_and_is_no_worse_than_equal_weights():
    said, y, weight = members()
    vote = fit_vote(said, y, weight)
    assert vote.weights.sum() == pytest.approx(1)
    assert vote.weights[0] > 0.8
    assert loss(vote(said), y) < loss(equal(3)(said), y)


def test_the_stack_is_no_worse_than_its_best_member_on_rows_it_has_not_seen():
    stack = fit_stack(*members())
    said, y, _ = members(seed=7)
    assert loss(stack(said), y) < min(loss(p, y) for p in said) + 0.01
    assert loss(stack(said), y) < loss(equal(3)(said), y)


def test_the_stacks_slope_is_that_of_its_loss():
    from scipy.optimize import approx_fprime

    from pipeline.models import combination

    said, y, weight = members(200)
    captured = {}
    original = combination.minimize

    def watch(loss, start, **other):
        captured["loss"] = loss
        return original(loss, start, **other)

    combination.minimize = watch
    try:
        fit_stack(said, y, weight)
    finally:
        combination.minimize = original
    at = np.linspace(-0.3, 0.5, 10)
    value = captured["loss"]
    np.testing.assert_allclose(value(at)[1], approx_fprime(at, lambda t: value(t)[0], 1e-7), atol=1e-4)


@pytest.mark.parametrize("how", ["vote", "stack", "alone"])
def test_a_combination_read_back_from_plain_json_says_the_same(how):
    said, y, weight = members(200)
    mix = {"vote": lambda: fit_vote(said, y, weight), "stack": lambda: fit_stack(said, y, weight), "alone": alone}[
        how
    ]()
    used = said[:1] if how == "alone" else said
    state = json.loads(json.dumps(mix.state()))
    np.testing.assert_array_equal(load_combination(state, len(used))(used), mix(used))
    for wrong in ({"how": "x"}, {"weights": "", "coefficients": ""}, {"how": None}):
        with pytest.raises((ValueError, KeyError, TypeError)):
            load_combination({**state, **wrong}, len(used))
    with pytest.raises((ValueError, KeyError, TypeError)):
        load_combination(state, len(used) + 1)
