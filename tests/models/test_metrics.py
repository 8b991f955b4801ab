import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sk

from pipeline.models.intervals import resampled, with_intervals
from pipeline.models.metrics import calibration_bins, figures, murphy, roc_auc
from pipeline.tables import OUTCOMES

ALL_CLASSES = range(len(OUTCOMES))


def sample(seed: int, n: int = 300, *, is_rounded: bool = False):
    rng = np.random.default_rng(seed)
    y = np.concatenate([np.arange(7), rng.integers(0, 7, n - 7)])
    p = rng.dirichlet(np.ones(7), n) + 0.3 * np.eye(7)[y]
    if is_rounded:
        p = np.round(p, 1) + 0.01
    weight = rng.integers(1, 4, n).astype(float)
    return y, p / p.sum(axis=1, keepdims=True), weight


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 9999), is_rounded=st.booleans())
def test_every_figure_equals_scikit_learn(seed: int, is_rounded: bool):
    y, p, w = sample(seed, is_rounded=is_rounded)
    found = {key: value[0] for key, value in figures(y, p, w[None, :], n_bins=10).items()}
    said = p.argmax(axis=1)
    expected = {
        ("accuracy", "all"): sk.accuracy_score(y, said, sample_weight=w),
        ("log_loss", "all"): sk.log_loss(y, p, sample_weight=w, labels=list(ALL_CLASSES)),
        ("f1", "macro"): sk.f1_score(y, said, average="macro", sample_weight=w),
        ("recall", "macro"): sk.recall_score(y, said, average="macro", sample_weight=w),
        ("precision", "macro"): sk.precision_score(y, said, average="macro", sample_weight=w, zero_division=np.nan),
        ("roc_auc", "macro"): sk.roc_auc_score(y, p, multi_class="ovr", average="macro", sample_weight=w),
    }
    for k, outcome in enumerate(OUTCOMES):
        truth, score = y == k, p[:, k]
        expected |= {
            ("precision", outcome): sk.precision_score(truth, said == k, sample_weight=w, zero_division=np.nan),
            ("recall", outcome): sk.recall_score(truth, said == k, sample_weight=w),
            ("f1", outcome): sk.f1_score(truth, said == k, sample_weight=w),
            ("roc_auc", outcome): sk.roc_auc_score(truth, score, sample_weight=w),
            ("pr_auc", outcome): sk.average_precision_score(truth, score, sample_weight=w),
            ("brier", outcome): sk.brier_score_loss(truth, score, sample_weight=w),
        }
    for key, value in expected.items():
        assert found[key] == pytest.approx(value, abs=1e-9, nan_ok=True), key


def test_murphys_parts_in_an_example_worked_by_hand():
    # Said 0.8 five times, it came four times; said 0.2 five times, it came twice. Base rate 0.6.
    score = np.array([0.8] * 5 + [0.2] * 5)
    truth = np.array([1.0, 1, 1, 1, 0, 1, 1, 0, 0, 0])
    parts = {name: value[0] for name, value in murphy(truth, score, np.ones((1, 10)), n_bins=10).items()}
    assert parts["brier_reliability"] == pytest.approx(0.5 * 0.0 + 0.5 * 0.2**2)
    assert parts["brier_resolution"] == pytest.approx(0.5 * 0.2**2 + 0.5 * 0.2**2)
    assert parts["brier_uncertainty"] == pytest.approx(0.6 * 0.4)
    assert parts["brier"] == pytest.approx((4 * 0.04 + 0.64 + 2 * 0.64 + 3 * 0.04) / 10)
    assert parts["brier_within_bins"] == pytest.approx(0.0, abs=1e-15)
    assert parts["ece"] == pytest.approx(0.5 * 0.0 + 0.5 * 0.2)


def test_bins_have_equal_mass_and_never_part_equal_values():
    bins = calibration_bins(np.linspace(0, 1, 100), 10)
    assert np.bincount(bins).tolist() == [10] * 10
    tied = np.r_[np.zeros(55), np.linspace(0.1, 1, 45)]
    assert len(set(calibration_bins(tied, 10)[:55])) == 1


def test_what_is_not_defined_is_null_without_a_warning():
    y = np.array([0, 0, 4, 4, 4])
    p = np.tile([0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0], (5, 1))
    frame = with_intervals(
        y, p, np.arange(5), n_resamples=20, confidence=0.95, n_bins=10, seed=1,
        predictor="m", block="b", decision_age_hours=None,
    )  # fmt: skip
    value = {(m, o): v for m, o, v in frame.select("metric", "outcome", "value").iter_rows()}
    assert value["roc_auc", "MOON"] is None
    assert value["recall", "MOON"] is None
    assert value["f1", "MOON"] is None
    assert value["precision", "RUG"] is None
    assert value["precision", "macro"] is None
    assert value["recall", "RUG"] == 0.0
    assert value["f1", "RUG"] == 0.0
    assert value["roc_auc", "macro"] == 0.5
    assert not frame["value"].is_nan().any()


def test_a_pool_counts_as_often_as_it_is_drawn():
    y, p, _ = sample(3)
    w = np.random.default_rng(1).integers(0, 3, len(y))
    repeated = np.repeat(np.arange(len(y)), w)
    weighted = figures(y, p, w[None, :].astype(float), n_bins=10)
    drawn = figures(y[repeated], p[repeated], np.ones((1, len(repeated))), n_bins=10)
    for key in weighted:
        if key[0].startswith("brier_") or key[0] == "ece":
            continue  # their bins are those of the rows given
        np.testing.assert_allclose(weighted[key], drawn[key], atol=1e-12, err_msg=str(key))


def test_the_interval_holds_the_true_auc_about_as_often_as_it_says():
    rng = np.random.default_rng(11)
    hits = 0
    for trial in range(60):
        pool = np.repeat(np.arange(120), 3)
        y = np.repeat(rng.integers(0, 2, 120), 3)
        score = np.repeat(rng.normal(size=120), 3) + 1.0 * y
        p = np.zeros((360, 7))
        p[:, 1] = 1 / (1 + np.exp(-score))
        p[:, 0] = 1 - p[:, 1]
        draws = resampled(y, p, pool, n_resamples=200, n_bins=5, seed=trial)["roc_auc", "MOON"]
        low, high = np.quantile(draws, [0.025, 0.975])
        hits += low <= 0.7602 <= high  # Phi(1 / sqrt 2)
    assert 51 <= hits <= 60


def test_an_interval_holds_its_figure_also_where_drawing_again_adds_error():
    y, p, _ = sample(5)
    frame = with_intervals(
        y, p, np.arange(len(y)) // 3, n_resamples=200, confidence=0.95, n_bins=10, seed=2,
        predictor="m", block="b", decision_age_hours=None,
    ).drop_nulls(["value", "low"])  # fmt: skip
    assert frame["metric"].str.contains("ece|reliability").sum() > 10
    outside = frame.filter((frame["value"] < frame["low"] - 1e-12) | (frame["value"] > frame["high"] + 1e-12))
    assert outside.is_empty()
    assert (frame.filter(frame["metric"] == "ece")["low"] >= 0).all()


def test_intervals_are_the_same_for_the_same_seed():
    y, p, _ = sample(5)
    context = {"predictor": "m", "block": "b", "decision_age_hours": 1}
    one, two = (
        with_intervals(y, p, np.arange(len(y)) // 3, n_resamples=30, confidence=0.9, n_bins=5, seed=2, **context)
        for _ in range(2)
    )
    assert one.equals(two)
    assert (one["low"] <= one["high"]).all()


def test_auc_of_infinite_scores_does_not_warn():
    truth = np.array([0.0, 1, 0, 1])
    assert roc_auc(truth, np.array([-np.inf, -np.inf, 1, 2]), np.ones((1, 4)))[0] == pytest.approx(0.625)
