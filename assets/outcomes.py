"""What became of predictions, and how good they were."""

from datetime import datetime, timedelta
from functools import partial
from typing import Any

import dagster as dg
import polars as pl

from assets.labels import SPEC as LABELS_SPEC
from assets.metadata import frame_metadata, n_rows, table_value
from assets.models import SPEC as TRAINING
from assets.pictures import picture
from assets.predictions import SPEC
from pipeline.calendars import DAY, HOUR, MINUTE, Clock, Span, floor, spans_of
from pipeline.lake import Lake
from pipeline.predictions.outcomes import Reconciled, open_predictions, reconcile, renewed, roles_held, settle
from pipeline.predictions.performance import performance
from pipeline.tables import DEPLOYMENTS, LABELS, PERFORMANCE_REPORTS, PREDICTION_OUTCOMES, PREDICTIONS, Table

PATIENCE: timedelta = LABELS_SPEC.maturity + 7 * DAY
"""How far back predictions may still wait: until their labels cannot change any more, and a week without a run."""
SHOWN_REPORTS = 60


@dg.asset(deps=["predictions", "labels"])
def outcomes(lake: dg.ResourceParam[Lake], clock: dg.ResourceParam[Clock]) -> dg.MaterializeResult[Any]:
    """What became of each prediction: labelled, censored with its reason, or not here: pending."""
    now = clock.now()
    span = waiting(lake, now)
    before = lake.scan(PREDICTION_OUTCOMES, span).collect()
    said = open_predictions(lake.scan(PREDICTIONS, span).drop("inputs"), before)
    held = roles_held(lake.scan(DEPLOYMENTS).collect())
    told = renewed(before, settle(said, labels_of(lake, said), held, now, SPEC))
    write_outcomes(lake, before, told)
    found = reconciled(lake, now)
    return dg.MaterializeResult(
        metadata={
            **frame_metadata(PREDICTION_OUTCOMES, told, n_rows(lake, PREDICTION_OUTCOMES)),
            "reconciled": found.in_words(),
            "evidence": told.filter(pl.col("is_evidence")).height,
        }
    )


@dg.asset_check(
    asset="outcomes",
    blocking=True,
    description="Every prediction ends once: labelled, censored with a reason, or pending; none waits for a label that "
    "is known, and no outcome is of a prediction that nobody made.",
)
def predictions_reconcile(lake: dg.ResourceParam[Lake], clock: dg.ResourceParam[Clock]) -> dg.AssetCheckResult:
    """The counts add up over everything that may still wait."""
    found = reconciled(lake, clock.now())
    ends = [("labelled", found.n_labelled), *found.censored.items(), ("pending", found.n_pending)]
    return dg.AssetCheckResult(
        passed=not found.faults,
        description=found.in_words(),
        metadata={"ends": table_value(pl.DataFrame(ends, ["end", "predictions"], orient="row"))},
    )


@dg.asset(deps=[outcomes])
def performance_reports(lake: dg.ResourceParam[Lake], clock: dg.ResourceParam[Clock]) -> dg.MaterializeResult[Any]:
    """How good predictions were by day of decision and liquidity tier: accuracy, log loss, Brier, calibration, lift."""
    from pipeline.models.metrics import figures  # noqa: PLC0415 - imported where it is used

    now, count = clock.now(), partial(figures, n_bins=TRAINING.n_calibration_bins)
    fresh = [
        performance(lake.scan(PREDICTIONS, day).collect(), lake.scan(PREDICTION_OUTCOMES, day).collect(), count, now)
        for day in _days_to_report(lake)
    ]
    lake.upsert(PERFORMANCE_REPORTS, pl.concat([PERFORMANCE_REPORTS.empty(), *fresh]))
    reports = lake.scan(PERFORMANCE_REPORTS).sort("day_start", "model_version", "horizon_hours", "tier").collect()
    if reports.is_empty():
        return dg.MaterializeResult(metadata={"dagster/row_count": 0})
    from pipeline.predictions.plots import performance_plot  # noqa: PLC0415 - matplotlib is slow to import

    whole = reports.filter(pl.col("tier") == "all").drop("source", "model_name", "tier", "known_at")
    return dg.MaterializeResult(
        metadata={
            "dagster/row_count": reports.height,
            "by_day": picture(performance_plot(reports), "log loss, accuracy and lift by day"),
            "every_tier_together": table_value(whole.tail(SHOWN_REPORTS)),
            "by_tier": table_value(reports.filter(pl.col("tier") != "all").tail(SHOWN_REPORTS)),
        }
    )


def waiting(lake: Lake, now: datetime) -> Span:
    """The decisions of which something may have become known since outcomes were joined last."""
    last = _latest(lake, PREDICTION_OUTCOMES)
    if last is None:
        first = lake.scan(PREDICTIONS).select(pl.col("event_time").min()).collect().item()
        return Span(min(now, first or now), now + HOUR)
    return Span(min(now, last) - PATIENCE, now + HOUR)


def reconciled(lake: Lake, now: datetime) -> Reconciled:
    """How the predictions that may still wait end."""
    span, key = waiting(lake, now), list(PREDICTIONS.key)
    said = lake.scan(PREDICTIONS, span).select(*key, "known_at").collect()
    ended = lake.scan(PREDICTION_OUTCOMES, span).collect()
    return reconcile(said, ended, labels_of(lake, said.join(ended, on=key, how="anti")), now)


def labels_of(lake: Lake, rows: pl.DataFrame) -> pl.DataFrame:
    """The labels of some predictions."""
    if rows.is_empty():
        return LABELS.empty()
    first, last = rows.select(a=pl.col("event_time").min(), b=pl.col("event_time").max()).row(0)
    told = lake.scan(LABELS, Span(first, last + MINUTE), sources=rows["source"].unique().to_list())
    key = list(LABELS.key)
    return told.join(rows.lazy().select(key).unique(), on=key, how="semi").collect()


def write_outcomes(lake: Lake, before: pl.DataFrame, told: pl.DataFrame) -> None:
    """Add what is new; put what was refined in the place of what it refines, hour by hour."""
    key = list(PREDICTION_OUTCOMES.key)
    lake.append(PREDICTION_OUTCOMES, told.join(before, on=key, how="anti"))
    refined = told.join(before, on=key, how="semi")
    for span in spans_of(floor(moment, HOUR) for moment in refined["event_time"].unique()):
        stored = lake.scan(PREDICTION_OUTCOMES, span).collect()
        inside = refined.filter(pl.col("event_time").is_between(span.start, span.end, closed="left"))
        kept = stored.join(inside, on=key, how="anti")
        lake.replace(PREDICTION_OUTCOMES, pl.concat([kept, inside]), span)


def _latest(lake: Lake, target: Table) -> datetime | None:
    found = lake.scan(target).select(pl.col("known_at").max()).collect().item()
    return found if isinstance(found, datetime) else None


def _days_to_report(lake: Lake) -> list[Span]:
    """The days of which outcomes became known since the last report; all where there is none."""
    last = _latest(lake, PERFORMANCE_REPORTS)
    rows = lake.scan(PREDICTION_OUTCOMES)
    fresh = rows if last is None else rows.filter(pl.col("known_at") >= last)
    days = fresh.select(pl.col("event_time").dt.truncate("1d").unique()).collect()["event_time"].sort()
    return [Span(day, day + DAY) for day in days]
