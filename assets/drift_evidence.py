"""What a report on drift is made from: the champion, what it learned from, and what the market did since.

Belongs here: reading it from the lake and the registry, as of a moment. Stays out: comparing
(`pipeline.monitoring.drift`), and the asset that tells what came of it (`drift`).
"""

from datetime import datetime, timedelta
from pathlib import Path

import polars as pl

from assets.labels import SPEC as LABELS_SPEC
from assets.models import SPEC as TRAINING
from assets.predictions import REPLAYED, fed_today
from pipeline.calendars import EPOCH, HOUR, MINUTE, Span
from pipeline.errors import PermanentError, TransientError
from pipeline.lake import Lake
from pipeline.models.as_of import as_of
from pipeline.models.spec import MODEL
from pipeline.monitoring.drift.evidence import PROBABILITIES, Evidence
from pipeline.monitoring.drift.reference import Learned, Reference, keep, kept, outcomes_known, place, reference_rows
from pipeline.monitoring.drift.watch_spec import WatchSpec
from pipeline.monitoring.drift.windows import GROUP, Ages, Births, at_ages, births
from pipeline.promotion.cache import load_in_charge
from pipeline.promotion.registry import Registry
from pipeline.promotion.standing import Deployed, standing
from pipeline.tables import DEPLOYMENTS, EVALUATIONS, FEATURES, LABELS, PREDICTION_OUTCOMES, PREDICTIONS

SPEC = WatchSpec()
AGES = Ages(TRAINING.decision_ages_hours, TRAINING.age_tolerance_hours)
FIRST_HOURS = AGES.up_to(SPEC.last_age_hours)
NAME = TRAINING.model_name
HOURS = TRAINING.horizon_hours
PAGE = "drift"
"""The folder of a champion's run that pages on drift are kept in, and of the cache that references are."""


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
        model = load_outcome(load_in_charge(registry, cache, champion, fed=fed_today()).model_bytes)
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
