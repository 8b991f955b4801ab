"""What a model must beat: answers that need no learning to speak of.

Belongs here: baselines fitted on training rows alone, behind the same `predict_proba`. Stays out: their verdict.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import polars as pl

from pipeline.errors import InputError
from pipeline.models.learner import Classes, Floats, Predictor
from pipeline.models.spec import TrainingSpec
from pipeline.tables import OUTCOMES


@dataclass(frozen=True)
class Constant:
    """The same probabilities for every row."""

    probabilities: tuple[float, ...]

    def predict_proba(self, frame: pl.DataFrame) -> Floats:
        """`probabilities`, once a row."""
        return np.tile(np.asarray(self.probabilities), (frame.height, 1))


@dataclass(frozen=True)
class OneFeatureRule:
    """Class frequencies in quantile bins of one feature, add-one smoothed towards the class prior; nulls are a bin.

    `edges` are the inner bin edges; row i of `table` belongs to bin i, the last row to null.
    """

    feature: str
    edges: tuple[float, ...]
    table: Floats = field(repr=False)

    def predict_proba(self, frame: pl.DataFrame) -> Floats:
        """The frequencies of each row's bin."""
        if self.feature not in frame.columns:
            raise InputError(f"the one-feature rule needs {self.feature!r}, found {frame.columns!r}")
        return np.asarray(self.table[_bins(frame[self.feature], np.asarray(self.edges))])


def class_prior(y: Classes, weight: Floats) -> Constant:
    """Weighted class frequencies with one observation added to each class.

    >>> class_prior(np.array([0, 0]), np.ones(2)).probabilities[0]
    0.3333333333333333
    """
    shares = (_counts(y, weight) + 1) / (weight.sum() + len(OUTCOMES))
    return Constant(tuple(shares.tolist()))


def majority(y: Classes, weight: Floats, *, epsilon: float) -> Constant:
    """Always the most frequent class; `epsilon` is left to each other class, or its log loss would be infinite."""
    p = np.full(len(OUTCOMES), epsilon)
    p[int(np.argmax(_counts(y, weight)))] = 1 - epsilon * (len(OUTCOMES) - 1)
    return Constant(tuple(p.tolist()))


def one_feature_rule(
    frame: pl.DataFrame, feature_names: Sequence[str], y: Classes, weight: Floats, n_bins: int
) -> OneFeatureRule:
    """The rule on that feature whose bins explain the training rows best, by weighted log loss.

    Only training rows choose the feature, its edges and its frequencies; ties go to the first name.
    """
    rules, losses = [], []
    for name in feature_names:
        rule, bins = _rule(frame[name], y, weight, n_bins)
        rules.append(rule)
        losses.append(float(np.average(-np.log(rule.table[bins, y]), weights=weight)))
    return rules[int(np.argmin(losses))]


def fit_baselines(
    frame: pl.DataFrame, feature_names: Sequence[str], y: Classes, weight: Floats, spec: TrainingSpec
) -> dict[str, Predictor]:
    """Every baseline by name, in the order of `spec.BASELINES`, fitted on the rows given."""
    return {
        "class_prior": class_prior(y, weight),
        "majority": majority(y, weight, epsilon=spec.probability_epsilon),
        "one_feature_rule": one_feature_rule(frame, feature_names, y, weight, spec.n_rule_bins),
    }


def _rule(column: pl.Series, y: Classes, weight: Floats, n_bins: int) -> tuple[OneFeatureRule, Classes]:
    """The rule on one feature, and the bin of each row."""
    known = column.drop_nulls().cast(pl.Float64).to_numpy()
    cuts = np.quantile(known, np.linspace(0, 1, n_bins + 1)[1:-1]) if len(known) else np.zeros(0)
    edges = np.unique(cuts)
    bins = _bins(column, edges)
    counts = np.zeros((len(edges) + 2, len(OUTCOMES)))
    np.add.at(counts, (bins, y), weight)
    # One whole observation a bin, shared out as the classes are: an empty bin then says the prior, no more.
    counts += np.asarray(class_prior(y, weight).probabilities)
    return OneFeatureRule(column.name, tuple(edges), counts / counts.sum(axis=1, keepdims=True)), bins


def _bins(column: pl.Series, edges: Any) -> Classes:
    """The bin of each value: below the first edge 0, null the last one."""
    values = column.cast(pl.Float64)
    at = np.searchsorted(edges, values.fill_null(0.0).to_numpy(), side="right")
    return np.where(values.is_null().to_numpy(), len(edges) + 1, at).astype(np.int64)


def _counts(y: Classes, weight: Floats) -> Floats:
    return np.bincount(y, weights=weight, minlength=len(OUTCOMES)).astype(np.float64)
