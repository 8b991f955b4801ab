"""Gradient boosting by XGBoost (Chen & Guestrin 2016), `multi:softprob`, as XGBoost's own JSON.

Belongs here: parameters, fitting, answering. Stays out: which rows and columns, and what JSON may say
(`returns.portable_trees`), which is asked before XGBoost's parser sees a byte.
"""

from typing import Any, Final

import numpy as np
import xgboost as xgb

from pipeline.models.learner import Classes, Floats, Matrix
from pipeline.models.learners.states import Params, State, keys, shares
from pipeline.models.returns.portable_trees import check_xgboost
from pipeline.tables import OUTCOMES

DEFAULTS: Final[Params] = {
    "n_rounds": 100, "max_depth": 3, "learning_rate": 0.07, "min_child_weight": 5.0, "row_share": 0.5,
    "column_share": 0.5, "l2": 20.0, "max_bin": 64,
}  # fmt: skip


class Boosted:
    """A booster read from its JSON."""

    def __init__(self, trees: str, n_features: int) -> None:
        self._trees, self._n_features = trees, n_features
        self._booster = xgb.Booster({"nthread": 1})
        try:
            self._booster.load_model(bytearray(trees.encode()))
        except xgb.core.XGBoostError as error:
            raise ValueError(f"trees that XGBoost cannot read: {str(error)[:200]!r}") from error

    def predict(self, x: Matrix) -> Floats:
        """Probabilities (rows of `x`, 7); XGBoost sums in float32, so they are made to sum to 1 again."""
        if not len(x):
            return np.zeros((0, len(OUTCOMES)))
        raw = self._booster.inplace_predict(np.ascontiguousarray(x)).astype(np.float64)
        return np.asarray(raw / raw.sum(axis=1, keepdims=True))

    def importance(self) -> Floats:
        """Share of the total gain of all splits."""
        found: dict[str, Any] = self._booster.get_score(importance_type="total_gain")
        return shares(np.array([float(found.get(f"f{k}", 0.0)) for k in range(self._n_features)]))

    def state(self) -> State:
        """XGBoost's JSON."""
        return {"trees": self._trees}


def suggest(trial: Any) -> Params:
    """Parameters worth trying."""
    return {
        **DEFAULTS,
        "n_rounds": trial.suggest_int("n_rounds", 40, 240, step=20),
        "max_depth": trial.suggest_int("max_depth", 2, 5),
        "min_child_weight": trial.suggest_float("min_child_weight", 1.0, 30.0, log=True),
        "l2": trial.suggest_float("l2", 1.0, 50.0, log=True),
    }


def fit(x: Matrix, y: Classes, weight: Floats, seed: int, params: Params) -> Boosted:
    """Boost on all rows; every outcome must occur among them."""
    booster = xgb.train(
        parameters(params, seed),
        xgb.DMatrix(x, label=y, weight=weight, nthread=1),
        num_boost_round=int(params["n_rounds"]),
        verbose_eval=False,
    )
    return Boosted(booster.save_raw("json").decode(), x.shape[1])


def load(state: State, n_features: int) -> Boosted:
    """The model of a state; raises ValueError, KeyError or TypeError where it is none."""
    keys(state, "trees")
    if not isinstance(state["trees"], str):
        raise TypeError(f"trees that are no text: {str(state['trees'])[:80]}")
    check_xgboost(state["trees"], n_features, len(OUTCOMES))
    return Boosted(state["trees"], n_features)


def parameters(params: Params, seed: int) -> dict[str, Any]:
    """What XGBoost is told, on one machine or many."""
    return {
        "objective": "multi:softprob", "num_class": len(OUTCOMES), "tree_method": "hist", "device": "cpu",
        "max_depth": int(params["max_depth"]), "learning_rate": params["learning_rate"],
        "min_child_weight": params["min_child_weight"], "subsample": params["row_share"],
        "colsample_bytree": params["column_share"], "reg_lambda": params["l2"], "max_bin": int(params["max_bin"]),
        "nthread": 1, "seed": seed, "verbosity": 0,
    }  # fmt: skip
