"""Delta's own handle on a table: opened, created, committed to.

Belongs here: every call that moves a table from one version to another. Stays out: what a commit holds (`plans`,
`files`), and when it is durable (`store`).
"""

import threading
from pathlib import Path
from typing import Final

import polars as pl
from deltalake import DeltaTable, PostCommitHookProperties
from deltalake.transaction import AddAction, RemoveAction

from pipeline.lake import log
from pipeline.lake.rows import stored_schema
from pipeline.tables import Table

# Checkpoints are made by the lake, so that they reach the disk before the commit is acknowledged. Log entries are kept,
# so that every version that was not vacuumed can be opened.
_NO_HOOKS: Final = PostCommitHookProperties(create_checkpoint=False, cleanup_expired_logs=False)


class Opened(threading.local):
    """The tables that a thread has opened, so that opening one again reads only what was committed since.

    Opening anew reads a checkpoint that names every file of the table. A thread has its own, so that no other moves a
    table on between a plan and its commit; sent to another process, it is empty.
    """

    def __init__(self) -> None:
        self._known: dict[Path, tuple[DeltaTable, list[tuple[int, int] | None]]] = {}

    def __reduce__(self) -> tuple[type["Opened"], tuple[()]]:
        return Opened, ()

    def newest(self, folder: Path) -> DeltaTable:
        """The newest version; what this thread knows counts where the log is as it was.

        Raises:
            StorageError: a log entry is empty.
        """
        found, seen = self._known.pop(folder, (None, None))
        if found is not None and log.check_entries(folder, found.version()) == seen:
            found.update_incremental()
        else:
            found = DeltaTable(folder)
        self.remember(folder, found)
        return found

    def remember(self, folder: Path, found: DeltaTable) -> None:
        """Know the table as `found`."""
        self._known[folder] = found, log.check_entries(folder, found.version())


def at_version(folder: Path, version: int) -> DeltaTable:
    """An older version.

    Raises:
        StorageError: a log entry is empty.
    """
    found = DeltaTable(folder, version=version)
    log.check_entries(folder, found.version())
    return found


def create(table: Table, folder: Path) -> DeltaTable:
    """Commit the empty table, as version 0."""
    return DeltaTable.create(
        folder,
        stored_schema(table),
        partition_by=list(table.partition_by),
        name=table.name,
        description=table.grain,
    )


def schema(found: DeltaTable) -> pl.Schema:
    """Columns and dtypes as the log has them."""
    return pl.Schema(found.schema())


def identity(found: DeltaTable) -> str:
    """The name that was drawn when the table was created."""
    return str(found.metadata().id)


def commit(found: DeltaTable, actions: list[AddAction | RemoveAction]) -> None:
    """Add and remove files in one log entry, and bring `found` to the version that has it.

    A removal conflicts with whoever removed the same file in between.

    Raises:
        CommitFailedError: there was such a conflict; nothing was committed.
    """
    found.create_write_transaction(
        actions, "append", found.schema(), found.metadata().partition_columns, post_commithook_properties=_NO_HOOKS
    )
    found.update_incremental()
