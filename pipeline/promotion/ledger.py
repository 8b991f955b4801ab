"""The ledger of deployments: who is in charge since when, and why; append-only, each row bound to the one before.

Belongs here: making the next row, proving that a ledger is whole, and reading who it names. Pure, over frames.
Stays out: where the rows rest (the lake) and the registry's alias, which follows the ledger (`registry.reconcile`).

A hash chain proves that nothing inside it was changed, dropped, moved or slipped in. Alone it cannot prove that its
last rows were not cut off, nor that all of it was not written anew: for that, `verify` takes a `head`, the hash of a
row that somebody else remembers. The registry remembers it, as a tag of the registered model.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal

import polars as pl

from pipeline.calendars import require_utc
from pipeline.errors import RegistryError, UsageError
from pipeline.tables import DEPLOYMENTS

GENESIS: Final = "0" * 64
"""`previous_hash` of the first row."""


@dataclass(frozen=True)
class Deployed:
    """The version that the ledger names, and the row that names it."""

    model_name: str
    version: int
    model_sha256: str
    sequence: int
    known_at: datetime
    row_hash: str


def next_deployment(
    ledger: pl.DataFrame,
    *,
    model_name: str,
    alias: Literal["champion"],
    action: Literal["promote"],
    version: int,
    model_sha256: str,
    actor: str,
    reason: str,
    evidence: str,
    at: datetime,
) -> pl.DataFrame:
    """The row that comes next, as a frame of `tables.DEPLOYMENTS` with one row; the ledger itself is left alone.

    Args:
        ledger: every row so far, in any order.
        model_name: the registered model.
        alias: the alias that moves.
        action: what happens.
        version: the version the alias shall point to.
        model_sha256: of that version's model file.
        actor: who moves it.
        reason: why, in words.
        evidence: the comparisons that justify it, as JSON (`evidence_of`).
        at: when, UTC.

    Raises:
        RegistryError: the ledger is broken; a broken chain is not made longer.
        UsageError: evidence is not JSON, or `at` is not UTC.
    """
    ledger = ledger.sort("sequence")
    verify(ledger)
    _require_json(evidence)
    before = current_champion(ledger, model_name)
    row: dict[str, object] = {
        "sequence": ledger.height + 1,
        "known_at": require_utc(at),
        "model_name": model_name,
        "alias": alias,
        "action": action,
        "version": version,
        "previous_version": before.version if before else None,
        "model_sha256": model_sha256,
        "actor": actor,
        "reason": reason,
        "evidence": evidence,
        "previous_hash": ledger["row_hash"][-1] if ledger.height else GENESIS,
    }
    return pl.DataFrame([{**row, "row_hash": row_hash(row)}], schema=DEPLOYMENTS.schema)


def row_hash(row: Mapping[str, object]) -> str:
    """SHA-256 over every column of a row but `row_hash`, as canonical JSON.

    Canonical: keys sorted, no spaces, ASCII, times in ISO 8601 UTC to the microsecond, null as `null`.

    >>> one = row_hash({"sequence": 1, "previous_version": None})
    >>> one == hashlib.sha256(b'{"previous_version":null,"sequence":1}').hexdigest()
    True
    """
    told = {k: v.isoformat(timespec="microseconds") if isinstance(v, datetime) else v for k, v in row.items()}
    told.pop("row_hash", None)
    return hashlib.sha256(json.dumps(told, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()).hexdigest()


def verify(ledger: pl.DataFrame, *, head: str | None = None) -> None:
    """Prove that the ledger is whole and in order, or say where it is not.

    Args:
        ledger: rows in order of `sequence`: a lake keeps no order, so sort what was read before.
        head: a `row_hash` that somebody else remembers; the ledger must hold it. None: only the chain is checked.

    Raises:
        RegistryError: it has not the columns of `tables.DEPLOYMENTS`, a row is not what was written, is missing, moved
            or slipped in (the message names the first), or `head` is not in it.
    """
    if ledger.schema != DEPLOYMENTS.schema:
        raise RegistryError(f"verified the ledger: expected columns {DEPLOYMENTS.schema!r}, found {ledger.schema!r}")
    previous = GENESIS
    for place, row in enumerate(ledger.iter_rows(named=True), start=1):
        broken = _fault(row, place, previous)
        if broken:
            raise RegistryError(
                f"verified the ledger: row {place} (sequence {row['sequence']!r}) {broken}. Somebody changed the"
                " deployments table; restore an older version of it and find out who"
            )
        previous = row["row_hash"]
    if head is not None and head not in ledger["row_hash"]:
        raise RegistryError(
            f"verified the ledger: the registry remembers row {head!r}, which is not among its {ledger.height} rows;"
            " rows were cut off its end, or it was written anew: restore an older version of the deployments table"
        )


def current_champion(ledger: pl.DataFrame, model_name: str) -> Deployed | None:
    """The version the ledger names as champion of `model_name`, None if it never named one.

    The ledger may be in any order; it is verified first.

    Raises:
        RegistryError: the ledger is broken.
    """
    ledger = ledger.sort("sequence")
    verify(ledger)
    moves = ledger.filter((pl.col("model_name") == model_name) & (pl.col("alias") == "champion"))
    if not moves.height:
        return None
    last = moves.row(-1, named=True)
    return Deployed(**{name: last[name] for name in Deployed.__dataclass_fields__})


def evidence_of(comparisons: pl.DataFrame) -> str:
    """The rows of `tables.COMPARISONS` that justify a move, as the JSON that `next_deployment` takes.

    Ids alone would leave the ledger mute once the comparisons are gone, so the figures stand beside them.
    """
    kept = ("comparison_id", "opponent", "n_pools", "gain_pct", "gain_low_pct", "gain_high_pct", "is_passed")
    rows = comparisons.select(kept).sort("opponent", "comparison_id").to_dicts()
    return json.dumps(rows, sort_keys=True, separators=(",", ":"), allow_nan=False)


def _fault(row: Mapping[str, object], place: int, previous: str) -> str | None:
    """What is wrong with a row in this place, in words; None if nothing is."""
    if row["sequence"] != place:
        return f"stands where sequence {place} belongs: a row was dropped, moved or slipped in"
    if row["previous_hash"] != previous:
        return "does not follow the row before: its previous_hash is another"
    if row["row_hash"] != row_hash(row):
        return "is not what was written: its cells do not give its row_hash"
    return None


def _require_json(evidence: str) -> None:
    try:
        json.loads(evidence)
    except ValueError as error:
        raise UsageError(f"wrote a deployment: evidence must be JSON, found {evidence!r} ({error})") from error
