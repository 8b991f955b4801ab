"""The lake's verbs: scan, append, replace, upsert, and the upkeep of the files they leave.

Belongs here: what a verb promises (atomic, idempotent, one writer at a time, durable) and the one path every commit
takes: take the table's lock, open the newest version, plan the change against it, commit, bring the files to the
disk. Readers take no lock: a version, once opened, does not change.
Stays out: what a frame must be (`rows`), what a verb changes (`plans`), the log's format (`log`), the disk (`disk`).
"""

import os
import random
import time
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

import polars as pl
from deltalake import DeltaTable, PostCommitHookProperties, WriterProperties, write_deltalake
from deltalake.exceptions import CommitFailedError

from pipeline.calendars import Span, require_utc
from pipeline.errors import CommitConflictError, StorageError, UsageError
from pipeline.lake import disk, log, plans, upkeep
from pipeline.lake.rows import DAY, conform, require_time, stored_schema, with_day, within
from pipeline.tables import Table

_ATTEMPTS: Final = 6
_FIRST_PAUSE_S: Final = 0.02
# Row groups small enough that one pool, or one hour, is a small part of a large file.
_FILES: Final = WriterProperties(compression="ZSTD", max_row_group_size=100_000)
# Checkpoints are made here, so that they reach the disk before the commit is acknowledged. Log entries are kept, so
# that every version that was not vacuumed can be opened.
_NO_HOOKS: Final = PostCommitHookProperties(create_checkpoint=False, cleanup_expired_logs=False)

_Plan = Callable[[pl.LazyFrame], plans.Change | None]


@dataclass(frozen=True)
class Commit:
    """What a write did: the version the table is at now (None: there is no table), and how many rows it wrote."""

    version: int | None
    n_rows: int


@dataclass(frozen=True)
class Lake:
    """Delta tables under one root folder; a small value that may be sent to a spawned (never forked) process.

    Writes are atomic and durable, and one that raised may be repeated. All writers of a table must go through this
    class and see the same local file system: the lock that keeps keys unique is a file in it.

    Args:
        root: the folder; made at the first write.
        seed: of the pauses between attempts.
        sync: brings a path to the disk; tests put a recorder here.

    >>> import tempfile
    >>> from pipeline.tables import PARTITIONS
    >>> lake = Lake(Path(tempfile.mkdtemp()))
    >>> hour = datetime.fromisoformat("2020-09-08T17:00:00Z")
    >>> row = {"table_name": "labels", "hour": hour, "fingerprint": "f", "content_hash": "c", "n_rows": 3}
    >>> frame = pl.DataFrame([row], schema=PARTITIONS.schema)
    >>> lake.append(PARTITIONS, frame)
    Commit(version=1, n_rows=1)
    >>> lake.append(PARTITIONS, frame)
    Commit(version=1, n_rows=0)
    >>> lake.upsert(PARTITIONS, frame.with_columns(n_rows=pl.lit(4)))
    Commit(version=2, n_rows=1)
    >>> [lake.scan(PARTITIONS, version=v).collect()["n_rows"].to_list() for v in (1, 2)]
    [[3], [4]]
    """

    root: Path
    seed: int = field(default=0, kw_only=True)
    sync: Callable[[Path], None] = field(default=disk.fsync, kw_only=True)

    def scan(self, table: Table, span: Span | None = None, *, version: int | None = None) -> pl.LazyFrame:
        """The table's rows in the columns of its spec, read when collected; no row order is promised.

        The version is fixed by this call: later commits do not show. An absent table is an empty one.

        Args:
            table: the spec.
            span: only rows with start <= `table.time` < end; files of other days are not opened.
            version: an older version, as a `Commit` gave it.

        Raises:
            UsageError: a span for a table that does not follow time.
            StorageError: no such version, or the log or a file is lost or damaged.
        """
        wanted = pl.lit(value=True) if span is None else within(table, span)
        found = self._open(table, version)
        if found is None:
            return table.empty().lazy()
        return self._scan(table, found).filter(wanted).select(table.schema.names())

    def version(self, table: Table) -> int | None:
        """The newest version of the table; None where there is no table.

        Raises:
            StorageError: the log is lost or damaged.
        """
        found = self._open(table)
        return None if found is None else found.version()

    def append(self, table: Table, frame: pl.DataFrame) -> Commit:
        """Add the rows whose key is not stored yet; a stored row is never changed. `n_rows` counts the added ones.

        Raises:
            InputError: the frame is not what the spec says (rows that are equal throughout count once).
            CommitConflictError: a writer that does not take the lock kept changing the table.
            StorageError: the disk is full (StorageFullError), or the table is damaged.
        """
        rows = conform(table, frame, collapse=True)
        return self._commit(table, rows, lambda stored: plans.append(table, stored, rows))

    def replace(self, table: Table, frame: pl.DataFrame, span: Span) -> Commit:
        """Put the frame in the place of all rows whose time lies in `span`, in one commit; an empty frame deletes.

        Rewrites the days that the span meets; memory follows the frame and the span's first and last day.

        Raises:
            UsageError: a row lies outside the span, or the table does not follow time.
            InputError: the frame is not what the spec says.
            CommitConflictError: a writer that does not take the lock kept changing the table.
            StorageError: the disk is full (StorageFullError), or the table is damaged.
        """
        require_time(table)
        rows = conform(table, frame)
        plans.check_inside(table, rows, span)
        return self._commit(table, rows, lambda stored: plans.replace(table, stored, rows, span))

    def upsert(self, table: Table, frame: pl.DataFrame) -> Commit:
        """Insert or overwrite rows by key; `n_rows` counts the new and the changed. For small tables.

        Rewrites the partitions that the frame meets, or the whole table where it has none.

        Raises:
            UsageError: the table is laid out by day.
            InputError: the frame is not what the spec says.
            CommitConflictError: a writer that does not take the lock kept changing the table.
            StorageError: the disk is full (StorageFullError), or the table is damaged.
        """
        if DAY in table.partition_by:
            raise UsageError(f"cannot upsert into {table.name!r}: it is laid out by day; replace a span of it")
        rows = conform(table, frame)
        return self._commit(table, rows, lambda stored: plans.upsert(table, stored, rows))

    def compact(self, table: Table) -> Commit:
        """Merge the small files of each partition; the rows stay as they are. `n_rows` is 0.

        Raises:
            CommitConflictError: a writer that does not take the lock kept changing the table.
            StorageError: the disk is full (StorageFullError), or the table is damaged.
        """

        def merge(found: DeltaTable) -> int:
            found.optimize.compact(writer_properties=_FILES, post_commithook_properties=_NO_HOOKS)
            return 0

        with self._writing(table, "compact"):
            return Commit(None, 0) if self._open(table) is None else self._attempt(table, merge)

    def vacuum(
        self, table: Table, *, now: datetime, retention: timedelta, keep_versions: Collection[int] = ()
    ) -> tuple[Path, ...]:
        """Delete files that only versions replaced before `now - retention` need; gives the deleted paths.

        Args:
            table: the spec.
            now: UTC, by the machine's clock.
            retention: at least as long as the longest read.
            keep_versions: older versions that must stay readable (what training sets were made from).

        Raises:
            UsageError: `now` is not UTC, or the retention is negative.
            StorageError: a kept version does not exist, or the table is damaged. Nothing was deleted then.
        """
        if retention < timedelta(0):
            raise UsageError(f"cannot vacuum {table.name!r} with a negative retention {retention!r}")
        cutoff = require_utc(now) - retention
        with self._writing(table, "vacuum"):
            newest = self._open(table)
            if newest is None:
                return ()
            kept = [t for version in sorted(keep_versions) if (t := self._open(table, version)) is not None]
            doomed = upkeep.unneeded(self.root / table.name, newest, kept, cutoff)
            for path in doomed:
                path.unlink()
            return tuple(doomed)

    def _open(self, table: Table, version: int | None = None) -> DeltaTable | None:
        folder, which = self.root / table.name, "the newest version" if version is None else f"version {version!r}"
        with disk.reporting(f"open {which} of {table.name!r}"):
            is_begun = log.is_begun(folder)
            if version is not None and (version < 0 or not is_begun):
                raise StorageError(f"table {table.name!r} has no {which}; ask for one that a commit gave")
            if not is_begun:
                return None
            found = DeltaTable(folder, version=version)
            log.check_entries(folder, found.version())
            return found

    def _scan(self, table: Table, found: DeltaTable) -> pl.LazyFrame:
        """The opened version as it lies on the disk, the lake's own `day` column included."""
        folder = self.root / table.name
        with disk.reporting(f"read {table.name!r}"):
            disk.check_sizes(folder, log.sizes(found))
            rows = pl.scan_delta(found)
            if (stored := rows.collect_schema()) != stored_schema(table):
                raise StorageError(
                    f"could not read {table.name!r}: {str(folder)!r} holds {dict(stored)!r} where this code "
                    f"expects {dict(stored_schema(table))!r}; migrate the table, or remove it and compute it again"
                )
            return rows

    def _commit(self, table: Table, rows: pl.DataFrame, plan: _Plan) -> Commit:
        def carry_out(found: DeltaTable) -> int:
            change = plan(self._scan(table, found))
            if change is None:
                return 0
            rows = with_day(table, change.rows)
            if change.mode == "append":
                write_deltalake(
                    found, rows, mode="append", writer_properties=_FILES, post_commithook_properties=_NO_HOOKS
                )
            else:
                write_deltalake(
                    found,
                    rows,
                    mode="overwrite",
                    predicate=change.predicate,
                    writer_properties=_FILES,
                    post_commithook_properties=_NO_HOOKS,
                )
            return change.n_rows

        with self._writing(table, "write to"):
            if self._open(table) is None:
                if rows.is_empty():
                    return Commit(None, 0)
                self._create(table)
            return self._attempt(table, carry_out)

    @contextmanager
    def _writing(self, table: Table, verb: str) -> Iterator[None]:
        with disk.reporting(f"{verb} {table.name!r}"), disk.locked(self.root / ".locks" / f"{table.name}.lock"):
            yield

    def _create(self, table: Table) -> None:
        """Commit the empty table first: from then on, data files without a log are a loss and not a leftover."""
        folder = self.root / table.name
        DeltaTable.create(
            folder,
            stored_schema(table),
            partition_by=list(table.partition_by),
            name=table.name,
            description=table.grain,
        )
        self._sync([log.entry(folder, 0)])
        self.sync(self.root)
        self.sync(self.root.parent)

    def _attempt(self, table: Table, carry_out: Callable[[DeltaTable], int]) -> Commit:
        """Carry the change out on the newest version, again if a writer that does not take the lock came between."""
        # A pause must differ between processes and be the same when a test runs again.
        dice = random.Random(f"{self.seed} {table.name} {os.getpid()}")  # noqa: S311
        for attempt in range(_ATTEMPTS):
            found = self._open(table)
            if found is None:
                raise StorageError(f"table {table.name!r} went away while it was written to; run it again")
            before = found.version()
            try:
                n_rows = carry_out(found)
            except CommitFailedError:
                time.sleep(_FIRST_PAUSE_S * 2**attempt * (0.5 + dice.random()))
                continue
            self._seal(table, found, before)
            return Commit(found.version(), n_rows)
        raise CommitConflictError(
            f"could not write to {table.name!r}: another writer changed it during each of {_ATTEMPTS} attempts; "
            "find the writer that does not go through the lake, or try again later"
        )

    def _seal(self, table: Table, found: DeltaTable, before: int) -> None:
        """Bring every commit that is not known to be on the disk there, and a checkpoint where one is due.

        The newest commits before ours may not be: their writer may have been killed in between, and we build on them.
        """
        folder, note = self.root / table.name, self.root / ".locks" / f"{table.name}.synced"
        synced = disk.noted(note)
        first = synced + 1 if synced is not None and synced <= before else before
        for version in range(first, found.version() + 1):
            # Files that a later commit let go may have been vacuumed.
            self._sync(path for path in (*log.added(folder, version), log.entry(folder, version)) if path.exists())
        if found.version() // log.CHECKPOINT_EVERY > before // log.CHECKPOINT_EVERY:
            found.create_checkpoint()
            self._sync(sorted((folder / log.FOLDER).glob(f"{found.version():020d}.checkpoint*")))
            self._sync([folder / log.FOLDER / "_last_checkpoint"])
        if synced != found.version():
            note.write_text(str(found.version()), encoding="ascii")

    def _sync(self, files: Iterable[Path]) -> None:
        """Files first, then each folder between them and the root, which holds their names."""
        folders: dict[Path, None] = {}
        for path in files:
            self.sync(path)
            folders |= dict.fromkeys(parent for parent in path.parents if self.root in parent.parents)
        for folder in folders:
            self.sync(folder)
