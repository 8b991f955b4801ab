"""Moving an alias: the one way in which anybody, a gate, a sensor or a person, changes who stands where.

Belongs here: the right to move, the order of the two writes, and catching up after a crash. Stays out: what a row says
(`ledger`), which is allowed (`rules`), and how the registry is made to agree (`reconciliation`).

The ledger first, then the aliases: killed in between, the next reconciliation moves them.
"""

from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import datetime

import polars as pl

from pipeline.errors import StorageError
from pipeline.lake import Lake
from pipeline.promotion.ledger import next_deployment
from pipeline.promotion.reconciliation import Reconciled, reconcile
from pipeline.promotion.registry import Registry
from pipeline.promotion.rules import why_refused
from pipeline.promotion.spec import Approval
from pipeline.promotion.standing import Action, Standing, standing
from pipeline.tables import DEPLOYMENTS


@dataclass(frozen=True)
class Move:
    """What shall happen to a version, who wants it and why; the arguments of `ledger.next_deployment`.

    Attributes:
        model_name: the registered model.
        action: what happens.
        version: the version it happens to.
        model_sha256: of that version's model file.
        actor: who does it; a human is `person:NAME`.
        reason: why, in words.
        evidence: what justifies it, as JSON.
        approval: whether the model's rule asks for a person's approval.
    """

    model_name: str
    action: Action
    version: int
    model_sha256: str = field(repr=False)
    actor: str
    reason: str
    evidence: str = "[]"
    approval: Approval = "none"


def why_not(stands: Standing, move: Move) -> str:
    """Why a move is refused as things stand, in words; empty if it may be made. Whoever moves by itself asks first."""
    return why_refused(
        stands,
        action=move.action,
        version=move.version,
        model_sha256=move.model_sha256,
        actor=move.actor,
        evidence=move.evidence,
        approval=move.approval,
    )


class Moves:
    """The ledger in the lake and the registry that follows it, moved by one process at a time.

    Args:
        lake: where the ledger rests.
        registry: whose aliases follow it; None where it cannot be reached: then rows are written, and the aliases
            follow at the next reconciliation.
    """

    def __init__(self, lake: Lake, registry: Registry | None) -> None:
        self._lake = lake
        self._registry = registry

    def ledger(self) -> pl.DataFrame:
        """Every row so far, in order."""
        return self._lake.scan(DEPLOYMENTS).sort("sequence").collect()

    def standing(self, model_name: str) -> Standing:
        """Who stands where by the ledger; the registry may not know yet."""
        return standing(self.ledger(), model_name)

    def reconciled(self, model_name: str) -> Standing:
        """Who stands where, after the registry was made to agree.

        Raises:
            RegistryError, RegistryAwayError: see `reconciliation.reconcile`.
        """
        with self._moving():
            ledger = self.ledger()
            self._reconcile(ledger, model_name)
        return standing(ledger, model_name)

    def move(self, move: Move, *, at: datetime, given: Standing | None = None) -> Standing | None:
        """Write a row and make the registry agree, unless things changed since the mover looked.

        Args:
            move: what shall happen.
            at: when, UTC.
            given: who stood where when the move was decided; None: whoever stands there now.

        Returns:
            Who stands where now; None where somebody moved meanwhile and nothing was written: look again.

        Raises:
            UsageError: the move would break a rule; nothing was written.
            RegistryError, RegistryAwayError: the row was written, and the registry could not be made to agree; the next
                reconciliation does it. Or, before it was written: the ledger is broken.
        """
        with self._moving():
            ledger = self.ledger()
            if given is not None and standing(ledger, move.model_name) != given:
                return None
            written = self._append(ledger, move, at)
            self._reconcile(written, move.model_name)
        return standing(written, move.model_name)

    def _append(self, ledger: pl.DataFrame, move: Move, at: datetime) -> pl.DataFrame:
        row = next_deployment(
            ledger,
            model_name=move.model_name,
            action=move.action,
            version=move.version,
            model_sha256=move.model_sha256,
            actor=move.actor,
            reason=move.reason,
            evidence=move.evidence,
            at=at,
            approval=move.approval,
        )
        self._lake.append(DEPLOYMENTS, row)
        written = self.ledger()
        if written["row_hash"][-1] != row["row_hash"].item():
            raise StorageError(
                f"wrote row {ledger.height + 1} of the ledger: the table ends with row {written['row_hash'][-1]!r}"
                " instead; somebody writes to it without holding its lock"
            )
        return written

    def _reconcile(self, ledger: pl.DataFrame, model_name: str) -> Reconciled | None:
        return reconcile(self._registry, ledger, model_name) if self._registry is not None else None

    def _moving(self) -> AbstractContextManager[None]:
        """The right to move an alias, which one has at a time: two models share the ledger, and aliases follow it.

        Whoever reads the ledger or an alias without it may take the half of another's move for damage.
        """
        return self._lake.locked("deployments.move")
