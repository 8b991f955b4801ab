"""Pictures to look at instead of reading: what is missing, and what became of the pools.

Belongs here: assets that draw tables and write none; a picture is made once a run, not once an hour.
"""

from typing import Any

import dagster as dg
import polars as pl

from assets.metadata import table_value
from assets.pictures import picture
from pipeline.calendars import DAY, HOUR, Clock, Span
from pipeline.lake import Lake
from pipeline.tables import CANDLES, FEATURES, LABELS, POOL_KEY

DAYS = 366
HORIZON_HOURS = 24


@dg.asset(deps=["features"], group_name="features")
def features_report(lake: dg.ResourceParam[Lake], clock: dg.ResourceParam[Clock]) -> dg.MaterializeResult[Any]:
    """How much of each feature is missing, by day: a column that turns dark has lost its source."""
    from pipeline.features.plots import null_share_plot, null_shares  # noqa: PLC0415 - matplotlib is slow to import

    shares = null_shares(lake.scan(FEATURES, _lately(clock)))
    if shares.is_empty():
        return dg.MaterializeResult(metadata={"snapshots": 0})
    worst = shares.drop("day", "n_rows").mean().transpose(include_header=True, column_names=["share_null"])
    return dg.MaterializeResult(
        metadata={
            "snapshots": int(shares["n_rows"].sum()),
            "nulls_by_feature_and_day": picture(null_share_plot(shares), "share of nulls by feature and day"),
            "mean_share_of_nulls": table_value(
                worst.sort("share_null", descending=True).with_columns(
                    pl.format("{} %", (100 * pl.col("share_null")).round(1)).alias("share_null")
                )
            ),
        }
    )


@dg.asset(deps=["labels", "candles"], group_name="labels")
def labels_report(lake: dg.ResourceParam[Lake], clock: dg.ResourceParam[Clock]) -> dg.MaterializeResult[Any]:
    """What became of pools, by day of decision, and one pool's price with its labels."""
    from pipeline.labels.plots import label_share_plot, label_shares, pool_plot, sample_pool  # noqa: PLC0415 - as above

    labels = lake.scan(LABELS, _lately(clock))
    shares = label_shares(labels, HORIZON_HOURS)
    if shares.is_empty():
        return dg.MaterializeResult(metadata={"decisions": 0})
    metadata: dict[str, Any] = {
        "decisions": int(shares["len"].sum()),
        "outcomes_by_day": picture(label_share_plot(shares, HORIZON_HOURS), "share of outcomes by day"),
    }
    if chosen := sample_pool(labels, HORIZON_HOURS):
        is_it = pl.all_horizontal(pl.col(column) == value for column, value in zip(POOL_KEY, chosen, strict=True))
        decided = labels.filter(is_it).collect()
        first, last = decided.select(a=pl.col("event_time").min(), b=pl.col("event_time").max()).row(0)
        lived = Span(first - HOUR, last + DAY)
        bars = lake.scan(CANDLES, lived).filter(is_it).collect()
        metadata["a_pool_and_its_labels"] = picture(pool_plot(bars, decided, chosen[2], HORIZON_HOURS), "one pool")
    return dg.MaterializeResult(metadata=metadata)


def _lately(clock: Clock) -> Span:
    now = clock.now()
    return Span(now - DAYS * DAY, now + DAY)
