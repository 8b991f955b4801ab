"""What bringing the tables to the columns of their specs would do, told before it is done.

Belongs here: the plan of one table's migration. Stays out: carrying it out (`Lake.migrate`), the mapping (`shapes`),
which tables there are and what is copied first (`resources.migrations`).
"""

from dataclasses import dataclass

from pipeline.lake import shapes
from pipeline.lake.store import Lake
from pipeline.tables import Table
from pipeline.tables.changes import in_words


@dataclass(frozen=True)
class TablePlan:
    """One table to be rewritten: from which version, by which changes, and how much of it there is."""

    table: str
    version: int
    changes: tuple[str, ...]
    n_files: int
    n_bytes: int


def plan(lake: Lake, table: Table) -> TablePlan | None:
    """What `Lake.migrate` would do; None where there is nothing to do.

    Raises:
        StorageError: neither this version of the code nor an older one wrote the table.
    """
    version = lake.version(table)
    stored = None if version is None else lake.listing(table, version=version)
    if version is None or stored is None or stored.shape is table:
        return None
    changes = tuple(in_words(change) for change in shapes.pending(table, stored.shape))
    return TablePlan(table.name, version, changes, len(stored.files), int(stored.files["n_bytes"].sum()))
