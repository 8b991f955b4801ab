"""One fitted learner with the columns it sees and the class weights it learned under.

Belongs here: what surrounds every learner alike: selection, Laplace's prior, class weights and their undoing. Stays
out: the learners (`learners`), and how several answer together (`combination`).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any, Final, cast

import numpy as np

from pipeline.models.learner import Classes, Floats, Matrix
from pipeline.models.learners import boosted_lightgbm, boosted_xgboost, forest, logistic
from pipeline.models.learners.states import FitOne, Fitted, Params, State, keys, packed, unpacked, unpacked_whole, whole
from pipeline.models.selection import select
from pipeline.models.spec import Learner
from pipeline.tables import OUTCOMES

LEARNERS: Final[Mapping[Learner, ModuleType]] = {
    "logistic": logistic,
    "random_forest": forest,
    "lightgbm": boosted_lightgbm,
    "xgboost": boosted_xgboost,
}
_MOST_CLASS_WEIGHT: Final = 1e6


@dataclass(frozen=True, eq=False)
class Member:
    """A fitted learner.

    Attributes:
        learner: which one.
        columns: places of its features among those of whoever asks it.
        class_weight: (7,) what a row of each outcome counted in the fit; undone when it answers.
    """

    learner: Learner
    columns: Classes = field(repr=False)
    class_weight: Floats
    fitted: Fitted = field(repr=False)

    def predict(self, x: Matrix) -> Floats:
        """Probabilities (rows of `x`, 7) of outcomes as frequent as they were.

        Who learns from rows weighted by w says p(outcome) * w(outcome), scaled to sum to 1 (Elkan 2001): dividing by
        w gives p back.
        """
        said = self.fitted.predict(x[:, self.columns]) / self.class_weight
        return np.asarray(said / said.sum(axis=1, keepdims=True))

    def importance(self, n_features: int) -> Floats:
        """(n_features,) shares; 0 for features it does not see."""
        found = np.zeros(n_features)
        found[self.columns] = self.fitted.importance()
        return found

    def placed(self, place_of: Mapping[int, int]) -> "Member":
        """The same member where its features stand at other places."""
        columns = np.array([place_of[int(at)] for at in self.columns], np.int64)
        return Member(self.learner, columns, self.class_weight, self.fitted)

    def state(self) -> State:
        """Plain values."""
        return {
            "learner": self.learner, "n_columns": len(self.columns),
            "columns": packed(self.columns.astype(np.float64)), "class_weight": packed(self.class_weight),
            "fitted": self.fitted.state(),
        }  # fmt: skip


def fit_member(
    learner: Learner, x: Matrix, y: Classes, weight: Floats, params: Params, *, seed: int, n_kept: int, power: float,
    fit_one: FitOne | None = None,
) -> Member:  # fmt: skip
    """Select columns and fit one learner, on the rows given alone.

    Args:
        x: (n, n_features), NaN where missing. y: positions in `OUTCOMES`. weight: one a row, > 0.
        n_kept: how many features to keep at most.
        power: how far rare outcomes are weighted up: 0 not at all, 1 until all count alike.
        fit_one: another way to fit than the learner's own.
    """
    columns = select(x, y, weight, n_kept)
    class_weight = class_weights(y, weight, power)
    rows, outcomes, weights = with_prior(np.ascontiguousarray(x[:, columns]), y, weight)
    fit = fit_one or cast("FitOne", LEARNERS[learner].fit)
    fitted = fit(rows, outcomes, weights * class_weight[outcomes], seed, params)
    return Member(learner, columns, class_weight, fitted)


def load_member(said: Any, n_features: int) -> Member:
    """The member of a state; raises ValueError, KeyError or TypeError where it is none."""
    keys(said, "learner", "n_columns", "columns", "class_weight", "fitted")
    if said["learner"] not in LEARNERS:
        raise ValueError(f"learner {str(said['learner'])[:80]!r}, expected one of {list(LEARNERS)!r}")
    n = whole(said["n_columns"], 1, n_features)
    columns = unpacked_whole(said["columns"], n, 0, n_features - 1)
    class_weight = unpacked(said["class_weight"], len(OUTCOMES))
    if len(np.unique(columns)) != n or (class_weight < 1 / _MOST_CLASS_WEIGHT).any():
        raise ValueError("a column named twice, or a class weight that is not positive")
    return Member(said["learner"], columns, class_weight, LEARNERS[said["learner"]].load(said["fitted"], n))


def class_weights(y: Classes, weight: Floats, power: float) -> Floats:
    """(7,) weights: the mean class's mass over a class's own (one observation added to each), to a power.

    >>> class_weights(np.array([0] * 13), np.ones(13), 0.0).tolist() == [1.0] * 7
    True
    """
    mass = np.bincount(y, weights=weight, minlength=len(OUTCOMES)) + 1.0
    return np.asarray((mass.mean() / mass) ** power)


def with_prior(x: Matrix, y: Classes, weight: Floats) -> tuple[Matrix, Classes, Floats]:
    """The rows, and one of each outcome about which nothing is known, Laplace's prior.

    Without those a class that is absent gets a probability of nearly nothing, and an infinite loss later.
    """
    n = len(OUTCOMES)
    nothing = np.full((n, x.shape[1]), np.nan, np.float32)
    return np.vstack([x, nothing]), np.concatenate([y, np.arange(n)]), np.concatenate([weight, np.ones(n)])
