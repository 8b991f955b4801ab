"""One look at the evidence of a trial, or of a reign, and the move that follows from it.

Belongs here: the order of things: what was found is kept before anybody moves on it, and the move is made once.
Stays out: verdicts (`sequential`), decisions (`trial`, `guards`), and where pairs come from.

A look may be repeated at any time and killed at any point. The same pairs give the same row, and a move is made only if
who stands where is still what the look saw.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, Literal

import polars as pl

from pipeline.errors import RegistryError
from pipeline.lake import Lake
from pipeline.promotion.alpha import alpha_of, challenger_number
from pipeline.promotion.guards import Breach
from pipeline.promotion.ledger import evidence_of
from pipeline.promotion.moves import Move, Moves, why_not
from pipeline.promotion.sequential import LOSSES, SequentialVerdict, harm_verdict, sequential_verdict
from pipeline.promotion.sequential_rows import sequential_row
from pipeline.promotion.spec import PromotionSpec
from pipeline.promotion.standing import Action, Deployed, Standing
from pipeline.promotion.trial import PRIOR, Decision, Shadowed, decide_trial, decide_watch
from pipeline.promotion.trial_spec import TrialSpec
from pipeline.tables import COMPARISONS

ACTOR: Final = "gate"


@dataclass(frozen=True)
class Look:
    """What a look found and did.

    Attributes:
        decision: what followed from it.
        verdict: of the bets; None while no pool has matured.
        found: what was found, as rows of `COMPARISONS`: none or one.
        standing: who stands where afterwards.
        is_moved: whether the ledger has a new row.
    """

    decision: Decision
    verdict: SequentialVerdict | None
    found: pl.DataFrame = field(repr=False)
    standing: Standing
    is_moved: bool


def cohorts(pairs: pl.DataFrame) -> pl.DataFrame:
    """The same losses with the hour in which pools matured as the unit: each hour's mean over its pools' means.

    What happens to the market happens to all pools of an hour, so an hour of twenty pools may be one accident told
    twenty times. Bets on hours stay fair however alike the pools of an hour are.
    """
    pools = pairs.group_by("pool").agg(pl.col("matured_at").max(), pl.col(LOSSES).mean())
    hours = pools.group_by(pl.col("matured_at").dt.truncate("1h")).agg(pl.col(LOSSES).mean())
    return hours.with_columns(pl.col("matured_at").dt.to_string("iso:strict").alias("pool")).sort("matured_at")


class Looks:
    """The looks at one model.

    Args:
        lake: where what is found is kept.
        moves: the ledger and the registry that follows it.
        rule: of the model.
        spec: of trials and reigns.
    """

    def __init__(self, lake: Lake, moves: Moves, rule: PromotionSpec, spec: TrialSpec) -> None:
        self._lake = lake
        self._moves = moves
        self._rule = rule
        self._spec = spec

    def begin(self, at: datetime) -> Standing:
        """Let the challenger that waits into its trial, if nobody is on trial; who stands where afterwards.

        Its alpha is its share of the year's budget, by its number among the trials that began in the year.
        """
        stands = self._moves.reconciled(self._rule.model_name)
        waits = stands.challenger
        if waits is None or stands.shadow is not None or stands.champion is None:
            return stands
        starts = [*self._rows("shadow")["known_at"], at]
        k = challenger_number(at, starts)
        passed = json.loads(self._rows("challenge").filter(pl.col("sequence") == waits.sequence)["evidence"].item())
        evidence = {"alpha": alpha_of(k), "k": k, "comparisons": passed}
        reason = f"challenger {k} of the year: a proof must be worth {1 / alpha_of(k):,.0f}"
        return self._move(stands, "shadow", waits, reason, json.dumps(evidence, sort_keys=True), at) or stands

    def alpha(self, shadow: Deployed) -> float:
        """The alpha that a trial began with.

        Raises:
            RegistryError: its row in the ledger does not tell.
        """
        (told,) = self._rows("shadow").filter(pl.col("sequence") == shadow.sequence)["evidence"].to_list() or ["{}"]
        alpha = json.loads(told).get("alpha")
        if not isinstance(alpha, float):
            raise RegistryError(f"read the alpha of the trial of version {shadow.version}: its row tells {told!r}")
        return alpha

    def at_trial(self, stands: Standing, pairs: pl.DataFrame, shadowed: Shadowed, at: datetime) -> Look:
        """Judge the challenger on trial by the pairs so far, and let it take charge, go or stay.

        Args:
            stands: who stood where when the pairs were read; somebody is on trial.
            pairs: see `sequential`: champion against challenger, since the trial began.
            shadowed: how far the trial has come.
            at: when, UTC.
        """
        shadow, champion = stands.shadow, stands.champion
        if shadow is None or champion is None:
            return Look(Decision("wait", "nobody is on trial"), None, COMPARISONS.empty(), stands, False)
        verdict = self._bets(pairs, self.alpha(shadow)) if pairs.height else None
        is_shock_proof = pairs.height > 0 and self._bets(cohorts(pairs), self._spec.cohort_alpha).decision == "promote"
        found = self._kept(verdict, pairs, "trial", shadow.version, f"version:{champion.version}", at)
        decision = decide_trial(
            verdict, shadowed, stands, now=at, rule=self._rule, spec=self._spec, is_shock_proof=is_shock_proof
        )
        if decision.move == "wait":
            return Look(decision, verdict, found, stands, False)
        after = self._move(stands, decision.move, shadow, decision.reason, evidence_of(found), at)
        return Look(decision, verdict, found, after or stands, after is not None)

    def at_reign(self, stands: Standing, pairs: pl.DataFrame, broken: Sequence[Breach], at: datetime) -> Look:
        """Judge the champion against the one before it, and throw it out if it broke a guard or does harm.

        Args:
            stands: who stood where when the pairs were read.
            pairs: see `sequential.harm_verdict`: champion against former champion, since the change of office.
            broken: the guards that the champion broke.
            at: when, UTC.
        """
        champion, former = stands.champion, stands.former
        harm, found = None, COMPARISONS.empty()
        if champion is not None and former is not None and pairs.height:
            harm = harm_verdict(pairs, alpha=self._spec.harm_alpha)
            found = self._kept(harm, pairs, "harm", champion.version, f"version:{former.version}", at)
        decision = decide_watch(list(broken), harm, stands)
        if decision.move == "wait" or former is None:
            return Look(decision, harm, found, stands, False)
        after = self._move(stands, "rollback", former, decision.reason, evidence_of(found), at)
        return Look(decision, harm, found, after or stands, after is not None)

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

    def _bets(self, pairs: pl.DataFrame, alpha: float) -> SequentialVerdict:
        return sequential_verdict(pairs, alpha=alpha, margin=self._spec.margin, max_pools=self._spec.max_pools)

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
