"""From due snapshots to predictions.

Belongs here: asking each role's model about the same rows, deciding which of them may be scored, and guarding what is
said. Stays out: choosing the rows (`due`), loading a model (whoever calls brings `predict`), and whether it was right
(`outcomes`).

A prediction is made before its outcome can be known, from what was known then, on the kind of pool the model was
trained on, or it is not made. What was due and not scored is a row with its reason. One role's model that breaks says
nothing; the others are asked all the same.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from pipeline.errors import InputError, PoolcastError, UsageError
from pipeline.predictions.completeness import completeness
from pipeline.predictions.inputs import as_inputs
from pipeline.predictions.spec import PredictionSpec
from pipeline.tables import FEATURES, OUTCOMES, POOL_TIME_KEY, PREDICTIONS, UNSCORED, UNSCORED_REASONS

type Role = Literal["champion", "shadow", "former"]
type Predict = Callable[[pl.DataFrame], Mapping[int, NDArray[np.floating[Any]]]]
type Signal = Callable[[pl.DataFrame], tuple[NDArray[np.floating[Any]], NDArray[np.bool_] | None]]
type Timer = Callable[[], float]

_ASKED: Final = (*POOL_TIME_KEY, "horizon_hours")
_DETAIL: Final = 200


@dataclass(frozen=True)
class Served:
    """A model version in its role, and how it is asked.

    Attributes:
        role: what it is.
        model_name: the registered model.
        model_version: its version.
        model_sha256: of the model file.
        feature_set: hash of the features it is fed with; those that it takes are as they were when it learned.
        feature_names: its inputs, in order.
        needed: those of them that a row must have to be complete.
        horizons_hours: how far ahead it looks.
        learned_until: it learned from nothing that was settled later, UTC.
        since: when it took its role, UTC.
        predict: features (`feature_names`, in order; n rows) -> for each horizon (n, 7) probabilities in the order of
            `tables.OUTCOMES`.
        signal: the same features -> n scores (NaN: none), and which of them are signals (None: it abstains).
    """

    role: Role
    model_name: str
    model_version: int
    model_sha256: str
    feature_set: str
    feature_names: tuple[str, ...]
    needed: tuple[str, ...]
    horizons_hours: tuple[int, ...]
    learned_until: datetime
    since: datetime
    predict: Predict = field(repr=False, compare=False)
    signal: Signal | None = field(default=None, repr=False, compare=False)


@dataclass(frozen=True)
class Scored:
    """Rows of `tables.PREDICTIONS` and of `tables.UNSCORED`, and what was wrong with the models that broke."""

    predictions: pl.DataFrame
    unscored: pl.DataFrame
    failures: Mapping[Role, str]


def score(
    due: pl.DataFrame,
    served: Sequence[Served],
    already: pl.DataFrame,
    spec: PredictionSpec,
    timer: Timer | None = None,
) -> Scored:
    """What each role's model says about the due snapshots, where it may speak.

    Each role is asked about the same rows: those said since it took the role, and with hindsight the champion alone. A
    row is not scored when the model learned from what happened after it, when its horizon ended at or before the
    moment it would be said (unless that is hindsight), when the pool's age is unknown or outside the trained range,
    when less than `spec.min_completeness` of the needed features are not null, or when the model breaks. A null stays
    null: nothing is filled.

    Args:
        due: rows of `tables.FEATURES` with `said_at` and `is_hindsight` (`due`), in any order.
        served: the roles; each at most once.
        already: what was said before (`POOL_TIME_KEY`, `horizon_hours`, `model_name`, `model_version`): not said again.
        spec: when a model may speak.
        timer: gives seconds; None: how long a model took is not told, as in a replay, which must end the same twice.

    Raises:
        InputError: a row is there twice, was not known when it would be said, or holds NaN or infinity.
        UsageError: a role is there twice.
    """
    roles = [one.role for one in served]
    if len(set(roles)) != len(roles):
        raise UsageError(f"asked the roles {roles!r}: each has one version")
    _require_sound(due)
    said, unsaid, failures = [PREDICTIONS.empty()], [UNSCORED.empty()], {}
    for one in served:
        asked = _asked(due, one, already, spec)
        kept = asked.filter(pl.col("reason").is_null())
        try:
            said.append(_said(kept, one, spec, timer))
        except PoolcastError as error:
            failures[one.role] = str(error)
            broken = pl.lit("model_failed").alias("reason"), pl.lit(str(error)[:_DETAIL]).alias("detail")
            unsaid.append(_unscored(kept.with_columns(*broken), one))
        unsaid.append(_unscored(asked.filter(pl.col("reason").is_not_null()), one))
    return Scored(pl.concat(said), pl.concat(unsaid), failures)


def skipped(unscored: pl.DataFrame) -> dict[str, int]:
    """How many rows were not scored, for every reason."""
    counts = dict(unscored["reason"].value_counts().iter_rows())
    return {reason: counts.get(reason, 0) for reason in UNSCORED_REASONS}


def _require_sound(due: pl.DataFrame) -> None:
    needed = [*POOL_TIME_KEY, "known_at", "age_hours", "reserve_usd", "said_at", "is_hindsight"]
    missing = [name for name in needed if name not in due.columns]
    if missing:
        raise UsageError(f"scored {due.height} rows: columns {missing!r} are missing; choose rows of {FEATURES.name!r}")
    if due.select(POOL_TIME_KEY).is_duplicated().any():
        raise InputError(f"scored {due.height} rows: a pool is there twice at one time; features are not unique")
    late = due.filter((pl.col("known_at") > pl.col("said_at")) | (pl.col("event_time") > pl.col("said_at")))
    if late.height:
        raise InputError(f"scored {due.height} rows: {late.height} were not known when they would be said")
    floats = [name for name, dtype in due.schema.items() if dtype.is_float()]
    broken = [name for name in floats if not due[name].drop_nulls().is_finite().all()]
    if broken:
        raise InputError(f"scored {due.height} rows: {sorted(broken)!r} hold NaN or infinity; missing is null")


def _asked(due: pl.DataFrame, one: Served, already: pl.DataFrame, spec: PredictionSpec) -> pl.DataFrame:
    """One row a snapshot and horizon that this role is asked about, with `completeness` and the `reason` not to."""
    theirs = due.filter(pl.col("said_at") >= one.since, ~pl.col("is_hindsight") | pl.lit(one.role == "champion")).sort(
        *POOL_TIME_KEY
    )
    told = already.filter(pl.col("model_name") == one.model_name, pl.col("model_version") == one.model_version)
    horizons = pl.DataFrame({"horizon_hours": list(one.horizons_hours)}, schema={"horizon_hours": pl.Int32})
    return (
        theirs.with_columns(completeness(one.needed, due.columns))
        .join(horizons, how="cross")
        .join(told, on=list(_ASKED), how="anti", maintain_order="left")
        .with_columns(_reason(one, spec).alias("reason"), pl.lit(None, pl.String).alias("detail"))
    )


def _reason(one: Served, spec: PredictionSpec) -> pl.Expr:
    """The first reason not to score a row, null where there is none."""
    age, end = pl.col("age_hours"), pl.col("event_time") + pl.duration(hours=pl.col("horizon_hours"))
    rules = {
        "learned_past_it": pl.col("event_time") <= one.learned_until,
        "horizon_passed": ~pl.col("is_hindsight") & (end <= pl.col("said_at")),
        "age_unknown": age.is_null(),
        "age_outside_trained_range": ~age.is_between(spec.min_age_hours, spec.max_age_hours),
        "incomplete": pl.col("completeness") < spec.min_completeness,
    }
    return pl.coalesce(*(pl.when(rule).then(pl.lit(reason)) for reason, rule in rules.items()), pl.lit(None, pl.String))


def _said(kept: pl.DataFrame, one: Served, spec: PredictionSpec, timer: Timer | None) -> pl.DataFrame:
    """The model's answers, guarded; it is asked once a snapshot, and not at all where there is none."""
    if kept.is_empty():
        return PREDICTIONS.empty()
    absent = [name for name in one.feature_names if name not in kept.columns]
    if absent or not one.feature_names:
        raise UsageError(
            f"asked version {one.model_version} of {one.model_name!r}: it takes {list(one.feature_names)!r}, and"
            f" {absent!r} are no features any more; train it again"
        )
    rows = kept.unique(POOL_TIME_KEY, keep="first", maintain_order=True)
    fed = rows.select(one.feature_names)
    started = timer() if timer else 0.0
    answers = one.predict(fed)
    latency_ms = (timer() - started) * 1000 / fed.height if timer else None
    lost = [hours for hours in one.horizons_hours if hours not in answers]
    if lost:
        raise InputError(f"asked the model for {one.horizons_hours!r} hours: it says nothing of {lost!r}")
    told = rows.select(*POOL_TIME_KEY).with_columns(
        pl.lit(latency_ms, pl.Float64).alias("latency_ms"),
        rows.select(as_inputs(one.feature_names)).to_series(),
        *_signals(fed, one.signal),
    )
    by_horizon = [
        told.with_columns(
            pl.lit(hours, pl.Int32).alias("horizon_hours"), *_probabilities(answers[hours], fed.height, spec)
        )
        for hours in one.horizons_hours
    ]
    said = kept.join(pl.concat(by_horizon), on=list(_ASKED), how="inner", maintain_order="left")
    return said.with_columns(*_names(one), pl.col("said_at").alias("known_at")).select(
        pl.col(name).cast(dtype) for name, dtype in PREDICTIONS.schema.items()
    )


def _names(one: Served) -> list[pl.Expr]:
    told = (
        ("model_name", one.model_name), ("model_version", one.model_version), ("model_sha256", one.model_sha256),
        ("feature_set", one.feature_set), ("role", one.role),
    )  # fmt: skip
    return [pl.lit(value).alias(name) for name, value in told]


def _unscored(rows: pl.DataFrame, one: Served) -> pl.DataFrame:
    named = rows.with_columns(*_names(one), pl.col("said_at").alias("known_at"))
    return named.select(pl.col(name).cast(dtype) for name, dtype in UNSCORED.schema.items())


def _signals(fed: pl.DataFrame, signal: Signal | None) -> list[pl.Series]:
    """The model's signal of each row; null where it has none or abstains."""
    nothing = [None] * fed.height
    if signal is None:
        return [pl.Series("signal_score", nothing, pl.Float64), pl.Series("is_signal", nothing, pl.Boolean)]
    scores, flags = signal(fed)
    told, raised = np.asarray(scores, dtype=np.float64), nothing if flags is None else [bool(flag) for flag in flags]
    if told.shape != (fed.height,) or len(raised) != fed.height or np.isinf(told).any():
        raise InputError(
            f"asked the model for {fed.height} signals: it gave {told.shape} scores, {int(np.isinf(told).sum())} of"
            f" them infinite, and {len(raised)} answers; take it out of its role"
        )
    return [pl.Series("signal_score", told, nan_to_null=True), pl.Series("is_signal", raised, pl.Boolean)]


def _probabilities(answer: NDArray[np.floating[Any]], n_rows: int, spec: PredictionSpec) -> list[pl.Series]:
    """One `p_CLASS` column a class, guarded."""
    shape = (n_rows, len(OUTCOMES))
    p = np.asarray(answer, dtype=np.float64)
    if p.shape != shape:
        raise InputError(
            f"asked the model for {shape} probabilities, it gave {p.shape}: it is no model of {OUTCOMES!r}"
        )
    if not ((p >= 0) & (p <= 1)).all():  # NaN fails both
        raise InputError(
            f"asked the model for {shape} probabilities: {int((~np.isfinite(p)).sum())} are not finite,"
            f" {int((p < 0).sum() + (p > 1).sum())} lie outside [0, 1]; take the model out of charge"
        )
    off = float(np.abs(p.sum(axis=1) - 1).max(initial=0))
    if off > spec.sum_tolerance:
        raise InputError(f"asked the model for {shape} probabilities: a row misses 1 by {off!r}; it is no classifier")
    return [pl.Series(f"p_{outcome}", p[:, place]) for place, outcome in enumerate(OUTCOMES)]
