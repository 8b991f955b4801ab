"""How old what is newest may be, table by table, and how old it is.

Belongs here: the bounds, and reading the age of a table's newest row. Stays out: whether rows are as specified
(`pipeline.expectations`), and who is told (`alerts`).
"""

from datetime import datetime, timedelta
from typing import Final

import polars as pl

from pipeline.calendars import DAY, HOUR, MINUTE, Span
from pipeline.lake import Lake
from pipeline.tables import table

OLDEST: Final = {
    "answers": 15 * MINUTE,
    "raw_pools": 20 * MINUTE,
    "pools": 2 * HOUR,
    "snapshots": 20 * MINUTE,
    "candles": 26 * HOUR,
    "trades": 26 * HOUR,
    "tokens": HOUR,
}
"""How old what is newest may be while somebody collects: states come every cycle, histories once a pool's day."""
LATELY: Final = 3 * DAY
"""A lake that was not collected into for so long is not collected into: a replay, or somebody stopped on purpose."""


def newest(lake: Lake, name: str, now: datetime) -> datetime | None:
    """Since when the newest row of the last days is known; None: there is none."""
    target = table(name)
    rows = lake.scan(target, Span(now - LATELY, now + HOUR)).select(pl.col(target.as_of).max()).collect()
    found = rows.item() if rows.height else None
    return found if isinstance(found, datetime) else None


def ages(lake: Lake, now: datetime) -> dict[str, timedelta | None]:
    """The age of the newest row of each table of OLDEST; empty where nobody has asked the API for days."""
    if newest(lake, "answers", now) is None:
        return {}
    found = {name: newest(lake, name, now) for name in OLDEST}
    return {name: None if moment is None else now - moment for name, moment in found.items()}
