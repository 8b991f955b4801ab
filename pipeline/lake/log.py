"""What Delta's transaction log says about files: which a version needs, which a commit added or let go.

Belongs here: the few facts of the log format that deltalake does not hand out itself (the protocol is public:
"Delta Transaction Log Protocol", sections on file names, add and remove). Stays out: writing to the log.
"""

import json
from datetime import datetime
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote

import polars as pl
from deltalake import DeltaTable

from pipeline.calendars import EPOCH
from pipeline.errors import StorageError

FOLDER: Final = "_delta_log"
CHECKPOINT_EVERY: Final = 100
"""Commits between checkpoints: opening a table reads at most that many log entries."""


def entry(folder: Path, version: int) -> Path:
    """Where the log entry of `version` lies.

    >>> entry(Path("lake/pools"), 7).as_posix()
    'lake/pools/_delta_log/00000000000000000007.json'
    """
    return folder / FOLDER / f"{version:020d}.json"


def is_begun(folder: Path) -> bool:
    """Whether a table lies in the folder; what a writer killed while making one left does not count.

    Raises:
        StorageError: there are data files, so there was a log, and it is gone.
    """
    if entry(folder, 0).exists() or DeltaTable.is_deltatable(str(folder)):
        return True
    if (stray := next(folder.rglob("*.parquet"), None)) is not None:
        raise StorageError(
            f"could not read {str(folder)!r}: it holds {stray.name!r} but no log of what is valid; restore the folder "
            f"{FOLDER!r} from a copy, or remove the table's folder and compute it again"
        )
    return False


def sizes(table: DeltaTable) -> list[tuple[str, int]]:
    """Path relative to the table's folder, and size in bytes, of every file the opened version needs."""
    actions = pl.DataFrame(table.get_add_actions()).select("path", "size_bytes")
    return [(unquote(path), size) for path, size in actions.iter_rows()]


def check_entries(folder: Path, version: int) -> None:
    """Refuse an empty log entry: deltalake takes it for a commit that did nothing, and rows would be gone unseen.

    A power cut in the middle of a commit leaves one. Only the entries since the last checkpoint matter.

    Raises:
        StorageError: an entry that a reader of `version` would use is empty.
    """
    for number in range(max(0, version - CHECKPOINT_EVERY), version + 1):
        path = entry(folder, number)
        if path.exists() and path.stat().st_size == 0:
            raise StorageError(
                f"could not read {str(folder)!r}: its log entry {path.name!r} is empty. If it is the newest, the power "
                "went during a write that was never acknowledged: remove it. Otherwise restore the folder from a copy"
            )


def added(folder: Path, version: int) -> list[Path]:
    """The data files that the commit of `version` added."""
    return [folder / unquote(a["add"]["path"]) for a in _actions(folder, version) if "add" in a]


def removed_since(folder: Path, version: int, cutoff: datetime) -> set[str]:
    """Relative paths of the files that commits up to `version` let go at or after `cutoff`.

    Readers that opened the table before such a commit may still be at them.
    """
    cutoff_ms = (cutoff - EPOCH).total_seconds() * 1000
    found: set[str] = set()
    for number in range(version, -1, -1):
        actions = _actions(folder, number)
        if any(a["commitInfo"].get("timestamp", cutoff_ms) < cutoff_ms for a in actions if "commitInfo" in a):
            break
        found |= {unquote(a["remove"]["path"]) for a in actions if "remove" in a}
    return found


def _actions(folder: Path, version: int) -> list[dict[str, Any]]:
    path = entry(folder, version)
    try:
        return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line]
    except ValueError as error:
        raise StorageError(f"could not read the log entry {str(path)!r}: {error!r}; restore it from a copy") from error
