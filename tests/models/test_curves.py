"""ROC, precision and recall, learning curves and their pictures."""

import numpy as np
import polars as pl
import pytest
from sklearn import metrics as sk

from pipeline.errors import InputError
from pipeline.models.curves import GRID, curve
from pipeline.models.intervals import FigureRules
from pipeline.models.learning_curve import CURVE, learning_curve, sizes
from pipeline.models.pictures.calibration import calibration_plot, confusion_plot
from pipeline.models.pictures.curves import curves_plot
from pipeline.models.pictures.lines import error_by_age_plot, learning_curve_plot
from pipeline.models.slices import slices

RULES = FigureRules(n_resamples=60)
PNG = b"\x89PNG\r\n\x1a\n"


def scored(seed: int = 1, n_pools: int = 60, n_each: int = 4, *, is_tied: bool = False):
    rng = np.random.default_rng(seed)
    truth = np.repeat((rng.random(n_pools) < 0.4).astype(int), n_each)
    score = 1 / (1 + np.exp(-rng.normal(size=n_pools * n_each) - truth))
    return truth, np.round(score, 1) if is_tied else score, np.repeat(np.arange(n_pools), n_each)


@pytest.mark.parametrize("is_tied", [False, True])
def test_the_roc_curve_is_that_of_scikit_learn(is_tied: bool):
    truth, score, pool = scored(is_tied=is_tied)
    found = curve("roc", truth, score, pool, FigureRules(n_resamples=0))
    false, true, _ = sk.roc_curve(truth, score)
    assert np.trapezoid(found.y, found.x) == pytest.approx(sk.auc(false, true), abs=1e-9)
    # Every corner of ours lies on theirs; ours leaves out thresholds that only make false positives.
    theirs = set(zip(false.round(9), true.round(9), strict=True)) if is_tied else None
    if theirs is None:
        np.testing.assert_allclose(found.y, [true[false <= x + 1e-12].max() for x in found.x], atol=0.2)
    else:
        assert set(zip(found.x.round(9), found.y.round(9), strict=True)) <= theirs | {(0.0, 0.0)}


def test_precision_over_recall_sums_up_to_the_average_precision_of_scikit_learn():
    for is_tied in (False, True):
        truth, score, pool = scored(2, is_tied=is_tied)
        found = curve("pr", truth, score, pool, FigureRules(n_resamples=0))
        area = float(np.sum(np.diff(found.x) * found.y[1:]))
        assert area == pytest.approx(sk.average_precision_score(truth, score), abs=1e-9)
        assert found.x[-1] == 1.0
        assert np.isfinite(found.y).all()


@pytest.mark.parametrize("kind", ["roc", "pr"])
def test_the_band_holds_the_curve_of_all_pools_at_nearly_every_place(kind):
    rules = FigureRules(n_resamples=200)
    everything = curve(kind, *scored(0, 40_000, 1), FigureRules(n_resamples=0))
    truth_at = np.interp(GRID, everything.x, everything.y)
    held = []
    for seed in range(1, 16):
        found = curve(kind, *scored(seed, 120), rules)
        inside = (found.low - 1e-9 <= truth_at) & (truth_at <= found.high + 1e-9)
        held.append(inside[10:95].mean())
        assert (found.low <= found.high).all()
    assert np.mean(held) > 0.85


def test_a_band_follows_the_steps_of_its_curve():
    alone = np.zeros(4, int)  # one pool: every draw is the whole
    perfect = curve("roc", np.array([1, 1, 0, 0]), np.array([0.9, 0.8, 0.2, 0.1]), alone, RULES)
    assert perfect.low.tolist() == [1.0] * len(GRID)
    stepped = curve("pr", np.array([1, 0, 0, 1]), np.array([0.9, 0.8, 0.2, 0.1]), alone, RULES)
    assert stepped.low[:51].tolist() == [1.0] * 51
    assert stepped.low[51:].tolist() == [0.5] * 50


def test_a_class_on_one_side_only_has_no_curve_and_no_warning():
    truth, score, pool = scored()
    assert len(curve("roc", truth * 0, score, pool, RULES).x) == 0
    rare = (np.arange(len(truth)) == 3).astype(int)  # most resamples lack it
    assert np.isfinite(curve("pr", rare, score, pool, RULES).low).all()


def test_pictures_are_made_of_any_classes_and_the_same_twice():
    rng = np.random.default_rng(3)
    for n_classes in (2, 5):
        names = [f"class $\\frac{k}$ <b>" for k in range(n_classes)]
        y = np.repeat(rng.integers(0, n_classes - 1, 50), 2)
        p = rng.dirichlet(np.ones(n_classes), 100)
        pool = np.repeat(np.arange(50), 2)
        rules = FigureRules(n_resamples=10)
        made = [curves_plot(kind, y, p, pool, rules, names) for kind in (("roc", "roc") if n_classes == 2 else ("pr",))]
        assert made[0] == made[-1]
        pictures = [*made, calibration_plot(y, p, n_bins=5, classes=names), confusion_plot(y, p, names)]
        assert all(picture.startswith(PNG) for picture in pictures)


def test_a_learning_curve_falls_where_more_pools_teach_more():
    rng = np.random.default_rng(5)
    pool, born = np.repeat(np.arange(200), 3), np.repeat(np.arange(200)[::-1], 3)
    noise = rng.normal(size=90)

    def fit_and_score(rows: np.ndarray) -> np.ndarray:
        return 1.0 + 5 / len(rows) ** 0.5 + 0.1 * noise

    table = learning_curve(pool, born, np.repeat(np.arange(30), 3), fit_and_score, RULES)
    assert table.schema == CURVE
    assert table["n_train_pools"].to_list() == [20, 40, 80, 140, 200]
    assert table["n_train_rows"].to_list() == [60, 120, 240, 420, 600]
    assert table["value"].is_sorted(descending=True)
    assert ((table["low"] < table["value"]) & (table["value"] < table["high"])).all()
    assert learning_curve_plot(table, {"class_prior": 2.0, "$evil$": 3.0}).startswith(PNG)


def test_sizes_are_the_newest_pools_whole_and_nested():
    pool, born = np.array([7, 7, 3, 9, 9, 9]), np.array([1, 1, 2, 0, 0, 0])
    found = sizes(pool, born, (0.3, 0.6, 1.0))
    assert [rows.tolist() for rows in found] == [[2], [0, 1, 2], [0, 1, 2, 3, 4, 5]]
    with pytest.raises(InputError, match="no training rows"):
        sizes(np.zeros(0, int), np.zeros(0))


def test_error_by_age_is_drawn_with_and_without_intervals():
    rng = np.random.default_rng(6)
    frame = pl.DataFrame(
        {"pool": [f"p{k // 2}" for k in range(120)], "decision_age_hours": np.tile([1, 16], 60),
         "label": ["a", "b"] * 60, "p_a": (p := rng.uniform(0.1, 0.9, 120)), "p_b": 1 - p}
    )  # fmt: skip
    many = slices(frame, ["decision_age_hours"], RULES, ("a", "b"))
    few = slices(frame.head(20), ["decision_age_hours"], RULES, ("a", "b"))
    assert error_by_age_plot({"model": many, "class_prior": few}).startswith(PNG)
