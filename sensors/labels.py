"""Watches the labels: enough newly known ones ask for training."""

import dagster as dg
import polars as pl

from pipeline.lake import Lake
from pipeline.models.spec import TrainingSpec
from pipeline.models.trigger import LABELS_PER_TRAINING, training_requests
from pipeline.tables import LABELS
from sensors.asking import of_source, tags


@dg.sensor(
    job_name="train",
    minimum_interval_seconds=60,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Asks for training whenever 1,000 labels of a source have become known since it last asked. It asks "
    "once for what it finds at its first start; a set that was trained on before is not trained on again.",
)
def enough_new_labels(context: dg.SensorEvaluationContext, lake: dg.ResourceParam[Lake]) -> dg.SensorResult:
    """Asks for training whenever 1,000 labels of the model's horizon have become known since it last asked."""
    known = (
        lake.scan(LABELS)
        .filter((pl.col("status") == "labelled") & (pl.col("horizon_hours") == TrainingSpec().horizon_hours))
        .group_by("source")
        .len()
        .collect()
    )
    requests, cursor = training_requests(dict(known.iter_rows()), context.cursor)
    if not requests:
        return dg.SensorResult(
            skip_reason=f"fewer than {LABELS_PER_TRAINING:,} new labels of any source since it last asked",
            cursor=cursor,
        )
    return dg.SensorResult(
        run_requests=[
            dg.RunRequest(
                run_key=request.key,
                run_config=of_source(request.source),
                tags=tags(f"{request.n_labels:,} labels known of {request.source}"),
            )
            for request in requests
        ],
        cursor=cursor,
    )
