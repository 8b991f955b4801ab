"""What a collector must not forget, in one SQLite file: answers that are not in the lake yet, and whom it watches.

Belongs here: the file, its tables, its transactions. Several collectors may share it; each may be killed at any moment.
Stays out: what the tables are for (`journal`, `watch`).

SQLite rather than files of our own: its write-ahead log with `synchronous=FULL` is the crash-safe journal we would
otherwise have to write, and the same transaction carries what the answer changed in the watch list.
"""

import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

import polars as pl

from pipeline.calendars import EPOCH
from pipeline.errors import StorageError, StorageFullError
from pipeline.lake import disk
from pipeline.tables import UTC

NEVER: Final = 2**62
"""A moment after all others, in microseconds: not due, or not until anything."""

_TABLES: Final = """
CREATE TABLE answers (
    answer_id TEXT PRIMARY KEY, source TEXT, event_time INTEGER, known_at INTEGER, endpoint TEXT, network TEXT,
    url TEXT, asked_at INTEGER, status INTEGER, content_type TEXT, n_bytes INTEGER, sha256 TEXT, body BLOB, plan TEXT
) WITHOUT ROWID;
CREATE TABLE collections (
    source TEXT, network TEXT, event_time INTEGER, known_at INTEGER, collector TEXT, n_calls INTEGER,
    n_failed INTEGER, n_found INTEGER, n_found_late INTEGER, n_observed INTEGER, n_observed_late INTEGER,
    n_waiting INTEGER, births_from INTEGER, births_until INTEGER, is_gap INTEGER,
    PRIMARY KEY (source, network, event_time, collector)
) WITHOUT ROWID;
CREATE TABLE watched (
    source TEXT, network TEXT, pool TEXT, base_token TEXT,
    created_at INTEGER, first_seen_at INTEGER, until INTEGER,
    slot INTEGER, interval_minutes INTEGER, due_at INTEGER, claimed_until INTEGER DEFAULT 0,
    n_vanished INTEGER DEFAULT 0,
    reserve_usd REAL, price_usd REAL, first_reserve_usd REAL, first_price_usd REAL,
    volume_m5_usd REAL, volume_h1_usd REAL, n_buys_m5 INTEGER, n_sells_m5 INTEGER,
    lifted_until INTEGER DEFAULT 0,
    history_due INTEGER, history_before INTEGER, trades_due INTEGER, info_due INTEGER,
    PRIMARY KEY (source, network, pool)
) WITHOUT ROWID;
CREATE INDEX watched_due ON watched (source, due_at);
CREATE INDEX watched_history ON watched (source, history_due);
CREATE INDEX watched_trades ON watched (source, trades_due);
CREATE INDEX watched_info ON watched (source, info_due);
CREATE INDEX watched_until ON watched (until);
CREATE TABLE feeds (
    source TEXT, network TEXT, visited_at INTEGER, rate_per_minute REAL, newest INTEGER,
    PRIMARY KEY (source, network)
) WITHOUT ROWID;
CREATE TABLE births (
    source TEXT, network TEXT, births_from INTEGER, births_until INTEGER, is_gap INTEGER,
    PRIMARY KEY (source, network)
) WITHOUT ROWID;
"""
_PLANS: Final = """
CREATE TABLE plans (plan INTEGER PRIMARY KEY AUTOINCREMENT, n_calls INTEGER);
CREATE TABLE visits (answer_id TEXT PRIMARY KEY, plan INTEGER) WITHOUT ROWID;
"""
_LOCKED_PLANS: Final = """
CREATE TABLE locked_plans (plan INTEGER PRIMARY KEY AUTOINCREMENT, n_calls INTEGER);
INSERT INTO sqlite_sequence (name, seq) SELECT 'locked_plans', seq FROM sqlite_sequence WHERE name = 'plans';
INSERT INTO locked_plans SELECT plan, n_calls FROM plans;
DROP TABLE plans;
ALTER TABLE locked_plans RENAME TO plans;
"""
"""Some code of version 2 ended a plan by the clock, not by a lock: the two must not work on one file."""
_STEPS: Final = (_TABLES, _PLANS, _LOCKED_PLANS)
"""What each version added to the one before it."""
VERSION: Final = len(_STEPS)


class Memory:
    """The file at `path`, made when it is not there; may be used by several threads and processes.

    Raises:
        StorageError: the file is damaged or of another version; the disk is full (StorageFullError).
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.RLock()
        path.parent.mkdir(parents=True, exist_ok=True)
        # A file that several open anew at once cannot all be put into WAL mode: the losers are told at once that it is
        # locked, whatever their timeout.
        with self._reporting("open"), disk.locked(path.with_name(path.name + ".lock")):
            self._db = sqlite3.connect(path, timeout=60, isolation_level=None, check_same_thread=False)
            # WAL with FULL: a commit is on the disk when it returns, also after a power cut.
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute("PRAGMA synchronous=FULL")
            self._make()

    def _make(self) -> None:
        with self.writing("set up") as db:
            found = db.execute("PRAGMA user_version").fetchone()[0]
            if found > VERSION:
                raise StorageError(
                    f"could not open {str(self.path)!r}: it is of version {found!r} where this code knows {VERSION!r}; "
                    "let the poolcast that wrote it drain it, then remove it"
                )
            for statement in filter(str.strip, ";".join(_STEPS[found:]).split(";")):
                db.execute(statement)
            db.execute(f"PRAGMA user_version={VERSION}")

    def close(self) -> None:
        """Let the file go."""
        self._db.close()

    @contextmanager
    def writing(self, verb: str) -> Iterator[sqlite3.Connection]:
        """One transaction: all of it is on the disk when the block ends, or nothing is."""
        with self._lock, self._reporting(verb):
            self._db.execute("BEGIN IMMEDIATE")
            with self._db:  # commits at the end of the block, or rolls back what an error left
                yield self._db

    def rows(self, sql: str, *values: Any) -> list[tuple[Any, ...]]:
        """The rows of a query."""
        with self._lock, self._reporting("read"):
            return self._db.execute(sql, values).fetchall()

    @contextmanager
    def _reporting(self, verb: str) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            kind = StorageFullError if getattr(error, "sqlite_errorname", "") == "SQLITE_FULL" else StorageError
            raise kind(
                f"could not {verb} {str(self.path)!r} ({error}): free space or restore it from a copy; what it "
                "acknowledged before is in it or in the lake"
            ) from error


def as_frame(rows: Sequence[Sequence[Any]], schema: pl.Schema) -> pl.DataFrame:
    """Rows as SQLite holds them (times in microseconds, flags as 0 and 1) as a frame of the schema."""
    stored = {name: pl.Int64() if dtype in (UTC, pl.Boolean()) else dtype for name, dtype in schema.items()}
    frame = pl.DataFrame(rows, schema=stored, orient="row")
    return frame.with_columns(
        pl.when(pl.col(name) < NEVER).then(pl.col(name)).cast(dtype) if dtype == UTC else pl.col(name).cast(dtype)
        for name, dtype in schema.items()
        if dtype in (UTC, pl.Boolean())
    )


def micros(moment: datetime) -> int:
    """Microseconds since the epoch."""
    return (moment - EPOCH) // timedelta(microseconds=1)


def moment_of(stored: int | None) -> datetime | None:
    """The moment that `micros` made a number of; None for none and for never."""
    return None if stored is None or stored >= NEVER else EPOCH + timedelta(microseconds=stored)


def stored(value: Any) -> Any:
    """The value as SQLite holds it: moments in microseconds, all else as it is."""
    return micros(value) if isinstance(value, datetime) else value
