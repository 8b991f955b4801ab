"""What a champion and another version said, what came of it, and what is wrong with the champion: read for a verdict.

Belongs here: reading the lake and the model files. Stays out: the assets (`assets.trial`), pairing
(`pipeline.predictions.pairs`), verdicts and guards (`pipeline.promotion`).
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl

from assets.labels import SPEC as LABELS_SPEC
from assets.models import SPEC as TRAINING
from assets.predictions import REPLAYED, fed_today
from assets.predictions import SPEC as SERVED
from pipeline.calendars import DAY, END_OF_TIME, Span
from pipeline.errors import RegistryAwayError, RegistryError
from pipeline.lake import Lake
from pipeline.predictions.pairs import coverage, losses_of, pairs, pairs_of, prior_losses
from pipeline.promotion.cache import load_in_charge
from pipeline.promotion.guards import Breach, breaches
from pipeline.promotion.ledger import quoted
from pipeline.promotion.registry import Registry
from pipeline.promotion.standing import Deployed, Standing
from pipeline.promotion.trial import Shadowed
from pipeline.promotion.trial_spec import TRIAL
from pipeline.promotion.versions import why_mute
from pipeline.tables import OUTCOMES, PREDICTION_OUTCOMES, PREDICTIONS, UNSCORED

NAME = TRAINING.model_name
UNANSWERED = ("model_failed", "incomplete")
"""Why a snapshot that the other could answer was not: it broke, or inputs that only it needs are gone."""


def _said(lake: Lake, since: datetime, versions: Sequence[int], columns: Sequence[str] = ()) -> pl.LazyFrame:
    """What the versions said from a moment on: who, when, of what, and the columns asked for."""
    own = pl.col("model_version").is_in(versions) & (pl.col("model_name") == NAME)
    said = lake.scan(PREDICTIONS, _from(since)).filter(own, pl.col("known_at") >= since)
    return said.select(*PREDICTIONS.key, "known_at", "age_hours", *columns)


def source_of(lake: Lake, since: datetime, who: Deployed) -> str:
    """The source that a version speaks about; empty while it is silent."""
    said = _said(lake, since, [who.version]).select("source").first().collect()
    return str(said["source"].item()) if said.height else ""


def _came(lake: Lake, since: datetime, versions: Sequence[int]) -> pl.LazyFrame:
    """What became of it."""
    own = pl.col("model_version").is_in(versions) & (pl.col("model_name") == NAME)
    kept = ("status", "outcome", "is_evidence", "predicted_at", "label_known_at", "known_at", "log_loss")
    return lake.scan(PREDICTION_OUTCOMES, _from(since)).filter(own).select(*PREDICTION_OUTCOMES.key, *kept)


def pairs_between(
    lake: Lake,
    champion: Deployed,
    other: Deployed,
    since: datetime,
    now: datetime,
    *,
    hours: int = TRAINING.horizon_hours,
    prior: Mapping[str, float] | None = None,
) -> pl.DataFrame:
    """Paired losses of what both said from `since` on; where the other was silent it is given the prior's."""
    versions, at = (champion.version, other.version), pl.col("horizon_hours") == hours
    said, came = _said(lake, since, versions).filter(at).collect(), _came(lake, since, versions).filter(at).collect()
    own: dict[str, Any] = {"model_name": NAME, "version": champion.version, "horizon_hours": hours}
    silent = prior_losses(said, came, dict(prior), **own).filter(pl.col("event_time") >= since) if prior else None
    return pairs(
        said,
        came,
        *versions,
        hours,
        model_name=NAME,
        last_age_hours=SERVED.max_age_hours,
        patience=_patience(said, hours),
        now=now,
        silent=silent,
    )


def _patience(said: pl.DataFrame, hours: int) -> timedelta:
    """How long a label is waited for: in a replay its horizon, live until late bars have been told as well."""
    is_replayed = said.height > 0 and str(said["source"][0]).startswith(REPLAYED)
    late = timedelta(0) if is_replayed else LABELS_SPEC.maturity - timedelta(hours=TRAINING.horizon_hours)
    return timedelta(hours=hours) + late


def prior_of(registry: Registry, cache: Path, who: Deployed) -> dict[str, float]:
    """How frequent the outcomes were among what a version learned from.

    Raises:
        RegistryError: its file is not what the ledger says.
        RegistryAwayError: it is not in the cache, and the registry does not answer.
    """
    from pipeline.models.outcome_model import load_outcome  # noqa: PLC0415 - its learners are slow to import

    model = load_outcome(load_in_charge(registry, cache, who).model_bytes)
    return dict(zip(OUTCOMES, map(float, model.class_prior), strict=True))


def against_prior(lake: Lake, registry: Registry, cache: Path, champion: Deployed, now: datetime) -> pl.DataFrame:
    """Paired losses of the champion and of the class prior it learned, since it took charge; none without its file."""
    try:
        prior = prior_of(registry, cache, champion)
    except (RegistryError, RegistryAwayError):
        return pl.DataFrame()
    since, hours = champion.known_at, TRAINING.horizon_hours
    said, came = _said(lake, since, [champion.version]).collect(), _came(lake, since, [champion.version]).collect()
    own: dict[str, Any] = {"model_name": NAME, "version": champion.version, "horizon_hours": hours}
    return pairs_of(
        losses_of(said, came, **own),
        prior_losses(said, came, prior, **own),
        last_age_hours=SERVED.max_age_hours,
        patience=_patience(said, hours),
        now=now,
    )


def shadowed(lake: Lake, champion: Deployed, shadow: Deployed, now: datetime) -> Shadowed:
    """How far a trial has come."""
    since, at = shadow.known_at, pl.col("horizon_hours") == TRAINING.horizon_hours
    said = _said(lake, since, (champion.version, shadow.version)).filter(at).collect()
    matured = _came(lake, since, [shadow.version]).filter(
        at, pl.col("predicted_at") >= since, pl.col("is_evidence"), pl.col("status") == "labelled",
        pl.col("known_at") <= now,
    )  # fmt: skip
    share = coverage(said, champion.version, shadow.version, TRAINING.horizon_hours, model_name=NAME, since=since)
    # What the champion said with hindsight, of snapshots from before the trial, nobody could have said beside it.
    asked = said.filter(pl.col("model_version") == champion.version, pl.col("event_time") >= since)
    return Shadowed(since, matured.select(pl.len()).collect().item(), asked.height, share)


def broken_guards(lake: Lake, registry: Registry, cache: Path, stands: Standing, now: datetime) -> list[Breach]:
    """The guards that the champion breaks; without a former champion only that its file is what it should be."""
    champion, former = stands.champion, stands.former
    if champion is None:
        return []
    found = _broken_file(registry, cache, champion)
    if former is None:
        return found
    since, guards = champion.known_at, TRIAL.guards
    before = since - timedelta(days=guards.days_before)
    lately = pl.col("known_at") >= now - timedelta(hours=guards.window_hours)
    looked_at = (pl.col("known_at") < since) | lately
    told = ("latency_ms", *(f"p_{outcome}" for outcome in OUTCOMES))
    said = _said(lake, before, (champion.version, former.version), told).filter(looked_at).collect()
    failed = lake.scan(UNSCORED, _from(before)).filter(
        pl.col("model_name") == NAME,
        pl.col("model_version") == champion.version,
        pl.col("reason").is_in(UNANSWERED),
        looked_at,
    )
    own, other = (said.filter(pl.col("model_version") == who.version) for who in (champion, former))
    return [*found, *breaches(own, other, failed.collect(), since=since, now=now, spec=guards)]


def mute(registry: Registry, cache: Path, who: Deployed | None) -> str:
    """That a version cannot be asked any more, and why; empty where it can.

    A file that is not what the ledger says is the guards' business.

    Raises:
        RegistryAwayError: it is not in the cache, and the registry does not answer.
    """
    if who is None:
        return ""
    try:
        entry = load_in_charge(registry, cache, who).registered
    except RegistryError:
        return ""
    try:
        why = why_mute(entry, fed_today())
    except RegistryError as error:
        why = str(error)
    return f"version {who.version} cannot be asked any more: {quoted(why)}" if why else ""


def _broken_file(registry: Registry, cache: Path, champion: Deployed) -> list[Breach]:
    """Whether the champion's file is neither in the cache nor in the registry what the ledger says."""
    try:
        load_in_charge(registry, cache, champion)
    except RegistryError as error:
        return [Breach("artifact", quoted(str(error)))]
    except RegistryAwayError:
        return []  # A registry that is away says nothing of the file.
    return []


def _from(since: datetime) -> Span:
    """Everything decided from a while before `since` on: what is said at a moment is of a snapshot before it."""
    return Span(since - DAY, END_OF_TIME)
