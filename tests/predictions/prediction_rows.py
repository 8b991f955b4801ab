"""Features, labels and roles to predict with, as small as they can be."""

from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import polars as pl

from pipeline.predictions.scoring import Served
from pipeline.predictions.spec import PredictionSpec
from pipeline.tables import FEATURES, LABELS, OUTCOMES, PREDICTIONS

AT = datetime(2020, 10, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
NAMES = ("age_hours", "reserve_usd", "price_change_1h_pct", "turnover_1h", "has_volume_spike")
SPEC = PredictionSpec(min_age_hours=1, max_age_hours=17)
NOTHING_SAID = PREDICTIONS.empty().select(PREDICTIONS.key)
SOURCE = "simulation:1"


def a_row(pool: str = "a", at: datetime = AT, **other: object) -> dict[str, object]:
    row: dict[str, object] = {
        "source": SOURCE, "network": "eth", "pool": pool, "event_time": at, "known_at": at, "age_hours": 2.0,
        "reserve_usd": 10.0, "price_change_1h_pct": 1.0, "turnover_1h": 0.5, "has_volume_spike": False,
    }  # fmt: skip
    return {**dict.fromkeys(FEATURES.schema.names()), **row, **other}


def some_features(*rows: dict[str, object]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=FEATURES.schema)


def said_now(*rows: dict[str, object], at: datetime = AT, is_hindsight: bool = False) -> pl.DataFrame:
    """Due snapshots, to be scored at `at`."""
    return some_features(*rows).with_columns(pl.lit(at).alias("said_at"), pl.lit(is_hindsight).alias("is_hindsight"))


def flat(inputs: pl.DataFrame) -> dict[int, Any]:
    return dict.fromkeys((1, 6, 24), np.full((inputs.height, 7), 1 / 7, np.float32))


def sure_of(outcome: str, p: float = 0.9) -> Any:
    """A model that gives `p` to one outcome, whatever it is fed."""

    def predict(inputs: pl.DataFrame) -> dict[int, Any]:
        told = np.full((inputs.height, 7), (1 - p) / 6)
        told[:, OUTCOMES.index(outcome)] = p
        return dict.fromkeys((1, 6, 24), told)

    return predict


def a_role(role: Any = "champion", version: int = 3, predict: Any = flat, **other: Any) -> Served:
    told = {
        "model_name": "pool-outcome", "model_sha256": "ab", "feature_set": "fs", "feature_names": NAMES,
        "needed": NAMES, "horizons_hours": (24,), "learned_until": AT - 9 * HOUR, "since": AT - 5 * HOUR,
    }  # fmt: skip
    return Served(role=role, model_version=version, predict=predict, **{**told, **other})


def a_label(
    pool: str = "a", at: datetime = AT, hours: int = 24, outcome: str | None = "STABLE", **other: object
) -> Any:
    """A label; `outcome` None: censored."""
    row: dict[str, object] = {
        "source": SOURCE, "network": "eth", "pool": pool, "event_time": at, "horizon_hours": hours,
        "status": "censored" if outcome is None else "labelled", "outcome": outcome,
        "censor_reason": "stopped_answering" if outcome is None else None,
        "return_end_pct": None if outcome is None else 1.0,
        "label_known_at": None if outcome is None else at + hours * HOUR,
        "path_known_at": None if outcome is None else at + hours * HOUR,
    }  # fmt: skip
    return {**dict.fromkeys(LABELS.schema.names()), **row, **other}


def some_labels(*rows: dict[str, object]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=LABELS.schema)
