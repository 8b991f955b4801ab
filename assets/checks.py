"""Blocking checks: a table's expectations after it is written, and the leak canaries before anything is trained.

Belongs here: which asset each check guards. Stays out: what is expected (`pipeline.tables`, `pipeline.expectations`).
"""

from datetime import datetime
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

import dagster as dg
import polars as pl

from assets.aside import BANDS, put_aside_in, stopped_among, without_let_in
from assets.features import SPEC as FEATURES_SPEC
from assets.hours import span_of
from assets.labels import ASKED_EVERY, FOLLOWED, stood_still
from assets.labels import SPEC as LABELS_SPEC
from assets.metadata import table_value
from assets.models import frozen
from assets.pools import COLLECTION
from assets.pools import SPEC as POOLS_SPEC
from assets.returns import dataset_in_force, spec_for, why_nothing
from assets.snapshots import OBSERVED_BACK
from assets.snapshots import SPEC as SNAPSHOTS_SPEC
from pipeline.calendars import DAY, HOUR, MINUTE, Clock, Span, ceil, floor
from pipeline.expectations.verdict import Verdict, validate
from pipeline.features.compute import compute_features
from pipeline.features.registry import REGISTRY, look_backs
from pipeline.features.sources import Sources
from pipeline.labels.observations import Observed
from pipeline.labels.outcomes import label_outcomes
from pipeline.lake import Lake
from pipeline.models.canary_report import CanaryReport
from pipeline.models.return_files import kept_rows
from pipeline.pools.candles import candles
from pipeline.pools.told_candles import told_candles
from pipeline.provenance import void
from pipeline.snapshots.observed import observed_snapshots
from pipeline.snapshots.recorded import take_snapshots
from pipeline.tables import (
    ANSWERS,
    CANDLES,
    FAMILY_TABLES,
    FEATURES,
    LABELS,
    POOL_KEY,
    POOL_TIME_KEY,
    POOLS,
    QUARANTINE,
    RAW_CANDLES,
    RAW_POOLS,
    RESERVES,
    SNAPSHOTS,
    TOKENS,
    TRADES,
    UTC,
    Table,
    table,
)

if TYPE_CHECKING:
    from pipeline.models.canaries import History

GUARDED = {
    "answers": "answers",
    "collections": "answers",
    "raw_pools": "raw_pools",
    "tokens": "tokens",
    "trades": "trades",
    "raw_candles": "raw_candles",
    "reserves": "reserves",
    "quarantine": "reserves",
    "releases": "reserves",
    "pools": "pools",
    "candles": "candles",
    "snapshots": "snapshots",
    **{target.name: target.name for target in FAMILY_TABLES.values()},
    "features": "features",
    "labels": "labels",
    "market_labels": "market_labels",
    "bin_exports": "qlib_bins",
    "training_sets": "training_set",
    "evaluations": "outcome_model",
    "figures": "outcome_model",
    "return_datasets": "return_dataset",
    "return_evaluations": "return_model",
    "return_figures": "return_model",
    "comparisons": "champion",
    "deployments": "champion",
    "predictions": "predictions",
    "unscored": "predictions",
    "outcomes": "outcomes",
    "performance_reports": "performance_reports",
    "drift_reports": "drift_reports",
    "quality_reports": "quality_reports",
    "alerts": "alerts",
    "alert_deliveries": "alerts",
    "alert_acks": "alerts",
}
"""Each table, and the asset that writes it."""
GUARDED_TOO = {"comparisons": "return_champion", "deployments": "return_champion"}
"""The other asset that writes to the same table: run alone, it is checked as well."""


def expectation_check(name: str, asset: str) -> dg.AssetChecksDefinition:
    """The check of one table: its Great Expectations suite over the hours of the run, or over the whole table."""
    target = table(name)

    @dg.asset_check(
        asset=asset,
        name=f"{name}_as_specified",
        blocking=True,
        description=f"Every row of `{name}` is as its spec says: columns, nulls, ranges, values, key, order of times, "
        "and what they mean together. What depends on the table waits until this passes; warnings stop nothing.",
    )
    def check(context: dg.AssetCheckExecutionContext, lake: dg.ResourceParam[Lake]) -> dg.AssetCheckResult:
        span = span_of(context.run.tags) if target.time else None
        started = perf_counter()
        rows = lake.scan(target, span).collect()
        verdict = validate(target, without_let_in(lake, target, rows), bands=BANDS)
        aside = QUARANTINE.empty() if span is None else put_aside_in(lake, target, span)
        if span is not None and (verdict.is_blocked or not stopped_among(aside).is_empty()):
            void(lake, name, span)  # or the next run would take the bad hours for unchanged
        return as_result(verdict, perf_counter() - started, aside, rows.height - verdict.n_rows)

    return check


def as_result(verdict: Verdict, seconds: float, aside: pl.DataFrame, n_released: int = 0) -> dg.AssetCheckResult:
    """A verdict as Dagster shows it: in words, with counts and a few examples.

    It blocks where something is broken that blocks, or where an hour is stopped; else it passes or warns.
    """
    stopped = stopped_among(aside)
    is_blocked = verdict.is_blocked or not stopped.is_empty()
    failed = [
        {
            "expectation": f.expectation,
            "severity": f.severity,
            "column": f.column,
            "rows": f.n_unexpected,
            "examples": ", ".join(map(str, f.examples)),
        }
        for f in verdict.failures
    ]
    metadata: dict[str, Any] = {
        "rows": verdict.n_rows,
        "expectations": verdict.n_expectations,
        "put_aside": aside.height - stopped.height,
        "released": n_released,
        "seconds": round(seconds, 2),
    }
    if failed:
        metadata["failed"] = table_value(pl.DataFrame(failed))
    if not aside.is_empty():
        metadata["quarantine"] = table_value(_shown(aside), max_cell=400)
    return dg.AssetCheckResult(
        passed=verdict.is_passed and aside.is_empty(),
        severity=dg.AssetCheckSeverity.ERROR if is_blocked else dg.AssetCheckSeverity.WARN,
        metadata=metadata,
        description="\n".join([verdict.in_words(), *_aside_words(aside)]),
    )


def _shown(aside: pl.DataFrame) -> pl.DataFrame:
    """The first of the hours that are stopped and the rows that were put aside, by reason."""
    by_reason = aside.group_by("reason").agg(
        pl.len().alias("rows"), pl.col("event_time").min(), pl.col("detail").first()
    )
    return by_reason.sort("rows", "reason", descending=[True, False]).head(20)


def _aside_words(aside: pl.DataFrame) -> list[str]:
    stopped = stopped_among(aside)
    n_rows = aside.height - stopped.height
    lines = [f"- {hour:%Y-%m-%d %H:%M} is stopped: {detail}" for hour, detail in
             stopped.sort("event_time").select("event_time", "detail").head(5).iter_rows()]  # fmt: skip
    if n_rows:
        lines.append(f"- {n_rows:,} rows were put aside: poolcast quality quarantine list")
    return lines


@dg.asset_check(
    asset="training_set",
    blocking=True,
    description="Nothing in the training set knows the future: labels permuted by pool teach nothing, a planted column "
    "from the future is caught, training and test share nothing, whatever is fitted has seen training rows only, every "
    "decision is accounted for, and snapshots, bars, features and labels come out the same from what was known then. "
    "Else nothing is trained.",
)
def leak_canaries(
    lake: dg.ResourceParam[Lake], source: dg.ResourceParam[str], clock: dg.ResourceParam[Clock]
) -> dg.AssetCheckResult:
    """Run every canary on the training set of now."""
    from pipeline.models.canaries import run_canaries  # noqa: PLC0415 - XGBoost is imported where it is used

    frozen_set = frozen(lake, source, clock)
    report = run_canaries(frozen_set, history=history_of(lake, frozen_set.source))
    return _as_sung(report, "training_set_id")


@dg.asset_check(
    asset="return_dataset",
    name="return_leak_canaries",
    blocking=True,
    description="With targets permuted by pool nothing is learned, no feature ranks pools as only the future can, a "
    "planted return is caught, no pool, token or moment is on both sides of a split. Else nothing is trained.",
)
def return_leak_canaries(
    lake: dg.ResourceParam[Lake], return_datasets: dg.ResourceParam[Path], source: dg.ResourceParam[str]
) -> dg.AssetCheckResult:
    """Run every canary on the return dataset in force; where there is none, there is nothing to leak."""
    from pipeline.models.return_canaries import run_return_canaries  # noqa: PLC0415 - as above

    row = dataset_in_force(lake, return_datasets, source)
    why = why_nothing(row)
    if row is None or why:
        return dg.AssetCheckResult(passed=True, description=f"nothing to listen to: {why}")
    rows = kept_rows(return_datasets, row["source"], row)
    report = run_return_canaries(rows, row["dataset_id"], spec_for(row["source"]))
    return _as_sung(report, "dataset_id")


def _as_sung(report: CanaryReport, id_name: str) -> dg.AssetCheckResult:
    """A report of canaries as Dagster shows it."""
    told = pl.DataFrame([{"canary": r.name, "passed": r.is_passed, "in words": r.words} for r in report.results])
    return dg.AssetCheckResult(
        passed=report.is_passed,
        description="\n".join(f"- {line}" for line in report.words.splitlines()),
        metadata={id_name: report.training_set_id, "canaries": table_value(told, max_cell=400)},
    )


def history_of(lake: Lake, source: str) -> "History":
    """What a source's training sets are made from, and the way to make its features again as of a moment."""
    from pipeline.models.canaries import History  # noqa: PLC0415 - as above

    def told(target: Table, known_by: datetime | None = None) -> pl.LazyFrame:
        rows = lake.scan(target, sources=[source])
        return rows if known_by is None else rows.filter(pl.col("known_at") <= known_by)

    def recompute(span: Span, known_by: datetime) -> pl.DataFrame:
        # Until when a source vouches for a pool is told at the end of its record: no feature may know it.
        born = told(POOLS, known_by).with_columns(watched_until=pl.lit(None, UTC))
        reach = look_backs(REGISTRY.values(), FEATURES_SPEC)
        read = {
            name: told(table(name), known_by).filter(pl.col("event_time") >= span.start - back)
            for name, back in reach.items()
        }
        return compute_features(Sources(pools=born, **read), span, FEATURES_SPEC)

    def read(target: Table, span: Span, known_by: datetime) -> pl.DataFrame:
        rows = lake.scan(target, span, sources=[source])
        return rows.filter(pl.col("known_at") <= known_by).collect()

    def rebuild_snapshots(span: Span, known_by: datetime) -> pl.DataFrame:
        updates = read(RESERVES, span.widened(back=SNAPSHOTS_SPEC.look_back), known_by)
        born = read(POOLS, span.widened(back=SNAPSHOTS_SPEC.follow), known_by)
        seen = read(RAW_POOLS, span.widened(back=OBSERVED_BACK), known_by)
        return _first(
            SNAPSHOTS,
            take_snapshots(updates, born, span, SNAPSHOTS_SPEC),
            observed_snapshots(seen, span, known_by, SNAPSHOTS_SPEC),
        )

    def rebuild_candles(span: Span, known_by: datetime) -> pl.DataFrame:
        hours = Span(floor(span.start, HOUR), ceil(span.end, HOUR))
        updates = read(RESERVES, hours, known_by)
        told_of = told_candles(
            read(RAW_CANDLES, hours, known_by),
            read(TRADES, hours.widened(back=DAY, ahead=HOUR), known_by),
            read(RAW_POOLS, hours.widened(ahead=HOUR), known_by),
            hours,
            POOLS_SPEC,
            COLLECTION.late,
        )
        return _first(CANDLES, candles(updates, told(POOLS, known_by).collect(), POOLS_SPEC), told_of.candles)

    def relabel(decisions: pl.DataFrame, now: datetime) -> pl.DataFrame:
        return labels_as_of(lake, source, decisions, now)

    return History(
        pools=told(POOLS),
        labels=told(LABELS),
        told={t.name: told(t) for t in (SNAPSHOTS, TOKENS, CANDLES, TRADES, RAW_CANDLES, RAW_POOLS)},
        answers=told(ANSWERS),
        recompute=recompute,
        rebuild={"snapshots": rebuild_snapshots, "candles": rebuild_candles},
        relabel=relabel,
        features=told(FEATURES),
    )


def labels_as_of(lake: Lake, source: str, decisions: pl.DataFrame, now: datetime) -> pl.DataFrame:
    """Labels of some decisions as they could be made at `now` from what was known then, as the asset makes them."""
    if decisions.is_empty():
        return LABELS.empty()
    pools = decisions.select(POOL_KEY).unique().lazy()
    times = decisions["event_time"]
    span = Span(times.min(), times.max() + MINUTE)  # type: ignore[arg-type, operator]  # a column of times, not empty

    def read(target: Table, asked: Span) -> pl.DataFrame:
        rows = lake.scan(target, asked, sources=[source]).join(pools, on=list(POOL_KEY), how="semi")
        return rows.filter(pl.col("known_at") <= now).collect()

    seen = read(SNAPSHOTS, span.widened(back=LABELS_SPEC.observed_back, ahead=LABELS_SPEC.observed_ahead))
    stills = stood_still(lake).filter(pl.col("source") == source)
    return label_outcomes(
        seen.join(decisions, on=list(POOL_TIME_KEY), how="semi"),
        read(CANDLES, span.widened(ahead=LABELS_SPEC.look_ahead)),
        read(POOLS, span.widened(back=FOLLOWED + LABELS_SPEC.observed_back)),
        stills,
        now,
        LABELS_SPEC,
        Observed(seen, ASKED_EVERY),
    )


def _first(target: Table, *frames: pl.DataFrame) -> pl.DataFrame:
    """Of two ways to make a row, the first: a recording may be imported and collected from a sandbox, too."""
    return pl.concat(frames).unique(target.key, keep="first", maintain_order=True)


EXPECTATION_CHECKS = [expectation_check(*guarded) for guarded in (*GUARDED.items(), *GUARDED_TOO.items())]
