"""Delta's own handle on a table: opened, created, committed to.

Belongs here: every call that moves a table from one version to another. Stays out: what a commit holds (`plans`,
`files`), and when it is durable (`store`).
"""

import threading
from typing import Final

import polars as pl
from deltalake import CommitProperties, DeltaTable, PostCommitHookProperties
from deltalake.exceptions import CommitFailedError, DeltaError
from deltalake.transaction import AddAction, RemoveAction

from pipeline.lake import log
from pipeline.lake.place import Lying, Place
from pipeline.lake.rows import stored_schema
from pipeline.tables import Table

# Checkpoints are made by the lake, so that they reach the disk before the commit is acknowledged. Log entries are kept,
# so that every version that was not vacuumed can be opened.
_NO_HOOKS: Final = PostCommitHookProperties(create_checkpoint=False, cleanup_expired_logs=False)
_REBASES: Final = 15


class Opened(threading.local):
    """The tables that a thread has opened, so that opening one again reads only what was committed since.

    Opening anew reads a checkpoint that names every file of the table. A thread has its own, so that no other moves a
    table on between a plan and its commit; sent to another process, it is empty.
    """

    def __init__(self) -> None:
        self._known: dict[Place, tuple[DeltaTable, list[Lying | None]]] = {}

    def __reduce__(self) -> tuple[type["Opened"], tuple[()]]:
        return Opened, ()

    def newest(self, place: Place) -> DeltaTable | None:
        """The newest version, None where there is no table; what this thread knows counts where the log is as it was.

        Raises:
            StorageError: a log entry is empty, or all of them are gone.
        """
        found, seen = self._known.pop(place, (None, []))
        if found is not None and log.check_entries(place, known := found.version()) == seen:
            found.update_incremental()
            if found.version() == known:
                self._known[place] = found, seen
                return found
        elif log.is_begun(place):
            found = DeltaTable(place.uri, storage_options=place.options)
        else:
            return None
        self.remember(place, found)
        return found

    def remember(self, place: Place, found: DeltaTable) -> None:
        """Know the table as `found`."""
        self._known[place] = found, log.check_entries(place, found.version())


def at_version(place: Place, version: int) -> DeltaTable:
    """An older version.

    Raises:
        StorageError: a log entry is empty.
    """
    found = DeltaTable(place.uri, version=version, storage_options=place.options)
    log.check_entries(place, found.version())
    return found


def create(table: Table, place: Place) -> DeltaTable:
    """Commit the empty table, as version 0.

    Raises:
        CommitFailedError: another writer made it first.
    """
    try:
        return DeltaTable.create(
            place.uri,
            stored_schema(table),
            partition_by=list(table.partition_by),
            name=table.name,
            description=table.grain,
            storage_options=place.options,
        )
    except DeltaError as error:
        if "already exists" not in str(error):
            raise
        raise CommitFailedError(str(error)) from None


def schema(found: DeltaTable) -> pl.Schema:
    """Columns and dtypes as the log has them."""
    return pl.Schema(found.schema())


def partitions(found: DeltaTable) -> tuple[str, ...]:
    """The columns that name the folders."""
    return tuple(found.metadata().partition_columns)


def identity(found: DeltaTable) -> str:
    """The name that was drawn when the table was created."""
    return str(found.metadata().id)


def commit(found: DeltaTable, actions: list[AddAction | RemoveAction], is_moved: bool = False) -> None:
    """Add and remove files in one log entry, and bring `found` to the version that has it.

    The entry is the one after the version that the change was planned against, or there is none: left alone, Delta puts
    an addition on top of whatever was committed meanwhile, whose keys nobody has compared. Only where rows merely move
    may it do so; then a removal conflicts with whoever removed the same file in between.

    Raises:
        CommitFailedError: another commit came first; nothing was committed.
    """
    found.create_write_transaction(
        actions,
        "append",
        found.schema(),
        found.metadata().partition_columns,
        commit_properties=CommitProperties(max_commit_retries=_REBASES if is_moved else 0),
        post_commithook_properties=_NO_HOOKS,
    )
    found.update_incremental()


def reshape(found: DeltaTable, table: Table, actions: list[AddAction | RemoveAction]) -> None:
    """Put files in the columns of the spec in the place of all there are, in one log entry.

    Raises:
        CommitFailedError: another commit came first; nothing was committed.
    """
    columns = pl.DataFrame(schema=stored_schema(table)).to_arrow(compat_level=pl.CompatLevel.oldest()).schema
    found.create_write_transaction(
        actions,
        "overwrite",
        columns,
        found.metadata().partition_columns,
        commit_properties=CommitProperties(max_commit_retries=0),
        post_commithook_properties=_NO_HOOKS,
    )
    found.update_incremental()
