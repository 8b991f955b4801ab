"""What a watchman asks: whom nobody has visited, and which hours are behind what was told.

Belongs here: the two decisions. Stays out: asking for a run (the sensors).
"""

import hashlib
from datetime import datetime
from pathlib import Path

import polars as pl

from pipeline.calendars import HOUR, Span
from pipeline.lake import Lake
from pipeline.pools.memory import Memory, micros
from pipeline.provenance import Recipe, fingerprints, stale_hours
from pipeline.tables import PARTITIONS


def n_waiting(file: Path, source: str, slot: datetime) -> int:
    """Pools of the source that were due before the grid point `slot` and nobody has claimed; 0 without the file."""
    if not file.exists():
        return 0
    memory = Memory(file)
    try:
        return int(
            memory.rows(
                "SELECT count(*) FROM watched WHERE source = ? AND due_at < ? AND until > ? AND claimed_until < ?",
                source, *[micros(slot)] * 3,
            )[0][0]
        )  # fmt: skip
    finally:
        memory.close()


def hours_behind(lake: Lake, recipe: Recipe, span: Span) -> list[datetime]:
    """The hours of `span` in which an input holds something that the recipe's table was not computed from.

    Hours of which nothing was ever told are not behind, whatever was or was not computed.
    """
    inputs = [source.table for source in recipe.inputs]
    rows = lake.scan(PARTITIONS, span).filter(pl.col("table_name").is_in(inputs), pl.col("n_rows") > 0)
    told = set(rows.select(pl.col("hour").unique()).collect()["hour"])
    return [hour for hour in stale_hours(lake, recipe, span) if hour in told] if told else []


def digest(lake: Lake, recipe: Recipe, hours: list[datetime]) -> str:
    """Names what the hours should be computed from: asked for once, they are asked for again when that has changed."""
    told = "".join(print_ for hour in hours for print_ in fingerprints(lake, recipe, Span(hour, hour + HOUR)).values())
    return hashlib.sha256(told.encode()).hexdigest()[:16]
