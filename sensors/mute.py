"""Watches whether the champion can be asked: where a feature that it takes has changed, training is asked for."""

from pathlib import Path

import dagster as dg
import polars as pl

from assets.behind import features_behind
from assets.predictions import fed_today
from pipeline.calendars import DAY, Clock, floor
from pipeline.lake import Lake
from pipeline.models.spec import TrainingSpec
from pipeline.promotion.cache import kept_version
from pipeline.promotion.standing import standing
from pipeline.promotion.versions import why_mute
from pipeline.tables import DEPLOYMENTS, TRAINING_SETS
from sensors.asking import of_source, tags


@dg.sensor(
    job_name="train",
    minimum_interval_seconds=300,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Asks for training once a day while the champion cannot be asked, because a feature that it takes is "
    "defined otherwise now, or gone: it predicts nothing. It waits until the features of the last days are as they are "
    "defined today.",
)
def champion_mute(
    context: dg.SensorEvaluationContext,
    lake: dg.ResourceParam[Lake],
    clock: dg.ResourceParam[Clock],
    model_cache: dg.ResourceParam[Path],
) -> dg.RunRequest | dg.SkipReason:
    """Asks for training while the champion cannot be asked."""
    del context
    champion = standing(lake.scan(DEPLOYMENTS).collect(), TrainingSpec().model_name).champion
    entry = kept_version(model_cache, champion) if champion is not None else None
    if champion is None or entry is None:
        return dg.SkipReason("nobody is in charge, or its file was not fetched yet")
    why = why_mute(entry, fed_today())
    if not why:
        return dg.SkipReason("the champion can be asked")
    now = clock.now()
    if n_behind := features_behind(lake, now):
        return dg.SkipReason(f"{why}; {n_behind:,} hours are to be computed first as features are defined today")
    learned = lake.scan(TRAINING_SETS).filter(pl.col("training_set_id") == entry.training_set_id).collect()
    if learned.is_empty():
        return dg.SkipReason(f"{why}; the set that it learned from is not on record: train by hand, and name a source")
    # By the day, so that a training that failed is tried again.
    return dg.RunRequest(
        run_key=f"mute {champion.model_name}:{champion.version}:{floor(now, DAY):%Y-%m-%d}",
        run_config=of_source(learned["source"][0]),
        tags=tags(f"version {champion.version} cannot be asked any more: {why}"),
    )
