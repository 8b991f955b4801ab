"""Watches the reports on drift: where a shift does the champion harm, training is asked for."""

import dagster as dg

from assets.drift import newest_asking
from pipeline.calendars import Clock
from pipeline.lake import Lake
from pipeline.models.spec import TrainingSpec
from pipeline.monitoring.drift.alarm import is_fresh
from pipeline.promotion.standing import standing
from pipeline.tables import DEPLOYMENTS
from sensors.asking import of_source, tags


@dg.sensor(
    job_name="train",
    minimum_interval_seconds=300,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Asks for training once for each alarm of the watch over drift: something moved, the loss went up with "
    "it, and several reports in a row saw both. Which features, and by how much, is in the run's tag.",
)
def drift_with_harm(
    context: dg.SensorEvaluationContext, lake: dg.ResourceParam[Lake], clock: dg.ResourceParam[Clock]
) -> dg.RunRequest | dg.SkipReason:
    """Asks for training where a shift does the champion harm."""
    del context
    champion = standing(lake.scan(DEPLOYMENTS).collect(), TrainingSpec().model_name).champion
    if champion is None:
        return dg.SkipReason("nobody is in charge")
    newest = newest_asking(lake, champion)
    if newest.is_empty() or not is_fresh(newest["known_at"][0], clock.now()):
        return dg.SkipReason("no report of the last day asks for training")
    asks = newest.row(0, named=True)
    return dg.RunRequest(
        run_key=f"drift {champion.model_name}:{champion.version}:{asks['known_at'].isoformat()}",
        run_config=of_source(asks["source"]),
        tags=tags(asks["words"] or "drift with harm"),
    )
