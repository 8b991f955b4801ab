"""One look at the evidence of a trial, or of a reign, and the move that follows from it.

Belongs here: the order of things: what was found is kept before anybody moves on it, and the move is made once.
Stays out: verdicts (`sequential`), decisions (`trial`, `guards`), and where pairs come from.

A look may be repeated at any time and killed at any point. The same pairs give the same row, and a move is made only if
who stands where is still what the look saw.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from types import MappingProxyType
from typing import Any, Final, Literal

import polars as pl

from pipeline.calendars import HOUR
from pipeline.errors import RegistryError
from pipeline.lake import Lake
from pipeline.promotion.alpha import alpha_of
from pipeline.promotion.guards import Breach
from pipeline.promotion.ledger import evidence_of, quoted, trial_evidence
from pipeline.promotion.moves import Move, Moves, why_not
from pipeline.promotion.sequential import LOSSES, SequentialVerdict, harm_verdict, sequential_verdict
from pipeline.promotion.sequential_rows import sequential_row
from pipeline.promotion.spec import PromotionSpec
from pipeline.promotion.standing import Action, Deployed, Standing
from pipeline.promotion.trial import PRIOR, Decision, Proofs, Shadowed, decide_trial, decide_watch
from pipeline.promotion.trial_spec import TrialSpec
from pipeline.promotion.versions import LABEL_RULE, otherwise
from pipeline.tables import COMPARISONS

ACTOR: Final = "gate"


@dataclass(frozen=True)
class Look:
    """What a look found and did.

    Attributes:
        decision: what followed from it.
        verdict: of the bets on pools; None while no pool has matured.
        found: what was found, as rows of `COMPARISONS`: none or one.
        standing: who stands where afterwards.
        is_moved: whether the ledger has a new row.
    """

    decision: Decision
    verdict: SequentialVerdict | None
    found: pl.DataFrame = field(repr=False)
    standing: Standing
    is_moved: bool


def cohorts(pairs: pl.DataFrame, until: datetime) -> pl.DataFrame:
    """The same losses with the hour in which pools matured as the unit: each hour's mean over its pools' means.

    What happens to the market happens to all pools of an hour, so an hour of twenty pools may be one accident told
    twenty times. Bets on hours stay fair however alike the pools of an hour are.

    A bet on an hour would be changed by pools that enter later, so an hour counts once it is over and a pool of a
    later one has entered: until then a pool that is pending may hold back others of it.

    Args:
        pairs: see `sequential`, in any order.
        until: now, UTC.
    """
    hour = pl.col("matured_at").dt.truncate("1h")
    pools = pairs.group_by("pool").agg(pl.col("matured_at").max(), pl.col(LOSSES).mean()).sort("pool")
    is_whole = (hour + HOUR <= until) & (hour < hour.max())
    hours = pools.filter(is_whole).group_by(hour).agg(pl.col(LOSSES).mean())
    return hours.with_columns(pl.col("matured_at").dt.to_string("iso:strict").alias("pool")).sort("matured_at")


def plain_gain(pairs: pl.DataFrame) -> float:
    """By how much the challenger's mean loss is lower: a mean over pools, none of which is clipped."""
    pools = pairs.group_by("pool").agg(pl.col(LOSSES).cast(pl.Float64).mean()).sort("pool")
    champion, challenger = (pools[name].to_numpy().mean() for name in LOSSES)
    return float(champion - challenger)


def _by_hours(proofs: Proofs | None) -> dict[str, object] | None:
    """What was proven by hours, for the evidence of a move."""
    if proofs is None or proofs.hours is None:
        return None
    hours = proofs.hours
    return {
        "n_hours": hours.n_pools, "wealth": hours.wealth, "wealth_needed": hours.bound,
        "is_passed": hours.decision == "promote",
    }  # fmt: skip


class Looks:
    """The looks at one model.

    Args:
        lake: where what is found is kept.
        moves: the ledger and the registry that follows it.
        rule: of the model.
        spec: of trials and reigns.
        label_rule: by which thresholds labels are made now: a trial is of one question. Empty: nobody says.
    """

    def __init__(
        self,
        lake: Lake,
        moves: Moves,
        rule: PromotionSpec,
        spec: TrialSpec,
        label_rule: Mapping[str, float | None] = MappingProxyType({}),
    ) -> None:
        self._lake = lake
        self._moves = moves
        self._rule = rule
        self._spec = spec
        self._label_rule = label_rule

    def begin(self, at: datetime) -> Standing:
        """Let the challenger that waits into its trial, if nobody is on trial; who stands where afterwards.

        Its alpha is its share of the year's budget, by how many trials the ledger says began in the year.
        """
        stands = self._moves.reconciled(self._rule.model_name)
        waits = stands.challenger
        if waits is None or stands.shadow is not None or stands.champion is None:
            return stands
        k = 1 + self._rows("shadow").filter(pl.col("known_at").dt.year() == at.year).height
        passed = self._rows("challenge").filter(pl.col("sequence") == waits.sequence)["evidence"].item()
        reason = f"challenger {k} of the year: a proof must be worth {1 / alpha_of(k):,.0f}"
        evidence = trial_evidence(passed, alpha=alpha_of(k), k=k, label_rule=self._label_rule)
        return self._move(stands, "shadow", waits, reason, evidence, at) or stands

    def alpha(self, shadow: Deployed) -> float:
        """The alpha that a trial began with.

        Raises:
            RegistryError: its row in the ledger does not tell.
        """
        told = self._begun(shadow)
        alpha = told.get("alpha")
        if not isinstance(alpha, float):
            raise RegistryError(f"read the alpha of the trial of version {shadow.version}: its row tells {told!r}")
        return alpha

    def _begun(self, shadow: Deployed) -> dict[str, Any]:
        """What the row tells that began a trial."""
        (told,) = self._rows("shadow").filter(pl.col("sequence") == shadow.sequence)["evidence"].to_list() or ["{}"]
        return dict(json.loads(told))

    def _asked_otherwise(self, shadow: Deployed) -> str:
        """That labels are made by other thresholds than when the trial began, in words; empty if they are not.

        What was bet until then is of another question than what comes: better at both of them on average need not be
        better at the one that is asked now.
        """
        then = self._begun(shadow).get(LABEL_RULE)
        other = otherwise(then, self._label_rule) if isinstance(then, dict) and self._label_rule else ""
        return (
            other and f"the thresholds of labels changed during the trial, which is of two questions: {quoted(other)}"
        )

    def at_trial(
        self,
        stands: Standing,
        pairs: pl.DataFrame,
        shadowed: Shadowed,
        at: datetime,
        further: Mapping[int, pl.DataFrame] = MappingProxyType({}),
        held: str = "",
        mute: str = "",
    ) -> Look:
        """Judge the challenger on trial by the pairs so far, and let it take charge, go or stay.

        Args:
            stands: who stood where when the pairs were read; somebody is on trial.
            pairs: see `sequential`: champion against challenger, since the trial began.
            shadowed: how far the trial has come.
            at: when, UTC.
            further: horizon -> the same of what else both predict, in which it must not be worse.
            held: why nobody takes charge for now, in words; empty if nothing holds promotion.
            mute: why the challenger cannot be asked any more, in words; empty if it can.
        """
        shadow, champion = stands.shadow, stands.champion
        if shadow is None or champion is None:
            return Look(Decision("wait", "nobody is on trial"), None, COMPARISONS.empty(), stands, False)
        proofs = self._trial(pairs, self.alpha(shadow), further, at) if pairs.height else None
        verdict = proofs.pools if proofs else None
        found = self._kept(verdict, pairs, "trial", shadow.version, f"version:{champion.version}", at)
        void = mute or self._asked_otherwise(shadow)
        decision = decide_trial(
            proofs, shadowed, stands, now=at, rule=self._rule, spec=self._spec, held=held, void=void
        )
        if decision.move == "wait":
            return Look(decision, verdict, found, stands, False)
        after = self._move(stands, decision.move, shadow, decision.reason, evidence_of(found, _by_hours(proofs)), at)
        return Look(decision, verdict, found, after or stands, after is not None)

    def at_reign(self, stands: Standing, pairs: pl.DataFrame, broken: Sequence[Breach], at: datetime) -> Look:
        """Judge the champion against the one before it, and throw it out if it is broken or does harm.

        Args:
            stands: who stood where when the pairs were read.
            pairs: see `sequential.harm_verdict`: champion against former champion, since the change of office.
            broken: the guards that the champion broke.
            at: when, UTC.
        """
        champion, former = stands.champion, stands.former
        harm, found = None, COMPARISONS.empty()
        if champion is not None and former is not None and pairs.height:
            harm = self._harm(pairs, at)
            found = self._kept(harm.pools, pairs, "harm", champion.version, f"version:{former.version}", at)
        decision = decide_watch(broken, harm, stands)
        verdict = harm.pools if harm else None
        if decision.move == "wait" or former is None:
            return Look(decision, verdict, found, stands, False)
        after = self._move(stands, "rollback", former, decision.reason, evidence_of(found, _by_hours(harm)), at)
        return Look(decision, verdict, found, after or stands, after is not None)

    def at_edge(self, stands: Standing, pairs: pl.DataFrame, at: datetime) -> SequentialVerdict | None:
        """Has the champion lost its edge: is it worse than the class prior it learned? `promote` means yes.

        That throws nobody out, since who was before may be no better in the same world; it asks for training
        (`trial.lost_edge`).

        Args:
            stands: who stands where.
            pairs: champion against its class prior, since it took charge.
            at: when, UTC.
        """
        if stands.champion is None or pairs.is_empty():
            return None
        verdict = harm_verdict(pairs, alpha=self._spec.harm_alpha)
        self._kept(verdict, pairs, "harm", stands.champion.version, PRIOR, at)
        return verdict

    def _trial(self, pairs: pl.DataFrame, alpha: float, further: Mapping[int, pl.DataFrame], at: datetime) -> Proofs:
        margin, hours = self._spec.margin, cohorts(pairs, at)
        return Proofs(
            sequential_verdict(pairs, alpha=alpha, margin=margin, max_pools=self._spec.max_pools),
            sequential_verdict(hours, alpha=alpha, margin=margin) if hours.height else None,
            plain_gain(pairs),
            {h: sequential_verdict(own, alpha=self._spec.harm_alpha) for h, own in further.items() if own.height},
        )

    def _harm(self, pairs: pl.DataFrame, at: datetime) -> Proofs:
        alpha, hours = self._spec.harm_alpha, cohorts(pairs, at)
        by_hours = harm_verdict(hours, alpha=alpha) if hours.height else None
        return Proofs(harm_verdict(pairs, alpha=alpha), by_hours, plain_gain(pairs))

    def _kept(
        self,
        verdict: SequentialVerdict | None,
        pairs: pl.DataFrame,
        procedure: Literal["trial", "harm"],
        version: int,
        opponent: str,
        at: datetime,
    ) -> pl.DataFrame:
        """What was found, in `comparisons`: first, as whoever is moved by it names it as evidence."""
        if verdict is None:
            return COMPARISONS.empty()
        row = sequential_row(
            verdict, pairs, procedure=procedure, model_name=self._rule.model_name, challenger_version=version,
            opponent=opponent, known_at=at,
        )  # fmt: skip
        self._lake.append(COMPARISONS, row)
        return row

    def _move(
        self, stands: Standing, action: Action, who: Deployed, reason: str, evidence: str, at: datetime
    ) -> Standing | None:
        """Who stands where after the move; None where it is refused, or somebody else moved meanwhile."""
        move = Move(
            model_name=self._rule.model_name, action=action, version=who.version, model_sha256=who.model_sha256,
            actor=ACTOR, reason=reason, evidence=evidence, approval=self._rule.approval,
        )  # fmt: skip
        return None if why_not(stands, move) else self._moves.move(move, at=at, given=stands)

    def _rows(self, action: Action) -> pl.DataFrame:
        ledger = self._moves.ledger()
        return ledger.filter(pl.col("model_name") == self._rule.model_name, pl.col("action") == action)
