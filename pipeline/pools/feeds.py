"""How far the lists of new pools have been read, in a collector's memory.

Belongs here: the state of each feed, and for each network from when to when every listed birth was seen. Stays out:
which pages to read (`discovery`).
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from pipeline.pools.discovery import Feed, births_seen
from pipeline.pools.journal import KEEP_COLLECTION, collection_values
from pipeline.pools.memory import Memory, micros, moment_of

_ALL: Final = ""
"""How the feed of all networks is filed."""

Births = tuple[datetime | None, datetime | None, bool]
"""Every birth listed after the first moment and up to the second was seen; whether births before may be missing."""


class Feeds:
    """The feeds of one source in a collector's memory."""

    def __init__(self, memory: Memory, source: str) -> None:
        self.memory = memory
        self.source = source

    def all(self) -> list[Feed]:
        """Every feed that was ever read."""
        rows = self.memory.rows(
            "SELECT network, visited_at, rate_per_minute, newest FROM feeds WHERE source = ?", self.source
        )
        return [Feed(network or None, moment_of(at), rate, moment_of(newest)) for network, at, rate, newest in rows]

    def put(self, feed: Feed) -> None:
        """Remember a feed as it is after a visit, or before one: another collector then goes elsewhere."""
        visited, newest = (None if t is None else micros(t) for t in (feed.visited_at, feed.births_until))
        with self.memory.writing("note a feed in") as db:
            db.execute(
                "INSERT OR REPLACE INTO feeds (source, network, visited_at, rate_per_minute, newest)"
                " VALUES (?, ?, ?, ?, ?)",
                (self.source, feed.network or _ALL, visited, feed.rate_per_minute, newest),
            )

    def births_until(self, network: str) -> datetime | None:
        """Up to when every birth that is listed was seen; None before the first visit."""
        rows = self.memory.rows(
            "SELECT births_until FROM births WHERE source = ? AND network = ?", self.source, network
        )
        return moment_of(rows[0][0]) if rows else None

    def advance(
        self, networks: Sequence[str], pages: Sequence[Sequence[datetime]], visited_at: datetime, *, is_overlapped: bool
    ) -> None:
        """Note a visit that began at `visited_at` and read pages of births, back to what was seen before or not.

        What is listed at a visit is all that was born until then, as far as the API has noticed.
        """
        with self.memory.writing("note what was listed in") as db:
            for network in networks:
                row = db.execute(
                    "SELECT births_from, births_until, is_gap FROM births WHERE source = ? AND network = ?",
                    (self.source, network),
                ).fetchone()
                since, until, had_gap = row or (None, None, 0)
                start, _, is_gap = births_seen(moment_of(until), pages, is_overlapped)
                if start is None:
                    start = visited_at  # an empty list, never read before: nothing was born that it could tell
                if is_gap or since is None:
                    since = micros(start)
                until = max(until or 0, micros(visited_at))
                db.execute(
                    "INSERT OR REPLACE INTO births (source, network, births_from, births_until, is_gap)"
                    " VALUES (?, ?, ?, ?, ?)",
                    (self.source, network, min(since, until), until, int(is_gap or had_gap)),
                )

    def report(self, networks: Sequence[str], row_of: Callable[[str, Births], Mapping[str, Any]]) -> None:
        """Keep a cycle's row of COLLECTIONS for each network, with the births seen since the report before.

        Both are one transaction: what was seen is told once, and what was missed is told, whatever is killed when.
        """
        with self.memory.writing("keep a cycle's record in") as db:
            for network in networks:
                key = (self.source, network)
                found = db.execute(
                    "SELECT births_from, births_until, is_gap FROM births WHERE source = ? AND network = ?", key
                ).fetchone()
                since, until, is_gap = found or (None, None, 0)
                row = row_of(network, (moment_of(since), moment_of(until), bool(is_gap)))
                db.execute(KEEP_COLLECTION, collection_values(row))
                db.execute(
                    "UPDATE births SET births_from = births_until, is_gap = 0 WHERE source = ? AND network = ?", key
                )
