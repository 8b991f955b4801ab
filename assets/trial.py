"""After the offline gate: a challenger's trial in the champion's shadow, and the watch over the champion.

Belongs here: asking for a verdict, and telling what followed. Stays out: reading what both said and what came of it
(`assets.sides`), verdicts, decisions and moves (`pipeline.promotion.looks`).
"""

from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl

from assets.labels import SPEC as LABELS_SPEC
from assets.metadata import table_value
from assets.pictures import picture
from assets.quality import promotion_held
from assets.sides import NAME, against_prior, broken_guards, mute, pairs_between, prior_of, shadowed, source_of
from pipeline.calendars import Clock
from pipeline.errors import RegistryAwayError, RegistryError
from pipeline.lake import Lake
from pipeline.models.spec import FURTHER_HORIZONS_HOURS
from pipeline.promotion.looks import Look, Looks
from pipeline.promotion.moves import Moves
from pipeline.promotion.registry import Registry
from pipeline.promotion.spec import OUTCOME
from pipeline.promotion.trial_spec import TRIAL


@dg.asset(
    deps=["outcomes"],
    check_specs=[
        dg.AssetCheckSpec(
            name="registry_answers",
            asset="trial",
            description="The model registry answered. While it does not, trials wait, predictions go on without it, "
            "and the alert `registry.away` tells.",
        )
    ],
)
def trial(
    context: dg.AssetExecutionContext,
    lake: dg.ResourceParam[Lake],
    clock: dg.ResourceParam[Clock],
    registry: dg.ResourceParam[Registry],
    model_cache: dg.ResourceParam[Path],
) -> dg.MaterializeResult:  # type: ignore[type-arg]  # with checks, Dagster takes the bare class alone
    """The challenger on trial: bets on its outcomes against the champion's, until they prove it better or end it."""
    looks = Looks(lake, Moves(lake, registry), OUTCOME, TRIAL, LABELS_SPEC.outcome_rule)
    now = clock.now()
    try:
        return _looked_at(looks, lake, registry, model_cache, now)
    except RegistryAwayError as error:
        # What was decided before it went stands in the ledger, and the aliases follow at the next look.
        context.log.warning(f"trials wait: {error}")
        return _waiting("the registry is away", str(error))


def _looked_at(
    looks: Looks, lake: Lake, registry: Registry, model_cache: Path, now: datetime
) -> dg.MaterializeResult[Any]:
    stands = looks.begin(now)
    if stands.champion is None or stands.shadow is None:
        return _waiting("nobody is on trial")
    since, sides = stands.shadow.known_at, (stands.champion, stands.shadow)
    silent = mute(registry, model_cache, stands.shadow)
    try:
        # Where our own features silenced it, its silence is no evidence against it; else it costs what the prior says.
        prior = None if silent else prior_of(registry, model_cache, stands.champion)
    except RegistryError as error:
        return _waiting(f"what silence costs is in the champion's file, and that cannot be used: {error}")
    paired = pairs_between(lake, *sides, since, now, prior=prior)
    further = {
        hours: pairs_between(lake, *sides, since, now, hours=hours, prior=prior) for hours in FURTHER_HORIZONS_HOURS
    }
    held = promotion_held(lake, source_of(lake, since, stands.champion), now)
    look = looks.at_trial(stands, paired, shadowed(lake, *sides, now), now, further, held, silent)
    looks.begin(now)
    return dg.MaterializeResult(
        metadata={
            "champion_version": stands.champion.version,
            "shadow_version": stands.shadow.version,
            "on_trial_since": dg.MetadataValue.timestamp(since),
            **_told(look, f"version {stands.shadow.version} on trial against version {stands.champion.version}"),
        },
        check_results=[_answered()],
    )


def _waiting(why: str, trouble: str = "") -> dg.MaterializeResult[Any]:
    return dg.MaterializeResult(metadata={"decision": "wait", "reason": why}, check_results=[_answered(trouble)])


def _answered(trouble: str = "") -> dg.AssetCheckResult:
    return dg.AssetCheckResult(
        check_name="registry_answers", passed=not trouble, severity=dg.AssetCheckSeverity.WARN,
        description=trouble or "it answered",
    )  # fmt: skip


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
    looks, stands = Looks(lake, moves, OUTCOME, TRIAL, LABELS_SPEC.outcome_rule), moves.standing(NAME)
    champion, former = stands.champion, stands.former
    if champion is None:
        return dg.MaterializeResult(metadata={"decision": "wait", "reason": "nobody is in charge"})
    broken = broken_guards(lake, registry, model_cache, stands, now)
    paired = pairs_between(lake, champion, former, champion.known_at, now) if former else pl.DataFrame()
    look = looks.at_reign(stands, paired, broken, now)
    edge = looks.at_edge(stands, against_prior(lake, registry, model_cache, champion, now), now)
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
    description="The champion breaks no guard, and can be asked. It is told here also where nothing could be done "
    "about it: because it is pinned, or because there is no champion to go back to.",
)
def champion_is_sound(
    lake: dg.ResourceParam[Lake],
    clock: dg.ResourceParam[Clock],
    registry: dg.ResourceParam[Registry],
    model_cache: dg.ResourceParam[Path],
) -> dg.AssetCheckResult:
    """Whoever is in charge after the look breaks no guard, and takes features that are still made as they were."""
    stands = Moves(lake, registry).standing(NAME)
    told = [f"{one.guard}: {one.reason}" for one in broken_guards(lake, registry, model_cache, stands, clock.now())]
    with suppress(RegistryAwayError):  # that alone says nothing of the champion
        told += filter(None, [mute(registry, model_cache, stands.champion)])
    return dg.AssetCheckResult(passed=not told, description="; ".join(told) or "no guard is broken")


def _reachable(lake: Lake, registry: Registry) -> Moves:
    """The moves, without a registry that is away: the ledger can be written, and the aliases follow later."""
    try:
        Moves(lake, registry).reconciled(NAME)
    except RegistryAwayError:
        return Moves(lake, None)
    return Moves(lake, registry)


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
