"""What a table has become, and which of its files nobody needs any more.

Belongs here: the reckoning behind `Lake.status` and `Lake.vacuum`. Stays out: how long to keep what (policy), Delta's
own vacuum, which reads the machine's clock and writes two more commits.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

import polars as pl

from pipeline.calendars import EPOCH
from pipeline.lake import log
from pipeline.lake.files import Stored
from pipeline.lake.place import Lying, Place
from pipeline.lake.plans import mergeable
from pipeline.lake.rows import DAY


@dataclass(frozen=True)
class TableStatus:
    """One table as its log describes it; no data file is read.

    `n_mergeable` counts the small files that a compaction would merge. `n_rows`, `first` and `last` are None where the
    log of a foreign writer does not say; the times are of `table.time`, exact to a millisecond.
    """

    table: str
    version: int
    n_rows: int | None
    n_files: int
    n_bytes: int
    n_mergeable: int
    n_days: int | None
    first: datetime | None
    last: datetime | None


def status(stored: Stored, version: int) -> TableStatus:
    """The table's figures, from the listing of its files."""
    files = stored.files

    def known(expression: pl.Expr, column: str) -> object:
        return None if files[column].null_count() else files.select(expression).item()

    return TableStatus(
        stored.table.name,
        version,
        n_rows=known(pl.col("n_rows").sum(), "n_rows"),  # type: ignore[arg-type]
        n_files=len(files),
        n_bytes=int(files["n_bytes"].sum()),
        n_mergeable=sum(map(len, mergeable(files, stored.table))),
        n_days=files[DAY].n_unique() if DAY in files.columns else None,
        first=known(pl.col("first").min(), "first"),  # type: ignore[arg-type]
        last=known(pl.col("last").max(), "last"),  # type: ignore[arg-type]
    )


def unneeded(place: Place, newest: tuple[int, Stored], kept: dict[int, Stored], cutoff: datetime) -> list[Lying]:
    """The files that no kept version, and no version that was the newest at or after `cutoff`, needs.

    A data file nobody's log entry names (what a killed writer left) goes too, once it is older than `cutoff`. Log
    entries go only where a checkpoint stands in for them.

    Args:
        place: the table's folder.
        newest: the number of its newest version, and that version.
        kept: versions that must stay readable.
        cutoff: UTC; files written later stay in any case.
    """
    needed, oldest = log.removed_since(place, newest[0], cutoff)
    for stored in (newest[1], *kept.values()):
        needed |= set(stored.files["path"])
    data = (file for file in place.lying() if not file.path.startswith(f"{log.FOLDER}/") and file.path not in needed)
    entries = log.unneeded(place, oldest, kept)
    return [file for file in (*data, *entries) if _written_at(file) < cutoff]


def _written_at(file: Lying) -> datetime:
    return EPOCH + timedelta(microseconds=file.written_ns // 1000)
