"""What a collection cycle did, by network.

Belongs here: counting while it runs, and its record in words and rows. Stays out: doing it (`collector`).
"""

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from datetime import datetime, timedelta
from typing import Any

import polars as pl

from pipeline.pools.feeds import Births
from pipeline.pools.watch import TakenIn
from pipeline.tables import COLLECTIONS

UNREAD = timedelta(minutes=10)
"""A list of new pools is read every minute or two; not for so long means that it cannot be."""


@dataclass
class Counts:
    """Of one network: requests, calls with and without a usable answer, and what the answers brought."""

    n_calls: int = 0
    n_answered: int = 0
    n_failed: int = 0
    brought: TakenIn = field(default_factory=TakenIn)
    last_error: str = ""


class Tally:
    """Counts by network (None: calls about all of them); several threads may count at once."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._of: dict[str | None, Counts] = {}
        self.unknown_networks: set[str] = set()

    def asked(self, network: str | None, n_calls: int, error: Exception | None) -> None:
        """Count a call that took so many requests."""
        with self._lock:
            counts = self._of.setdefault(network, Counts())
            counts.n_calls += n_calls
            counts.n_answered += error is None
            counts.n_failed += error is not None
            counts.last_error = counts.last_error if error is None else str(error)

    def unknown(self, network: str) -> None:
        """Note that the API has no list of new pools for this name: there is no such network."""
        with self._lock:
            self.unknown_networks.add(network)

    def brought(self, brought: dict[str, TakenIn]) -> None:
        """Count what an answer brought."""
        with self._lock:
            for network, said in brought.items():
                counts = self._of.setdefault(network, Counts())
                counts.brought = counts.brought.plus(said)

    def of(self, network: str | None) -> Counts:
        """The counts of a network."""
        with self._lock:
            return self._of.get(network, Counts())


@dataclass(frozen=True)
class Cycle:
    """A finished cycle: its grid point, a row of COLLECTIONS a network, and what was asked about no network or all.

    `n_answered`: calls with a usable answer, of all networks and of none. `unknown`: networks that the API does not
    know.
    """

    slot: datetime
    networks: pl.DataFrame
    shared: Counts
    errors: dict[str, str]
    n_waiting_answers: int
    n_answered: int
    unknown: tuple[str, ...] = ()

    @classmethod
    def of(cls, slot: datetime, rows: Sequence[dict[str, Any]], tally: Tally, n_waiting_answers: int) -> "Cycle":
        """The cycle that a tally and its rows tell of."""
        of = {row["network"]: tally.of(row["network"]) for row in rows}
        frame, shared = pl.DataFrame(rows, schema=COLLECTIONS.schema), tally.of(None)
        n_answered = shared.n_answered + sum(counts.n_answered for counts in of.values())
        errors = {network: counts.last_error for network, counts in of.items()}
        return cls(slot, frame, shared, errors, n_waiting_answers, n_answered, tuple(sorted(tally.unknown_networks)))

    def totals(self) -> dict[str, Any]:
        """The cycle in numbers, and in `unknown_networks`, if there are any, the names that the API does not know."""
        named = {
            "calls": ("n_calls", self.shared.n_calls),
            "failed_calls": ("n_failed", self.shared.n_failed),
            "pools_found": ("n_found", 0),
            "pools_found_late": ("n_found_late", 0),
            "visits": ("n_observed", 0),
            "visits_late": ("n_observed_late", 0),
            "pools_waiting": ("n_waiting", 0),
            "gaps": ("is_gap", 0),
        }
        told = {name: int(self.networks[column].sum()) + more for name, (column, more) in named.items()}
        unknown = {"unknown_networks": ", ".join(self.unknown)} if self.unknown else {}
        return {"calls": told["calls"], "answered_calls": self.n_answered, **told, **unknown}

    def verdict(self, network: str) -> tuple[bool, str]:
        """Whether a network was collected, and what happened there in words."""
        found = self.networks.filter(pl.col("network") == network)
        if found.is_empty():
            return False, f"{network} was not collected"
        row = found.row(0, named=True)
        told = (
            f"{row['n_calls']} calls, {row['n_failed']} failed; {row['n_found']} pools found, "
            f"{row['n_observed']} visits, {row['n_waiting']} pools waiting"
        )
        if row["is_gap"]:
            return False, f"{told}; pools born before {row['births_from']:%Y-%m-%d %H:%M:%S} may have been missed"
        seen = row["births_until"]
        if seen is None or row["known_at"] - seen > UNREAD:
            words = "never" if seen is None else f"last at {seen:%Y-%m-%d %H:%M:%S}"
            why = self.errors[network] or self.shared.last_error
            return False, f"{told}; its list of new pools was {words} read through. {why}".rstrip()
        if row["n_failed"]:
            return False, f"{told}; last error: {self.errors[network]}"
        return True, told


def row_of(
    source: str, network: str, started: datetime, ended: datetime, collector: str, counts: Counts, n_waiting: int,
    births: Births,
) -> dict[str, Any]:  # fmt: skip
    """A row of COLLECTIONS."""
    since, until, is_gap = births
    brought = {f.name: getattr(counts.brought, f.name) for f in fields(counts.brought)}
    return {
        "source": source, "network": network, "event_time": started, "known_at": ended, "collector": collector,
        "n_calls": counts.n_calls, "n_failed": counts.n_failed, **brought, "n_waiting": n_waiting,
        "births_from": since, "births_until": until, "is_gap": is_gap,
    }  # fmt: skip
