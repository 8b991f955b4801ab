"""Making the registry agree with the ledger: aliases, the remembered head, and what a reviewer reads on a version.

Belongs here: what differs, and the order in which it is put right. Stays out: how a row gets into the ledger (`moves`).

The order: prove the files of whoever will stand somewhere new, then remember the head, then move aliases, then tags.
Killed after any of these, the next call sees what still differs and does the rest.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

import polars as pl

from pipeline.promotion.chain import verify
from pipeline.promotion.registry import Registry
from pipeline.promotion.standing import ALIASES, Alias, Deployed, Standing, standing

type Reconciled = Literal["agreed", "moved", "removed", "none"]

STANDING_TAG: Final = "standing"
EVIDENCE_TAG: Final = "evidence"
_MAX_TAG: Final = 500
"""Characters of a reason that a page has room for."""


@dataclass(frozen=True)
class Differences:
    """What the registry says otherwise than the ledger.

    Attributes:
        to_set: aliases that must point elsewhere.
        to_clear: aliases at which nobody stands.
        tags: (version, tag) -> what it must say; None: it must not be there.
        head: the row to remember; None where it is remembered, or there is none.
        is_empty_ledger: the ledger never spoke of the model.
    """

    to_set: Mapping[Alias, Deployed] = field(default_factory=dict)
    to_clear: tuple[Alias, ...] = ()
    tags: Mapping[tuple[int, str], str | None] = field(default_factory=dict)
    head: str | None = None
    is_empty_ledger: bool = False

    def __bool__(self) -> bool:
        return bool(self.to_set or self.to_clear or self.tags or self.head)


def differences(registry: Registry, ledger: pl.DataFrame, model_name: str) -> Differences:
    """What the registry says otherwise than the ledger (in any order).

    Only our four aliases are looked at: one that somebody made for himself under another name is his.

    Raises:
        RegistryError: the ledger is broken, or shorter than the registry remembers.
        RegistryAwayError: the registry cannot be reached.
    """
    pointers = registry.pointers(model_name)
    verify(ledger.sort("sequence"), head=pointers.ledger_head)
    rows = ledger.sort("sequence").filter(pl.col("model_name") == model_name)
    stands = standing(ledger, model_name)
    head = rows["row_hash"][-1] if rows.height else None
    return Differences(
        {alias: who for alias, who in stands.placed.items() if pointers.aliases.get(alias) != who.version},
        tuple(alias for alias in ALIASES if alias in pointers.aliases and stands.at(alias) is None),
        _tags(registry, rows, stands, model_name),
        head if head != pointers.ledger_head else None,
        is_empty_ledger=not rows.height,
    )


def reconcile(registry: Registry, ledger: pl.DataFrame, model_name: str) -> Reconciled:
    """Make every alias agree with the ledger; safe to call again and again, and after any crash.

    A move is: append `ledger.next_deployment` to the deployments table, then call this (`moves` does both). Killed in
    between, the ledger is one move ahead and the next call catches up; an alias is one pointer, so there are never two
    champions. An alias set by hand is put back; one at which the ledger puts nobody is removed.

    Args:
        registry: where the aliases are.
        ledger: every row of `tables.DEPLOYMENTS`, in any order.
        model_name: the registered model.

    Returns:
        `agreed`: nothing to do; `moved`: an alias, a tag or the head was put right; `removed`: the ledger never spoke
        of the model, and what was there is gone; `none`: it never did, and nothing was there.

    Raises:
        RegistryError: the ledger is broken or shorter than the registry remembers, or a version it names is not in
            the registry or has another model file. The aliases are left where they were. A version that is lost for
            good and stands somewhere else than in charge can be vetoed, one in charge rolled back.
        RegistryAwayError: the registry cannot be reached.
    """
    found = differences(registry, ledger, model_name)
    for who in {who.version: who for who in found.to_set.values()}.values():
        registry.load(model_name, who.version, expected_sha256=who.model_sha256)
    if found.head is not None:
        registry.remember(model_name, found.head)
    for alias, who in found.to_set.items():
        registry.set_alias(model_name, alias, who.version)
    for alias in found.to_clear:
        registry.clear_alias(model_name, alias)
    for (version, name), value in found.tags.items():
        registry.tag(model_name, version, name, value)
    if found.is_empty_ledger:
        return "removed" if found else "none"
    return "moved" if found else "agreed"


def _tags(
    registry: Registry, rows: pl.DataFrame, stands: Standing, model_name: str
) -> dict[tuple[int, str], str | None]:
    """What the pages of the versions must say otherwise than they do."""
    reasons = _reasons(rows)
    wanted = {
        (version, name): value
        for version in stands.files
        for name, value in ((STANDING_TAG, stands.of(version)), (EVIDENCE_TAG, reasons[version]))
    }
    wrong: dict[tuple[int, str], str | None] = {}
    for entry in registry.versions(model_name):
        for name in (STANDING_TAG, EVIDENCE_TAG):
            value = wanted.get((entry.version, name))
            if entry.tags.get(name) != value:
                wrong[entry.version, name] = value
    return wrong


def _reasons(rows: pl.DataFrame) -> dict[int, str]:
    """Of each version the reason of the last row that did something to it; a rollback throws another one out."""
    told: dict[int, str] = {}
    for row in rows.iter_rows(named=True):
        text = f"{row['action']} by {row['actor']}: {row['reason']}"
        short = text if len(text) <= _MAX_TAG else text[: _MAX_TAG - 1] + "…"
        told[row["version"]] = short
        if row["action"] == "rollback":
            told[row["previous_version"]] = short
    return told
