"""A random forest (Breiman 2001): scikit-learn grows it, plain arrays answer.

Belongs here: growing, the arrays, walking them. Stays out: which rows and columns.

A leaf's shares are smoothed by one observation spread as the classes are, so that no class that a leaf has not seen is
told to be impossible.
"""

from typing import Any, Final

import numpy as np

from pipeline.models.learner import Classes, Floats, Matrix
from pipeline.models.learners.states import (
    LARGEST,
    Params,
    State,
    Whole,
    keys,
    packed,
    shares,
    unpacked,
    unpacked_whole,
    whole,
)  # fmt: skip
from pipeline.tables import OUTCOMES

DEFAULTS: Final[Params] = {"n_trees": 80, "max_depth": 8, "min_rows_in_leaf": 10, "column_share": 0.3}
_MOST_TREES, _MOST_NODES = 2_000, 2_000_000


class Forest:
    """Trees as arrays over all nodes: tree after tree, each beginning at its root.

    Args:
        roots: (n_trees,) place of each root. left, right: (n,) children, -1 at a leaf.
        feature, threshold: a row goes left where its feature is at most the threshold.
        is_missing_left: where a row goes that lacks the feature.
        value: (n_leaves, 7) shares, `leaf` (n,) says which row of it; -1 inside.
        told: (n_features,) shares of the impurity that splits on each feature took away.
    """

    def __init__(
        self, roots: Whole, left: Whole, right: Whole, feature: Whole, threshold: Floats, is_missing_left: Whole,
        value: Floats, told: Floats,
    ) -> None:  # fmt: skip
        self._roots, self._left, self._right, self._feature = roots, left, right, feature
        self._threshold, self._is_missing_left = threshold, is_missing_left
        self._value, self._told = value, told
        self._leaf = np.where(left < 0, np.cumsum(left < 0) - 1, -1)

    def predict(self, x: Matrix) -> Floats:
        """Mean over the trees of the shares in each row's leaf, summed in the trees' order as scikit-learn does."""
        total = np.zeros((len(x), len(OUTCOMES)))
        rows = np.arange(len(x))
        for root in self._roots:
            at = np.full(len(x), root)
            inside = rows if self._left[root] >= 0 else rows[:0]
            while len(inside):
                node = at[inside]
                value = x[inside, self._feature[node]]
                goes_left = np.where(
                    np.isnan(value), self._is_missing_left[node] > 0, value.astype(np.float64) <= self._threshold[node]
                )
                at[inside] = np.where(goes_left, self._left[node], self._right[node])
                inside = inside[self._left[at[inside]] >= 0]
            total += self._value[self._leaf[at]]
        return np.asarray(total / len(self._roots))

    def importance(self) -> Floats:
        """Share of the impurity that splits on each feature took away."""
        return self._told

    def state(self) -> State:
        """The arrays; children and features as numbers."""
        return {
            "n_trees": len(self._roots), "n_nodes": len(self._left),
            "roots": packed(self._roots.astype(np.float64)), "left": packed(self._left.astype(np.float64)),
            "right": packed(self._right.astype(np.float64)), "feature": packed(self._feature.astype(np.float64)),
            "threshold": packed(self._threshold), "is_missing_left": packed(self._is_missing_left.astype(np.float64)),
            "value": packed(self._value), "told": packed(self._told),
        }  # fmt: skip


def suggest(trial: Any) -> Params:
    """Parameters worth trying: how deep, how fine, how many columns a split looks at."""
    return {
        **DEFAULTS,
        "max_depth": trial.suggest_int("max_depth", 4, 12),
        "min_rows_in_leaf": trial.suggest_int("min_rows_in_leaf", 3, 60, log=True),
        "column_share": trial.suggest_float("column_share", 0.1, 0.6),
    }


def fit(x: Matrix, y: Classes, weight: Floats, seed: int, params: Params) -> Forest:
    """Grow a forest on all rows; every outcome must occur among them."""
    return as_arrays(grown(x, y, weight, seed, params), x.shape[1])


def grown(x: Matrix, y: Classes, weight: Floats, seed: int, params: Params) -> Any:
    """scikit-learn's forest, its leaves smoothed in place."""
    from sklearn.ensemble import RandomForestClassifier  # noqa: PLC0415  takes a second

    model = RandomForestClassifier(
        n_estimators=int(params["n_trees"]), max_depth=int(params["max_depth"]),
        min_samples_leaf=int(params["min_rows_in_leaf"]), max_features=float(params["column_share"]),
        random_state=seed, n_jobs=1,
    )  # fmt: skip
    model.fit(x, y, sample_weight=weight)
    prior = np.bincount(y, weights=weight, minlength=len(OUTCOMES)) / weight.sum()
    for one in model.estimators_:
        mass = one.tree_.weighted_n_node_samples[:, None]
        one.tree_.value[:, 0, :] = (one.tree_.value[:, 0, :] * mass + prior) / (mass + 1)
    return model


def as_arrays(model: Any, n_features: int) -> Forest:
    """A scikit-learn forest as arrays."""
    trees = [one.tree_ for one in model.estimators_]
    roots = np.cumsum([0, *(tree.node_count for tree in trees)])[:-1].astype(np.int64)

    def placed(name: str) -> Whole:
        each = [np.asarray(getattr(tree, name), np.int64) for tree in trees]
        return np.concatenate([np.where(own < 0, -1, own + root) for own, root in zip(each, roots, strict=True)])

    left, right = placed("children_left"), placed("children_right")
    is_leaf = left < 0
    value = np.concatenate([tree.value[:, 0, :] for tree in trees])
    return Forest(
        roots, left, right,
        np.where(is_leaf, 0, np.concatenate([tree.feature for tree in trees])).astype(np.int64),
        # A split of missing from known has an infinite threshold; no number that we feed lies beyond LARGEST.
        np.where(is_leaf, 0.0, np.clip(np.concatenate([tree.threshold for tree in trees]), -LARGEST, LARGEST)),
        np.where(is_leaf, 0, np.concatenate([tree.missing_go_to_left for tree in trees])).astype(np.int64),
        np.ascontiguousarray(value[is_leaf]),
        shares(np.asarray(model.feature_importances_, np.float64)[:n_features]),
    )  # fmt: skip


def load(state: State, n_features: int) -> Forest:
    """The forest of a state; raises ValueError, KeyError or TypeError where it is none.

    Children come after their parents, so walking always ends.
    """
    keys(
        state, "n_trees", "n_nodes", "roots", "left", "right", "feature", "threshold", "is_missing_left", "value",
        "told",
    )  # fmt: skip
    n_trees, n = whole(state["n_trees"], 1, _MOST_TREES), whole(state["n_nodes"], 1, _MOST_NODES)
    roots = unpacked_whole(state["roots"], n_trees, 0, n - 1)
    left, right = (unpacked_whole(state[name], n, -1, n - 1) for name in ("left", "right"))
    feature = unpacked_whole(state["feature"], n, 0, n_features - 1)
    is_missing_left = unpacked_whole(state["is_missing_left"], n, 0, 1)
    places, is_leaf = np.arange(n), left < 0
    if (is_leaf != (right < 0)).any() or ((left <= places) & ~is_leaf).any() or ((right <= places) & ~is_leaf).any():
        raise ValueError("a node with one child, or one that leads back")
    value = unpacked(state["value"], int(is_leaf.sum()), len(OUTCOMES))
    if (value < 0).any() or (np.abs(value.sum(axis=1) - 1) > 1e-9).any():
        raise ValueError("leaves that hold no shares")
    told = unpacked(state["told"], n_features)
    return Forest(roots, left, right, feature, unpacked(state["threshold"], n), is_missing_left, value, told)
