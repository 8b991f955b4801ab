"""The hash chain under the ledger: each row bound to the one before.

Belongs here: a row's hash, and the proof that no row of a chain was changed, dropped, moved or slipped in. Stays out:
what the rows mean (`standing`), which may come next (`rules`), and making one (`ledger`).

Alone a chain cannot prove that its last rows were not cut off, nor that all of it was not written anew: for that,
`verify` takes a `head`, the hash of a row that somebody else remembers. The registry remembers it, as a tag of the
registered model.
"""

import hashlib
import json
from collections.abc import Mapping
from datetime import datetime
from typing import Final

import polars as pl

from pipeline.errors import RegistryError
from pipeline.tables import DEPLOYMENTS

GENESIS: Final = "0" * 64
"""`previous_hash` of the first row."""


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


def _fault(row: Mapping[str, object], place: int, previous: str) -> str | None:
    """What is wrong with a row in this place, in words; None if nothing is."""
    if row["sequence"] != place:
        return f"stands where sequence {place} belongs: a row was dropped, moved or slipped in"
    if row["previous_hash"] != previous:
        return "does not follow the row before: its previous_hash is another"
    if row["row_hash"] != row_hash(row):
        return "is not what was written: its cells do not give its row_hash"
    return None
