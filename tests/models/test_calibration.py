import json

import numpy as np
import pytest
from scipy.special import softmax

from pipeline.models.calibration import (
    Calibrator,
    Sigmoid,
    Step,
    calibrate,
    fit_one_vs_rest,
    fit_temperature,
    isotonic,
    load_calibrator,
    platt,
)
from pipeline.models.metrics import row_log_loss


def said(n_pools: int, sharpness: float, seed: int = 0, a_pool: int = 3):
    """Probabilities that are honest at a sharpness of 1, and outcomes drawn from the honest ones, alike in a pool."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(n_pools, 7)) + np.linspace(1, -2, 7)
    honest = softmax(logits, axis=1)
    y = np.array([rng.choice(7, p=p) for p in honest])
    pool = np.repeat(np.arange(n_pools), a_pool)
    return np.repeat(softmax(sharpness * logits, axis=1), a_pool, axis=0), np.repeat(y, a_pool), pool


@pytest.mark.parametrize(("n_pools", "sharpness"), [(8, 0.3), (8, 3.0), (60, 1.0), (60, 3.0), (400, 0.3)])
def test_calibration_never_worsens_the_log_loss_of_its_own_block(sharpness, n_pools):
    p, y, pool = said(n_pools, sharpness)
    found = calibrate(p, y, pool, seed=1).calibrator
    assert row_log_loss(y, found(p)).mean() <= row_log_loss(y, Calibrator()(p)).mean() + 1e-12


def test_honest_probabilities_are_left_as_they_are():
    assert [calibrate(*said(150, 1.0, seed), seed=1).calibrator.how for seed in range(4)].count("none") == 4


@pytest.mark.parametrize("sharpness", [0.4, 2.5])
def test_probabilities_too_flat_or_too_sharp_are_mended_on_pools_they_have_not_seen(sharpness):
    calibrator = calibrate(*said(400, sharpness), seed=1).calibrator
    p, y, _ = said(2_000, sharpness, seed=9)
    honest = row_log_loss(y, said(2_000, 1.0, seed=9)[0]).mean()
    before, after = (row_log_loss(y, q).mean() for q in (p, calibrator(p)))
    assert after - honest < 0.15 * (before - honest)


def test_the_temperature_is_found():
    p, y, pool = said(3_000, 2.0)
    assert fit_temperature(p, y, np.ones(len(y)), pool).temperature == pytest.approx(2.0, rel=0.1)


def test_many_positives_are_calibrated_by_steps_few_by_a_sigmoid_and_none_not_at_all():
    p, y, pool = said(900, 1.0)
    y = np.where(y == 5, 4, y)
    rare = np.flatnonzero(y == 6)
    y[rare[: len(rare) - 60]] = 0
    maps = fit_one_vs_rest(p, y, np.ones(len(y)), pool).maps
    assert isinstance(maps[0], Step)
    assert maps[5] == Sigmoid()
    assert isinstance(maps[6], Sigmoid)
    assert maps[6] != Sigmoid()


def test_no_loss_is_infinite_after_steps_that_would_have_said_never():
    p = np.linspace(0.001, 0.999, 500)
    step = isotonic(p, (p > 0.5).astype(float), np.ones(500))
    assert 0 < step(np.array([0.0]))[0] < 0.01
    assert 0.99 < step(np.array([1.0]))[0] < 1
    p7, y, pool = said(900, 1.0)
    calibrated = fit_one_vs_rest(p7, y, np.ones(len(y)), pool)(p7)
    assert calibrated.min() > 1e-5
    np.testing.assert_allclose(calibrated.sum(axis=1), 1)


def test_steps_are_scikit_learns_but_for_the_observation_added():
    from sklearn.isotonic import IsotonicRegression

    rng = np.random.default_rng(0)
    p = rng.random(4_000)
    came = (rng.random(4_000) < p**2).astype(float)
    theirs = IsotonicRegression(out_of_bounds="clip").fit(p, came)
    np.testing.assert_allclose(isotonic(p, came, np.ones(4_000))(p), theirs.predict(p), atol=0.05)


def test_platts_numbers_are_those_of_a_logistic_regression_on_the_logit():
    rng = np.random.default_rng(0)
    p = rng.uniform(0.02, 0.98, 5_000)
    z = 1.7 * np.log(p / (1 - p)) - 0.4
    came = (rng.random(5_000) < 1 / (1 + np.exp(-z))).astype(float)
    found = platt(p, came, np.ones(5_000))
    assert (found.slope, found.shift) == pytest.approx((1.7, -0.4), abs=0.12)


@pytest.mark.parametrize("how", ["none", "temperature", "one_vs_rest"])
def test_a_calibrator_read_back_from_plain_json_says_the_same(how):
    p, y, pool = said(700, 2.0)
    fits = {"none": Calibrator(), "temperature": fit_temperature(p, y, np.ones(len(y)), pool),
            "one_vs_rest": fit_one_vs_rest(p, y, np.ones(len(y)), pool)}  # fmt: skip
    state = json.loads(json.dumps(fits[how].state()))
    np.testing.assert_array_equal(load_calibrator(state)(p), fits[how](p))
    wrongs = (
        {"how": "x"},
        {"temperature": 0},
        {"maps": [1]},
        {"maps": None},
        {"maps": [{"slope": -1, "shift": 0}] * 7},
    )
    for wrong in wrongs:
        with pytest.raises((ValueError, KeyError, TypeError)):
            load_calibrator({**state, **wrong})


def test_a_pool_counts_once_however_many_rows_it_has():
    p, y, pool = said(150, 2.5)
    often = np.r_[np.arange(len(y)), np.tile(np.flatnonzero(pool < 20), 15)]
    once, more = calibrate(p, y, pool, seed=1), calibrate(p[often], y[often], pool[often], seed=1)
    assert more.losses == pytest.approx(once.losses, rel=1e-6)
    np.testing.assert_allclose(more.calibrator(p), once.calibrator(p), atol=1e-6)


def test_a_map_is_judged_on_pools_it_was_not_fitted_on():
    losses = calibrate(*said(240, 1.0, a_pool=12), seed=1).losses
    assert losses["one_vs_rest"] > losses["none"]
