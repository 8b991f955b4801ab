"""Blocking checks: a table's expectations after it is written, and the leak canaries before anything is trained.

Belongs here: which asset each check guards. Stays out: what is expected (`pipeline.tables`, `pipeline.expectations`).
"""

from time import perf_counter
from typing import TYPE_CHECKING, Any

import dagster as dg
import polars as pl

from assets.features import SPEC as FEATURES_SPEC
from assets.hours import span_of
from assets.metadata import table_value
from assets.models import frozen
from pipeline.calendars import HOUR, Clock, Span, ceil, floor
from pipeline.expectations.verdict import Verdict, validate
from pipeline.features.compute import compute_features
from pipeline.lake import Lake
from pipeline.models.training_set import TrainingSet
from pipeline.provenance import void
from pipeline.tables import SNAPSHOTS, table

if TYPE_CHECKING:
    from pipeline.models.canaries import CanaryResult

GUARDED = {
    "answers": "answers",
    "collections": "answers",
    "raw_pools": "raw_pools",
    "tokens": "tokens",
    "trades": "trades",
    "raw_candles": "raw_candles",
    "reserves": "reserves",
    "quarantine": "reserves",
    "pools": "pools",
    "candles": "candles",
    "snapshots": "snapshots",
    "features": "features",
    "labels": "labels",
    "bin_exports": "qlib_bins",
    "training_sets": "training_set",
    "evaluations": "outcome_model",
    "figures": "outcome_model",
    "comparisons": "champion",
    "deployments": "champion",
    "predictions": "predictions",
}
"""Each table, and the asset that writes it."""

CUT_POOLS = 200
"""Pools whose features are computed again with the future cut off."""


def expectation_check(name: str) -> dg.AssetChecksDefinition:
    """The check of one table: its Great Expectations suite over the hours of the run, or over the whole table."""
    target = table(name)

    @dg.asset_check(
        asset=GUARDED[name],
        name=f"{name}_as_specified",
        blocking=True,
        description=f"Every row of `{name}` is as its spec says: columns, nulls, ranges, values, key, order of times. "
        "What depends on the table waits until this passes.",
    )
    def check(context: dg.AssetCheckExecutionContext, lake: dg.ResourceParam[Lake]) -> dg.AssetCheckResult:
        span = span_of(context.run.tags) if target.time else None
        started = perf_counter()
        verdict = validate(target, lake.scan(target, span).collect())
        if span is not None and not verdict.is_passed:
            void(lake, name, span)  # or the next run would take the bad hours for unchanged
        return as_result(verdict, perf_counter() - started)

    return check


def as_result(verdict: Verdict, seconds: float) -> dg.AssetCheckResult:
    """A verdict as Dagster shows it: in words, with counts and a few examples."""
    failed = [
        {
            "expectation": f.expectation,
            "column": f.column,
            "rows": f.n_unexpected,
            "examples": ", ".join(map(str, f.examples)),
        }
        for f in verdict.failures
    ]
    metadata: dict[str, Any] = {
        "rows": verdict.n_rows,
        "expectations": verdict.n_expectations,
        "seconds": round(seconds, 2),
    }
    if failed:
        metadata["failed"] = table_value(pl.DataFrame(failed))
    return dg.AssetCheckResult(passed=verdict.is_passed, metadata=metadata, description=verdict.in_words())


@dg.asset_check(
    asset="training_set",
    blocking=True,
    description="Nothing in the training set knows the future: labels permuted by pool teach nothing, a planted column "
    "from the future is caught, and features stay as they are when the future is cut off. Else nothing is trained.",
)
def leak_canaries(
    lake: dg.ResourceParam[Lake], source: dg.ResourceParam[str], clock: dg.ResourceParam[Clock]
) -> dg.AssetCheckResult:
    """Run every canary on the training set of now."""
    from pipeline.models.canaries import run_canaries  # noqa: PLC0415 - XGBoost is imported where it is used

    frozen_set = frozen(lake, source, clock)
    report = run_canaries(frozen_set, [future_cut(lake, frozen_set)])
    told = pl.DataFrame([{"canary": r.name, "passed": r.is_passed, "in words": r.words} for r in report.results])
    return dg.AssetCheckResult(
        passed=report.is_passed,
        description="\n".join(f"- {line}" for line in report.words.splitlines()),
        metadata={
            "training_set_id": report.training_set_id,
            "canaries": table_value(told, max_cell=400),
        },
    )


def future_cut(lake: Lake, frozen_set: TrainingSet) -> "CanaryResult":
    """Features of a sample of pools with and without the history after the median decision."""
    from pipeline.models.canaries import check_future_cut  # noqa: PLC0415 - as above

    moment = frozen_set.frame["event_time"].sort()[frozen_set.n_rows // 2]
    sample = frozen_set.frame["pool"].unique().sort().gather_every(max(1, frozen_set.n_pools // CUT_POOLS))
    told = lake.scan(SNAPSHOTS).filter(pl.col("source") == frozen_set.source, pl.col("pool").is_in(sample.implode()))
    snapshots = told.sort("event_time").collect()
    span = Span(floor(snapshots["event_time"][0], HOUR), ceil(moment, HOUR) + HOUR)
    cut = snapshots.filter(pl.col("event_time") <= moment)
    full, truncated = (compute_features(rows, span, FEATURES_SPEC) for rows in (snapshots, cut))
    return check_future_cut(full, truncated, moment)


EXPECTATION_CHECKS = [expectation_check(name) for name in GUARDED]
