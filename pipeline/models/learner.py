"""What learners are fed and what they give back.

Belongs here: features as a matrix, and the shape of whatever predicts. Stays out: the learners themselves
(`learners`), which rows they see (`splits`) and what they are worth (`metrics`).
"""

from collections.abc import Sequence
from typing import Any, Final, Protocol

import numpy as np
import polars as pl

from pipeline.errors import InputError

type Floats = np.ndarray[Any, np.dtype[np.float64]]
type Matrix = np.ndarray[Any, np.dtype[np.float32]]
type Classes = np.ndarray[Any, np.dtype[np.int64]]


EDGE: Final = 1e29
"""Values beyond are held here: trees only need the order, and files of models hold no larger number."""


class Predictor(Protocol):
    """Whatever gives probabilities of the outcomes."""

    def predict_proba(self, frame: pl.DataFrame) -> Floats:
        """Probabilities (rows of `frame`, 7), columns in the order of `OUTCOMES`, each row summing to 1."""
        ...


def matrix(frame: pl.DataFrame, feature_names: Sequence[str]) -> Matrix:
    """The features as (rows, features) float32; null becomes NaN, which is how learners spell missing.

    Values beyond `EDGE` are held there.

    Raises:
        InputError: a feature is not there, or holds NaN or an infinite value.
    """
    absent = [name for name in feature_names if name not in frame.columns]
    if absent:
        raise InputError(f"cannot predict: the frame lacks the features {absent!r}; compute the model's feature set")
    wide = frame.select(pl.col(name).cast(pl.Float64) for name in feature_names)
    sound = wide.select(pl.all().is_finite().fill_null(True).all())
    unsound = [name for name in feature_names if frame.height and not sound[name].item()]
    if unsound:
        raise InputError(f"features {unsound!r} hold NaN or an infinite value: missing is null, mend the feature")
    return wide.select(pl.all().clip(-EDGE, EDGE)).to_numpy().astype(np.float32)
