"""Figures of any set of classes, beside scikit-learn and the literature, and the fast way beside the direct one."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sk
from sklearn.calibration import calibration_curve

from pipeline.models import tallies as tallies_module
from pipeline.models.metrics import average_precision, figures, from_tally, murphy, roc_auc
from pipeline.models.tallies import MAX_LEVELS, levels_of, tallies

ABC = tuple("abcdefghijkl")


def sample(seed: int, n: int, n_classes: int, *, is_tied: bool = False, absent: int = 0):
    rng = np.random.default_rng(seed)
    present = n_classes - absent
    y = np.concatenate([np.arange(present), rng.integers(0, present, n - present)])
    p = rng.dirichlet(np.ones(n_classes), n) + 0.2 * np.eye(n_classes)[y]
    p = np.round(p, 1) + 0.01 if is_tied else p
    return y, p / p.sum(axis=1, keepdims=True), rng.integers(0, 4, n).astype(float) + 0.5 * (np.arange(n) < present)


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 9999), n_classes=st.integers(2, 12), is_tied=st.booleans(), absent=st.integers(0, 2))
def test_any_number_of_classes_gives_what_scikit_learn_gives(seed: int, n_classes: int, is_tied: bool, absent: int):
    absent = min(absent, n_classes - 2)
    y, p, w = sample(seed, 120, n_classes, is_tied=is_tied, absent=absent)
    found = {key: value[0] for key, value in figures(y, p, w[None, :], n_bins=7, classes=ABC[:n_classes]).items()}
    said = p.argmax(axis=1)
    assert found["accuracy", "all"] == pytest.approx(sk.accuracy_score(y, said, sample_weight=w), abs=1e-9)
    expected = sk.log_loss(y, p, sample_weight=w, labels=list(range(n_classes)))
    assert found["log_loss", "all"] == pytest.approx(expected, abs=1e-9)
    multi = sk.brier_score_loss(y, p, sample_weight=w, labels=list(range(n_classes)), scale_by_half=False)
    assert found["brier", "all"] == pytest.approx(multi, abs=1e-9)
    aucs = []
    for k, name in enumerate(ABC[:n_classes]):
        truth, score = y == k, p[:, k]
        if k >= n_classes - absent:  # a class that does not occur has no recall, no F1, no ranking
            assert all(np.isnan(found[metric, name]) for metric in ("recall", "f1", "roc_auc", "pr_auc"))
            continue
        aucs.append(sk.roc_auc_score(truth, score, sample_weight=w))
        assert found["roc_auc", name] == pytest.approx(aucs[-1], abs=1e-9)
        assert found["pr_auc", name] == pytest.approx(
            sk.average_precision_score(truth, score, sample_weight=w), abs=1e-9
        )
        assert found["brier", name] == pytest.approx(sk.brier_score_loss(truth, score, sample_weight=w), abs=1e-9)
        assert found["f1", name] == pytest.approx(sk.f1_score(truth, said == k, sample_weight=w), abs=1e-9)
        assert found["recall", name] == pytest.approx(sk.recall_score(truth, said == k, sample_weight=w), abs=1e-9)
        precision = sk.precision_score(truth, said == k, sample_weight=w, zero_division=np.nan)
        assert found["precision", name] == pytest.approx(precision, abs=1e-9, nan_ok=True)
    assert found["roc_auc", "macro"] == pytest.approx(np.mean(aucs), abs=1e-9)


def test_a_probability_of_nothing_for_what_came_costs_what_scikit_learn_lets_it_cost():
    y, p = np.array([0, 1, 1]), np.array([[0.0, 1.0], [0.25, 0.75], [1.0, 0.0]])
    found = figures(y, p, np.ones((1, 3)), n_bins=2, classes=("0", "1"))["log_loss", "all"][0]
    assert found == pytest.approx(sk.log_loss(y, p), abs=1e-9)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 9999), is_tied=st.booleans())
def test_sums_by_pool_give_what_weights_by_row_give(seed: int, is_tied: bool):
    y, p, _ = sample(seed, 150, 4, is_tied=is_tied)
    rng = np.random.default_rng(seed)
    pool = np.unique(rng.integers(0, 30, len(y)), return_inverse=True)[1]
    counts = rng.integers(0, 3, (pool.max() + 1, 5)).astype(float)
    by_pool = from_tally(tallies(y, p, pool, n_bins=6).weighted(counts), ABC[:4])
    by_row = figures(y, p, counts[pool].T, n_bins=6, classes=ABC[:4])
    for key, value in by_row.items():
        np.testing.assert_allclose(by_pool[key], value, atol=1e-12, err_msg=str(key))


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 9999), is_tied=st.booleans())
def test_joining_levels_without_a_positive_changes_no_ranking(seed: int, is_tied: bool):
    y, p, w = sample(seed, 200, 3, is_tied=is_tied)
    found = figures(y, p, w[None, :], n_bins=5, classes=ABC[:3])
    for k, name in enumerate(ABC[:3]):
        truth, score = (y == k).astype(float), np.ascontiguousarray(p[:, k])
        np.testing.assert_allclose(found["roc_auc", name], roc_auc(truth, score, w[None, :]), atol=1e-12)
        np.testing.assert_allclose(found["pr_auc", name], average_precision(truth, score, w[None, :]), atol=1e-12)


def test_levels_hold_equal_shares_of_the_positives_and_never_cross_a_bin():
    is_positive, starts = np.arange(1000) % 2 == 0, np.arange(1000)
    levels = levels_of(is_positive, starts, np.zeros(1000, int), 10)
    assert np.bincount(levels, weights=is_positive)[:10].tolist() == [50.0] * 10
    assert levels.max() <= 10  # what lies above the last positive is one more
    crossed = levels_of(is_positive, starts, (np.arange(1000) >= 30).astype(int), 10)
    assert crossed[29] != crossed[30]
    assert len(set(levels_of(np.arange(1000) == 500, starts, np.zeros(1000, int), None).tolist())) == 3


def test_ranking_by_levels_moves_an_interval_by_less_than_a_hundredth_of_its_width(monkeypatch: pytest.MonkeyPatch):
    from pipeline.models.intervals import resampled

    y, p, _ = sample(4, 30_000, 3)
    pool = np.arange(len(y)) // 30
    assert (y == 0).sum() > MAX_LEVELS
    quick = resampled(y, p, pool, n_resamples=60, n_bins=10, seed=1, classes=ABC[:3])
    monkeypatch.setattr("pipeline.models.intervals.MAX_LEVELS", None)
    exact = resampled(y, p, pool, n_resamples=60, n_bins=10, seed=1, classes=ABC[:3])
    for key in [("roc_auc", "a"), ("pr_auc", "a"), ("roc_auc", "macro"), ("pr_auc", "macro")]:
        a, b = (draws[key] - draws[key].mean() for draws in (quick, exact))
        assert np.abs(a - b).max() < 0.01 * np.ptp(np.quantile(b, [0.025, 0.975])), key
    np.testing.assert_allclose(quick["ece", "a"], exact["ece", "a"], atol=1e-12)


def test_ece_of_the_example_of_guo_et_al_is_the_gap_between_confidence_and_accuracy():
    # Guo et al. 2017, eq. 3: sum over bins of |B| / n |acc - conf|. Two bins: 0.9 said, 0.7 came; 0.3 said, 0.35 came.
    score = np.array([0.9] * 10 + [0.3] * 20)
    truth = np.array([1.0] * 7 + [0] * 3 + [1] * 7 + [0] * 13)
    found = murphy(truth, score, np.ones((1, 30)), n_bins=2)["ece"][0]
    assert found == pytest.approx(10 / 30 * 0.2 + 20 / 30 * 0.05)
    came, said = calibration_curve(truth, score, n_bins=2, strategy="quantile")
    assert found == pytest.approx(sum(n / 30 * abs(c - s) for n, c, s in zip([20, 10], came, said, strict=True)))


def test_equal_mass_bins_are_the_quantile_bins_of_scikit_learn_where_no_values_tie():
    rng = np.random.default_rng(3)
    score = rng.random(1_000)
    truth = (rng.random(1_000) < score**2).astype(float)
    came, said = calibration_curve(truth, score, n_bins=10, strategy="quantile")
    found = murphy(truth, score, np.ones((1, 1_000)), n_bins=10)["ece"][0]
    assert found == pytest.approx(np.mean(np.abs(came - said)), abs=1e-9)


def test_murphys_parts_of_the_forecasts_of_finley_are_those_in_wilks():
    # Finley's tornado forecasts (1884) as a deterministic forecast, Wilks 2011, table 8.1: 28 hits, 72 false alarms,
    # 23 misses, 2680 correct rejections. Brier's score is the share of wrong ones; the parts follow from two bins.
    score = np.r_[np.ones(100), np.zeros(2703)]
    truth = np.r_[np.ones(28), np.zeros(72), np.ones(23), np.zeros(2680)]
    parts = {name: value[0] for name, value in murphy(truth, score, np.ones((1, 2803)), n_bins=10).items()}
    assert parts["brier"] == pytest.approx((72 + 23) / 2803)
    base = 51 / 2803
    assert parts["brier_uncertainty"] == pytest.approx(base * (1 - base))
    assert parts["brier_reliability"] == pytest.approx((100 * 0.72**2 + 2703 * (23 / 2703) ** 2) / 2803)
    assert parts["brier_resolution"] == pytest.approx(
        (100 * (0.28 - base) ** 2 + 2703 * (23 / 2703 - base) ** 2) / 2803
    )
    assert parts["brier_within_bins"] == pytest.approx(0, abs=1e-12)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 9999), n_bins=st.integers(1, 20))
def test_murphys_parts_always_add_up(seed: int, n_bins: int):
    rng = np.random.default_rng(seed)
    score, weights = rng.random(60), rng.random((3, 60))
    parts = murphy((rng.random(60) < score).astype(float), score, weights, n_bins=n_bins)
    whole = parts["brier_reliability"] - parts["brier_resolution"] + parts["brier_uncertainty"]
    np.testing.assert_allclose(parts["brier"], whole + parts["brier_within_bins"], atol=1e-12)


def test_nothing_to_tally_is_not_defined_and_no_error():
    none = figures(np.zeros(0, int), np.zeros((0, 3)), np.ones((1, 0)), n_bins=5, classes=ABC[:3])
    assert all(np.isnan(value).all() or (value == 0).all() for value in none.values())
    assert tallies_module.calibration_bins(np.zeros(0), 5).tolist() == []
