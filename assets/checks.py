"""Blocking checks: a table's expectations after it is written, and the leak canaries before anything is trained.

Belongs here: which asset each check guards. Stays out: what is expected (`pipeline.tables`, `pipeline.expectations`).
"""

from time import perf_counter
from typing import Any

import dagster as dg
import polars as pl

from assets.hours import span_of
from assets.metadata import table_value
from pipeline.expectations.verdict import Verdict, validate
from pipeline.lake import Lake
from pipeline.tables import Table, table

GUARDED = {
    "raw_pools": "raw_pools",
    "quarantine": "raw_pools",
    "pools": "pools",
    "candles": "candles",
    "snapshots": "snapshots",
    "features": "features",
    "labels": "labels",
    "bin_exports": "qlib_bins",
    "training_sets": "training_set",
    "comparisons": "champion",
    "deployments": "champion",
    "predictions": "predictions",
}
"""Each table, and the asset that writes it."""


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
        return as_result(verdict, target, perf_counter() - started)

    return check


def as_result(verdict: Verdict, target: Table, seconds: float) -> dg.AssetCheckResult:
    """A verdict as Dagster shows it: in words, with counts and a few examples."""
    failed = [
        {
            "expectation": f.words,
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


EXPECTATION_CHECKS = [expectation_check(name) for name in GUARDED]
