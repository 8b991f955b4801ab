"""The ledger of deployments: who is in charge since when, and why; append-only, each row bound to the one before.

Belongs here: making the next row, and reading who stands where. Pure, over frames. Stays out: the chain of hashes
(`chain`), what a row does (`standing`), what none may break (`rules`), where the rows rest and how they get there
(`moves`), and the registry's aliases, which follow the ledger (`reconciliation`).
"""

import json
from collections.abc import Collection, Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Final

import polars as pl

from pipeline.calendars import require_utc
from pipeline.errors import UsageError
from pipeline.promotion.chain import GENESIS, row_hash, verify
from pipeline.promotion.rules import why_refused
from pipeline.promotion.spec import Approval
from pipeline.promotion.standing import ALIAS_OF, Action, Alias, Deployed, standing
from pipeline.promotion.versions import LABEL_RULE
from pipeline.tables import DEPLOYMENTS
from pipeline.text import seen

__all__ = [
    "GENESIS", "Action", "Alias", "Deployed", "current", "current_champion", "evidence_of", "named_comparisons",
    "next_deployment", "quoted", "row_hash", "trial_evidence", "verify",
]  # fmt: skip


FIGURES: Final = (
    "opponent", "procedure", "n_pools", "loss_challenger", "loss_opponent", "gain_pct", "gain_low_pct", "gain_high_pct",
    "wealth", "wealth_needed", "alpha", "is_passed",
)  # fmt: skip
"""What a row tells of each comparison that it names. Older rows tell of the opponent, the pools and the gain alone."""
BY_HOURS: Final = "by_hours"
"""Beside these figures, of a trial and of harm: what was proven by hours. Older rows do not tell it."""
MAX_REASON: Final = 1_000
MAX_ACTOR: Final = 200
MAX_QUOTED: Final = 300
"""Characters. A row stays for good, and whoever reads the ledger reads all of it."""


def quoted(text: str) -> str:
    """What somebody else said (a registry, a file system), as a part of a reason: one short line that can be printed.

    A move that is refused for the words of an error would leave a broken champion in charge.

    >>> quoted("No such artifact:" + chr(10) + chr(27) + "[31m 'model.json'")
    "No such artifact: [31m 'model.json'"
    """
    return seen(text, MAX_QUOTED)


def next_deployment(
    ledger: pl.DataFrame,
    *,
    model_name: str,
    action: Action,
    version: int,
    model_sha256: str,
    actor: str,
    reason: str,
    evidence: str,
    at: datetime,
    approval: Approval = "none",
) -> pl.DataFrame:
    """The row that comes next, as a frame of `tables.DEPLOYMENTS` with one row; the ledger itself is left alone.

    Args:
        ledger: every row so far, in any order.
        model_name: the registered model.
        action: what happens; it says which alias moves.
        version: the version it happens to.
        model_sha256: of that version's model file.
        actor: who does it; a human is `person:NAME`.
        reason: why, in words, on one line.
        evidence: what justifies it, as JSON (`evidence_of`, `trial_evidence`).
        at: when, UTC.
        approval: whether the model's rule asks for a person's approval (`PromotionSpec.approval`).

    Raises:
        RegistryError: the ledger is broken; a broken chain is not made longer.
        UsageError: the row would break a rule (`rules`), evidence is not JSON, `at` is not UTC, or a text is empty,
            cannot be printed or is longer than `MAX_REASON` or `MAX_ACTOR`.
    """
    ledger = ledger.sort("sequence")
    before = standing(ledger, model_name)
    _require_json(evidence)
    _require_line("reason", reason, MAX_REASON)
    _require_line("actor", actor, MAX_ACTOR)
    refused = why_refused(
        before, action=action, version=version, model_sha256=model_sha256, actor=actor, evidence=evidence,
        approval=approval,
    )  # fmt: skip
    if refused:
        raise UsageError(f"{action} version {version} of {model_name!r}: {refused}")
    alias = ALIAS_OF[action]
    pointed = before.at(alias) if alias != "none" else None
    row: dict[str, object] = {
        "sequence": ledger.height + 1,
        "known_at": require_utc(at),
        "model_name": model_name,
        "alias": alias,
        "action": action,
        "version": version,
        "previous_version": pointed.version if pointed else None,
        "model_sha256": model_sha256,
        "actor": actor,
        "reason": reason,
        "evidence": evidence,
        "previous_hash": ledger["row_hash"][-1] if ledger.height else GENESIS,
    }
    return pl.DataFrame([{**row, "row_hash": row_hash(row)}], schema=DEPLOYMENTS.schema)


def current(ledger: pl.DataFrame, model_name: str, alias: Alias) -> Deployed | None:
    """The version the ledger (in any order) puts at `alias` of `model_name`, None where it puts nobody.

    Raises:
        RegistryError: the ledger is broken.
    """
    return standing(ledger, model_name).at(alias)


def current_champion(ledger: pl.DataFrame, model_name: str) -> Deployed | None:
    """The version the ledger names as champion of `model_name`, None if it never named one; see `current`."""
    return current(ledger, model_name, "champion")


def evidence_of(comparisons: pl.DataFrame, by_hours: Mapping[str, object] | None = None) -> str:
    """The rows of `tables.COMPARISONS` that justify a move, as the JSON that `next_deployment` takes.

    Ids alone would leave the ledger mute once the comparisons are gone, so the figures stand beside them.

    Args:
        comparisons: the rows; their unit is the pool.
        by_hours: what the same bets proved with the hour as the unit, told here alone (`BY_HOURS`); None: no hour was
            over, or nothing was bet.
    """
    told = [{**row, BY_HOURS: dict(by_hours)} if by_hours else row for row in _figures(comparisons)]
    return json.dumps(told, sort_keys=True, separators=(",", ":"), allow_nan=False)


def trial_evidence(
    passed: str, *, alpha: float, k: int, label_rule: Mapping[str, float | None] = MappingProxyType({})
) -> str:
    """What lets a challenger into its trial: what it passed (`evidence_of`), its alpha, its number in the year.

    `label_rule`: by which thresholds labels are made as it begins; empty: nothing is said of them.
    """
    told = {"alpha": alpha, "k": k, "comparisons": json.loads(passed)}
    told |= {LABEL_RULE: dict(label_rule)} if label_rule else {}
    return json.dumps(told, sort_keys=True, separators=(",", ":"), allow_nan=False)


def named_comparisons(evidence: str) -> list[dict[str, object]]:
    """Every comparison that a row's evidence names, with the figures that stand beside its id.

    >>> named_comparisons('{"alpha":0.05,"k":1,"comparisons":[{"comparison_id":"c1","gain_pct":7.0}]}')
    [{'comparison_id': 'c1', 'gain_pct': 7.0}]
    >>> named_comparisons("[]")
    []
    """
    return list(_named(json.loads(evidence)))


def _named(told: object) -> Collection[dict[str, object]]:
    if isinstance(told, list):
        return [found for each in told for found in _named(each)]
    if not isinstance(told, dict):
        return []
    return [told] if "comparison_id" in told else [found for each in told.values() for found in _named(each)]


def _figures(comparisons: pl.DataFrame) -> list[dict[str, object]]:
    return comparisons.select("comparison_id", *FIGURES).sort("opponent", "comparison_id").to_dicts()


def _require_json(evidence: str) -> None:
    try:
        json.loads(evidence)
    except ValueError as error:
        raise UsageError(
            f"wrote nothing into the ledger: the evidence must be JSON, found {evidence!r} ({error})"
        ) from error


def _require_line(name: str, text: str, most: int) -> None:
    """A text that a terminal and a page show as it is: no control, no change of direction, nothing invisible."""
    if len(text) > most:
        raise UsageError(
            f"wrote nothing into the ledger: the {name} may have {most:,} characters, found {len(text):,}: say it "
            "shorter"
        )
    if not text.strip() or not text.isprintable():
        raise UsageError(
            f"wrote nothing into the ledger: the {name} must be one line that can be printed, found {text!r}"
        )
