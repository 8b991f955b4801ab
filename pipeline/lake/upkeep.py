"""Which files of a table nobody needs any more.

Belongs here: the reckoning behind `Lake.vacuum`. Stays out: how long to keep what (policy), Delta's own vacuum, which
reads the machine's clock and writes two more commits.
"""

from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from pathlib import Path

from deltalake import DeltaTable

from pipeline.calendars import EPOCH
from pipeline.lake import log


def unneeded(folder: Path, newest: DeltaTable, kept: Iterable[DeltaTable], cutoff: datetime) -> list[Path]:
    """The files that no kept version, and no version that was the newest at or after `cutoff`, needs.

    A file nobody's log entry names (what a killed writer left) goes too, once it is older than `cutoff`.

    Args:
        folder: the table's folder.
        newest: its newest version.
        kept: versions that must stay readable.
        cutoff: UTC; files written later stay in any case.
    """
    needed = log.removed_since(folder, newest.version(), cutoff)
    for table in (newest, *kept):
        needed |= {path for path, _ in log.sizes(table)}
    return [
        path
        for path in _data_files(folder)
        if path.relative_to(folder).as_posix() not in needed and _written_at(path) < cutoff
    ]


def _data_files(folder: Path) -> Iterator[Path]:
    """Every file but the log's: a writer killed half way leaves names that do not end in `.parquet`."""
    for parent, names, files in folder.walk():
        if log.FOLDER in names:
            names.remove(log.FOLDER)
        yield from (parent / name for name in sorted(files))


def _written_at(path: Path) -> datetime:
    return EPOCH + timedelta(seconds=path.stat().st_mtime)
