"""Whether the text of boosted trees can be handed to the native parser that will read it.

Belongs here: the shape of XGBoost's JSON and of LightGBM's text, as plain numbers. Stays out: forecasting from them
(`portable`), the rest of a model's file (`portable_checks`).

Both libraries follow the numbers they read without looking: a child out of range ends the process, a child that is its
own ancestor never ends. Where the root is nobody's child and every other node exactly one node's, nothing leads back
from the root, in whatever order the nodes are written: that is what is asked for, and that every number is in range.
What is written around the trees is read for the few values that decide how they are used.
"""

import math
import re
from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from pipeline.models.returns.portable_json import strict_json

MOST_TREES: Final = 10_000
_LARGEST: Final = 1e30
"""Float32 holds the sum of as many trees of such leaves."""
_LINE: Final = re.compile(r"[\x20-\x7e]*")
_DECIMALS: Final = re.compile(r"[-+.e0-9 ]*")
_WHOLE: Final = re.compile(r"[-0-9 ]*")
_NO_PARENT: Final = 2**31 - 1


def check_xgboost(text: str, n_features: int, n_classes: int = 0) -> None:
    """Raises ValueError, KeyError or TypeError unless the text is XGBoost's JSON of trees on n_features.

    Args:
        n_classes: how many classes each round has a tree for; 0: a regression.
    """
    objective, a_round = ("multi:softprob", n_classes) if n_classes else ("reg:squarederror", 1)
    learner = strict_json(text)["learner"]
    params, booster = learner["learner_model_param"], learner["gradient_booster"]
    found = (booster["name"], learner["objective"]["name"], params["num_feature"], params["num_target"])
    if found != ("gbtree", objective, str(n_features), "1") or params["num_class"] != str(n_classes):
        raise ValueError(f"trees of {found!r} for {n_features} features")
    begins = [float(word) for word in params["base_score"].strip("[]").split(",")]
    if len(begins) not in {1, a_round} or not all(math.isfinite(value) for value in begins):
        raise ValueError(f"trees that begin at {params['base_score']!r}")
    model = booster["model"]
    trees, about, n = model["trees"], model["gbtree_model_param"], len(model["trees"])
    if not 1 <= n <= MOST_TREES or n % a_round or (about["num_trees"], about["num_parallel_tree"]) != (str(n), "1"):
        raise ValueError(f"{n} trees where {about!r} are told")
    if model["tree_info"] != list(range(a_round)) * (n // a_round):
        raise ValueError(f"{n} trees that are not {a_round} a round")
    if model["iteration_indptr"] != list(range(0, n + 1, a_round)):
        raise ValueError(f"{n} trees in rounds {str(model['iteration_indptr'])[:80]}")
    told = learner["objective"].get("softmax_multiclass_param", {}).get("num_class", "0")
    if told != str(n_classes):
        raise ValueError(f"an objective of {told!r} classes")
    for at, tree in enumerate(trees):
        if tree["id"] != at:
            raise ValueError(f"tree {at} calls itself {tree['id']!r}")
        _xgboost_tree(tree, n_features)


def _xgboost_tree(tree: dict[str, Any], n_features: int) -> None:
    n, told = len(tree["left_children"]), tree["tree_param"]
    shape = (told["num_nodes"], told["num_feature"], told["num_deleted"], told["size_leaf_vector"])
    if n < 1 or shape != (str(n), str(n_features), "0", "1"):
        raise ValueError(f"a tree of {n} nodes that tells {shape!r}")
    if any(tree[name] for name in ("categories", "categories_nodes", "categories_segments", "categories_sizes")):
        raise ValueError("a tree that splits by category")
    left, right = _range(tree["left_children"], n, -1, n - 1), _range(tree["right_children"], n, -1, n - 1)
    _range(tree["split_indices"], n, 0, n_features - 1)
    _range(tree["split_type"], n, 0, 0)
    _range(tree["default_left"], n, 0, 1)
    for name in ("split_conditions", "base_weights", "loss_changes", "sum_hessian"):
        _finite(tree[name], n)
    inner = np.flatnonzero(left >= 0)
    if ((left >= 0) != (right >= 0)).any():
        raise ValueError("a node with one child")
    _rooted(np.concatenate([left[inner], right[inner]]), n)
    parents = np.full(n, _NO_PARENT, np.int64)
    parents[left[inner]] = parents[right[inner]] = inner
    if tree["parents"] != parents.tolist():
        raise ValueError("parents that are not those of the children")


def check_lightgbm(text: str, n_features: int, n_classes: int = 0) -> None:
    """Raises ValueError or KeyError unless the text is LightGBM's of trees on n_features.

    Args:
        n_classes: how many classes each round has a tree for; 0: a regression.

    Behind the trees stand importances and parameters, which are read as words and decide nothing.
    """
    if not all(_LINE.fullmatch(line) for line in text.split("\n")):
        raise ValueError("trees in anything but plain ASCII")
    head, _, rest = text.partition("\n\n")
    first, *lines = head.split("\n")
    told = _pairs(lines)
    found = (first, told["objective"], told["num_class"], told["num_tree_per_iteration"], told["max_feature_idx"])
    objective, a_round = (f"multiclass num_class:{n_classes}", str(n_classes)) if n_classes else ("regression", "1")
    if found != ("tree", objective, a_round, a_round, str(n_features - 1)):
        raise ValueError(f"trees of {found!r} for {n_features} features")
    if any(len(told[name].split(" ")) != n_features for name in ("feature_names", "feature_infos")):
        raise ValueError(f"names or ranges of other than {n_features} features")
    sizes = _numbers(told["tree_sizes"])
    is_whole = len(sizes) % int(a_round) == 0
    if (
        not is_whole
        or not 1 <= len(sizes) <= MOST_TREES
        or min(sizes) < 1
        or not rest[sum(sizes) :].startswith("end of trees\n")
    ):
        raise ValueError(f"{len(sizes)} trees that do not end where their sizes say")
    begins = 0
    for at, size in enumerate(sizes):
        title, *lines = rest[begins : begins + size].split("\n")
        if title != f"Tree={at}" or lines[-3:] != ["", "", ""] or "" in lines[:-3]:
            raise ValueError(f"tree {at} does not fill its {size} bytes")
        _lightgbm_tree(_pairs(lines[:-3]), n_features)
        begins += size


def _lightgbm_tree(tree: dict[str, str], n_features: int) -> None:
    n = int(tree["num_leaves"]) if _WHOLE.fullmatch(tree["num_leaves"]) else 0
    if n < 1 or (tree["num_cat"], tree["is_linear"]) != ("0", "0"):
        raise ValueError(f"a tree of {n} leaves, {tree['num_cat']!r} categories, linear {tree['is_linear']!r}")
    left, right = (_range(_numbers(tree[name]), n - 1, -n, n - 2) for name in ("left_child", "right_child"))
    _range(_numbers(tree["split_feature"]), n - 1, 0, n_features - 1)
    # Bit 0 would be a split by category.
    if (_range(_numbers(tree["decision_type"]), n - 1, 0, 10) % 2).any():
        raise ValueError("a tree that splits by category")
    for name, length in (("threshold", n - 1), ("leaf_value", n), ("shrinkage", 1)):
        _finite(_decimals(tree[name]), length)
    # Inner nodes count up from 0, the root; leaves down from -1. The leaves follow them in one range of nodes.
    children = np.concatenate([left, right])
    _rooted(np.where(children < 0, n - 2 - children, children), 2 * n - 1)


def _rooted(children: np.ndarray[Any, np.dtype[np.int64]], n_nodes: int) -> None:
    """Each of n_nodes but the root, 0, is the child of exactly one."""
    if not np.array_equal(np.sort(children), np.arange(1, n_nodes)):
        raise ValueError(f"{n_nodes} nodes that are no tree")


def _range(values: Sequence[Any], length: int, low: int, high: int) -> np.ndarray[Any, np.dtype[np.int64]]:
    if len(values) != length or any(type(v) is not int or not low <= v <= high for v in values):
        raise ValueError(f"expected {length} whole numbers from {low} to {high}, found {str(values)[:80]}")
    return np.asarray(values, np.int64)


def _finite(values: Sequence[Any], length: int) -> None:
    if len(values) != length or any(type(v) not in (int, float) or not abs(v) <= _LARGEST for v in values):
        raise ValueError(f"expected {length} finite numbers, found {str(values)[:80]}")


def _pairs(lines: Sequence[str]) -> dict[str, str]:
    pairs = [line.split("=", 1) for line in lines]
    told = {pair[0]: pair[-1] for pair in pairs}
    if len(told) != len(pairs) or any(len(pair) != 2 for pair in pairs):
        raise ValueError("lines of trees that are no names and values, each name once")
    return told


def _numbers(text: str) -> list[int]:
    if not _WHOLE.fullmatch(text):
        raise ValueError(f"no whole numbers: {text[:80]!r}")
    return [int(word) for word in text.split()]


def _decimals(text: str) -> list[float]:
    if not _DECIMALS.fullmatch(text):
        raise ValueError(f"no decimal numbers: {text[:80]!r}")
    return [float(word) for word in text.split()]
