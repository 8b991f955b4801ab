"""The calls that may still go out: one budget for every process that asks the same host.

Belongs here: the log of the calls that went out lately, in SQLite, and waiting for room in it. Stays out: what is
asked (`source`), and which calls are worth their place (`sampler`).
"""

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final, Self

from pipeline.calendars import EPOCH, Timer, require_utc
from pipeline.errors import StorageError, StorageFullError, UsageError
from pipeline.lake.disk import locked
from pipeline.pools.collecting_spec import ClientSpec

_MICROSECOND: Final = timedelta(microseconds=1)
_SECOND: Final = 1_000_000
_PATIENCE_S: Final = 60.0
"""How long a transaction waits for the others', which take about a millisecond each."""

_GRACE: Final = 2 * _SECOND
"""How late one may come back from waiting and still find its place in the queue."""

_TABLES: Final = (
    "CREATE TABLE IF NOT EXISTS spent (host TEXT NOT NULL, moment INTEGER NOT NULL)",
    "CREATE INDEX IF NOT EXISTS spent_lately ON spent (host, moment)",
    # AUTOINCREMENT: a ticket is never given out again, so its number is its place in the queue.
    "CREATE TABLE IF NOT EXISTS queue (ticket INTEGER PRIMARY KEY AUTOINCREMENT, host TEXT NOT NULL, until INTEGER)",
)
_PULL_BACK: Final = "UPDATE spent SET moment = ? WHERE host = ? AND moment > ?"
_FORGET: Final = "DELETE FROM spent WHERE host = ? AND moment <= ?"
_STRIKE: Final = "DELETE FROM queue WHERE host = ? AND NOT until BETWEEN ? AND ?"
_AHEAD: Final = "SELECT count(*) FROM queue WHERE host = ? AND ticket < ? AND until BETWEEN ? AND ?"
_SPENT: Final = "SELECT count(*) FROM spent WHERE host = ? AND moment > ?"
_NTH_NEWEST: Final = "SELECT moment FROM spent WHERE host = ? ORDER BY moment DESC LIMIT 1 OFFSET ?"
_SPEND: Final = "INSERT INTO spent VALUES (?, ?)"
_LEAVE: Final = "DELETE FROM queue WHERE ticket = ?"
_QUEUE: Final = "INSERT OR REPLACE INTO queue VALUES (?, ?, ?)"
_LAST: Final = 2**62
"""The place of somebody without a ticket: behind all who have one."""


class Budget:
    """At most `calls` in any stretch of `spec.budget_window_s` (and its slack), whoever asks.

    A call is spent in the transaction that finds room for it, at the time read inside that transaction: a process that
    is killed has spent it or not, and leaves no lock. Whoever finds no room takes a ticket, and comes back when enough
    calls have left the window for all before it. Tickets order those who wait; they never make room. One whose holder
    has not come back in time is struck, so the dead delay nobody for longer than a window; a holder who is merely late
    takes its old place again.

    Args:
        path: the file, made when it is not there; on a local disk.
        calls: how many.
        spec: the window and its slack.
        host: whose budget it is; all who share a host must share its clock.

    Raises:
        UsageError: no call would ever go out.
        StorageError: the file is damaged; the disk is full (StorageFullError).
    """

    def __init__(self, path: Path, *, calls: int, spec: ClientSpec, host: str) -> None:
        if calls < 1:
            raise UsageError(f"a budget needs at least one call a window, found {calls!r}")
        self.path, self.calls, self.host = path, calls, host
        self._window = round((spec.budget_window_s + spec.budget_slack_s) * _SECOND)
        self._lock = threading.Lock()
        # SQLite does not wait for another process that is switching a new file to the write-ahead log: it fails.
        with self._reporting(), locked(path.with_name(f"{path.name}.lock")):
            self._db = sqlite3.connect(path, timeout=_PATIENCE_S, isolation_level=None, check_same_thread=False)
            # A power cut may take the last commits, but not the file; the machine needs longer to start than what
            # they forbid.
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute("PRAGMA synchronous=NORMAL")
            for statement in _TABLES:
                self._db.execute(statement)

    def close(self) -> None:
        """Let the file go."""
        with self._lock:
            self._db.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def acquire(self, timer: Timer) -> None:
        """Spend one call, waiting on `timer` until there is room for it.

        Raises:
            StorageError: the file is damaged or somebody holds it; the disk is full (StorageFullError).
        """
        wait, ticket = self._spend(timer, None)
        while wait:
            timer.sleep(wait / _SECOND)
            wait, ticket = self._spend(timer, ticket)

    def left(self, now: datetime) -> int:
        """Calls that may go out at `now` (UTC) without waiting.

        Raises:
            StorageError: the file is damaged.
        """
        with self._lock, self._reporting():
            return max(0, self._free(_micros(now)) - self._ahead(_LAST, _micros(now)))

    def _spend(self, timer: Timer, ticket: int | None) -> tuple[int, int | None]:
        """Spend a call, or give the microseconds until there may be room, and a ticket."""
        with self._writing() as db:
            # Read here, so that the order of moments is the order of transactions.
            now = _micros(timer.now())
            # What was spent later than now was spent before the clock jumped back. It counts as spent now: it holds
            # up others for a window, not for the length of the jump. Nor can a ticket be good for longer than that.
            db.execute(_PULL_BACK, (now, self.host, now))
            db.execute(_FORGET, (self.host, now - self._window))
            db.execute(_STRIKE, (self.host, now, now + self._window + _GRACE))
            n_ahead = self._ahead(_LAST if ticket is None else ticket, now)
            if self._free(now) > n_ahead:
                db.execute(_LEAVE, (ticket,))
                db.execute(_SPEND, (self.host, now))
                return 0, None
            last = db.execute(_NTH_NEWEST, (self.host, max(0, self.calls - 1 - n_ahead))).fetchone()
            wait = _GRACE if last is None else int(last[0]) + self._window - now
            return wait, db.execute(_QUEUE, (ticket, self.host, now + wait + _GRACE)).lastrowid

    def _free(self, now: int) -> int:
        """Calls that the window has room for."""
        return self.calls - int(self._db.execute(_SPENT, (self.host, now - self._window)).fetchone()[0])

    def _ahead(self, ticket: int, now: int) -> int:
        """How many wait with an older ticket that is good."""
        found = self._db.execute(_AHEAD, (self.host, ticket, now, now + self._window + _GRACE))
        return int(found.fetchone()[0])

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        with self._lock, self._reporting():
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield self._db
                self._db.execute("COMMIT")
            finally:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")

    @contextmanager
    def _reporting(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            kind = StorageFullError if getattr(error, "sqlite_errorname", "") == "SQLITE_FULL" else StorageError
            raise kind(
                f"could not use the budget in {str(self.path)!r} ({error}): free space, or stop all that use it and "
                "remove it; it holds only what was asked in the last minutes"
            ) from error


def _micros(moment: datetime) -> int:
    return (require_utc(moment) - EPOCH) // _MICROSECOND
