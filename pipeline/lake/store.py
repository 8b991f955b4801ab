"""The lake's verbs: scan, append, replace, upsert, and the upkeep of the files they leave.

Belongs here: what a verb promises (atomic, idempotent, one writer at a time, durable) and the one path every commit
takes: take the table's lock, open the newest version, plan the change against it, commit as the one after it, bring the
files to the disk. Readers take no lock: a version, once opened, does not change.
Stays out: what a frame must be (`rows`), what a verb changes (`plans`), how one change becomes a durable commit
(`commits`), the log's format (`log`), where files lie (`folder`, `bucket`).
"""

import os
import random
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

import polars as pl
from deltalake import DeltaTable
from deltalake.exceptions import CommitFailedError

from pipeline.calendars import Span, require_utc
from pipeline.errors import CommitConflictError, StorageError, UsageError
from pipeline.lake import commits, delta, disk, files, log, plans, shapes, upkeep
from pipeline.lake.bucket import Bucket
from pipeline.lake.folder import Folder
from pipeline.lake.place import Lying, Place
from pipeline.lake.rows import DAY, SOURCE, conform, require_time, within
from pipeline.tables import Table

_FIRST_PAUSE_S: Final = 0.02
_LONGEST_PAUSE_S: Final = 0.5
_Plan = Callable[[files.Stored], plans.Change | None]


@dataclass(frozen=True)
class Commit:
    """What a write did: the version the table is at now (None: there is no table), and how many rows it wrote."""

    version: int | None
    n_rows: int


@dataclass(frozen=True)
class Lake:
    """Delta tables under one root; a small value that may be sent to a spawned (never forked) process.

    Writes are atomic and durable, and one that raised may be repeated. All writers of a table must go through this
    class: it commits a change only as the version right after the one whose keys it has compared.

    Args:
        root: the folder, made at the first write; or a prefix of an object store.
        seed: of the pauses between attempts.
        sync: brings a path of the folder to the disk; tests put a recorder here.

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

    root: Path | Bucket
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
        stored = self._listing(table, found, is_old=version is not None)
        if version is not None or not stored.place.tells_losses:
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
        return None if found is None else self._listing(table, found, is_old=version is not None)

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

        Stored keys are looked for at the rows' own times, where the key settles them (`Table.key_reach`), and in
        the whole table otherwise.

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

    def migrate(self, table: Table, *, progress: Callable[[float], None] = lambda _share: None) -> Commit:
        """Rewrite the newest version in the columns that the spec has now, in one commit; older ones stay as they are.

        Raises:
            InputError: a row is none that the spec allows; the table is as it was, as it is after the next.
            StorageError: a value would change with its type, newer code wrote the table, or the disk is full.
        """
        return self._commit(table, lambda stored: plans.migrate(stored, progress), is_empty=True, is_old=True)

    def vacuum(
        self,
        table: Table,
        *,
        now: datetime,
        retention: timedelta,
        keep_versions: Collection[int] = (),
        is_dry: bool = False,
    ) -> tuple[Lying, ...]:
        """Delete files that only versions replaced before `now - retention` need; gives the deleted files.

        Log entries that only those need go too, once a checkpoint stands in for them: opening a table lists its log.

        Args:
            table: the spec.
            now: UTC, by the machine's clock.
            retention: at least as long as the longest read; on an object store, an hour is the least.
            keep_versions: older versions that must stay readable (what training sets were made from).
            is_dry: only say what would go.

        Raises:
            UsageError: `now` is not UTC, or the retention is negative.
            StorageError: a kept version does not exist, or the table is damaged. Nothing was deleted then.
        """
        if retention < timedelta(0):
            raise UsageError(f"cannot vacuum {table.name!r} with a negative retention {retention!r}")
        cutoff = require_utc(now) - max(retention, self._home.grace)
        with self._writing(table, "vacuum"):
            newest = self._open(table)
            if newest is None:
                return ()
            kept = {
                version: self._listing(table, opened, is_old=True)
                for version in sorted(keep_versions)
                if (opened := self._open(table, version)) is not None
            }
            doomed = upkeep.unneeded(self._place(table), (newest.version(), self._listing(table, newest)), kept, cutoff)
            for file in () if is_dry else doomed:
                self._place(table).delete(file.path)
            return tuple(doomed)

    def locked(self, name: str) -> AbstractContextManager[None]:
        """Hold the lock `name` of all who work on this lake, waiting for whoever holds it; it dies with its holder.

        Raises:
            TransientError: where the lock is held by a server, it went while the block ran, or cannot be reached.
        """
        return self._home.locked(name)

    @property
    def _home(self) -> Place:
        return Folder(self.root, sync=self.sync) if isinstance(self.root, Path) else self.root

    def _place(self, table: Table) -> Place:
        return self._home.at(table.name)

    def _open(self, table: Table, version: int | None = None) -> DeltaTable | None:
        place, which = self._place(table), "the newest version" if version is None else f"version {version!r}"
        with disk.reporting(f"open {which} of {table.name!r}"):
            if version is None:
                return self._opened.newest(place)
            if version < 0 or not log.is_begun(place):
                raise StorageError(f"table {table.name!r} has no {which}; ask for one that a commit gave")
            return delta.at_version(place, version)

    def _listing(self, table: Table, found: DeltaTable, *, is_old: bool = False) -> files.Stored:
        """The opened version's files; `is_old`: an older version of the code may have written it."""
        with disk.reporting(f"read {table.name!r}"):
            shape = shapes.shape_of(table, delta.schema(found), delta.partitions(found), is_old=is_old)
            return files.stored(table, self._place(table), found, shape)

    def _commit(self, table: Table, plan: _Plan, *, is_empty: bool, is_old: bool = False) -> Commit:
        """Carry out what `plan` makes of the newest version; an empty frame makes no table."""
        with self._writing(table, "write to"):
            return self._attempt(table, plan, is_empty=is_empty, is_old=is_old)

    @contextmanager
    def _writing(self, table: Table, verb: str) -> Iterator[None]:
        with disk.reporting(f"{verb} {table.name!r}"), self._place(table).writing():
            yield

    def _attempt(self, table: Table, plan: _Plan, *, is_empty: bool, is_old: bool) -> Commit:
        """Change the newest version, again if another writer came between."""
        place = self._place(table)
        # A pause must differ between processes and, in a folder, be the same when a test runs again.
        dice = random.Random(f"{self.seed} {table.name} {os.getpid()} {place.ending()}")  # noqa: S311
        for attempt in range(place.attempts):
            try:
                found = self._open(table)
                if found is None and is_empty:
                    return Commit(None, 0)
                found = found or commits.created(table, place)
                before = found.version()
                change = plan(self._listing(table, found, is_old=is_old))
                if change is not None:
                    commits.carry_out(table, place, found, change)
            except CommitFailedError:
                time.sleep(min(_FIRST_PAUSE_S * 2**attempt, _LONGEST_PAUSE_S) * (0.5 + dice.random()))
                continue
            commits.seal(place, found, before)
            self._opened.remember(place, found)
            return Commit(found.version(), 0 if change is None else change.n_rows)
        raise CommitConflictError(
            f"could not write to {table.name!r}: another writer changed it during each of {place.attempts} attempts; "
            "find the writer that does not go through the lake, or try again later"
        )


def _noting(change: plans.Change | None, removed: set[str]) -> plans.Change | None:
    """The change, after noting the paths it removes; planned anew, those of the last plan count."""
    removed.clear()
    if change is not None and change.removed is not None:
        removed |= set(change.removed["path"])
    return change
