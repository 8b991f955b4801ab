"""Shapley values: they add up, they are those of brute force, and nobody is credited for nothing."""

from itertools import permutations

import numpy as np
import polars as pl
import pytest
import xgboost as xgb

from pipeline.errors import InputError, UsageError
from pipeline.models.pictures.importance import shap_plot
from pipeline.models.shap_values import Contributions, sampled_shap, shap_importance

NAMES = ("a", "b", "c", "d")
CLASSES = ("x", "y", "z")


def rows(n: int = 120, seed: int = 1):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 4))
    x[rng.random((n, 4)) < 0.1] = np.nan
    y = np.where(np.nan_to_num(x[:, 0]) > 0.5, 2, (np.nan_to_num(x[:, 1]) > 0).astype(int))
    return x.astype(np.float32), y


def xgboost_model():
    x, y = rows()
    matrix = xgb.DMatrix(x, label=y, feature_names=list(NAMES))
    goal = {"objective": "multi:softprob", "num_class": 3}
    return xgb.train({**goal, "max_depth": 3, "nthread": 1, "seed": 1}, matrix, 12), x


def exact(booster: xgb.Booster, x: np.ndarray) -> Contributions:
    """XGBoost's own values of its margins, TreeSHAP (Lundberg et al. 2020)."""
    told = booster.predict(xgb.DMatrix(x, feature_names=list(NAMES)), pred_contribs=True, strict_shape=True)
    values = told[..., :-1].astype(np.float64)
    return Contributions(values, told[..., -1].astype(np.float64), np.zeros_like(values))


def game(x: np.ndarray) -> np.ndarray:
    """Two outputs with interactions; the last feature plays no part."""
    return np.stack([x[:, 0] * x[:, 1] + np.maximum(x[:, 2], 0), np.tanh(x[:, 0] + x[:, 2])], axis=1)


def brute_force(x: np.ndarray, background: np.ndarray) -> np.ndarray:
    """The definition: the mean over all orders and all background rows of each feature's step."""
    told = np.zeros((len(x), 2, 4))
    orders = list(permutations(range(4)))
    for start in background:
        for order in orders:
            now = np.repeat(start[None, :], len(x), axis=0)
            before = game(now)
            for feature in order:
                now[:, feature] = x[:, feature]
                after = game(now)
                told[:, :, feature] += after - before
                before = after
    return told / (len(orders) * len(background))


def test_sampled_values_are_those_of_the_definition_within_their_standard_error():
    rng = np.random.default_rng(2)
    x, background = rng.normal(size=(6, 4)), rng.normal(size=(5, 4))
    told = sampled_shap(game, x, background, n_permutations=400, seed=3)
    off = (told.values - brute_force(x, background)) / np.maximum(told.standard_error, 1e-12)
    played = off[:, :, :3]
    assert np.abs(played).max() < 4.5
    assert np.sqrt((played**2).mean()) < 1.5
    assert np.abs(told.values[:, :, 3]).max() == 0


def test_sampled_values_add_up_exactly_however_few_the_orders():
    rng = np.random.default_rng(4)
    x, background = rng.normal(size=(7, 4)), rng.normal(size=(9, 4))
    told = sampled_shap(game, x, background, n_permutations=2, seed=5)
    np.testing.assert_allclose(told.output, game(x), atol=1e-12)
    again = sampled_shap(game, x, background, n_permutations=2, seed=5)
    np.testing.assert_array_equal(told.values, again.values)


def test_sampled_and_exact_values_of_one_model_agree_about_what_matters():
    booster, x = xgboost_model()
    x = np.nan_to_num(x)

    def margin(rows: np.ndarray) -> np.ndarray:
        return booster.predict(xgb.DMatrix(rows, feature_names=list(NAMES)), output_margin=True)

    sampled = shap_importance(sampled_shap(margin, x[:40], x, n_permutations=60, seed=1), NAMES, CLASSES)
    truly = shap_importance(exact(booster, x[:40]), NAMES, CLASSES)
    tops = [table.filter(outcome="all")["feature"].to_list()[:2] for table in (sampled, truly)]
    assert set(tops[0]) == set(tops[1]) == {"a", "b"}


def test_sampling_without_orders_or_background_is_refused():
    with pytest.raises(UsageError, match="two orders"):
        sampled_shap(game, np.zeros((1, 4)), np.zeros((1, 4)), n_permutations=1, seed=1)
    with pytest.raises(UsageError, match="0 rows"):
        sampled_shap(game, np.zeros((1, 4)), np.zeros((0, 4)), n_permutations=2, seed=1)


def test_importance_is_the_mean_absolute_value_and_its_error_is_that_over_pools():
    booster, x = xgboost_model()
    told = exact(booster, x)
    table = shap_importance(told, NAMES, CLASSES)
    own = table.filter(feature="b", outcome="y")["shap"].item()
    assert own == pytest.approx(np.abs(told.values[:, 1, 1]).mean())
    every = table.filter(outcome="all")
    assert every["shap"].is_sorted(descending=True)
    by_class = (
        table.filter(table["outcome"] != "all").group_by("feature").agg(pl.col("shap").sum()).sort("feature")["shap"]
    )
    np.testing.assert_allclose(by_class, every.sort("feature")["shap"], rtol=1e-9)
    alike = shap_importance(
        type(told)(*(np.repeat(part, 3, axis=0) for part in (told.values, told.base, told.standard_error))),
        NAMES, CLASSES, np.repeat(np.arange(len(x)), 3),
    )  # fmt: skip
    np.testing.assert_allclose(alike["standard_error"], table["standard_error"], rtol=1e-9)
    with pytest.raises(InputError, match="do not fit"):
        shap_importance(told, NAMES[:2], CLASSES)
    assert shap_plot(table, CLASSES).startswith(b"\x89PNG")
