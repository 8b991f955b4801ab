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
from deltalake import DeltaTable
from deltalake.exceptions import CommitFailedError

from pipeline.calendars import Span, require_utc
from pipeline.errors import CommitConflictError, StorageError, UsageError
from pipeline.lake import delta, disk, files, log, plans, upkeep
from pipeline.lake.rows import DAY, SOURCE, conform, require_time, stored_schema, within
from pipeline.tables import Table

_ATTEMPTS: Final = 6
_FIRST_PAUSE_S: Final = 0.02
_Plan = Callable[[files.Stored], plans.Change | None]


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
    _opened: delta.Opened = field(default_factory=delta.Opened, init=False, repr=False, compare=False)

    def scan(
        self,
        table: Table,
        span: Span | None = None,
        *,
        version: int | None = None,
        sources: Collection[str] | None = None,
    ) -> pl.LazyFrame:
        """The table's rows in the columns of its spec, read when collected; no row order is promised.

        The version is fixed by this call: later commits do not show. An absent table is an empty one.

        Args:
            table: the spec.
            span: only rows with start <= `table.time` < end; files of other days are not opened.
            version: an older version, as a `Commit` gave it.
            sources: only rows of these sources; files that cannot hold any are not opened.

        Raises:
            UsageError: a span for a table that does not follow time.
            StorageError: no such version, or the log or a file is lost or damaged.
        """
        wanted = [] if span is None else [within(table, span)]
        found = self._open(table, version)
        if found is None:
            return table.empty().lazy()
        stored = self._listing(table, found)
        stored.check(None if span is None else stored.on_days(span))
        chosen = stored.files if span is None else stored.meeting(span)
        if sources is not None:
            chosen = chosen.filter(files.may_hold(list(sources)))
            wanted.append(pl.col(SOURCE).is_in(list(sources)))
        return stored.rows(chosen).filter(*wanted).select(table.schema.names())

    def listing(self, table: Table, *, version: int | None = None) -> files.Stored | None:
        """The files of the newest or an older version, for readers other than Polars; None where there is no table.

        Two listings tell what lies in both versions: a file is never changed, and no two have one name.

        Raises:
            StorageError: no such version, or the log is lost or damaged.
        """
        found = self._open(table, version)
        return None if found is None else self._listing(table, found)

    def status(self, table: Table) -> upkeep.TableStatus | None:
        """Rows, files, bytes and times of the newest version, from its log alone; None where there is no table.

        Raises:
            StorageError: the log is lost or damaged.
        """
        found = self._open(table)
        return None if found is None else upkeep.status(self._listing(table, found), found.version())

    def version(self, table: Table) -> int | None:
        """The newest version of the table; None where there is no table.

        Raises:
            StorageError: the log is lost or damaged.
        """
        found = self._open(table)
        return None if found is None else found.version()

    def identity(self, table: Table) -> str | None:
        """What tells this table from another of its name, made after it was removed, whose versions count anew.

        None where there is no table.

        Raises:
            StorageError: the log is lost or damaged.
        """
        found = self._open(table)
        return None if found is None else delta.identity(found)

    def append(self, table: Table, frame: pl.DataFrame) -> Commit:
        """Add the rows whose key is not stored yet; a stored row is never changed. `n_rows` counts the added ones.

        Stored keys are looked for at the rows' own times, where the key settles them (`plans.KEY_SETTLES_TIME`), and
        in the whole table otherwise.

        Raises:
            InputError: the frame is not what the spec says (rows that are equal throughout count once).
            CommitConflictError: a writer that does not take the lock kept changing the table.
            StorageError: the disk is full (StorageFullError), or the table is damaged.
        """
        rows = conform(table, frame, collapse=True)
        return self._commit(table, lambda stored: plans.append(stored, rows), is_empty=rows.is_empty())

    def replace(self, table: Table, frame: pl.DataFrame, span: Span) -> Commit:
        """Put the frame in the place of all rows whose time lies in `span`, in one commit; an empty frame deletes.

        Rewrites the files that the span meets in part; those that lie in it go unread.

        Raises:
            UsageError: a row lies outside the span, or the table does not follow time.
            InputError: the frame is not what the spec says.
            CommitConflictError: a writer that does not take the lock kept changing the table.
            StorageError: the disk is full (StorageFullError), or the table is damaged.
        """
        require_time(table)
        rows = conform(table, frame)
        plans.check_inside(table, rows, span)
        return self._commit(table, lambda stored: plans.replace(stored, rows, span), is_empty=rows.is_empty())

    def discard(self, table: Table, sources: Collection[str], span: Span) -> Commit:
        """Delete the rows of some sources whose time lies in `span`, in one commit; `n_rows` counts them.

        Raises:
            UsageError: the table does not follow time, or its rows name no source.
            CommitConflictError: a writer that does not take the lock kept changing the table.
            StorageError: the disk is full (StorageFullError), or the table is damaged.
        """
        require_time(table)
        table.column(SOURCE)
        return self._commit(table, lambda stored: plans.discard(stored, sources, span), is_empty=True)

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
        return self._commit(table, lambda stored: plans.upsert(stored, rows), is_empty=rows.is_empty())

    def compact(self, table: Table, *, progress: Callable[[float], None] = lambda _share: None) -> Commit:
        """Merge the small files of each partition, sorted; the rows stay as they are. `n_rows` is 0.

        A large table takes several commits, so that other writers need not wait for the end.

        Args:
            table: the spec.
            progress: told what share of the files found small at the start is merged.

        Raises:
            CommitConflictError: a writer that does not take the lock kept changing the table.
            StorageError: the disk is full (StorageFullError), or the table is damaged.
        """
        with disk.reporting(f"compact {table.name!r}"):
            found = self._open(table)
            if found is None:
                return Commit(None, 0)
            small = list(plans.mergeable(self._listing(table, found).files, table))
        left = {path for group in small for path in group["path"]}
        n_small, done = len(left), Commit(found.version(), 0)
        while left:
            merged: set[str] = set()
            done = self._commit(table, lambda stored: _noting(plans.merge(stored, left), merged), is_empty=True)  # noqa: B023
            if not merged:
                break
            left -= merged
            progress(1 - len(left) / n_small)
        return done

    def vacuum(
        self,
        table: Table,
        *,
        now: datetime,
        retention: timedelta,
        keep_versions: Collection[int] = (),
        is_dry: bool = False,
    ) -> tuple[Path, ...]:
        """Delete files that only versions replaced before `now - retention` need; gives the deleted paths.

        Log entries that only those need go too, once a checkpoint stands in for them: opening a table lists its log.

        Args:
            table: the spec.
            now: UTC, by the machine's clock.
            retention: at least as long as the longest read.
            keep_versions: older versions that must stay readable (what training sets were made from).
            is_dry: only say what would go.

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
            folder = self.root / table.name
            kept = {
                version: self._listing(table, opened)
                for version in sorted(keep_versions)
                if (opened := self._open(table, version)) is not None
            }
            doomed = upkeep.unneeded(folder, (newest.version(), self._listing(table, newest)), kept, cutoff)
            for path in () if is_dry else doomed:
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
            return self._opened.newest(folder) if version is None else delta.at_version(folder, version)

    def _listing(self, table: Table, found: DeltaTable) -> files.Stored:
        """The opened version's files."""
        folder = self.root / table.name
        with disk.reporting(f"read {table.name!r}"):
            if (told := delta.schema(found)) != stored_schema(table):
                raise StorageError(
                    f"could not read {table.name!r}: {str(folder)!r} holds {dict(told)!r} where this code "
                    f"expects {dict(stored_schema(table))!r}; migrate the table, or remove it and compute it again"
                )
            return files.stored(table, folder, found)

    def _commit(self, table: Table, plan: _Plan, *, is_empty: bool) -> Commit:
        """Carry out what `plan` makes of the newest version; an empty frame makes no table."""
        with self._writing(table, "write to"):
            return self._attempt(table, plan, is_empty=is_empty)

    @contextmanager
    def _writing(self, table: Table, verb: str) -> Iterator[None]:
        with disk.reporting(f"{verb} {table.name!r}"), disk.locked(self.root / ".locks" / f"{table.name}.lock"):
            yield

    def _created(self, table: Table) -> DeltaTable:
        """Commit the empty table first: from then on, data files without a log are a loss and not a leftover."""
        folder = self.root / table.name
        made = delta.create(table, folder)
        self._sync([log.entry(folder, 0)])
        self.sync(self.root)
        self.sync(self.root.parent)
        return made

    def _attempt(self, table: Table, plan: _Plan, *, is_empty: bool) -> Commit:
        """Change the newest version, again if a writer that does not take the lock came between."""
        # A pause must differ between processes and be the same when a test runs again.
        dice = random.Random(f"{self.seed} {table.name} {os.getpid()}")  # noqa: S311
        for attempt in range(_ATTEMPTS):
            found = self._open(table)
            if found is None and is_empty:
                return Commit(None, 0)
            found = found or self._created(table)
            before = found.version()
            change = plan(self._listing(table, found))
            try:
                if change is not None:
                    self._carry_out(table, found, change)
            except CommitFailedError:
                time.sleep(_FIRST_PAUSE_S * 2**attempt * (0.5 + dice.random()))
                continue
            self._seal(table, found, before)
            self._opened.remember(self.root / table.name, found)
            return Commit(found.version(), 0 if change is None else change.n_rows)
        raise CommitConflictError(
            f"could not write to {table.name!r}: another writer changed it during each of {_ATTEMPTS} attempts; "
            "find the writer that does not go through the lake, or try again later"
        )

    def _carry_out(self, table: Table, found: DeltaTable, change: plans.Change) -> None:
        """Write the change's files and commit it."""
        folder, version, is_new = self.root / table.name, found.version() + 1, not change.is_moved
        added = [
            action
            for number, rows in enumerate(change.added)
            for action in files.write(
                table, folder, rows, f"part-{version:020d}-{number:05d}.zstd.parquet", is_new=is_new
            )
        ]
        at_ms = disk.stamp(self.root / ".locks" / f"{table.name}.lock")
        gone = () if change.removed is None else change.removed.iter_rows(named=True)
        removed = [files.removal(file, table, at_ms, is_gone=is_new) for file in gone]
        delta.commit(found, [*added, *removed])

    def _seal(self, table: Table, found: DeltaTable, before: int) -> None:
        """Bring every commit that is not known to be on the disk there, and a checkpoint where one is due.

        The newest commits before ours may not be: their writer may have been killed in between, and we build on them.
        """
        folder, note = self.root / table.name, self.root / ".locks" / f"{table.name}.synced"
        synced = disk.noted(note)
        first = synced + 1 if synced is not None and synced <= before else before
        for version in range(first, found.version() + 1):
            # What later commits let go may have been vacuumed.
            if (entry := log.entry(folder, version)).exists():
                self._sync(path for path in (*log.added(folder, version), entry) if path.exists())
        if found.version() // log.CHECKPOINT_EVERY > before // log.CHECKPOINT_EVERY:
            found.create_checkpoint()
            self._sync(sorted((folder / log.FOLDER).glob(f"{found.version():020d}.checkpoint*")))
            self._sync([log.last_checkpoint(folder)])
        if synced != found.version():
            note.write_text(str(found.version()), encoding="ascii")

    def _sync(self, paths: Iterable[Path]) -> None:
        """Files first, then each folder between them and the root, which holds their names."""
        folders: dict[Path, None] = {}
        for path in paths:
            self.sync(path)
            folders |= dict.fromkeys(parent for parent in path.parents if self.root in parent.parents)
        for folder in folders:
            self.sync(folder)


def _noting(change: plans.Change | None, removed: set[str]) -> plans.Change | None:
    """The change, after noting the paths it removes; planned anew, those of the last plan count."""
    removed.clear()
    if change is not None and change.removed is not None:
        removed |= set(change.removed["path"])
    return change
