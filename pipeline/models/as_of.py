"""The point-in-time join: the only place where features and labels meet.

Belongs here: every way to put what was known at a decision beside what became of it. Each takes `known_at` <= the
decision's own time, and labels that are known by a stated moment; nothing else can be asked for.
Stays out: which decisions are learned from (`training_set`), and what is made of the rows.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Final, Literal

import polars as pl

from pipeline.calendars import require_utc
from pipeline.tables import POOL_TIME_KEY

type Fate = Literal["labelled", "censored", "pending", "absent"]
"""What has become of a decision by a moment. `absent`: its horizon is over and no label was ever made."""

_KEY: Final = list(POOL_TIME_KEY)
_RETURNS: Final = ("return_end_pct", "return_executable_pct")
_LABEL: Final = ("outcome", *_RETURNS, "label_known_at", "label_end")


def as_of(features: pl.LazyFrame, labels: pl.LazyFrame, *, known_by: datetime, horizon_hours: int) -> pl.LazyFrame:
    """Features that were known at their own time, each with the label that is known by `known_by`.

    A row's moment of decision is its `event_time`. There is no way to ask for features known later than that, nor
    for labels known after `known_by`, nor for labels whose horizon is not over by then: a rug is known the moment
    it happens and its siblings only at the horizon, so the newest hours would otherwise hold nothing but rugs.

    Args:
        features: rows of `features`. labels: rows of `labels`.

    Returns:
        The rows of `features` that have such a label, with `outcome`, `return_end_pct` and `return_executable_pct`
        (%), `label_known_at`, and `label_end`: the later of `label_known_at` and the horizon's end. Returns are null
        where the path is not known by `known_by` to its end: a rug may be known before its last bar is.

    Raises:
        UsageError: `known_by` is not UTC.
    """
    usable = _usable(labels, known_by, horizon_hours).select(*_KEY, *_LABEL)
    return _known(features).join(usable, on=_KEY, how="inner")


def fates(features: pl.LazyFrame, labels: pl.LazyFrame, *, known_by: datetime, horizon_hours: int) -> pl.LazyFrame:
    """Which of the decisions have a label by `known_by`, and why the others have none; what it says is not told.

    Returns:
        The key of every row that `as_of` could give, and its `fate`. A label that is not known yet is pending.
    """
    of_horizon = labels.filter(pl.col("horizon_hours") == horizon_hours).select(*_KEY, "status")
    usable = _usable(labels, known_by, horizon_hours).select(*_KEY, pl.lit(True).alias("is_usable"))
    is_over = pl.col("event_time") + pl.duration(hours=horizon_hours) <= known_by
    fate = (
        pl.when(pl.col("is_usable").is_not_null())
        .then(pl.lit("labelled"))
        .when(pl.col("status") == "censored")
        .then(pl.lit("censored"))
        .when(pl.col("status").is_null() & is_over)
        .then(pl.lit("absent"))
        .otherwise(pl.lit("pending"))
    )
    told = _known(features).select(_KEY).join(of_horizon, on=_KEY, how="left").join(usable, on=_KEY, how="left")
    return told.select(*_KEY, fate.alias("fate"))


def returns_as_of(
    features: pl.LazyFrame, labels: pl.LazyFrame, *, known_by: datetime, horizons_hours: Sequence[int]
) -> pl.LazyFrame:
    """Features that were known at their own time, with the returns that are known by `known_by`; null where none is.

    Returns:
        The rows of `features` with one column `price_return_{h}h` a horizon, as a fraction: 0.5 is up by half. Null
        also where the outcome is known and the path to the horizon's end is not yet.
    """
    rows = _known(features)
    for hours in horizons_hours:
        fraction = (pl.col("return_end_pct") / 100).alias(f"price_return_{hours}h")
        rows = rows.join(_usable(labels, known_by, hours).select(*_KEY, fraction), on=_KEY, how="left")
    return rows


def _known(features: pl.LazyFrame) -> pl.LazyFrame:
    return features.filter(pl.col("known_at") <= pl.col("event_time"))


def _usable(labels: pl.LazyFrame, known_by: datetime, horizon_hours: int) -> pl.LazyFrame:
    horizon_end = pl.col("event_time") + pl.duration(hours=horizon_hours)
    return labels.filter(
        pl.col("status") == "labelled",
        pl.col("horizon_hours") == horizon_hours,
        pl.col("outcome").is_not_null(),
        pl.col("label_known_at") <= require_utc(known_by),
        horizon_end <= known_by,
    ).with_columns(
        pl.max_horizontal("label_known_at", horizon_end).alias("label_end"), *_returns_known_by(labels, known_by)
    )


def _returns_known_by(labels: pl.LazyFrame, known_by: datetime) -> list[pl.Expr]:
    """The returns at the horizon's end, null where the path up to there is known later or not at all."""
    told = [pl.col(name) for name in _RETURNS]
    if "path_known_at" not in labels.collect_schema().names():
        return told
    return [pl.when(pl.col("path_known_at") <= known_by).then(one) for one in told]


def unlike(rows: pl.DataFrame, labels: pl.LazyFrame, horizon_hours: int, known_by: datetime) -> pl.DataFrame:
    """The rows whose label is not, to the last bit, one that LABELS holds for the same decision by `known_by`.

    Args:
        rows: `network`, `pool`, `event_time`, `outcome`, both returns and `label_known_at`, all of the source of
            `labels`.
    """
    said = ["network", "pool", "event_time", "outcome", *_RETURNS, "label_known_at"]
    is_of_horizon = (pl.col("horizon_hours") == horizon_hours) & (pl.col("status") == "labelled")
    held = labels.filter(is_of_horizon).with_columns(_returns_known_by(labels, known_by)).select(said).collect()
    return rows.select(said).join(held, on=said, how="anti", nulls_equal=True)
