"""One horizon's model: its members, how they answer together, and what makes their answers honest.

Belongs here: the answer, and the head as plain values. Stays out: fitting (`heads`), the file (`outcome_model`).
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

import numpy as np

from pipeline.models.calibration import Calibrator, load_calibrator
from pipeline.models.combination import Combination, load_combination
from pipeline.models.learner import Classes, Floats, Matrix
from pipeline.models.learners.states import State, keys
from pipeline.models.members import Member, load_member
from pipeline.models.spec import KINDS, Kind

_MOST_MEMBERS: Final = 20


@dataclass(frozen=True, eq=False)
class Head:
    """What is said of one horizon: members, combined, then calibrated."""

    kind: Kind
    members: Sequence[Member] = field(repr=False)
    combination: Combination
    calibrator: Calibrator

    def predict(self, x: Matrix) -> Floats:
        """Probabilities (rows of `x`, 7), each row summing to 1."""
        return self.calibrator(self.raw(x))

    def raw(self, x: Matrix) -> Floats:
        """The same before calibration."""
        return self.combination([member.predict(x) for member in self.members])

    @property
    def columns(self) -> Classes:
        """Places of all features that any member sees, rising."""
        return np.asarray(np.unique(np.concatenate([member.columns for member in self.members])), np.int64)

    def importance(self, n_features: int) -> Floats:
        """(n_features,) the mean over the members of where their knowledge comes from."""
        return np.asarray(np.mean([member.importance(n_features) for member in self.members], axis=0))

    def placed(self, columns: Classes) -> "Head":
        """The same head for who gives it these columns alone, in this order."""
        place_of = {int(at): k for k, at in enumerate(columns)}
        return replace(self, members=[member.placed(place_of) for member in self.members])

    def state(self) -> State:
        """Plain values."""
        return {
            "kind": self.kind,
            "members": [member.state() for member in self.members],
            "combination": self.combination.state(),
            "calibrator": self.calibrator.state(),
        }


def load_head(said: Any, n_features: int) -> Head:
    """The head of a state; raises ValueError, KeyError or TypeError where it is none."""
    keys(said, "kind", "members", "combination", "calibrator")
    if said["kind"] not in KINDS or not 1 <= len(said["members"]) <= _MOST_MEMBERS:
        raise ValueError(f"kind {str(said['kind'])[:80]!r} with {len(said['members'])} members")
    members = [load_member(one, n_features) for one in said["members"]]
    combination = load_combination(said["combination"], len(members))
    return Head(said["kind"], members, combination, load_calibrator(said["calibrator"]))
