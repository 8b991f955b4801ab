"""Quality reports: is what is collected and made of it sound, and may anybody take charge on it?

Belongs here: reading what a report is about, and telling what it found. Stays out: measuring and scores
(`pipeline.monitoring.quality`).
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Any

import dagster as dg
import polars as pl

from assets.labels import SPEC as LABELS_SPEC
from assets.metadata import table_value
from assets.models import SPEC as TRAINING
from assets.pictures import picture
from assets.predictions import REPLAYED
from assets.snapshots import SPEC as SNAPSHOTS_SPEC
from pipeline.calendars import DAY, HOUR, MINUTE, Clock, Span, floor
from pipeline.lake import Lake
from pipeline.monitoring.freshness import OLDEST
from pipeline.monitoring.quality.coverage import latest, never_seen, rows_of_rows, unanswered, visits
from pipeline.monitoring.quality.floor import Low, confirmed_low, why_held
from pipeline.monitoring.quality.report import Asked, Finding, QualityReport, quality_report
from pipeline.monitoring.quality.spec import QUALITY
from pipeline.monitoring.quality.usual import usual_of
from pipeline.tables import (
    CANDLES,
    COLLECTIONS,
    FEATURES,
    LABELS,
    POOL_KEY,
    POOLS,
    QUALITY_REPORTS,
    SNAPSHOTS,
    Table,
)

WATCHED: Mapping[str, Table] = MappingProxyType({t.name: t for t in (POOLS, CANDLES, SNAPSHOTS, FEATURES, LABELS)})
HOLDING = ("snapshots", "features", "labels")
"""What a model learns from and is judged by: the quality of these holds promotion."""
ALLOWED = {**OLDEST, "features": 30 * MINUTE, "labels": 3 * HOUR}
"""How old what is newest may be while somebody collects."""
SETTLED = OLDEST["snapshots"]
"""What is due may be under way for so long: it is not looked for yet."""
SHOWN_DAYS = 28
SHOWN_WARNINGS = 60


@dg.asset(deps=["pools", "candles", "snapshots", "features", "labels"], group_name="monitoring")
def quality_reports(lake: dg.ResourceParam[Lake], clock: dg.ResourceParam[Clock]) -> dg.MaterializeResult[Any]:
    """How sound the last day's data is: missing, implausible, doubled, late, unseen; with a score from 0 to 100."""
    now = clock.now()
    told = [(source, report_of(lake, source, name, now)) for source in sources_of(lake, now) for name in WATCHED]
    known = _distributions_of_the_day(lake, now)
    rows = [made.rows(who, now, is_distribution_told=(who, made.name) in known) for who, made in told]
    lake.append(QUALITY_REPORTS, pl.concat([QUALITY_REPORTS.empty(), *rows]))
    reports = lately(lake, now)
    return dg.MaterializeResult(metadata={"reports": len(told), **(_pictures(reports, now) if told else {})})


@dg.asset_check(
    asset="quality_reports",
    description="No table's quality is confirmed to be low: below the floor that holds promotion it is an error, below "
    "the one above it a warning. It takes several reports in a row to get there, and as many to get back.",
)
def quality_above_floor(lake: dg.ResourceParam[Lake], clock: dg.ResourceParam[Clock]) -> dg.AssetCheckResult:
    """No watched table of any source is confirmed to be below a floor."""
    now = clock.now()
    reports = lately(lake, now)
    warned, held = (_lows(reports, floor, now) for floor in (QUALITY.warn_floor, QUALITY.floor))
    told = [f"{source}: {low.in_words}" for source, low in (held or warned)]
    return dg.AssetCheckResult(
        passed=not warned,
        severity=dg.AssetCheckSeverity.ERROR if held else dg.AssetCheckSeverity.WARN,
        description="; ".join(told) or "no table is confirmed to be below a floor",
        metadata={"floor": QUALITY.floor, "warn_floor": QUALITY.warn_floor},
    )


def promotion_held(lake: Lake, source: str, now: datetime) -> str:
    """Why nobody takes charge on this source's data for now; empty if nothing hinders."""
    own = pl.col("source") == source, pl.col("table_name").is_in(HOLDING)
    return why_held(confirmed_low(lately(lake, now, "score").filter(own), QUALITY.floor, now, QUALITY))


def report_of(lake: Lake, source: str, name: str, now: datetime) -> QualityReport:
    """The report on one watched table of one source, as of now."""
    target, span = WATCHED[name], _window(name, now)
    rows = lake.scan(target, span, sources=[source]).sort(target.key).collect()  # the same rows, the same report
    reports = lake.scan(QUALITY_REPORTS, Span(now - QUALITY.usual_days * DAY, now)).filter(
        pl.col("source") == source, pl.col("table_name") == name
    )
    return quality_report(
        rows, _asked(lake, source, target, span, rows, now), usual_of(reports.collect(), now, QUALITY)
    )


def sources_of(lake: Lake, now: datetime) -> list[str]:
    """Who told something lately; of whom nothing came for days, nobody expects anything."""
    span = Span(now - 3 * DAY, now + MINUTE)
    told = [lake.scan(target, span).select(pl.col("source").unique()).collect() for target in (POOLS, SNAPSHOTS)]
    return pl.concat(told)["source"].unique().sort().to_list()


def lately(lake: Lake, now: datetime, part: str | None = None) -> pl.DataFrame:
    """The reports that are shown and judged."""
    rows = lake.scan(QUALITY_REPORTS, Span(now - SHOWN_DAYS * DAY, now + MINUTE))
    return rows.filter(pl.col("part") != "distribution" if part is None else pl.col("part") == part).collect()


def _distributions_of_the_day(lake: Lake, now: datetime) -> set[tuple[str, str]]:
    """The sources and tables whose distributions were told today: once a day is enough for the trend."""
    today = lake.scan(QUALITY_REPORTS, Span(floor(now, DAY), now + MINUTE)).filter(pl.col("part") == "distribution")
    return set(today.select("source", "table_name").unique().collect().iter_rows())


def _window(name: str, now: datetime) -> Span:
    """What is looked at: the last days; of labels those before, which do not change any more."""
    if name != "labels":
        return Span(now - QUALITY.days * DAY, now + MINUTE)
    until = now - LABELS_SPEC.maturity
    return Span(until - QUALITY.days * DAY, until)


def _asked(lake: Lake, source: str, target: Table, span: Span, rows: pl.DataFrame, now: datetime) -> Asked:
    """What was to be expected of a table."""
    name = target.name
    is_replayed = source.startswith(REPLAYED)
    newest = latest(_as_of(lake, source, target, rows, now), now)
    outcomes = {
        f"outcome_{hours}h": rows.filter(pl.col("horizon_hours") == hours)
        for hours in (TRAINING.horizon_hours, *(h for h in LABELS_SPEC.horizons_hours if h != TRAINING.horizon_hours))
    } if name == "labels" else {}  # fmt: skip
    return Asked(
        name,
        target,
        target.key,
        POOL_KEY,
        label="outcome" if name == "labels" else None,
        outcomes=outcomes,
        age=None if newest is None else now - newest,
        allowed_age=None if is_replayed else ALLOWED[name],
        plan=_plan(lake, source, name, span, rows, now),
        others=_others(lake, source, now) if name == "snapshots" else (),
    )


def _as_of(lake: Lake, source: str, target: Table, rows: pl.DataFrame, now: datetime) -> pl.Series:
    """The moments at which what is newest became known; labels do so after their decisions."""
    if target is not LABELS:
        return rows[target.as_of]
    since = Span(now - 2 * DAY, now + MINUTE)
    return lake.scan(LABELS, since, sources=[source]).select("label_known_at").drop_nulls().collect().to_series()


def _plan(lake: Lake, source: str, name: str, span: Span, rows: pl.DataFrame, now: datetime) -> pl.DataFrame | None:
    """What was due and what is there: visits of pools, features of snapshots, labels of snapshots and horizons."""
    settled = Span(span.start, max(span.start, min(span.end, now - SETTLED)))
    back = timedelta(minutes=SNAPSHOTS_SPEC.idle_minutes)
    of_pool = (*POOL_KEY, "event_time")
    if name == "snapshots":
        seen = lake.scan(SNAPSHOTS, settled.widened(back=back), sources=[source])
        return visits(
            seen.select(*of_pool, "created_at", "interval_minutes", "inclusion_probability").collect(),
            settled,
            SNAPSHOTS_SPEC.follow,
        )
    if name not in ("features", "labels"):
        return None
    asked = lake.scan(SNAPSHOTS, settled, sources=[source]).select(of_pool).collect()
    made = rows.filter(pl.col("event_time") < settled.end)
    return rows_of_rows(asked, made, len(LABELS_SPEC.horizons_hours) if name == "labels" else 1)


def _others(lake: Lake, source: str, now: datetime) -> tuple[Finding, ...]:
    """What else is known of visits: pools that nobody ever saw, and what each network left waiting."""
    day = Span(now - QUALITY.days * DAY, now + MINUTE)
    born = Span(day.start, now - HOUR)
    seen = lake.scan(SNAPSHOTS, day, sources=[source]).select(POOL_KEY).unique().collect()
    unseen = never_seen(lake.scan(POOLS, day, sources=[source]).collect(), seen, born)
    waiting = unanswered(lake.scan(COLLECTIONS, day, sources=[source]).collect())
    allowed = 1 - QUALITY.min_coverage
    shares = {"born_and_never_seen": unseen, **{f"waiting_{network}": share for network, share in waiting.items()}}
    return tuple(
        Finding("coverage", what, share, allowed, share > allowed, "told only, not in the score")
        for what, share in shares.items()
        if share is not None
    )


def _lows(reports: pl.DataFrame, floor: float, now: datetime) -> list[tuple[str, Low]]:
    return [
        (str(source), low)
        for (source,), own in reports.sort("source").group_by("source", maintain_order=True)
        for low in confirmed_low(own, floor, now, QUALITY)
    ]


def _pictures(reports: pl.DataFrame, now: datetime) -> dict[str, Any]:
    """The scores and their parts over time, what is missing, what lies far off, and what is beyond its bound now."""
    from pipeline.monitoring.quality.plots import outlier_plot, score_plot, share_plot  # noqa: PLC0415 - matplotlib

    newest = reports.filter(pl.col("known_at") == now)
    scores = newest.filter(pl.col("score").is_not_null()).select("source", "table_name", "part", "score", "detail")
    is_usual = pl.col("detail").str.starts_with("usually").fill_null(value=False)  # what is as always comes last
    told = newest.filter("is_warning", pl.col("part") != "score").sort(is_usual, "table_name", "part", "subject")
    warned = told.drop("known_at", "score", "is_warning")
    return {
        "scores": table_value(scores),
        "warnings": warned.height,
        "beyond_their_bounds": table_value(warned.head(SHOWN_WARNINGS)),
        "score_over_time": picture(score_plot(reports, QUALITY.floor, QUALITY.warn_floor), "scores over time"),
        "missing_by_column": picture(share_plot(newest), "share of missing values by column"),
        "outliers_by_column": picture(outlier_plot(newest), "share of outliers by column"),
    }
