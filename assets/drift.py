"""Drift: has the world moved since the champion learned, and does it harm.

Belongs here: reading what a report is made from, and telling what was found. Stays out: comparing and deciding
(`pipeline.monitoring.drift`), asking for a training (`sensors.drift`).
"""

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl

from assets.features import SPEC as FEATURES_SPEC
from assets.labels import SPEC as LABELS_SPEC
from assets.metadata import frame_metadata, n_rows, table_value
from assets.models import SPEC as TRAINING
from assets.predictions import REPLAYED
from assets.reports import picture
from pipeline.calendars import EPOCH, HOUR, MINUTE, Clock, Span
from pipeline.errors import PermanentError, TransientError
from pipeline.features.registry import feature_set_hash
from pipeline.lake import Lake
from pipeline.models.as_of import as_of
from pipeline.models.spec import MODEL
from pipeline.monitoring.drift.alarm import ASKS, STANDS, Look
from pipeline.monitoring.drift.evidence import PROBABILITIES, Evidence, looks_of
from pipeline.monitoring.drift.reference import Learned, Reference, keep, kept, outcomes_known, place, reference_rows
from pipeline.monitoring.drift.watch_spec import WatchSpec
from pipeline.monitoring.drift.windows import GROUP, Ages, Births, at_ages, births
from pipeline.promotion.cache import load_in_charge
from pipeline.promotion.registry import Registry
from pipeline.promotion.standing import Deployed, standing
from pipeline.tables import DEPLOYMENTS, DRIFT_REPORTS, EVALUATIONS, FEATURES, LABELS, PREDICTION_OUTCOMES, PREDICTIONS

SPEC = WatchSpec()
AGES = Ages(TRAINING.decision_ages_hours, TRAINING.age_tolerance_hours)
FIRST_HOURS = AGES.up_to(SPEC.last_age_hours)
NAME = TRAINING.model_name
HOURS = TRAINING.horizon_hours
PAGE = "drift"
"""The folder of a champion's run that pages on drift are kept in."""


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


def evidence(lake: Lake, registry: Registry, cache: Path, now: datetime) -> Evidence | str:
    """What a report is made from; or why there is none to make."""
    champion = standing(lake.scan(DEPLOYMENTS).collect(), NAME).champion
    if champion is None:
        return "nobody is in charge, so there is nothing to watch"
    known = _learned(registry, cache, champion)
    if isinstance(known, str):
        return known
    learned, source = known
    reference = _reference(lake, cache, learned, source)
    if reference.rows.is_empty():
        return f"the lake holds no pool that version {champion.version} could have learned from"
    until = learned.learned_until
    lately = births(now, FIRST_HOURS, SPEC.window, not_before=until, wait=timedelta(0))
    matured = births(now, FIRST_HOURS, SPEC.window, not_before=until, wait=_patience(source))
    return Evidence(
        source=source,
        learned=learned,
        reference=reference,
        evaluated=_evaluated(lake, learned),
        current=_features(lake, source, lately, learned.feature_names).collect(),
        said=_said(lake, learned, source, lately),
        labelled=_labelled(lake, source, matured, now),
        judged=_judged(lake, learned, source, matured, now),
        errors=_errors(lake, learned, champion.known_at, now),
        lately=lately,
        matured=matured,
    )


def _learned(registry: Registry, cache: Path, champion: Deployed) -> tuple[Learned, str] | str:
    """Who the champion is, and its source; or why its file cannot be read. That is the guards' business, not ours."""
    from pipeline.models.outcome_model import load_outcome  # noqa: PLC0415 - its learners are slow to import

    try:
        expected = feature_set_hash(FEATURES_SPEC)
        loaded = load_in_charge(registry, cache, champion, expected_feature_set=expected)
        model = load_outcome(loaded.model_bytes)
    except (PermanentError, TransientError) as error:
        return f"the champion cannot be asked what it learned from: {error}"
    until = pl.Series([model.attributes["learned_until"]]).str.to_datetime(time_zone="UTC").item()
    named = (champion.model_name, champion.version, champion.model_sha256)
    return Learned(*named, tuple(model.feature_names), until, HOURS), model.attributes["source"]


def _reference(lake: Lake, cache: Path, learned: Learned, source: str) -> Reference:
    """The reference in its file, or made from the lake; an empty one is not kept."""
    path = place(cache / PAGE, learned, FIRST_HOURS, SPEC)
    found = kept(path)
    if found is not None:
        return found
    before = Span(EPOCH, learned.learned_until + MINUTE)
    features, labels = (lake.scan(target, before, sources=[source]) for target in (FEATURES, LABELS))
    known = as_of(features, labels, known_by=learned.learned_until, horizon_hours=learned.horizon_hours)
    outcomes = known.select(*GROUP, "event_time", "outcome").collect()
    rows = reference_rows(features, outcomes, learned, FIRST_HOURS, SPEC)
    return keep(path, rows) if rows.height else Reference("", rows)


def _features(lake: Lake, source: str, born: Births, names: tuple[str, ...]) -> pl.LazyFrame:
    """Features at the first hours of the pools born in a stretch, as they were known then."""
    columns = list(dict.fromkeys([*GROUP, "event_time", "age_hours", *names]))
    told = lake.scan(FEATURES, _span(born), sources=[source]).filter(pl.col("known_at") <= pl.col("event_time"))
    return at_ages(told.select(columns), FIRST_HOURS, born).sort(*GROUP, "event_time")


def _said(lake: Lake, learned: Learned, source: str, born: Births) -> pl.DataFrame:
    """What the champion said at those hours."""
    own = lake.scan(PREDICTIONS, _span(born), sources=[source]).filter(
        pl.col("model_name") == learned.model_name,
        pl.col("model_version") == learned.version,
        pl.col("horizon_hours") == HOURS,
    )
    told = at_ages(own.select(*GROUP, "event_time", "age_hours", *PROBABILITIES), FIRST_HOURS, born)
    return told.sort(*GROUP, "event_time").collect()


def _labelled(lake: Lake, source: str, born: Births, now: datetime) -> pl.DataFrame:
    """What became of pools, whatever was said of them."""
    decided = _features(lake, source, born, ()).collect()
    outcomes = outcomes_known(lake.scan(LABELS, _span(born), sources=[source]), HOURS, now)
    return decided.join(outcomes, on=[*GROUP, "event_time"], how="left", maintain_order="left")


def _judged(lake: Lake, learned: Learned, source: str, born: Births, now: datetime) -> pl.DataFrame:
    """What the champion said, with what came of it; evidence only."""
    came = _came(lake, learned, _span(born), now).select(*GROUP, "event_time", label="outcome").collect()
    return _said(lake, learned, source, born).join(came, on=[*GROUP, "event_time"], maintain_order="left")


def _errors(lake: Lake, learned: Learned, since: datetime, now: datetime) -> pl.DataFrame:
    """The losses of all of its evidence since it took charge, each with when it counted."""
    end = pl.col("event_time") + pl.duration(hours=HOURS)
    came = _came(lake, learned, Span(min(since, now), now + HOUR), now)
    matured_at = pl.max_horizontal("label_known_at", end).alias("matured_at")
    return came.select(*GROUP, "event_time", matured_at, loss="log_loss").collect()


def _came(lake: Lake, learned: Learned, span: Span, now: datetime) -> pl.LazyFrame:
    return lake.scan(PREDICTION_OUTCOMES, span).filter(
        pl.col("model_name") == learned.model_name,
        pl.col("model_version") == learned.version,
        pl.col("horizon_hours") == HOURS,
        pl.col("status") == "labelled",
        pl.col("is_evidence"),
        pl.col("known_at") <= now,
    )


def _evaluated(lake: Lake, learned: Learned) -> pl.DataFrame:
    """What the champion said of its own last block at those hours, of pools that had the time to reach all of them."""
    own = lake.scan(EVALUATIONS).filter(
        pl.col("model_sha256") == learned.model_sha256, pl.col("predictor") == MODEL, pl.col("horizon_hours") == HOURS
    )
    rows = own.select(
        *GROUP, "event_time", "label", *PROBABILITIES, age_hours=pl.col("decision_age_hours").cast(pl.Float64)
    ).collect()
    last = rows["event_time"].max()
    born = Births(EPOCH, (last if isinstance(last, datetime) else EPOCH + FIRST_HOURS.settled) - FIRST_HOURS.settled)
    return at_ages(rows.lazy(), FIRST_HOURS, born).sort(*GROUP, "event_time").collect()


def _patience(source: str) -> timedelta:
    """How long after a decision its label is settled: in a replay its horizon, live until late bars have come too."""
    return HOURS * HOUR if source.startswith(REPLAYED) else max(HOURS * HOUR, LABELS_SPEC.maturity)


def _span(born: Births) -> Span:
    """The hours in which pools born in a stretch were young."""
    end = born.until + FIRST_HOURS.settled + MINUTE
    return Span(min(born.after, end), end)


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
    return {"page": dg.MetadataValue.url(where) if where.startswith("http") else where}
