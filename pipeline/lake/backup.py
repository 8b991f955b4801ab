"""A copy of a table beside the lake, and the way back.

Belongs here: copying a table's folder so that the copy is whole or not there, and putting it back. A data file never
changes, so the copy shares it with the table where the file system can (a hard link costs nothing); the log is copied.
Such a copy guards against a migration or a mistake, not against the loss of the disk.
Stays out: databases, and which tables are copied when (`resources.backups`). A table on an object store is not copied:
its older versions are its backup, and the number of one is all that is kept.
"""

import os
import shutil
from pathlib import Path
from typing import Final

from pipeline.errors import StorageError
from pipeline.lake import disk, log
from pipeline.lake.store import Lake
from pipeline.tables import Table

_OLD: Final = ".old"
_FRESH: Final = ".fresh"


def copy(lake: Lake, table: Table, to: Path) -> int | None:
    """Copy a table into the folder `to`; gives the version it was at, None where there is no table.

    A copy that is there is left as it is.

    Raises:
        StorageError: the table is damaged, or the disk is full (StorageFullError); there is no copy then.
    """
    with disk.reporting(f"copy {table.name!r}"), lake.locked(table.name):
        version = lake.version(table)
        if isinstance(lake.root, Path) and version is not None and not (whole := to / table.name).exists():
            _copy(lake.root / table.name, fresh := to / f"{table.name}{_FRESH}")
            fresh.rename(whole)
            disk.fsync(to)
        return version


def restore(lake: Lake, table: Table, copied: Path | None) -> None:
    """Put a copy in the place of the table, or none where there was none; killed at any moment, it can be repeated.

    Args:
        lake: where the table lies.
        table: its spec.
        copied: the folder that `copy` was given; None: there was no table, so there shall be none.

    Raises:
        StorageError: the copy is not there, or the lake is on an object store.
    """
    root = require(lake, table, copied)
    with disk.reporting(f"restore {table.name!r}"), lake.locked(table.name):
        place, old, fresh = root / table.name, root / f".{table.name}{_OLD}", root / f".{table.name}{_FRESH}"
        if copied is not None:
            _copy(copied / table.name, fresh)
        # What a killed restore left: the table is in its place, or the copy is made anew, so it is not needed.
        shutil.rmtree(old, ignore_errors=True)
        if place.exists():
            place.rename(old)
        if copied is not None:
            fresh.rename(place)
            disk.fsync(root)
        shutil.rmtree(old, ignore_errors=True)


def require(lake: Lake, table: Table, copied: Path | None) -> Path:
    """Make sure, before anything is touched, that `restore` can be done; gives the lake's folder.

    Raises:
        StorageError: as `restore` does.
    """
    if not isinstance(lake.root, Path):
        raise StorageError(
            f"could not restore {table.name!r}: it lies on an object store, where nothing was copied; read the version "
            "that the backup names, with the version of poolcast that wrote it"
        )
    if copied is not None and not (copied / table.name / log.FOLDER).is_dir():
        raise StorageError(f"could not restore {table.name!r}: there is no copy of it in {str(copied)!r}")
    return lake.root


def _copy(folder: Path, to: Path) -> None:
    """Copy a table's folder durably: its data linked where that can be, its log written anew."""
    shutil.rmtree(to, ignore_errors=True)
    for parent, _, names in folder.walk():
        beside = to / parent.relative_to(folder)
        beside.mkdir(parents=True)
        for name in names:
            if log.FOLDER in parent.relative_to(folder).parts or not _is_linked(parent / name, beside / name):
                shutil.copy2(parent / name, beside / name)
                disk.fsync(beside / name)
        disk.fsync(beside)


def _is_linked(file: Path, to: Path) -> bool:
    """Whether the file system lets two folders share the file."""
    try:
        os.link(file, to)
    except OSError:
        return False
    return True
