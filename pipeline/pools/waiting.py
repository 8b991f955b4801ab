"""What a watchman asks: whom nobody has visited, and what hours that are behind should be computed from.

Belongs here: the decisions. Stays out: asking for a run (the sensors).
"""

import hashlib
from datetime import datetime
from pathlib import Path

from pipeline.calendars import HOUR, Span
from pipeline.lake import Lake
from pipeline.pools.memory import Memory, micros
from pipeline.provenance import Recipe, fingerprints


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


def digest(lake: Lake, recipe: Recipe, hours: list[datetime]) -> str:
    """Names what the hours should be computed from: asked for once, they are asked for again when that has changed."""
    told = "".join(print_ for hour in hours for print_ in fingerprints(lake, recipe, Span(hour, hour + HOUR)).values())
    return hashlib.sha256(told.encode()).hexdigest()[:16]
