"""Gradient boosting by LightGBM (Ke et al. 2017), `multiclass`, as LightGBM's own text.

Belongs here: parameters, fitting, answering. Stays out: which rows and columns, and what the text may say
(`returns.portable_trees`), which is asked before LightGBM's parser sees a byte.
"""

import re
from typing import Any, Final

import numpy as np

from pipeline.models.learner import Classes, Floats, Matrix
from pipeline.models.learners.states import Params, State, keys, shares
from pipeline.models.returns.portable_trees import check_lightgbm
from pipeline.tables import OUTCOMES

DEFAULTS: Final[Params] = {
    "n_rounds": 80, "n_leaves": 8, "learning_rate": 0.07, "min_rows_in_leaf": 20, "row_share": 0.6,
    "column_share": 0.5, "l2": 10.0, "max_bin": 63,
}  # fmt: skip

_INFINITE: Final = re.compile(r"(?<=[= ])(-?)inf\b")


class Boosted:
    """A booster read from its text."""

    def __init__(self, trees: str, n_features: int) -> None:
        import lightgbm  # noqa: PLC0415  takes a second

        self._trees, self._n_features = trees, n_features
        try:
            self._booster = lightgbm.Booster(model_str=trees)
        except lightgbm.basic.LightGBMError as error:
            raise ValueError(f"trees that LightGBM cannot read: {str(error)[:200]!r}") from error

    def predict(self, x: Matrix) -> Floats:
        """Probabilities (rows of `x`, 7)."""
        if not len(x):
            return np.zeros((0, len(OUTCOMES)))
        return np.asarray(self._booster.predict(np.ascontiguousarray(x), num_threads=1), np.float64)

    def importance(self) -> Floats:
        """Share of the total gain of all splits."""
        return shares(np.asarray(self._booster.feature_importance("gain"), np.float64))

    def state(self) -> State:
        """LightGBM's text."""
        return {"trees": self._trees}


def suggest(trial: Any) -> Params:
    """Parameters worth trying."""
    return {
        **DEFAULTS,
        "n_rounds": trial.suggest_int("n_rounds", 40, 200, step=20),
        "n_leaves": trial.suggest_int("n_leaves", 4, 20),
        "min_rows_in_leaf": trial.suggest_int("min_rows_in_leaf", 5, 80, log=True),
        "l2": trial.suggest_float("l2", 1.0, 50.0, log=True),
    }


def fit(x: Matrix, y: Classes, weight: Floats, seed: int, params: Params) -> Boosted:
    """Boost on all rows; every outcome must occur among them."""
    import lightgbm  # noqa: PLC0415

    parameters = _parameters(params, seed)
    rows = lightgbm.Dataset(x, label=y, weight=weight, params=parameters)
    booster = lightgbm.train(parameters, rows, num_boost_round=int(params["n_rounds"]))
    return Boosted(_finite(booster.model_to_string()), x.shape[1])


def load(state: State, n_features: int) -> Boosted:
    """The model of a state; raises ValueError, KeyError or TypeError where it is none."""
    keys(state, "trees")
    if not isinstance(state["trees"], str):
        raise TypeError(f"trees that are no text: {str(state['trees'])[:80]}")
    check_lightgbm(state["trees"], n_features, len(OUTCOMES))
    return Boosted(state["trees"], n_features)


def _finite(text: str) -> str:
    """LightGBM's text with the largest of our numbers where it says `inf`: a split of missing from known.

    No number that we feed lies between the two, so the answers are the same. The text tells each tree's size.
    """
    head, _, rest = text.partition("\n\n")
    sizes = [int(word) for word in re.findall(r"^tree_sizes=(.*)$", head, re.MULTILINE)[0].split()]
    trees, begins = [], 0
    for size in sizes:
        tree = rest[begins : begins + size]
        trees.append(re.sub(r"^threshold=.*$", lambda line: _INFINITE.sub(r"\g<1>1e+30", line[0]), tree, flags=re.M))
        begins += size
    told = "tree_sizes=" + " ".join(str(len(tree)) for tree in trees)
    return re.sub(r"^tree_sizes=.*$", told, head, flags=re.M) + "\n\n" + "".join(trees) + rest[begins:]


def _parameters(params: Params, seed: int) -> dict[str, Any]:
    return {
        "objective": "multiclass", "num_class": len(OUTCOMES), "learning_rate": params["learning_rate"],
        "num_leaves": int(params["n_leaves"]), "min_data_in_leaf": int(params["min_rows_in_leaf"]),
        "bagging_fraction": params["row_share"], "bagging_freq": 1, "feature_fraction": params["column_share"],
        "lambda_l2": params["l2"], "max_bin": int(params["max_bin"]), "seed": seed, "num_threads": 1,
        "deterministic": True, "force_row_wise": True, "verbosity": -1,
    }  # fmt: skip
