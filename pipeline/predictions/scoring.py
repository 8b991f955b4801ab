"""From features to predictions.

Belongs here: choosing the newest features, deciding which of them may be scored, and guarding what the model says.
Stays out: loading a model (whoever calls brings `predict`) and whether it was right (outcomes).

A prediction is made before its outcome can be known, from what was known then, on the kind of pool the model was
trained on, or it is not made. What was not scored is counted by reason: scored + skipped = rows.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Literal, get_args

import numpy as np
import polars as pl
from numpy.typing import NDArray

from pipeline.calendars import require_utc
from pipeline.errors import InputError, UsageError
from pipeline.predictions.spec import PredictionSpec
from pipeline.tables import FEATURES, OUTCOMES, POOL_KEY, POOL_TIME_KEY, PREDICTIONS

type Reason = Literal["horizon_passed", "age_unknown", "age_outside_trained_range", "incomplete"]
REASONS: Final[tuple[Reason, ...]] = get_args(Reason.__value__)
"""Why a row is not scored; the first that holds, in this order, is the one that counts."""


@dataclass(frozen=True)
class Scored:
    """Rows of `tables.PREDICTIONS`, and how many rows were not scored, for every reason."""

    predictions: pl.DataFrame
    skipped: Mapping[Reason, int]


def newest(features: pl.DataFrame, at: datetime) -> pl.DataFrame:
    """Each pool's latest row at or before `at`, among those that were known by then.

    Args:
        features: rows of `tables.FEATURES`, in any order.
        at: the moment of decision, UTC.

    Returns:
        the same columns, one row a pool, in order of source, network, pool.
    """
    told = features.filter((pl.col("known_at") <= require_utc(at)) & (pl.col("event_time") <= at))
    return told.sort(*POOL_TIME_KEY).unique(POOL_KEY, keep="last", maintain_order=True)


def score(
    features: pl.DataFrame,
    predict: Callable[[pl.DataFrame], NDArray[np.floating]],
    *,
    model_name: str,
    model_version: int,
    model_sha256: str,
    feature_set: str,
    feature_names: Sequence[str],
    horizon_hours: int,
    scored_at: datetime,
    spec: PredictionSpec,
) -> Scored:
    """What a model says about each row, where it may speak.

    A row is skipped when its horizon ended at or before `scored_at` (the outcome could be known: that would be no
    prediction, unless the spec allows hindsight), when the pool's age is unknown or outside the trained range, or when
    less than `spec.min_completeness` of the model's features are not null. A null stays null: nothing is filled.

    Args:
        features: rows of `tables.FEATURES`, in any order.
        predict: features (`feature_names`, in order; n rows) -> (n, 7) probabilities in the order of `tables.OUTCOMES`.
            Not called where no row may be scored.
        model_name: the registered model.
        model_version: its version.
        model_sha256: of the model file.
        feature_set: hash of the features the model was trained on.
        feature_names: the model's inputs, in order.
        horizon_hours: how far ahead it looks.
        scored_at: when, UTC; becomes `known_at`.
        spec: when it may speak.

    Raises:
        UsageError: a feature that the model takes is no column of `features`.
        InputError: a row is there twice, was not known at `scored_at`, or holds NaN or infinity; or the model's
            answer has another shape, or is not a probability distribution in every row.
    """
    _require_sound(features, feature_names, require_utc(scored_at))
    told = features.sort(*POOL_TIME_KEY).with_columns(
        pl.mean_horizontal(pl.col(feature_names).is_not_null()).alias("completeness")
    )
    told = told.with_columns(_reason(timedelta(hours=horizon_hours), scored_at, spec).alias("reason"))
    counts = dict(told["reason"].drop_nulls().value_counts().iter_rows())
    kept = told.filter(pl.col("reason").is_null())
    said = kept.with_columns(
        pl.lit(scored_at).alias("known_at"),
        pl.lit(horizon_hours).alias("horizon_hours"),
        pl.lit(model_name).alias("model_name"),
        pl.lit(model_version).alias("model_version"),
        pl.lit(model_sha256).alias("model_sha256"),
        pl.lit(feature_set).alias("feature_set"),
        *_probabilities(kept.select(feature_names), predict, spec),
    )
    predictions = said.select(PREDICTIONS.schema.names()).cast(PREDICTIONS.schema)
    return Scored(predictions, {reason: counts.get(reason, 0) for reason in REASONS})


def _require_sound(features: pl.DataFrame, feature_names: Sequence[str], scored_at: datetime) -> None:
    needed = [*POOL_TIME_KEY, "known_at", "age_hours", *feature_names]
    missing = [name for name in needed if name not in features.columns]
    if missing or not feature_names:
        raise UsageError(
            f"scored {features.height} rows: columns {missing!r} are missing, the model takes {list(feature_names)!r};"
            f" `features` must be rows of {FEATURES.name!r}"
        )
    if features.select(POOL_TIME_KEY).is_duplicated().any():
        raise InputError(f"scored {features.height} rows: a pool is there twice at one time; features are not unique")
    late = features.filter((pl.col("known_at") > scored_at) | (pl.col("event_time") > scored_at)).height
    if late:
        raise InputError(f"scored at {scored_at!r}: {late} rows were not known by then; choose rows with `newest`")
    floats = [name for name in {*feature_names, "age_hours"} if features.schema[name].is_float()]
    broken = [name for name in floats if not features[name].drop_nulls().is_finite().all()]
    if broken:
        raise InputError(f"scored {features.height} rows: {sorted(broken)!r} hold NaN or infinity; missing is null")


def _reason(horizon: timedelta, scored_at: datetime, spec: PredictionSpec) -> pl.Expr:
    """The first reason not to score a row, null where there is none."""
    age = pl.col("age_hours")
    rules: dict[Reason, pl.Expr] = {
        "horizon_passed": pl.lit(not spec.is_hindsight_allowed) & (pl.col("event_time") + horizon <= scored_at),
        "age_unknown": age.is_null(),
        "age_outside_trained_range": ~age.is_between(spec.min_age_hours, spec.max_age_hours),
        "incomplete": pl.col("completeness") < spec.min_completeness,
    }
    return pl.coalesce(pl.when(rules[reason]).then(pl.lit(reason)) for reason in REASONS)


def _probabilities(
    inputs: pl.DataFrame, predict: Callable[[pl.DataFrame], NDArray[np.floating]], spec: PredictionSpec
) -> list[pl.Series]:
    """One `p_CLASS` column a class, guarded; no call for no rows."""
    shape = (inputs.height, len(OUTCOMES))
    p = np.asarray(predict(inputs) if inputs.height else np.empty(shape), dtype=np.float64)
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
