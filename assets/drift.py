"""Drift: has the world moved since the champion learned, and does it harm.

Belongs here: the report, and telling what was found. Stays out: what a report is made from (`drift_evidence`),
comparing and deciding (`pipeline.monitoring.drift`), asking for a training (`sensors.drift`).
"""

from datetime import datetime
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl

from assets.drift_evidence import NAME, PAGE, SPEC, evidence
from assets.metadata import frame_metadata, n_rows, table_value
from assets.pictures import linked, picture
from pipeline.calendars import Clock
from pipeline.errors import PermanentError, TransientError
from pipeline.lake import Lake
from pipeline.monitoring.drift.alarm import ASKS, STANDS, Look
from pipeline.monitoring.drift.evidence import Evidence, looks_of
from pipeline.monitoring.drift.reference import Learned
from pipeline.promotion.registry import Registry
from pipeline.promotion.standing import Deployed, standing
from pipeline.tables import DEPLOYMENTS, DRIFT_REPORTS


@dg.asset(deps=["predictions", "outcomes", "features"], group_name="monitoring")
def drift_reports(
    context: dg.AssetExecutionContext,
    lake: dg.ResourceParam[Lake],
    clock: dg.ResourceParam[Clock],
    registry: dg.ResourceParam[Registry],
    model_cache: dg.ResourceParam[Path],
) -> dg.MaterializeResult[Any]:
    """How far features, predictions, outcomes and losses have moved since the champion learned, and whether it harms.

    An alarm needs a shift and harm, in several reports in a row; then a page for people is kept with the model's run.
    """
    from pipeline.monitoring.drift.report import report  # noqa: PLC0415 - scipy is slow to import

    now = clock.now()
    told = evidence(lake, registry, model_cache, now)
    if isinstance(told, str):
        context.log.info(told)
        return dg.MaterializeResult(metadata={"dagster/row_count": 0, "verdict": told})
    found = report(told, past_looks(lake, told.learned, now), now, SPEC)
    lake.append(DRIFT_REPORTS, found)
    page = _kept_page(context, registry, told, found, now) if says(found, ASKS) else {}
    written = frame_metadata(DRIFT_REPORTS, found, n_rows(lake, DRIFT_REPORTS))
    return dg.MaterializeResult(metadata={**written, **_told(lake, told, found), **page})


@dg.asset_check(
    asset="drift_reports",
    description="No drift with harm stands. Where it does, training was asked for, and this goes on saying so until "
    "reports in a row see none any more or another model takes charge.",
)
def no_harmful_drift(lake: dg.ResourceParam[Lake]) -> dg.AssetCheckResult:
    """The newest report of whoever is in charge."""
    champion = standing(lake.scan(DEPLOYMENTS).collect(), NAME).champion
    newest = newest_report(lake, champion) if champion else DRIFT_REPORTS.empty()
    words = newest.filter(pl.col("kind") == "alarm", pl.col("subject") == STANDS)["words"]
    return dg.AssetCheckResult(
        passed=not says(newest, STANDS),
        severity=dg.AssetCheckSeverity.WARN,
        description=words[0] if len(words) else "there is no report on whoever is in charge",
    )


def newest_report(lake: Lake, champion: Deployed) -> pl.DataFrame:
    """The rows of the newest report on a version; none where there is no report."""
    own = of_version(lake, champion.model_name, champion.version)
    return own.filter(pl.col("known_at") == pl.col("known_at").max()).collect()


def newest_asking(lake: Lake, champion: Deployed) -> pl.DataFrame:
    """The verdict of the newest report on a version that asked for training; none where no report did."""
    own = of_version(lake, champion.model_name, champion.version).filter(pl.col("kind") == "alarm")
    asked = own.filter(pl.col("subject") == ASKS, pl.col("is_drifted"))
    return asked.filter(pl.col("known_at") == pl.col("known_at").max()).collect()


def of_version(lake: Lake, name: str, version: int) -> pl.LazyFrame:
    """Every report on a version."""
    return lake.scan(DRIFT_REPORTS).filter(pl.col("model_name") == name, pl.col("model_version") == version)


def says(found: pl.DataFrame, subject: str) -> bool:
    """What a report's verdict says of one of its subjects."""
    return bool(found.filter(pl.col("kind") == "alarm", pl.col("subject") == subject)["is_drifted"].any())


def past_looks(lake: Lake, learned: Learned, now: datetime) -> list[Look]:
    """What the reports before saw."""
    before = of_version(lake, learned.model_name, learned.version).filter(pl.col("known_at") < now)
    return looks_of(before.filter(pl.col("kind") == "alarm").collect())


def _told(lake: Lake, told: Evidence, found: pl.DataFrame) -> dict[str, Any]:
    """The verdict in words, the figures, and the pictures."""
    from pipeline.monitoring.drift.drift_plots import features_plot, loss_plot  # noqa: PLC0415 - matplotlib is slow

    shown = ["kind", "subject", "n_reference_pools", "n_current_pools", "mean_reference", "mean_current", "js", "usual",
             "psi", "p_value", "q_value", "is_drifted"]  # fmt: skip
    figures = found.filter(pl.col("kind") != "alarm").sort("is_drifted", "js", descending=True, nulls_last=True)
    metadata: dict[str, Any] = {
        "verdict": found.filter(pl.col("kind") == "alarm")["words"][0],
        "alarm_stands": says(found, STANDS),
        "champion_version": told.learned.version,
        "reference_id": told.reference.reference_id,
        "figures": table_value(figures.select(shown)),
    }
    if found.filter(pl.col("kind") == "feature").height:
        metadata["features"] = picture(features_plot(found), "how far each feature moved")
    reports = of_version(lake, told.learned.model_name, told.learned.version).collect()
    return metadata | {"loss": picture(loss_plot(reports), "loss over time beside the reference")}


def _kept_page(
    context: dg.AssetExecutionContext, registry: Registry, told: Evidence, found: pl.DataFrame, now: datetime
) -> dict[str, Any]:
    """The page for people, kept with the champion's run; a registry that is away costs the page, not the report."""
    from pipeline.monitoring.drift.evidently_report import drift_page  # noqa: PLC0415 - Evidently is slow to import

    try:
        words = found.filter(pl.col("kind") == "alarm")["words"][0]
        page = drift_page(told.reference.rows, told.current, found, words)
        name = f"{PAGE}/{now:%Y-%m-%dT%H-%M-%S}Z.html"
        where = registry.attach(told.learned.model_name, told.learned.version, name, page.encode())
    except (TransientError, PermanentError) as error:
        context.log.warning(f"no page was kept: {error}")
        return {}
    return {"page": linked(where)}
