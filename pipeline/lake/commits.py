"""From one planned change to one durable commit.

Belongs here: the steps of a commit in the order that makes it atomic and durable: files, log entry, disk, checkpoint.
Stays out: what a change holds (`plans`), trying again where another writer came first (`store`).
"""

from deltalake import DeltaTable

from pipeline.lake import delta, files, log, plans
from pipeline.lake.place import Place
from pipeline.tables import Table


def created(table: Table, place: Place) -> DeltaTable:
    """Commit the empty table first: from then on, data files without a log are a loss and not a leftover.

    Raises:
        CommitFailedError: another writer made it first.
    """
    made = delta.create(table, place)
    place.begun()
    return made


def carry_out(table: Table, place: Place, found: DeltaTable, change: plans.Change) -> None:
    """Write the change's files and commit it, as the version after `found`, which is brought there.

    Files of a commit that failed stay: where a store's answer was lost, it may have been made. A vacuum takes them.

    Raises:
        CommitFailedError: another commit came first; nothing was committed.
    """
    version, is_new = found.version() + 1, not change.is_moved
    ending = place.ending()
    added = [
        action
        for number, rows in enumerate(change.added)
        for action in files.write(
            table, place, rows, f"part-{version:020d}-{number:05d}{ending}.zstd.parquet", is_new=is_new
        )
    ]
    at_ms = place.stamp_ms()
    gone = () if change.removed is None else change.removed.iter_rows(named=True)
    removed = [files.removal(file, table, at_ms, is_gone=is_new) for file in gone]
    if change.is_reshaped:
        delta.reshape(found, table, [*added])
    else:
        delta.commit(found, [*added, *removed], change.is_moved)


def seal(place: Place, found: DeltaTable, before: int) -> None:
    """Bring every commit that is not known to be on the disk there, and a checkpoint where one is due."""
    version = found.version()
    place.settle(before, version)
    if version // log.CHECKPOINT_EVERY > before // log.CHECKPOINT_EVERY:
        found.create_checkpoint()
        place.settle_checkpoint(version)
