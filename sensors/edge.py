"""Watches the champion's edge: where it is proven worse than the class prior it learned, training is asked for."""

import dagster as dg
import polars as pl

from pipeline.lake import Lake
from pipeline.models.spec import TrainingSpec
from pipeline.promotion.standing import standing
from pipeline.promotion.trial import lost_edge
from pipeline.tables import COMPARISONS, DEPLOYMENTS, PREDICTIONS
from sensors.asking import of_source, tags


@dg.sensor(
    job_name="train",
    minimum_interval_seconds=300,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Asks for training once, when the champion is proven worse than the class prior it learned. The proof "
    "is sequential: a champion that holds its edge asks with a chance of 1 % in its whole reign.",
)
def edge_lost(context: dg.SensorEvaluationContext, lake: dg.ResourceParam[Lake]) -> dg.RunRequest | dg.SkipReason:
    """Asks for training when the champion has lost its edge over the class prior it learned."""
    del context
    champion = standing(lake.scan(DEPLOYMENTS).collect(), TrainingSpec().model_name).champion
    why = lost_edge(lake.scan(COMPARISONS).collect(), champion)
    if champion is None or not why:
        return dg.SkipReason("the champion holds its edge over the class prior, or nobody is in charge")
    is_its_own = pl.col("model_name") == champion.model_name, pl.col("model_version") == champion.version
    said = lake.scan(PREDICTIONS).filter(*is_its_own).select("source").first().collect()
    return dg.RunRequest(
        run_key=f"{champion.model_name}:{champion.version}:{champion.sequence}",
        run_config=of_source(said["source"].item()),
        tags=tags(why),
    )
