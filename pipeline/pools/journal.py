"""The journal between fetch and lake: what was acknowledged is on the disk.

Belongs here: keeping answers and cycle records until the lake has them. Every answer is committed before anybody looks
at what it says. Stays out: the file itself (`memory`), what an answer says (`parse`).

How likely a visit was is known only when its plan is over: a plan is in random order, and of n calls of which k were
answered each was answered with probability k/n. So the answers to visits wait here until then. Whoever carries a plan
out holds a lock, which the kernel takes from the dead: so whoever comes next knows of a plan that nobody ends any more,
whatever the clocks say.
"""

import gzip
import json
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final

import polars as pl

from pipeline.errors import StorageError
from pipeline.lake import disk
from pipeline.pools.answer import Answer
from pipeline.pools.judging import is_usable
from pipeline.pools.memory import Memory, as_frame, stored
from pipeline.tables import ANSWERS, COLLECTIONS, Table


def _insert(table: Table, verb: str) -> str:
    columns = table.schema.names()
    return f"{verb} INTO {table.name} ({', '.join(columns)}) VALUES ({', '.join('?' * len(columns))})"


# Every name in these statements is one of our own constants; every value is bound.
_KEEP: Final = _insert(ANSWERS, "INSERT OR IGNORE")
KEEP_COLLECTION: Final = _insert(COLLECTIONS, "INSERT OR REPLACE")
_OVER: Final = {ANSWERS.name: " WHERE answer_id NOT IN (SELECT answer_id FROM visits)", COLLECTIONS.name: ""}
"""Which rows may go: not the answers of a plan that is under way."""
_READ: Final = {
    t.name: f"SELECT {', '.join(t.schema.names())} FROM {t.name}{_OVER[t.name]} ORDER BY event_time LIMIT ?"  # noqa: S608
    for t in (ANSWERS, COLLECTIONS)
}
_FORGET: Final = {
    t.name: f"DELETE FROM {t.name} WHERE " + " AND ".join(f"{name} = ?" for name in t.key)  # noqa: S608
    for t in (ANSWERS, COLLECTIONS)
}


def collection_values(row: Mapping[str, Any]) -> list[Any]:
    """A cycle's row of COLLECTIONS as KEEP_COLLECTION takes it."""
    return [stored(row[name]) for name in COLLECTIONS.schema.names()]


class Journal:
    """What was told and is not in the lake yet, in a collector's memory."""

    def __init__(self, memory: Memory) -> None:
        self.memory = memory
        self._plan: int | None = None

    def keep(self, answer: Answer) -> None:
        """Acknowledge an answer: when this returns it is on the disk. The same answer twice is kept once."""
        row = answer.as_row()
        with self.memory.writing("keep an answer in") as db:
            db.execute(_KEEP, [stored(row[name]) for name in ANSWERS.schema.names()])
            if answer.plan and self._plan is not None:
                db.execute(
                    "INSERT OR IGNORE INTO visits (answer_id, plan) VALUES (?, ?)", (answer.answer_id, self._plan)
                )

    @contextmanager
    def plan(self, n_calls: int) -> Iterator[None]:
        """A plan of so many visits, in random order, is carried out: their answers wait for its end, however it ends.

        Raises:
            StorageError: the memory, or the lock beside it, cannot be written; or somebody put another memory in the
                place of the one that a collector works on.
        """
        with ExitStack() as held:
            with self._settling("begin a plan in") as db:
                begun = db.execute("INSERT INTO plans (n_calls) VALUES (?)", (n_calls,)).lastrowid
                if not held.enter_context(disk.tried(self._lock_of(begun))):
                    raise StorageError(
                        f"could not begin a plan in {str(self.memory.path)!r}: a collector works on one that was here "
                        "before; stop it, and begin again"
                    )
            self._plan = begun
            try:
                yield
            finally:
                self._plan = None
                with self._settling("settle a plan in") as db:
                    self._settle(db, begun)

    def settle_abandoned(self) -> int:
        """Settle the plans of collectors that were killed; gives their number."""
        n_settled = 0
        with self._settling("settle abandoned plans in") as db:
            for (plan,) in db.execute("SELECT plan FROM plans").fetchall():
                with disk.tried(self._lock_of(plan)) as is_abandoned:
                    if is_abandoned:
                        self._settle(db, plan)
                        n_settled += 1
        return n_settled

    def note_plan(self, answer_id: str, plan: Mapping[str, tuple[float, int]]) -> None:
        """Add to a kept answer what the sampler knew of the pools in it."""
        told = json.dumps({pool: list(said) for pool, said in plan.items()})
        with self.memory.writing("annotate an answer in") as db:
            db.execute("UPDATE answers SET plan = ? WHERE answer_id = ?", (told, answer_id))

    def n_answers(self) -> int:
        """Answers that wait for the lake."""
        return int(self.memory.rows("SELECT count(*) FROM answers")[0][0])

    def drain(self, table: Table, commit: Callable[[pl.DataFrame], object], batch: int = 1000) -> int:
        """Hand what is kept for ANSWERS or COLLECTIONS to `commit`, oldest first, and forget what it has committed.

        Killed in between, the next drain hands the same rows over once more: `commit` must take a row twice for one.
        Gives the number of rows handed over.
        """
        keys = [table.schema.names().index(name) for name in table.key]
        n_drained = 0
        while found := self.memory.rows(_READ[table.name], batch):
            commit(as_frame(found, table.schema))
            with self.memory.writing("forget what the lake holds in") as db:
                db.executemany(_FORGET[table.name], [[row[k] for k in keys] for row in found])
            n_drained += len(found)
        return n_drained

    def _settle(self, db: sqlite3.Connection, plan: int | None) -> None:
        """Say of what was answered how likely it was, where part of the plan was not; the answers may go then."""
        (n_calls,) = db.execute("SELECT n_calls FROM plans WHERE plan = ?", (plan,)).fetchone()
        answered = _answered(db, plan)
        share = len(answered) / n_calls if n_calls else 1.0
        for answer_id, told in answered.items() if share < 1.0 else ():
            scaled = {pool: [likely * share, n] for pool, (likely, n) in json.loads(told).items()}
            db.execute("UPDATE answers SET plan = ? WHERE answer_id = ?", (json.dumps(scaled), answer_id))
        db.execute("DELETE FROM visits WHERE plan = ?", (plan,))
        db.execute("DELETE FROM plans WHERE plan = ?", (plan,))
        self._lock_of(plan).unlink(missing_ok=True)

    @contextmanager
    def _settling(self, verb: str) -> Iterator[sqlite3.Connection]:
        with disk.reporting(f"{verb} {str(self.memory.path)!r}"), self.memory.writing(verb) as db:
            yield db

    def _lock_of(self, plan: int | None) -> Path:
        return self.memory.path.with_name(f"{self.memory.path.name}.plan-{plan}")


def _answered(db: sqlite3.Connection, plan: int | None) -> dict[str, str]:
    """Answer -> what it says of its visit, of each visit of a plan that was answered.

    A call that was asked again counts once, and what is no answer of the API does not count.
    """
    kept = db.execute(
        "SELECT url, answer_id, answers.plan, status, content_type, body FROM answers JOIN visits USING (answer_id)"
        " WHERE visits.plan = ? ORDER BY event_time",
        (plan,),
    )
    told = {url: (answer_id, said) for url, answer_id, said, *answer in kept if _is_usable(*answer)}
    return dict(told.values())


def _is_usable(status: int, content_type: str | None, body: bytes) -> bool:
    return is_usable(status, content_type, gzip.decompress(body))
