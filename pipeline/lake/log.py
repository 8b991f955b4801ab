"""What Delta's transaction log says about files: which a version needs, which a commit added or let go.

Belongs here: the few facts of the log format that deltalake does not hand out itself (the protocol is public:
"Delta Transaction Log Protocol", sections on file names, add and remove). Stays out: writing to the log.
"""

import json
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote

from deltalake import DeltaTable

from pipeline.calendars import EPOCH
from pipeline.errors import StorageError

FOLDER: Final = "_delta_log"
_DIGITS: Final = 20
_CHECKPOINT: Final = ".checkpoint.parquet"
CHECKPOINT_EVERY: Final = 20
"""Commits between checkpoints: opening a table reads at most that many log entries, a quarter of a millisecond each."""


def entry(folder: Path, version: int) -> Path:
    """Where the log entry of `version` lies.

    >>> entry(Path("lake/pools"), 7).as_posix()
    'lake/pools/_delta_log/00000000000000000007.json'
    """
    return folder / FOLDER / f"{version:0{_DIGITS}d}.json"


def last_checkpoint(folder: Path) -> Path:
    """Where the log says which checkpoint is its newest."""
    return folder / FOLDER / "_last_checkpoint"


def is_begun(folder: Path) -> bool:
    """Whether a table lies in the folder; what a writer killed while making one left does not count.

    Raises:
        StorageError: there are data files, so there was a log, and it is gone.
    """
    if entry(folder, 0).exists() or last_checkpoint(folder).exists() or DeltaTable.is_deltatable(str(folder)):
        return True
    if (stray := next(folder.rglob("*.parquet"), None)) is not None:
        raise StorageError(
            f"could not read {str(folder)!r}: it holds {stray.name!r} but no log of what is valid; restore the folder "
            f"{FOLDER!r} from a copy, or remove the table's folder and compute it again"
        )
    return False


def check_entries(folder: Path, version: int) -> list[tuple[int, int] | None]:
    """Refuse an empty log entry: deltalake takes it for a commit that did nothing, and rows would be gone unseen.

    A power cut in the middle of a commit leaves one. Only the entries since the last checkpoint matter. Gives when each
    was written and its size, None where it is gone: as long as that stays the same, so does what was read from them.

    Raises:
        StorageError: an entry that a reader of `version` would use is empty.
    """
    seen: list[tuple[int, int] | None] = []
    for number in range(max(0, version - CHECKPOINT_EVERY), version + 1):
        path = entry(folder, number)
        try:
            told = path.stat()
        except FileNotFoundError:
            seen.append(None)
            continue
        seen.append((told.st_mtime_ns, told.st_size))
        if told.st_size == 0:
            raise StorageError(
                f"could not read {str(folder)!r}: its log entry {path.name!r} is empty. If it is the newest, the power "
                "went during a write that was never acknowledged: remove it. Otherwise restore the folder from a copy"
            )
    return seen


def added(folder: Path, version: int) -> list[Path]:
    """The data files that the commit of `version` added."""
    return [folder / unquote(a["add"]["path"]) for a in _actions(folder, version) if "add" in a]


def removed_since(folder: Path, version: int, cutoff: datetime) -> tuple[set[str], int]:
    """What readers may still be at who opened the table at or after `cutoff`.

    Gives the relative paths of the files that commits up to `version` let go since then, and the version that was the
    newest at `cutoff`.
    """
    cutoff_ms = (cutoff - EPOCH).total_seconds() * 1000
    found: set[str] = set()
    for number in range(version, -1, -1):
        if not entry(folder, number).exists():
            return found, number + 1
        actions = _actions(folder, number)
        if any(a["commitInfo"].get("timestamp", cutoff_ms) < cutoff_ms for a in actions if "commitInfo" in a):
            return found, number
        found |= {unquote(a["remove"]["path"]) for a in actions if "remove" in a}
    return found, 0


def unneeded(folder: Path, oldest: int, kept: Iterable[int]) -> list[Path]:
    """The log entries and checkpoints without which every version from `oldest` on and every kept one can be opened.

    A version is opened from the last checkpoint at or before it and the entries after that. Opening lists the whole
    folder, so entries that nobody needs cost every reader and writer time.
    """
    files = {path: int(path.name[:_DIGITS]) for path in sorted((folder / FOLDER).iterdir()) if _is_ours(path.name)}
    checkpoints = sorted(number for path, number in files.items() if path.name.endswith(_CHECKPOINT))

    def base(version: int) -> int:
        return max((number for number in checkpoints if number <= version), default=0)

    needed = [(base(oldest), None), *((base(version), version) for version in kept)]
    return [
        path
        for path, number in files.items()
        if not any(first <= number and (last is None or number <= last) for first, last in needed)
    ]


def _is_ours(name: str) -> bool:
    """Whether a file of the log's folder is an entry or a checkpoint as they are written here; others are left alone.

    >>> [_is_ours(f"{7:020d}{end}") for end in (".json", ".checkpoint.parquet", ".crc", ".json#1")]
    [True, True, False, False]
    """
    return name[:_DIGITS].isdigit() and name[_DIGITS:] in (".json", _CHECKPOINT)


def _actions(folder: Path, version: int) -> list[dict[str, Any]]:
    path = entry(folder, version)
    try:
        return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line]
    except ValueError as error:
        raise StorageError(f"could not read the log entry {str(path)!r}: {error!r}; restore it from a copy") from error
