"""What Delta's transaction log says about files: which a version needs, which a commit added or let go.

Belongs here: the few facts of the log format that deltalake does not hand out itself (the protocol is public:
"Delta Transaction Log Protocol", sections on file names, add and remove). Stays out: writing to the log.
"""

import json
from collections.abc import Iterable
from datetime import datetime
from typing import Any, Final
from urllib.parse import unquote

from deltalake import DeltaTable

from pipeline.calendars import EPOCH
from pipeline.errors import StorageError
from pipeline.lake.place import Lying, Place

FOLDER: Final = "_delta_log"
_DIGITS: Final = 20
_CHECKPOINT: Final = ".checkpoint.parquet"
CHECKPOINT_EVERY: Final = 20
"""Commits between checkpoints: opening a table reads at most that many log entries, a quarter of a millisecond each."""


LAST_CHECKPOINT: Final = f"{FOLDER}/_last_checkpoint"
"""Where the log says which checkpoint is its newest."""


def entry(version: int) -> str:
    """Where in the table's folder the log entry of `version` lies.

    >>> entry(7)
    '_delta_log/00000000000000000007.json'
    """
    return f"{FOLDER}/{version:0{_DIGITS}d}.json"


def is_begun(place: Place) -> bool:
    """Whether a table lies there; what a writer killed while making one left does not count.

    Raises:
        StorageError: there are data files, so there was a log, and it is gone.
    """
    if any(place.told([entry(0), LAST_CHECKPOINT])) or DeltaTable.is_deltatable(place.uri, place.options):
        return True
    if (stray := next((file for file in place.lying() if file.path.endswith(".parquet")), None)) is not None:
        raise StorageError(
            f"could not read {place.uri!r}: it holds {stray.path!r} but no log of what is valid; restore the folder "
            f"{FOLDER!r} from a copy, or remove the table's folder and compute it again"
        )
    return False


def check_entries(place: Place, version: int) -> list[Lying | None]:
    """Refuse an empty log entry: deltalake takes it for a commit that did nothing, and rows would be gone unseen.

    A power cut in the middle of a commit leaves one. Only the entries since the last checkpoint matter. Gives when each
    was written and its size, None where it is gone: as long as that stays the same, so does what was read from them.

    Raises:
        StorageError: an entry that a reader of `version` would use is empty.
    """
    seen = place.told([entry(number) for number in range(max(0, version - CHECKPOINT_EVERY), version + 1)])
    for found in seen:
        if found is not None and found.n_bytes == 0:
            raise StorageError(
                f"could not read {place.uri!r}: its log entry {found.path!r} is empty. If it is the newest, the power "
                "went during a write that was never acknowledged: remove it. Otherwise restore the folder from a copy"
            )
    return seen


def added(place: Place, version: int) -> list[str]:
    """The data files that the commit of `version` added."""
    return [unquote(a["add"]["path"]) for a in _actions(place, version) or () if "add" in a]


def removed_since(place: Place, version: int, cutoff: datetime) -> tuple[set[str], int]:
    """What readers may still be at who opened the table at or after `cutoff`.

    Gives the relative paths of the files that commits up to `version` let go since then, and the version that was the
    newest at `cutoff`.
    """
    cutoff_ms = (cutoff - EPOCH).total_seconds() * 1000
    found: set[str] = set()
    for number in range(version, -1, -1):
        actions = _actions(place, number)
        if actions is None:
            return found, number + 1
        if any(a["commitInfo"].get("timestamp", cutoff_ms) < cutoff_ms for a in actions if "commitInfo" in a):
            return found, number
        found |= {unquote(a["remove"]["path"]) for a in actions if "remove" in a}
    return found, 0


def unneeded(place: Place, oldest: int, kept: Iterable[int]) -> list[Lying]:
    """The log entries and checkpoints without which every version from `oldest` on and every kept one can be opened.

    A version is opened from the last checkpoint at or before it and the entries after that. Opening lists the whole
    folder, so entries that nobody needs cost every reader and writer time.
    """
    files = [(file, file.path.rpartition("/")[2]) for file in sorted(place.lying(FOLDER), key=lambda file: file.path)]
    ours = [(file, int(name[:_DIGITS]), name.endswith(_CHECKPOINT)) for file, name in files if _is_ours(name)]
    checkpoints = [number for _, number, is_checkpoint in ours if is_checkpoint]

    def base(version: int) -> int:
        return max((number for number in checkpoints if number <= version), default=0)

    needed = [(base(oldest), None), *((base(version), version) for version in kept)]
    return [
        file
        for file, number, _ in ours
        if not any(first <= number and (last is None or number <= last) for first, last in needed)
    ]


def _is_ours(name: str) -> bool:
    """Whether a file of the log's folder is an entry or a checkpoint as they are written here; others are left alone.

    >>> [_is_ours(f"{7:020d}{end}") for end in (".json", ".checkpoint.parquet", ".crc", ".json#1")]
    [True, True, False, False]
    """
    return name[:_DIGITS].isdigit() and name[_DIGITS:] in (".json", _CHECKPOINT)


def _actions(place: Place, version: int) -> list[dict[str, Any]] | None:
    """What the commit of `version` did; None where its entry is gone."""
    path = entry(version)
    try:
        # As bytes: in a text, a line also ends at characters that a name from a chain may hold.
        return [json.loads(line) for line in place.read(path).splitlines() if line]
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise StorageError(
            f"could not read the log entry {path!r} of {place.uri!r}: {error!r}; restore it from a copy"
        ) from error
