"""A challenger's trial in the champion's shadow, and the watch over a champion: what follows from the evidence.

Belongs here: the decisions, as pure functions of the sequential verdict, the ledger's standing and the rule.
Stays out: the verdict itself (`sequential`), the guard rails (`guards`), the move (`moves`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final, Literal

import polars as pl

from pipeline.promotion.guards import Breach
from pipeline.promotion.sequential import SequentialVerdict
from pipeline.promotion.spec import PromotionSpec
from pipeline.promotion.standing import Deployed, Standing
from pipeline.promotion.trial_spec import TrialSpec

PRIOR: Final = "baseline:class_prior"
"""The opponent that a champion must not lose to: how frequent the outcomes were when it learned."""

type Move = Literal["promote", "reject", "wait"]


@dataclass(frozen=True)
class Decision:
    """What is to be done, and why."""

    move: Move
    reason: str


@dataclass(frozen=True)
class Shadowed:
    """How far a trial has come.

    `n_matured`: the challenger's predictions that count and whose outcome is known. `coverage`: the share of the
    champion's predictions since the trial began that the challenger made as well, a mean over pools; None while there
    are none. `n_asked`: those predictions of the champion.
    """

    started_at: datetime
    n_matured: int
    n_asked: int
    coverage: float | None


@dataclass(frozen=True)
class Proofs:
    """What bets on the same outcomes prove, each at the trial's own alpha.

    Attributes:
        pools: with the pool as the unit.
        hours: with the hour in which pools matured as the unit: a shock that all pools of an hour share makes the bets
            on pools unfair, those on hours not. None while no hour is over.
        gain: by how much the challenger's mean loss is lower over all pools so far, however much one weighs. In the
            bets none weighs more than one nat, so they alone would promote who is a little better mostly and absurd
            now and then.
        further: horizon -> bets on it with the pool as the unit, which may only reject.
    """

    pools: SequentialVerdict
    hours: SequentialVerdict | None
    gain: float
    further: Mapping[int, SequentialVerdict] = field(default_factory=dict)

    @property
    def is_won(self) -> bool:
        """Whether the bets are won, whatever pools of an hour share."""
        return self.pools.decision == "promote" and self.hours is not None and self.hours.decision == "promote"

    @property
    def is_better(self) -> bool:
        """Whether it is proven better, and its mean loss agrees."""
        return self.is_won and self.gain > 0

    @property
    def told(self) -> str:
        """What is proven by pools and by hours, in words."""
        by_hours = f"; by hours {self.hours.wealth:.1f} after {self.hours.n_pools} hours" if self.hours else ""
        return f"{self.pools.reason}{by_hours}"

    @property
    def against(self) -> str:
        """What is proven against the challenger, in words; empty if nothing is."""
        if self.pools.decision == "reject":
            return self.pools.reason
        if self.hours is not None and self.hours.decision == "reject":
            return f"by hours, {self.hours.reason}"
        worse = [f"at {h} h it is {v.reason}" for h, v in sorted(self.further.items()) if v.decision == "reject"]
        return "; ".join(worse)


def decide_trial(
    proofs: Proofs | None,
    shadowed: Shadowed,
    standing: Standing,
    *,
    now: datetime,
    rule: PromotionSpec,
    spec: TrialSpec,
    held: str = "",
    void: str = "",
) -> Decision:
    """Whether the challenger takes charge, goes, or stays in the shadow.

    A proof stays a proof (Ville): reached early, it counts once the trial was long enough. What hinders a move that is
    proven (a pin, a cool-down, an approval that is missing, data that is not sound) is told, and the trial goes on.

    Args:
        proofs: of the paired outcomes so far; None while no pool has matured.
        shadowed: how far the trial has come.
        standing: who stands where.
        now: UTC.
        rule: whether a person must approve.
        spec: the rule of trials.
        held: what else holds promotion for now, in words; empty if nothing does.
        void: why the trial can tell nothing any more, in words (the challenger cannot be asked, labels are made by
            another rule): that ends it, whatever was proven, and says nothing of how good the challenger was. Else
            empty.
    """
    over = void or _over(proofs, shadowed, standing, now, spec)
    if over:
        return Decision("reject", over)
    if proofs is None or not proofs.is_better:
        return Decision("wait", f"nothing is proven yet{_found(proofs)}")
    hours, reason = _hours(shadowed, now), proofs.told
    if hours < spec.min_hours or shadowed.n_matured < spec.min_predictions:
        short = f"{hours:.0f} of {spec.min_hours:g} h and {shadowed.n_matured} of {spec.min_predictions} predictions"
        return Decision("wait", f"{reason}; the trial has {short}")
    hindrance = hindered(standing, now=now, rule=rule, spec=spec) or held
    return Decision("wait" if hindrance else "promote", f"{reason}{hindrance and '; ' + hindrance}")


def _over(proofs: Proofs | None, shadowed: Shadowed, standing: Standing, now: datetime, spec: TrialSpec) -> str:
    """Why the trial ends without the challenger taking charge; empty while it does not."""
    shadow, hours = standing.shadow, _hours(shadowed, now)
    if shadow is not None and shadow.version in standing.vetoed:
        return f"version {shadow.version} was vetoed"
    if proofs is not None and proofs.against:
        return proofs.against
    is_long = hours >= spec.min_hours and shadowed.n_asked >= spec.min_predictions
    if is_long and (shadowed.coverage or 0.0) < spec.min_coverage:
        told = f"it answered {shadowed.coverage or 0.0:.1%} of what the champion answered, a mean over pools"
        return f"{told}; {spec.min_coverage:.0%} are needed"
    if hours > 24 * spec.max_days and (proofs is None or not proofs.is_better):
        return f"nothing was proven in {spec.max_days:g} days{_found(proofs)}"
    return ""


def hindered(standing: Standing, *, now: datetime, rule: PromotionSpec, spec: TrialSpec) -> str:
    """What keeps a proven challenger from taking charge for now, in words; empty if nothing does."""
    if standing.pinned:
        return "the champion is pinned"
    if standing.cooling_since is not None and now < standing.cooling_since + timedelta(hours=spec.cooldown_hours):
        until = standing.cooling_since + timedelta(hours=spec.cooldown_hours)
        return f"a champion was thrown out lately: nobody takes charge before {until:%Y-%m-%d %H:%M} UTC"
    if rule.approval == "required" and (standing.shadow is None or standing.shadow.version not in standing.approved):
        return "it waits for `poolcast promotion approve`"
    return ""


def decide_watch(broken: Sequence[Breach], harm: Proofs | None, standing: Standing) -> Decision:
    """Whether the champion is thrown out for the one before it.

    Args:
        broken: the guards it broke.
        harm: bets with the sides changed, `is_better` being said of the former champion; None: nothing to judge.
        standing: who stands where.

    A pin is a person's word and holds against guards too; what it holds up is told.
    """
    proven = [f"{breach.guard}: {breach.reason}" for breach in broken if breach.is_fault]
    if harm is not None and harm.is_better:
        proven.append(f"harm: {harm.told}")
    if not proven:
        return Decision("wait", f"no guard is broken and no harm is proven{_found(harm)}")
    if standing.pinned:
        return Decision("wait", f"{'; '.join(proven)}; but the champion is pinned: roll back or unpin it")
    if standing.former is None:
        return Decision("wait", f"{'; '.join(proven)}; but there is no champion to go back to: train a new one")
    return Decision("reject", "; ".join(proven))


def lost_edge(comparisons: pl.DataFrame, champion: Deployed | None) -> str:
    """Why the champion asks for training: it is proven worse than its class prior; empty where it is not.

    Args:
        comparisons: rows of `tables.COMPARISONS`, in any order.
        champion: who is in charge.
    """
    if champion is None:
        return ""
    proven = comparisons.filter(
        pl.col("model_name") == champion.model_name, pl.col("challenger_version") == champion.version,
        pl.col("opponent") == PRIOR, pl.col("procedure") == "harm", pl.col("is_passed"),
        pl.col("known_at") >= champion.known_at,
    ).sort("known_at")  # fmt: skip
    if proven.is_empty():
        return ""
    row = proven.row(0, named=True)
    return f"version {champion.version} does worse than its class prior, {row['n_pools']} pools prove it"


def _hours(shadowed: Shadowed, now: datetime) -> float:
    return (now - shadowed.started_at) / timedelta(hours=1)


def _found(proofs: Proofs | None) -> str:
    if proofs is None:
        return ": no pool has matured"
    pools, hours = proofs.pools, proofs.hours
    by_hours = "no hour is over" if hours is None else f"{hours.wealth:.3g} after {hours.n_pools} hours"
    if proofs.is_won:
        return (
            f"; the bets are won ({proofs.told}), but the mean loss itself speaks against it: {-proofs.gain:.3g} higher"
        )
    return f": wealth {pools.wealth:.3g} of {pools.bound:.3g} after {pools.n_pools} pools, by hours {by_hours}"
