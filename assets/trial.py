"""After the offline gate: a challenger's trial in the champion's shadow, and the watch over the champion.

Belongs here: reading what both said and what came of it, and telling what followed. Stays out: verdicts, decisions and
moves (`pipeline.promotion.looks`).
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl

from assets.labels import SPEC as LABELS_SPEC
from assets.metadata import table_value
from assets.models import SPEC as TRAINING
from assets.predictions import REPLAYED
from assets.predictions import SPEC as SERVED
from assets.quality import promotion_held
from assets.reports import picture
from pipeline.calendars import DAY, Clock, Span
from pipeline.errors import RegistryError, TransientError
from pipeline.lake import Lake
from pipeline.models.spec import FURTHER_HORIZONS_HOURS
from pipeline.predictions.pairs import coverage, losses_of, pairs, pairs_of, prior_losses
from pipeline.promotion.cache import load_in_charge
from pipeline.promotion.guards import Breach, breaches
from pipeline.promotion.looks import Look, Looks
from pipeline.promotion.moves import Moves
from pipeline.promotion.registry import Registry
from pipeline.promotion.spec import OUTCOME
from pipeline.promotion.standing import Deployed, Standing
from pipeline.promotion.trial import Shadowed
from pipeline.promotion.trial_spec import TRIAL
from pipeline.tables import OUTCOMES, PREDICTION_OUTCOMES, PREDICTIONS, UNSCORED

NAME = TRAINING.model_name
UNANSWERED = ("model_failed", "incomplete")
"""Why a snapshot that the other could answer was not: it broke, or inputs that only it needs are gone."""
END_OF_TIME = datetime(2200, 1, 1, tzinfo=UTC)


@dg.asset(deps=["outcomes"])
def trial(
    lake: dg.ResourceParam[Lake],
    clock: dg.ResourceParam[Clock],
    registry: dg.ResourceParam[Registry],
    model_cache: dg.ResourceParam[Path],
) -> dg.MaterializeResult[Any]:
    """The challenger on trial: bets on its outcomes against the champion's, until they prove it better or end it."""
    looks, now = Looks(lake, Moves(lake, registry), OUTCOME, TRIAL), clock.now()
    stands = looks.begin(now)
    if stands.champion is None or stands.shadow is None:
        return dg.MaterializeResult(metadata={"decision": "wait", "reason": "nobody is on trial"})
    since, sides = stands.shadow.known_at, (stands.champion, stands.shadow)
    prior = _prior(registry, model_cache, stands.champion)
    paired = _pairs(lake, *sides, since, now, prior=prior)
    further = {hours: _pairs(lake, *sides, since, now, hours=hours, prior=prior) for hours in FURTHER_HORIZONS_HOURS}
    held = promotion_held(lake, _source(lake, since, stands.champion), now)
    look = looks.at_trial(stands, paired, _shadowed(lake, *sides, now), now, further, held)
    looks.begin(now)
    return dg.MaterializeResult(
        metadata={
            "champion_version": stands.champion.version,
            "shadow_version": stands.shadow.version,
            "on_trial_since": dg.MetadataValue.timestamp(since),
            **_told(look, f"version {stands.shadow.version} on trial against version {stands.champion.version}"),
        }
    )


@dg.asset(deps=["outcomes"])
def reign(
    context: dg.AssetExecutionContext,
    lake: dg.ResourceParam[Lake],
    clock: dg.ResourceParam[Clock],
    registry: dg.ResourceParam[Registry],
    model_cache: dg.ResourceParam[Path],
) -> dg.MaterializeResult[Any]:
    """The champion against the one before it: a guard that is broken, or harm that is proven, throws it out."""
    moves, now = _reachable(lake, registry), clock.now()
    looks, stands = Looks(lake, moves, OUTCOME, TRIAL), moves.standing(NAME)
    champion, former = stands.champion, stands.former
    if champion is None:
        return dg.MaterializeResult(metadata={"decision": "wait", "reason": "nobody is in charge"})
    broken = _broken(lake, registry, model_cache, stands, now)
    paired = _pairs(lake, champion, former, champion.known_at, now) if former else pl.DataFrame()
    look = looks.at_reign(stands, paired, broken, now)
    edge = looks.at_edge(stands, _against_prior(lake, _prior(registry, model_cache, champion), champion, now), now)
    if broken or look.is_moved:
        context.log.error(look.decision.reason)
    return dg.MaterializeResult(
        metadata={
            "champion_version": champion.version,
            "former_version": former.version if former else "none",
            "in_charge_since": dg.MetadataValue.timestamp(champion.known_at),
            "guards_broken": [breach.guard for breach in broken],
            "lost_its_edge_over_the_class_prior": edge is not None and edge.decision == "promote",
            **_told(look, f"harm done by version {champion.version}, against the champion before it"),
        }
    )


@dg.asset_check(
    asset="reign",
    description="The champion breaks no guard. It is told here also where nothing could be done about it: because it "
    "is pinned, or because there is no champion to go back to.",
)
def champion_is_sound(
    lake: dg.ResourceParam[Lake],
    clock: dg.ResourceParam[Clock],
    registry: dg.ResourceParam[Registry],
    model_cache: dg.ResourceParam[Path],
) -> dg.AssetCheckResult:
    """Whoever is in charge after the look breaks no guard."""
    stands = Moves(lake, registry).standing(NAME)
    broken = _broken(lake, registry, model_cache, stands, clock.now())
    told = "; ".join(f"{breach.guard}: {breach.reason}" for breach in broken)
    return dg.AssetCheckResult(passed=not broken, description=told or "no guard is broken")


def _reachable(lake: Lake, registry: Registry) -> Moves:
    """The moves, without a registry that is away: the ledger can be written, and the aliases follow later."""
    try:
        Moves(lake, registry).reconciled(NAME)
    except TransientError:
        return Moves(lake, None)
    return Moves(lake, registry)


def _said(lake: Lake, since: datetime, versions: Sequence[int], columns: Sequence[str] = ()) -> pl.LazyFrame:
    """What the versions said from a moment on: who, when, of what, and the columns asked for."""
    own = pl.col("model_version").is_in(versions) & (pl.col("model_name") == NAME)
    said = lake.scan(PREDICTIONS, _from(since)).filter(own, pl.col("known_at") >= since)
    return said.select(*PREDICTIONS.key, "known_at", "age_hours", *columns)


def _source(lake: Lake, since: datetime, who: Deployed) -> str:
    """The source that a version speaks about; empty while it is silent."""
    said = _said(lake, since, [who.version]).select("source").first().collect()
    return str(said["source"].item()) if said.height else ""


def _came(lake: Lake, since: datetime, versions: Sequence[int]) -> pl.LazyFrame:
    """What became of it."""
    own = pl.col("model_version").is_in(versions) & (pl.col("model_name") == NAME)
    kept = ("status", "outcome", "is_evidence", "predicted_at", "label_known_at", "known_at", "log_loss")
    return lake.scan(PREDICTION_OUTCOMES, _from(since)).filter(own).select(*PREDICTION_OUTCOMES.key, *kept)


def _pairs(
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


def _prior(registry: Registry, cache: Path, who: Deployed) -> dict[str, float] | None:
    """How frequent the outcomes were among what a version learned from; None where its file cannot be had."""
    from pipeline.models.outcome_model import load_outcome  # noqa: PLC0415 - its learners are slow to import

    try:
        model = load_outcome(load_in_charge(registry, cache, who).model_bytes)
    except (RegistryError, TransientError):
        return None
    return dict(zip(OUTCOMES, map(float, model.class_prior), strict=True))


def _against_prior(lake: Lake, prior: Mapping[str, float] | None, champion: Deployed, now: datetime) -> pl.DataFrame:
    """Paired losses of the champion and of the class prior it learned, since it took charge."""
    if prior is None:
        return pl.DataFrame()
    since, hours = champion.known_at, TRAINING.horizon_hours
    said, came = _said(lake, since, [champion.version]).collect(), _came(lake, since, [champion.version]).collect()
    own: dict[str, Any] = {"model_name": NAME, "version": champion.version, "horizon_hours": hours}
    return pairs_of(
        losses_of(said, came, **own),
        prior_losses(said, came, dict(prior), **own),
        last_age_hours=SERVED.max_age_hours,
        patience=_patience(said, hours),
        now=now,
    )


def _shadowed(lake: Lake, champion: Deployed, shadow: Deployed, now: datetime) -> Shadowed:
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


def _broken(lake: Lake, registry: Registry, cache: Path, stands: Standing, now: datetime) -> list[Breach]:
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


def _broken_file(registry: Registry, cache: Path, champion: Deployed) -> list[Breach]:
    """Whether the champion's file is neither in the cache nor in the registry what the ledger says."""
    try:
        load_in_charge(registry, cache, champion)
    except RegistryError as error:
        return [Breach("artifact", str(error))]
    except TransientError:
        return []  # A registry that is away says nothing of the file.
    return []


def _from(since: datetime) -> Span:
    """Everything decided from a while before `since` on: what is said at a moment is of a snapshot before it."""
    return Span(since - DAY, END_OF_TIME)


def _told(look: Look, title: str) -> dict[str, Any]:
    """The look in metadata; the wealth against its bound is the picture."""
    told: dict[str, Any] = {
        "decision": look.decision.move, "reason": look.decision.reason, "is_moved": look.is_moved,
    }  # fmt: skip
    if look.verdict is None:
        return told
    from pipeline.promotion.wealth_plot import wealth_plot  # noqa: PLC0415 - matplotlib is slow to import

    return {
        **told,
        "pools": look.verdict.n_pools,
        "wealth": look.verdict.wealth,
        "wealth_needed": look.verdict.bound,
        "wealth_process": picture(wealth_plot(look.verdict, title, over="time"), "the wealth against its bound"),
        "comparison": table_value(look.found),
    }
