"""The feature vector: every feature between 0 and 1, by rules that only training rows made.

Belongs here: fitting the rules, applying them, and the one table with the returns beside it. Stays out: models; trees
need none of this, it is for those who want one table of numbers of one size.

A number becomes its rank: the share of the training rows below it, by their percentiles, linearly between them (the
empirical distribution function, as scikit-learn's QuantileTransformer has it). Features of pools span twenty orders of
magnitude; between a minimum and a maximum, winsorised or not, nearly all of them would lie at one end. Ranks need no
unit, hold for heavy tails, and keep the order. Beyond the training range a value is 0 or 1. Flags are 0 and 1. Missing
stays null, and a feature that no training row had is null for all.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Final, Literal

import numpy as np
import polars as pl

from pipeline.errors import InputError, UsageError
from pipeline.models.as_of import returns_as_of
from pipeline.tables import POOL_TIME_KEY

TARGET_HOURS: Final = (1, 24)
N_KNOTS: Final = 101
"""Percentiles, both ends included."""

type Kind = Literal["number", "flag"]
type Values = np.ndarray[Any, np.dtype[np.float64]]


@dataclass(frozen=True)
class FeatureRule:
    """How one feature becomes a number in [0, 1].

    `knots` of a number are evenly spaced quantiles of the training rows, ascending; none if no row had a value.
    """

    name: str
    kind: Kind
    knots: tuple[float, ...] = ()


@dataclass(frozen=True)
class VectorRules:
    """The rules of a whole vector, as plain numbers, in the order of its columns."""

    features: tuple[FeatureRule, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """The vector's columns."""
        return tuple(rule.name for rule in self.features)

    def as_json(self) -> str:
        """The rules as JSON, every number to the last bit.

        >>> rules = VectorRules((FeatureRule("a", "number", (0.1, 0.3)), FeatureRule("b", "flag")))
        >>> VectorRules.from_json(rules.as_json()) == rules
        True
        """
        return json.dumps([asdict(rule) for rule in self.features], allow_nan=False)

    @staticmethod
    def from_json(text: str) -> "VectorRules":
        """What `as_json` gave.

        Raises:
            InputError: it is not that.
        """
        try:
            told = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise InputError(f"expected the rules of a vector as JSON, found {text[:80]!r}: {error}") from error
        if not isinstance(told, list) or not told:
            raise InputError(f"expected the rules of a vector as a list with names, found {text[:80]!r}")
        rules = VectorRules(tuple(_rule(one) for one in told))
        if len(set(rules.names)) != len(rules.names):
            raise InputError(f"expected one rule a feature, found {list(rules.names)!r}")
        return rules


def fit_vector(train_features: pl.DataFrame, names: Sequence[str]) -> VectorRules:
    """Rules from the rows of a training fold; no other row may be among them.

    Args:
        train_features: numbers and flags under `names`; null, NaN and infinite values are passed over.

    Raises:
        UsageError: no name, a name twice, or a column that is missing or neither a number nor a flag.
    """
    if not names or len(set(names)) != len(names):
        raise UsageError(f"expected distinct feature names, found {list(names)!r}")
    return VectorRules(tuple(_fit(train_features, name) for name in names))


def scaled(rules: VectorRules, features: pl.DataFrame) -> pl.DataFrame:
    """The frame with every feature of the rules as Float64 in [0, 1], or null; other columns as they were.

    Values beyond the training range, infinite ones included, are at the nearer end. NaN is missing, so null.

    Raises:
        UsageError: a column is missing.
    """
    missing = [name for name in rules.names if name not in features.columns]
    if missing:
        raise UsageError(f"the vector needs {missing!r}, found {features.columns!r}")
    return features.with_columns(_apply(rule, features[rule.name]) for rule in rules.features)


def vector_table(
    rules: VectorRules, features: pl.LazyFrame, labels: pl.LazyFrame, *, known_by: datetime
) -> pl.DataFrame:
    """One table for those who want one: key, the scaled vector, and what the price did afterwards.

    Args:
        features: rows of `features`. labels: rows of `labels`.
        known_by: returns that were not known by then are null, UTC.

    Returns:
        POOL_TIME_KEY, `known_at`, the vector, and `price_return_1h`, `price_return_24h` as fractions (0.5: up by
        half), in the order of the key. Rows that were not known at their own time are not among them.
    """
    told = returns_as_of(
        features.select(*POOL_TIME_KEY, "known_at", *rules.names),
        labels,
        known_by=known_by,
        horizons_hours=TARGET_HOURS,
    )
    return scaled(rules, told.sort(POOL_TIME_KEY).collect())


def _floats(told: Iterable[Any]) -> tuple[float, ...]:
    return tuple(float(value) for value in told)


def _rule(told: Any) -> FeatureRule:
    """One rule as JSON told it."""
    match told:
        case {"name": str(name), "kind": "number" | "flag" as kind, "knots": list(knots), **rest} if not rest:
            if all(type(knot) in {int, float} for knot in knots):
                values = _floats(knots)
                if bool(np.isfinite(values).all()) and bool((np.diff(values) >= 0).all()):
                    return FeatureRule(name, kind, values)
    raise InputError(
        f"expected a rule with a name, a kind (number or flag) and finite ascending knots, found {str(told)[:80]!r}"
    )


def _fit(frame: pl.DataFrame, name: str) -> FeatureRule:
    dtype = frame.schema.get(name)
    if dtype == pl.Boolean:
        return FeatureRule(name, "flag")
    if dtype is None or not dtype.is_numeric():
        raise UsageError(f"{name!r} is to be scaled: expected a number or a flag, found {dtype!r}")
    values = frame[name].cast(pl.Float64).drop_nulls().to_numpy()
    known = np.sort(values[np.isfinite(values)])
    if not len(known):
        return FeatureRule(name, "number")
    knots = _quantiles(known, min(N_KNOTS, len(known)))
    return FeatureRule(name, "number", _floats(knots))


def _quantiles(ordered: Values, n: int) -> Values:
    """`n` evenly spaced quantiles, linear between order statistics, never out of order nor out of range."""
    at = np.linspace(0, len(ordered) - 1, n)
    low = np.floor(at).astype(np.int64)
    high, share = np.minimum(low + 1, len(ordered) - 1), at - low
    # Weighted so, and not as a step from the lower one, the ends of the range of floats do not overflow.
    between = ordered[low] * (1 - share) + ordered[high] * share
    return np.maximum.accumulate(np.clip(between, ordered[low], ordered[high]))


def _apply(rule: FeatureRule, column: pl.Series) -> pl.Series:
    values = column.cast(pl.Float64)
    if rule.kind == "flag":
        return values
    if not rule.knots:
        return pl.Series(rule.name, [None] * len(values), pl.Float64)
    x = values.fill_null(float("nan")).to_numpy()
    return pl.Series(rule.name, _rank(x, np.asarray(rule.knots)), nan_to_null=True)


def _rank(x: Values, knots: Values) -> Values:
    """Place of each value among the knots, from 0 to 1; NaN for NaN.

    A value that several knots share has the place of the middle one. At the first knot and below it is 0, from the
    last one on it is 1.
    """
    last = len(knots) - 1
    above = np.searchsorted(knots, x, side="left").clip(0, last)
    below = (np.searchsorted(knots, x, side="right") - 1).clip(0, last)
    inside = (x > knots[0]) & (x < knots[-1])
    # Halves, or the distance between the ends of the range of floats would be none; 0 / 0 between the smallest of all.
    from_below = np.clip(x, knots[0], knots[-1]) / 2 - knots[below] / 2
    with np.errstate(divide="ignore", invalid="ignore"):
        share = np.nan_to_num(from_below / (knots[above] / 2 - knots[below] / 2), nan=0.5).clip(0, 1)
    place = np.where(above > below, below + share, (above + below) / 2) / max(last, 1)
    rank = np.where(inside, place, np.where(x <= knots[0], 0.0, 1.0))
    return np.where(np.isnan(x), np.nan, rank)
