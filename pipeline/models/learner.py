"""The one learner: gradient boosting over the outcomes, as plain bytes.

Belongs here: fitting, predicting, and a model's native bytes. Stays out: which rows (`splits`) and what it is worth
(`metrics`). Bytes are XGBoost's own UBJ; nothing is pickled, and XGBoost alone reads them back with equal answers.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import polars as pl
import xgboost as xgb

from pipeline.errors import InputError
from pipeline.models.spec import LearnerSpec
from pipeline.tables import OUTCOMES

type Floats = np.ndarray[Any, np.dtype[np.float64]]
type Matrix = np.ndarray[Any, np.dtype[np.float32]]
type Classes = np.ndarray[Any, np.dtype[np.int64]]


class Predictor(Protocol):
    """Whatever gives probabilities of the outcomes."""

    def predict_proba(self, frame: pl.DataFrame) -> Floats:
        """Probabilities (rows of `frame`, 7), columns in the order of `OUTCOMES`, each row summing to 1."""
        ...


def matrix(frame: pl.DataFrame, feature_names: Sequence[str]) -> Matrix:
    """The features as (rows, features) float32; null becomes NaN, which is how XGBoost spells missing.

    Values beyond float32's range are held at its edge: trees only need the order.

    Raises:
        InputError: a feature is not there, or holds NaN or an infinite value.
    """
    absent = [name for name in feature_names if name not in frame.columns]
    if absent:
        raise InputError(f"cannot predict: the frame lacks the features {absent!r}; compute the model's feature set")
    edge = float(np.finfo(np.float32).max)
    wide = frame.select(pl.col(name).cast(pl.Float64) for name in feature_names)
    sound = wide.select(pl.all().is_finite().fill_null(True).all())
    unsound = [name for name in feature_names if frame.height and not sound[name].item()]
    if unsound:
        raise InputError(f"features {unsound!r} hold NaN or an infinite value: missing is null, mend the feature")
    return wide.select(pl.all().clip(-edge, edge)).to_numpy().astype(np.float32)


@dataclass(frozen=True)
class FittedModel:
    """A fitted model: its bytes and what they were fed, in order."""

    model_bytes: bytes = field(repr=False)
    feature_names: tuple[str, ...]
    n_rounds: int
    attributes: Mapping[str, str]
    booster: Any = field(repr=False, compare=False)

    @property
    def sha256(self) -> str:
        """SHA-256 of `model_bytes`."""
        return hashlib.sha256(self.model_bytes).hexdigest()

    @classmethod
    def from_bytes(cls, model_bytes: bytes) -> "FittedModel":
        """The model whose bytes these are.

        Raises:
            InputError: the bytes are no model, or one over other outcomes.
        """
        if not model_bytes:  # XGBoost ends the whole process on an empty buffer instead of raising
            raise InputError("0 bytes are no XGBoost model: fetch the model's file again")
        booster = xgb.Booster()
        try:
            booster.load_model(bytearray(model_bytes))
            attributes = {k: v for k, v in booster.attributes().items() if v is not None}
        except (xgb.core.XGBoostError, UnicodeDecodeError) as error:
            raise InputError(
                f"{len(model_bytes)!r} bytes are no XGBoost model: {str(error).splitlines()[0]!r}"
            ) from error
        if attributes.get("outcomes") != ",".join(OUTCOMES):
            raise InputError(f"the model knows the outcomes {attributes.get('outcomes')!r}, expected {OUTCOMES!r}")
        names = tuple(booster.feature_names or ())
        return cls(bytes(model_bytes), names, booster.num_boosted_rounds(), attributes, booster)

    def predict_proba(self, frame: pl.DataFrame) -> Floats:
        """Probabilities (rows of `frame`, 7), columns in the order of `OUTCOMES`.

        Raises:
            InputError: `frame` lacks a feature, or one holds NaN or an infinite value.
        """
        return self.predict_matrix(matrix(frame, self.feature_names))

    def predict_matrix(self, x: Matrix) -> Floats:
        """The same for features already as a matrix in the order of `feature_names`."""
        if not len(x):
            return np.zeros((0, len(OUTCOMES)))
        raw = self.booster.predict(xgb.DMatrix(x, feature_names=list(self.feature_names))).astype(np.float64)
        return np.asarray(raw / raw.sum(axis=1, keepdims=True))

    def gain(self) -> dict[str, float]:
        """Share of the total gain of all splits by feature; features never split on have 0."""
        found = self.booster.get_score(importance_type="total_gain")
        total = sum(found.values()) or 1.0
        return {name: float(found.get(name, 0.0)) / total for name in self.feature_names}


@dataclass(frozen=True)
class Learner:
    """XGBoost `multi:softprob` over `OUTCOMES` (Chen & Guestrin 2016), with fixed threads and seed.

    `attributes` are written into the model's bytes: what it was fed, what it looks at, which set it learned from.
    """

    spec: LearnerSpec
    feature_names: tuple[str, ...]
    attributes: Mapping[str, str] = field(default_factory=dict)

    def fit(self, x: Matrix, y: Classes, weight: Floats, seed: int, *, n_rounds: int | None = None) -> FittedModel:
        """A model of `n_rounds` (default: the spec's bound) boosting rounds on all rows given.

        Args:
            x: (rows, features) float32, NaN where missing. y: positions in `OUTCOMES`. weight: one a row, > 0.
        """
        rounds = n_rounds or self.spec.n_rounds_max
        booster = xgb.train(
            self._parameters(seed), self._rows(x, y, weight), num_boost_round=rounds, verbose_eval=False
        )
        booster.set_attr(**self.attributes, outcomes=",".join(OUTCOMES))
        return FittedModel.from_bytes(bytes(booster.save_raw("ubj")))

    def rounds(self, x: Matrix, y: Classes, weight: Floats, seed: int, held_out: tuple[Matrix, Classes, Floats]) -> int:
        """How many rounds to boost: where the log loss on the rows held out was lowest, at least 1."""
        booster = xgb.train(
            self._parameters(seed),
            self._rows(x, y, weight),
            num_boost_round=self.spec.n_rounds_max,
            evals=[(self._rows(*held_out), "held_out")],
            early_stopping_rounds=self.spec.early_stopping_rounds,
            verbose_eval=False,
        )
        return int(booster.best_iteration) + 1

    def _rows(self, x: Matrix, y: Classes, weight: Floats) -> Any:
        """The rows, and one of each outcome about which nothing is known, Laplace's prior.

        Without those a class that is absent gets a probability of nearly nothing, and an infinite loss later.
        """
        n = len(OUTCOMES)
        prior = np.full((n, x.shape[1]), np.nan, np.float32)
        return xgb.DMatrix(
            np.vstack([x, prior]),
            label=np.concatenate([y, np.arange(n)]),
            weight=np.concatenate([weight, np.ones(n)]),
            feature_names=list(self.feature_names),
            nthread=self.spec.n_threads,
        )

    def _parameters(self, seed: int) -> dict[str, Any]:
        s = self.spec
        return {
            "objective": "multi:softprob",
            "eval_metric": "mlogloss",
            "num_class": len(OUTCOMES),
            "tree_method": "hist",
            "device": "cpu",
            "max_depth": s.max_depth,
            "learning_rate": s.learning_rate,
            "min_child_weight": s.min_child_weight,
            "subsample": s.subsample,
            "colsample_bytree": s.colsample_bytree,
            "reg_lambda": s.reg_lambda,
            "max_bin": s.max_bin,
            "nthread": s.n_threads,
            "seed": seed,
            "verbosity": 0,
        }
