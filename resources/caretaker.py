"""What is looked after beside the processes themselves: signs of life, and chores.

Belongs here: a thread that asks slow questions (does a server answer?) and does slow work, so that the
supervisor never waits. Stays out: which questions and which work (`housekeeping`), and what follows from the answers
(`supervisor`).
"""

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

from dagster_postgres.utils import DagsterPostgresException
from sqlalchemy.exc import SQLAlchemyError

Check = Callable[[], bool]

_JOIN_SECONDS = 15
DATABASE_ERRORS = (SQLAlchemyError, DagsterPostgresException)
"""What Dagster's storages raise when the database is away."""


@dataclass(frozen=True)
class Chore:
    """Something that is done every so often.

    Attributes:
        do: what is done. A database or a disk that is away stops it until the next time.
        every_seconds: how often.
    """

    do: Callable[[], object]
    every_seconds: float


class Caretaker:
    """The thread. What it learned is read by the supervisor at any time."""

    def __init__(self, checks: Mapping[str, Check], chores: Sequence[Chore], every_seconds: float) -> None:
        self._checks = checks
        self._chores = list(chores)
        self._due = [time.monotonic() + chore.every_seconds for chore in chores]
        self._every = every_seconds
        self._alive_at: dict[str, float] = {}
        self._asked_at: dict[str, float] = {}
        self._answered: set[str] = set()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._work, name="caretaker", daemon=True)

    def start(self) -> None:
        """Begin with parts that have answered by now."""
        for name in self._checks:
            self.forget(name)
            self._answered.add(name)
        self._thread.start()

    def is_working(self) -> bool:
        """Tell whether anybody still asks: a mistake of ours in a check or a chore ends the thread."""
        return self._thread.is_alive()

    def stop(self) -> None:
        """End; what it is just doing is waited for a while, and then left behind."""
        self._over.set()
        if self._thread.is_alive():
            self._thread.join(_JOIN_SECONDS)

    def forget(self, name: str) -> None:
        """Begin anew with a part that was just started."""
        self._alive_at[name] = self._asked_at[name] = time.monotonic()
        self._answered.discard(name)

    def silent_seconds(self, name: str) -> float:
        """Return how long a part has been asked in vain; 0 for one that is not asked."""
        return self._asked_at.get(name, 0) - self._alive_at.get(name, 0)

    def has_answered(self, name: str) -> bool:
        """Tell whether a part has given a sign of life since it was started."""
        return name in self._answered

    def _work(self) -> None:
        while not self._over.wait(self._every):
            for name, check in self._checks.items():
                # The moment of asking, not of the answer: a part that is started meanwhile is not blamed.
                asked = time.monotonic()
                # A database that goes away while it is asked proves nothing against whoever it was asked about.
                is_alive = True
                with suppress(*DATABASE_ERRORS):
                    is_alive = check()
                if is_alive and asked >= self._alive_at[name]:
                    self._alive_at[name] = asked
                    self._answered.add(name)
                self._asked_at[name] = max(asked, self._asked_at[name])
            self._do_chores()

    def _do_chores(self) -> None:
        for n, chore in enumerate(self._chores):
            if time.monotonic() >= self._due[n] and not self._over.is_set():
                # Away, if it raises; the next time, then.
                with suppress(*DATABASE_ERRORS, OSError):
                    chore.do()
                self._due[n] = time.monotonic() + chore.every_seconds
