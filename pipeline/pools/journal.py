"""The journal between fetch and lake: what was acknowledged is on the disk.

Belongs here: keeping answers and cycle records until the lake has them. Every answer is committed before anybody looks
at what it says. Stays out: the file itself (`memory`), what an answer says (`parse`).
"""

import json
from collections.abc import Callable, Mapping
from typing import Any, Final

import polars as pl

from pipeline.pools.answer import Answer
from pipeline.pools.memory import Memory, as_frame, stored
from pipeline.tables import ANSWERS, COLLECTIONS, Table


def _insert(table: Table, verb: str) -> str:
    columns = table.schema.names()
    return f"{verb} INTO {table.name} ({', '.join(columns)}) VALUES ({', '.join('?' * len(columns))})"


# Every name in these statements is one of our own constants; every value is bound.
_KEEP: Final = _insert(ANSWERS, "INSERT OR IGNORE")
KEEP_COLLECTION: Final = _insert(COLLECTIONS, "INSERT OR REPLACE")
_READ: Final = {
    t.name: f"SELECT {', '.join(t.schema.names())} FROM {t.name} ORDER BY event_time LIMIT ?"  # noqa: S608
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

    def keep(self, answer: Answer) -> None:
        """Acknowledge an answer: when this returns it is on the disk. The same answer twice is kept once."""
        row = answer.as_row()
        with self.memory.writing("keep an answer in") as db:
            db.execute(_KEEP, [stored(row[name]) for name in ANSWERS.schema.names()])

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
