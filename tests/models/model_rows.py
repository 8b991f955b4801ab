"""Builders of small features, labels and pools tables for the tests of the models stage."""

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl

from pipeline.models.spec import CanarySpec, CompetitionSpec, TrainingSpec
from pipeline.models.training_set import TrainingSet, freeze
from pipeline.tables import OUTCOMES

BIRTH = datetime(2020, 9, 8, tzinfo=UTC)
SOURCE = "recording:made_up"
NAMES = ("signal", "noise", "gappy")
SPEC = TrainingSpec(
    n_folds=2,
    n_resamples=50,
    competition=CompetitionSpec(n_trials=2),
    canaries=CanarySpec(n_rounds=5, min_child_weight=1.0),
)


def tables(n_pools: int, *, seed: int = 0, is_noise: bool = False) -> dict[str, pl.LazyFrame]:
    """Pools born three hours apart, seen at each decision age; `signal` tells the outcome roughly unless `is_noise`."""
    rng = np.random.default_rng(seed)
    ages = SPEC.decision_ages_hours
    pool = np.repeat(np.arange(n_pools), len(ages))
    outcome = np.repeat(rng.integers(0, len(OUTCOMES), n_pools), len(ages))
    created = [BIRTH + timedelta(hours=3 * int(i)) for i in range(n_pools)]
    decided = [created[i] + timedelta(hours=a, minutes=5) for i, a in zip(pool, ages * n_pools, strict=True)]
    signal = rng.normal(size=len(pool)) + (0 if is_noise else outcome)
    gaps = rng.random(len(pool)) < 0.3
    head = {
        "source": [SOURCE] * len(pool),
        "network": ["eth"] * len(pool),
        "pool": [f"0x{i:04d}" for i in pool],
        "event_time": decided,
    }
    features = pl.LazyFrame(
        head
        | {
            "known_at": decided,
            "signal": signal,
            "noise": rng.normal(size=len(pool)),
            "gappy": [None if gap else float(v) for gap, v in zip(gaps, rng.normal(size=len(pool)), strict=True)],
        }
    )
    labels = pl.LazyFrame(
        head
        | {
            "horizon_hours": [24] * len(pool),
            "status": ["labelled"] * len(pool),
            "outcome": [OUTCOMES[k] for k in outcome],
            "return_end_pct": 10.0 * (3 - outcome) + rng.random(len(pool)),
            # Two pools in three of those that rise can be sold.
            "return_executable_pct": np.where(pool % 3 == 0, -100.0, 10.0 * (3 - outcome)),
            "label_known_at": [t + timedelta(hours=24) for t in decided],
        },
        schema_overrides={"horizon_hours": pl.Int32},
    )
    pools = pl.LazyFrame(
        {
            "source": [SOURCE] * n_pools,
            "network": ["eth"] * n_pools,
            "pool": [f"0x{i:04d}" for i in range(n_pools)],
            "known_at": created,
            "created_at": created,
            # Every tenth token has two pools, so that grouping by token has something to do.
            "base_token": [f"0xt{i - (i % 10 == 9):04d}" for i in range(n_pools)],
        }
    )
    return {"features": features, "labels": labels, "pools": pools}


def with_further(made: dict[str, pl.LazyFrame]) -> dict[str, pl.LazyFrame]:
    """The same tables with labels at 1 and 6 h: the outcome at 24 h, known as soon as their horizon is over."""
    labels = [made["labels"]]
    for hours in (1, 6):
        known = pl.col("event_time") + pl.duration(hours=hours)
        labels.append(made["labels"].with_columns(horizon_hours=pl.lit(hours, pl.Int32), label_known_at=known))
    return made | {"labels": pl.concat(labels)}


def training_set(
    n_pools: int = 120, *, seed: int = 0, is_noise: bool = False, spec: TrainingSpec = SPEC
) -> TrainingSet:
    return frozen(tables(n_pools, seed=seed, is_noise=is_noise), spec=spec)


def frozen(
    made: dict[str, pl.LazyFrame], *, spec: TrainingSpec = SPEC, known_by: datetime | None = None
) -> TrainingSet:
    return freeze(
        **made,
        source=SOURCE,
        known_by=known_by or BIRTH + timedelta(days=3650),
        feature_set="made-up",
        feature_names=NAMES,
        spec=spec,
    )
