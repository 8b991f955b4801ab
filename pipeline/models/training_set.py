"""The frozen training set.

Belongs here: which rows a model may learn from, and the id that says exactly which they were.
Stays out: the point-in-time join (`as_of`), how features and labels came to be, where the set is written down.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

import numpy as np
import polars as pl

from pipeline.calendars import require_utc
from pipeline.errors import InputError, UsageError
from pipeline.models.as_of import as_of, fates
from pipeline.models.content import content_id
from pipeline.models.spec import FURTHER_HORIZONS_HOURS, RISING, TrainingSpec
from pipeline.models.weights import average_uniqueness
from pipeline.tables import LABELS, MARKET_LABELS, OUTCOMES, POOL_KEY, POOL_TIME_KEY

LABEL = ("outcome", "return_end_pct", "return_executable_pct", "label_known_at", "label_end")
"""What is told of a decision at one horizon."""
FURTHER = {hours: {name: f"{name}_{hours}h" for name in LABEL} for hours in FURTHER_HORIZONS_HOURS}
"""The same at the further horizons, by other names: hours -> name -> column."""
LABEL_SIDE = (*LABEL, "weight", *(column for columns in FURTHER.values() for column in columns.values()))
"""Columns of a training set that know the future; none may be a feature."""
HEAD = ("network", "pool", "base_token", "event_time", "created_at", "decision_age_hours", *LABEL_SIDE)
_DECISION = (*POOL_TIME_KEY, "decision_age_hours")

type Numbers = np.ndarray[Any, np.dtype[np.int64]]


@dataclass(frozen=True)
class TrainingSet:
    """Rows to learn from, frozen under an id.

    `frame` holds `HEAD` and then the features, one row a (pool, decision age), sorted by pool and time.
    `label_end` is the later of the horizon's end and `label_known_at`: the moment from which a label is free of
    what made it known early. The columns of `FURTHER` tell the same at the further horizons, null where it is not
    known: one frozen set, and one id, for every head of a model. `decisions` holds every (pool, decision age) that was
    seen, with or without a label: POOL_TIME_KEY, `decision_age_hours` and its `fate`.
    """

    training_set_id: str
    source: str
    known_by: datetime
    feature_set: str
    feature_names: tuple[str, ...]
    spec: TrainingSpec
    frame: pl.DataFrame = field(repr=False)
    decisions: pl.DataFrame = field(repr=False)
    class_counts: dict[str, int]

    @property
    def n_rows(self) -> int:
        """Rows, one a pool and decision age."""
        return self.frame.height

    @property
    def n_pools(self) -> int:
        """Pools, the statistical unit."""
        return self.frame.select("network", "pool").n_unique()

    @property
    def rows_id(self) -> str:
        """A hash of what is judged on: the decisions, what became of them, and the rule of the last block."""
        told = self.frame.select("network", "pool", "event_time", "decision_age_hours", "created_at", "outcome")
        return content_id(told, self.source, str(self.spec.horizon_hours), str(self.spec.last_block_share))

    def head(self, hours: int) -> "TrainingSet":
        """The same set as one of the labels at `hours`: rows that have one, with its spans and weights.

        Raises:
            UsageError: the set has no labels at that horizon.
        """
        if hours == self.spec.horizon_hours:
            return self
        if hours not in FURTHER:
            raise UsageError(f"a training set knows the horizons {self.horizons_hours!r} h, asked for {hours!r} h")
        columns = FURTHER[hours]
        rows = self.frame.filter(pl.col(columns["outcome"]).is_not_null()).with_columns(
            pl.col(column).alias(name) for name, column in columns.items()
        )
        frame = rows.with_columns(average_uniqueness(rows, end="label_end")) if rows.height else rows
        return replace(self, spec=replace(self.spec, horizon_hours=hours), frame=frame)

    @property
    def horizons_hours(self) -> tuple[int, ...]:
        """Every horizon there is a label for, rising."""
        return tuple(sorted({*FURTHER, self.spec.horizon_hours}))

    @property
    def first_time(self) -> datetime:
        """The earliest decision."""
        return _moment(self.frame["event_time"].min())

    @property
    def last_time(self) -> datetime:
        """The latest decision."""
        return _moment(self.frame["event_time"].max())

    @property
    def y(self) -> np.ndarray[Any, np.dtype[np.int64]]:
        """Outcomes as positions in `OUTCOMES`."""
        return self.frame["outcome"].cast(pl.Enum(OUTCOMES)).to_physical().to_numpy().astype(np.int64)

    @property
    def paid(self) -> np.ndarray[Any, np.dtype[np.bool_]]:
        """Whether the price rose to PUMP or MOON and the label's position would have gained, fees and impact paid.

        Where nobody knows what the position came to it has not: what cannot be shown is no success.
        """
        told = pl.col("outcome").is_in(RISING) & (pl.col("return_executable_pct") > 0).fill_null(value=False)
        return self.frame.select(told).to_series().to_numpy()

    @property
    def is_position_known(self) -> np.ndarray[Any, np.dtype[np.bool_]]:
        """Of which rows it is known what the label's position came to."""
        return self.frame["return_executable_pct"].is_not_null().to_numpy()

    @property
    def weight(self) -> np.ndarray[Any, np.dtype[np.float64]]:
        """Average uniqueness of each row's label."""
        return self.frame["weight"].to_numpy()

    def row(self, lake_versions: dict[str, int] | None = None, n_last_block_reads: int = 0) -> dict[str, Any]:
        """The set's row in `training_sets`."""
        return {
            "training_set_id": self.training_set_id,
            "rows_id": self.rows_id,
            "source": self.source,
            "known_at": self.known_by,
            "feature_set": self.feature_set,
            "spec": self.spec.as_json(),
            "lake_versions": json.dumps(lake_versions or {}, sort_keys=True),
            "class_counts": json.dumps(self.class_counts),
            "n_rows": self.n_rows,
            "n_pools": self.n_pools,
            "first_time": self.first_time,
            "last_time": self.last_time,
            "n_last_block_reads": n_last_block_reads,
        }


def freeze(
    features: pl.LazyFrame,
    labels: pl.LazyFrame,
    pools: pl.LazyFrame,
    *,
    source: str,
    known_by: datetime,
    feature_set: str,
    feature_names: Sequence[str],
    spec: TrainingSpec,
) -> TrainingSet:
    """Choose one row a pool and decision age, join what is known by `known_by`, weigh it, and give it an id.

    The snapshot of an age is chosen before labels are looked at, so the choice cannot depend on the future.

    Raises:
        UsageError: several sources in the tables, simulated rows without permission, or a name that is no feature.
        InputError: no row is left, a key occurs twice, or a feature holds NaN or an infinite value.
    """
    _require_source(features, labels, pools, source, spec)
    names = _require_features(feature_names)
    chosen = choose_decisions(features, pools.filter(pl.col("known_at") <= require_utc(known_by)), names, spec)
    hours = spec.horizon_hours
    joined = as_of(chosen.lazy(), labels, known_by=known_by, horizon_hours=hours)
    ended = fates(chosen.lazy(), labels, known_by=known_by, horizon_hours=hours)
    for further, told in FURTHER.items():
        later = as_of(chosen.lazy(), labels, known_by=known_by, horizon_hours=further)
        joined = joined.join(
            later.select(*POOL_TIME_KEY, *(pl.col(name).alias(column) for name, column in told.items())),
            on=list(POOL_TIME_KEY),
            how="left",
        )
    columns = [c for c in HEAD if c != "weight"]
    frame = joined.select(*columns, *names).sort("network", "pool", "event_time").collect()
    _require_sound(frame, names, source)
    weighted = frame.with_columns(average_uniqueness(frame, end="label_end")).select(*HEAD, *names)
    counts = dict.fromkeys(OUTCOMES, 0) | dict(weighted["outcome"].value_counts().iter_rows())
    return TrainingSet(
        training_set_id=_identity(weighted, source, feature_set, names, spec),
        source=source,
        known_by=known_by,
        feature_set=feature_set,
        feature_names=names,
        spec=spec,
        frame=weighted,
        decisions=chosen.lazy().select(*_DECISION).join(ended, on=list(POOL_TIME_KEY)).sort(POOL_TIME_KEY).collect(),
        class_counts=counts,
    )


def choose_decisions(
    features: pl.LazyFrame, pools: pl.LazyFrame, names: Sequence[str], spec: TrainingSpec
) -> pl.DataFrame:
    """The first snapshot of each pool at or after each decision age, within the tolerance, as it was known then.

    Returns:
        POOL_TIME_KEY, `known_at`, `base_token`, `created_at`, `decision_age_hours` and the features `names`, in no
        particular order. A pool that was not known itself at the snapshot's time has no decision there.
    """
    births = pools.select(*POOL_KEY, "base_token", "created_at", pl.col("known_at").alias("pool_known_at"))
    age = pl.col("event_time") - pl.col("created_at")
    bucket = pl.coalesce(
        pl.when(age >= pl.duration(hours=hours), age < pl.duration(hours=hours + spec.age_tolerance_hours)).then(
            pl.lit(hours, pl.Int32)
        )
        for hours in spec.decision_ages_hours
    )
    return (
        features.filter(pl.col("known_at") <= pl.col("event_time"))
        .join(births, on=list(POOL_KEY), how="inner")
        .filter(pl.col("pool_known_at") <= pl.col("event_time"))
        .with_columns(bucket.alias("decision_age_hours"))
        .filter(pl.col("decision_age_hours").is_not_null())
        .filter(pl.col("event_time") == pl.col("event_time").min().over(*POOL_KEY, "decision_age_hours"))
        .select(*_DECISION, "known_at", "base_token", "created_at", *names)
        .collect()
    )


def pool_numbers(frame: pl.DataFrame) -> Numbers:
    """A number for each row's pool, from 0 without gaps."""
    return frame.select(pl.struct("network", "pool").rank("dense") - 1).to_series().to_numpy().astype(np.int64)


def _require_source(
    features: pl.LazyFrame, labels: pl.LazyFrame, pools: pl.LazyFrame, source: str, spec: TrainingSpec
) -> None:
    named = {"features": features, "labels": labels, "pools": pools}
    for name, table in named.items():
        found = sorted(table.select(pl.col("source").unique()).collect()["source"].to_list())
        if found not in ([], [source]):
            raise UsageError(
                f"cannot train on {name} from {found!r}: expected {source!r} alone, filter by source first"
            )
    if source.startswith("simulation:") and not spec.is_simulation_allowed:
        raise UsageError(f"refused to train on {source!r}: set is_simulation_allowed to learn from a simulation")


def _require_features(feature_names: Sequence[str]) -> tuple[str, ...]:
    forbidden = {*LABEL_SIDE, *LABELS.schema, *MARKET_LABELS.schema, *POOL_TIME_KEY, "known_at"}
    if not feature_names or len(set(feature_names)) != len(feature_names):
        raise UsageError(f"expected distinct feature names, found {list(feature_names)!r}")
    for name in feature_names:
        if name in forbidden or name in HEAD:
            raise UsageError(f"{name!r} identifies a row or knows its future: it cannot be a feature")
    return tuple(feature_names)


def _require_sound(frame: pl.DataFrame, names: Sequence[str], source: str) -> None:
    if frame.is_empty():
        raise InputError(f"no row of {source!r} has features and a known label: collect for longer than the horizon")
    n_distinct = frame.select("network", "pool", "event_time").n_unique()
    if n_distinct != frame.height:
        raise InputError(
            f"expected one row a pool and time, found {frame.height - n_distinct!r} duplicates: upsert by key"
        )
    unknown = set(frame["outcome"].unique()) - set(OUTCOMES)
    if unknown:
        raise InputError(f"expected outcomes among {OUTCOMES!r}, found {sorted(unknown)!r}")
    for name in names:
        column = frame[name]
        if column.dtype.is_float() and not column.is_finite().fill_null(True).all():
            raise InputError(f"feature {name!r} holds NaN or an infinite value: missing is null, mend the feature")


def _identity(frame: pl.DataFrame, source: str, feature_set: str, names: Sequence[str], spec: TrainingSpec) -> str:
    """SHA-256 over the sorted rows, column by column, and everything that says what they mean."""
    return content_id(frame, source, feature_set, json.dumps(list(names)), spec.as_json())


def _moment(value: Any) -> datetime:
    assert isinstance(value, datetime)  # noqa: S101  a frozen set is never empty
    return value
