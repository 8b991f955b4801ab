"""How several learners answer as one: by vote, or by a small model on top; fitted on out-of-fold answers.

Belongs here: the two ensembles' numbers and their fits. Stays out: whose answers are combined (`members`), and on which
rows the fits may look (`competition`).

Both have few numbers on purpose: out-of-fold rows are few, and a free model of four learners' seven probabilities
would have two hundred.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from scipy.optimize import minimize  # type: ignore[import-untyped]  # scipy ships no types
from scipy.special import log_softmax, softmax  # type: ignore[import-untyped]

from pipeline.models.learner import Classes, Floats
from pipeline.models.learners.states import State, keys, packed, unpacked
from pipeline.tables import OUTCOMES

_N_STEPS: Final = 50
_RIDGE: Final = 1e-2
"""How strongly the stacked model is held to the equal mix, in nats a row for a coefficient off by 1."""
_LEAST: Final = 1e-12


@dataclass(frozen=True, eq=False)
class Vote:
    """Soft voting: the mean of the members' probabilities under `weights`, which sum to 1."""

    weights: Floats

    def __call__(self, said: Sequence[Floats]) -> Floats:
        """(n, 7) probabilities from each member's."""
        return np.asarray(np.tensordot(self.weights, np.stack(said), axes=1))

    def state(self) -> State:
        """Plain values."""
        return {"how": "vote", "weights": packed(self.weights)}


@dataclass(frozen=True, eq=False)
class Stack:
    """Stacking (Wolpert 1992): a multinomial logistic regression on the members' log-probabilities.

    One coefficient a member and one constant an outcome: p is the softmax of sum_k coefficient_k log p_k + constant.
    """

    coefficients: Floats
    constants: Floats

    def __call__(self, said: Sequence[Floats]) -> Floats:
        """(n, 7) probabilities from each member's."""
        return np.asarray(softmax(np.tensordot(self.coefficients, _logs(said), axes=1) + self.constants, axis=1))

    def state(self) -> State:
        """Plain values."""
        return {"how": "stack", "coefficients": packed(self.coefficients), "constants": packed(self.constants)}


type Combination = Vote | Stack


def alone() -> Vote:
    """The combination of one member: what it says."""
    return Vote(np.ones(1))


def equal(n_members: int) -> Vote:
    """All members alike."""
    return Vote(np.full(n_members, 1 / n_members))


def fit_vote(said: Sequence[Floats], y: Classes, weight: Floats) -> Vote:
    """The weights of least log loss, by expectation-maximisation from equal ones (Dempster, Laird & Rubin 1977).

    Args:
        said: each member's (n, 7) probabilities of rows it has not learned from. weight: one a row.
    """
    given = np.stack([p[np.arange(len(y)), y] for p in said])
    weights = np.full(len(said), 1 / len(said))
    for _ in range(_N_STEPS):
        share = weights[:, None] * given
        weights = (share / np.maximum(share.sum(axis=0), _LEAST)) @ weight
        weights /= weights.sum()
    return Vote(weights)


def fit_stack(said: Sequence[Floats], y: Classes, weight: Floats) -> Stack:
    """The coefficients of least log loss, held to the equal mix by a ridge; arguments as of `fit_vote`."""
    n, logs, mass = len(said), _logs(said), weight / weight.sum()
    middle = np.concatenate([np.full(n, 1 / n), np.zeros(len(OUTCOMES))])

    def loss(theta: Floats) -> tuple[float, Floats]:
        told = log_softmax(np.tensordot(theta[:n], logs, axes=1) + theta[n:], axis=1)
        off = mass[:, None] * (np.exp(told) - np.eye(len(OUTCOMES))[y])
        slope = np.concatenate([np.tensordot(logs, off, axes=([1, 2], [0, 1])), off.sum(axis=0)])
        away = theta - middle
        return float(-(mass @ told[np.arange(len(y)), y]) + _RIDGE * away @ away), slope + 2 * _RIDGE * away

    found = minimize(loss, middle, jac=True, method="L-BFGS-B").x
    return Stack(np.asarray(found[:n]), np.asarray(found[n:]))


def load_combination(said: Any, n_members: int) -> Combination:
    """The combination of a state; raises ValueError, KeyError or TypeError where it is none."""
    if said["how"] == "vote":
        keys(said, "how", "weights")
        weights = unpacked(said["weights"], n_members)
        if (weights < 0).any() or abs(float(weights.sum()) - 1) > 1e-9:
            raise ValueError(f"votes of {weights.tolist()!r}")
        return Vote(weights)
    if said["how"] != "stack":
        raise ValueError(f"a combination by {str(said['how'])[:80]!r}")
    keys(said, "how", "coefficients", "constants")
    return Stack(unpacked(said["coefficients"], n_members), unpacked(said["constants"], len(OUTCOMES)))


def _logs(said: Sequence[Floats]) -> Floats:
    return np.asarray(np.log(np.maximum(np.stack(said), _LEAST)))
