"""Predictions: what the champion says."""

from dataclasses import replace
from typing import Any

import dagster as dg
import polars as pl

from assets.metadata import frame_metadata
from assets.models import SPEC as TRAINING
from pipeline.calendars import Clock
from pipeline.lake import Lake
from pipeline.predictions.scoring import Scored, newest, score
from pipeline.predictions.spec import PredictionSpec
from pipeline.promotion.ledger import Deployed, current_champion
from pipeline.promotion.registry import Registry
from pipeline.tables import DEPLOYMENTS, FEATURES, PREDICTIONS

SPEC = PredictionSpec(
    min_age_hours=min(TRAINING.decision_ages_hours),
    max_age_hours=max(TRAINING.decision_ages_hours) + TRAINING.age_tolerance_hours,
    # What the model was evaluated on is what it serves: pools in which nobody traded are half of both.
    min_completeness=0.0,
)

REPLAYED = ("recording:", "simulation:")


@dg.asset(deps=["champion", "features"])
def predictions(
    context: dg.AssetExecutionContext,
    lake: dg.ResourceParam[Lake],
    clock: dg.ResourceParam[Clock],
    registry: dg.ResourceParam[Registry],
) -> dg.MaterializeResult[Any]:
    """What the champion says of each pool's newest snapshot that came after everything the champion learned from."""
    in_charge = current_champion(lake.scan(DEPLOYMENTS).collect(), TRAINING.model_name)
    if in_charge is None:
        context.log.info(
            "nobody is in charge, so nothing is predicted; the verdict on the last model is in `comparisons`"
        )
        return dg.MaterializeResult(metadata={"dagster/row_count": 0, "champion_version": "none"})
    scored = _scored(lake, registry, in_charge, clock)
    lake.append(PREDICTIONS, scored.predictions)
    return dg.MaterializeResult(
        metadata={
            **frame_metadata(PREDICTIONS, scored.predictions),
            "champion_version": in_charge.version,
            **{f"skipped_{reason}": count for reason, count in scored.skipped.items()},
        }
    )


def _scored(lake: Lake, registry: Registry, in_charge: Deployed, clock: Clock) -> Scored:
    from pipeline.models.learner import FittedModel  # noqa: PLC0415 - XGBoost is imported where it is used

    loaded = registry.load(TRAINING.model_name, in_charge.version, expected_sha256=in_charge.model_sha256)
    model = FittedModel.from_bytes(loaded.model_bytes)
    # A replay of an ended recording can only speak with hindsight; `known_at` says so, and no gate counts it.
    spec = replace(SPEC, is_hindsight_allowed=model.attributes["source"].startswith(REPLAYED))
    ages = pl.col("age_hours").is_between(spec.min_age_hours, spec.max_age_hours)
    features = lake.scan(FEATURES).filter(
        pl.col("source") == model.attributes["source"],
        pl.col("event_time") > pl.lit(model.attributes["learned_until"]).str.to_datetime(time_zone="UTC"),
        ages,
    )
    return score(
        newest(features.collect(), clock.now()),
        model.predict_proba,
        model_name=TRAINING.model_name,
        model_version=in_charge.version,
        model_sha256=in_charge.model_sha256,
        feature_set=loaded.registered.feature_set,
        feature_names=model.feature_names,
        horizon_hours=TRAINING.horizon_hours,
        scored_at=clock.now(),
        spec=spec,
    )
