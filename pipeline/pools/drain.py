"""From the journal into the lake.

Belongs here: the one hand-over, and putting the hours it touched on record. Stays out: reading what was told (`parse`).
"""

from datetime import datetime

import polars as pl

from pipeline.lake import Lake
from pipeline.pools.journal import Journal
from pipeline.provenance import record_hours
from pipeline.tables import ANSWERS, COLLECTIONS

OF_AN_ANSWER = ["event_time", "answer_id", "status", "sha256", "plan"]
"""The columns that tell one answer from another; the body's hash stands for the body."""


def drain(journal: Journal, lake: Lake) -> list[datetime]:
    """Bring everything acknowledged into the lake, each answer once; gives the hours that got some.

    The answers of a plan that is under way stay.
    """
    journal.settle_abandoned()
    hours: set[datetime] = set()

    def commit(rows: pl.DataFrame) -> None:
        lake.append(ANSWERS, rows)
        touched = rows["event_time"].dt.truncate("1h").unique().sort().to_list()
        record_hours(lake, ANSWERS, touched, columns=OF_AN_ANSWER)
        hours.update(touched)

    journal.drain(ANSWERS, commit)
    journal.drain(COLLECTIONS, lambda rows: lake.append(COLLECTIONS, rows))
    return sorted(hours)
