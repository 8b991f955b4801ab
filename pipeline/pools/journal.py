"""The journal between fetch and lake: what was acknowledged is on the disk.

Belongs here: keeping answers and cycle records until the lake has them. Every answer is committed before anybody looks
at what it says. Stays out: the file itself (`memory`), what an answer says (`parse`).

How likely a visit was is known only when its plan is over: a plan is in random order, and of n calls of which k were
answered each was answered with probability k/n. So the answers to visits wait here until then, also where whoever
carried the plan out was killed.
"""

import json
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any, Final

import polars as pl

from pipeline.pools.answer import Answer
from pipeline.pools.memory import Memory, as_frame, micros, stored
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
        self._answered: list[str] = []

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
    def plan(self, n_calls: int, until: datetime) -> Iterator[None]:
        """A plan of so many visits, in random order, is carried out: their answers wait for its end.

        Args:
            until: when nobody works on it any more, whatever happens (`settle_abandoned`).
        """
        with self.memory.writing("begin a plan in") as db:
            begun = db.execute("INSERT INTO plans (n_calls, until) VALUES (?, ?)", (n_calls, micros(until))).lastrowid
        self._plan, self._answered = begun, []
        try:
            yield
        finally:
            self._plan = None
            with self.memory.writing("settle a plan in") as db:
                _settle(db, begun, self._answered)

    def answered(self, answer_id: str) -> None:
        """Say that a visit of the plan has its usable answer: this one."""
        self._answered.append(answer_id)

    def settle_abandoned(self, now: datetime) -> int:
        """Settle the plans of collectors that were killed; gives their number.

        Which answers were usable died with them: those with status 200 are taken for it.
        """
        with self.memory.writing("settle abandoned plans in") as db:
            found = db.execute("SELECT plan FROM plans WHERE until <= ?", (micros(now),)).fetchall()
            for (plan,) in found:
                answered = db.execute(
                    "SELECT answer_id FROM answers JOIN visits USING (answer_id)"
                    " WHERE visits.plan = ? AND status = 200",
                    (plan,),
                ).fetchall()
                _settle(db, plan, [answer_id for (answer_id,) in answered])
        return len(found)

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


def _settle(db: sqlite3.Connection, plan: int | None, answered: Sequence[str]) -> None:
    """Say of what was answered how likely it was, where part of the plan was not; the answers may go then."""
    n_calls = db.execute("SELECT n_calls FROM plans WHERE plan = ?", (plan,)).fetchone()
    if n_calls and len(answered) < n_calls[0]:
        share = len(answered) / n_calls[0]
        for answer_id in answered:
            (told,) = db.execute("SELECT plan FROM answers WHERE answer_id = ?", (answer_id,)).fetchone()
            scaled = {pool: [likely * share, n] for pool, (likely, n) in json.loads(told).items()}
            db.execute("UPDATE answers SET plan = ? WHERE answer_id = ?", (json.dumps(scaled), answer_id))
    db.execute("DELETE FROM visits WHERE plan = ?", (plan,))
    db.execute("DELETE FROM plans WHERE plan = ?", (plan,))
