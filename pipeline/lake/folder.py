"""A lake in a folder of this machine: one writer at a time, durable before acknowledged.

Belongs here: what the lake does on a file system (locks in files, fsync in the right order, dates of files). Stays
out: the system calls themselves and how their errors read (`disk`).
"""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import polars as pl

from pipeline.lake import disk, log
from pipeline.lake.place import Lying, missing, resized

_LOCKS: Final = ".locks"


@dataclass(frozen=True)
class Folder:
    """A folder under the lake's root.

    Args:
        root: the lake's folder.
        name: the table's folder in it; empty: the root itself.
        sync: brings a path to the disk.
    """

    root: Path
    name: str = ""
    sync: Callable[[Path], None] = field(default=disk.fsync, compare=False)

    @property
    def attempts(self) -> int:
        """Few: only a writer that does not take the lock comes between, and he is worth a message."""
        return 6

    @property
    def options(self) -> None:
        """None: a folder is opened by its name."""
        return None

    @property
    def path(self) -> Path:
        """The folder."""
        return self.root / self.name

    @property
    def uri(self) -> str:
        """The folder's name."""
        return str(self.path)

    @property
    def tells_losses(self) -> bool:
        """No: a file may be cut, and then Polars panics in the middle of a query."""
        return False

    @property
    def grace(self) -> timedelta:
        """None: a vacuum holds the lock, so nobody writes."""
        return timedelta(0)

    def at(self, name: str) -> "Folder":
        """The folder of table `name`."""
        return Folder(self.root, name, self.sync)

    def told(self, paths: Sequence[str]) -> list[Lying | None]:
        """Each file; one look at each."""
        folder = self.uri
        return [_told(folder, path) for path in paths]

    def lying(self, under: str = "") -> Iterator[Lying]:
        """Every file: a writer killed half way leaves names that do not end in `.parquet`."""
        for parent, folders, files in (self.path / under).walk():
            folders.sort()
            for name in sorted(files):
                if (found := _told(self.uri, (parent / name).relative_to(self.path).as_posix())) is not None:
                    yield found

    def read(self, path: str) -> bytes:
        """What the file holds."""
        return (self.path / path).read_bytes()

    def scan(self, paths: Iterable[str], **options: Any) -> pl.LazyFrame:
        """Some Parquet files."""
        return pl.scan_parquet([str(self.path / path) for path in paths], glob=False, **options)

    def arrow(self, path: str) -> tuple[Any, str]:
        """The file by its whole name."""
        from pyarrow.fs import LocalFileSystem  # noqa: PLC0415 - only SQL reads through it

        return LocalFileSystem(), str(self.path / path)

    def write(self, path: str, rows: pl.DataFrame, **options: Any) -> Lying:
        """Write a Parquet file; on a full disk, half a file would only be in the way."""
        file = self.path / path
        file.parent.mkdir(parents=True, exist_ok=True)
        # What a killed writer left under this name may be shared with a backup: it is let go, never written into.
        file.unlink(missing_ok=True)
        is_whole = False
        try:
            rows.write_parquet(file, **options)
            is_whole = True
        finally:
            if not is_whole:
                file.unlink(missing_ok=True)
        told = file.stat()
        return Lying(path, told.st_size, told.st_mtime_ns)

    def delete(self, path: str) -> None:
        """Delete the file."""
        (self.path / path).unlink()

    def check(self, sizes: Iterable[tuple[str, int]]) -> None:
        """One look at each file."""
        folder = self.uri
        for path, expected in sizes:
            try:
                found = os.stat(f"{folder}/{path}").st_size  # noqa: PTH116 - thousands of files, and half the time
            except FileNotFoundError:
                raise missing(folder, path) from None
            if found != expected:
                raise resized(folder, path, found, expected)

    def ending(self) -> str:
        """Nothing: under the lock, the version that a file is written for makes its name unique."""
        return ""

    def stamp_ms(self) -> int:
        """Now, by the file system's own clock."""
        return disk.stamp(self._lock_file(self.name))

    def begun(self) -> None:
        """The first entry, its folders, the root and its name."""
        self._sync([self.path / log.entry(0)])
        self.sync(self.root)
        self.sync(self.root.parent)

    def settle(self, before: int, version: int) -> None:
        """Files before the entry that names them, and each before its folder."""
        note = self.root / _LOCKS / f"{self.name}.synced"
        synced = disk.noted(note)
        first = synced + 1 if synced is not None and synced <= before else before
        for number in range(first, version + 1):
            # What later commits let go may have been vacuumed.
            if (entry := self.path / log.entry(number)).exists():
                added = (self.path / path for path in log.added(self, number))
                self._sync(path for path in (*added, entry) if path.exists())
        if synced != version:
            note.write_text(str(version), encoding="ascii")

    def settle_checkpoint(self, version: int) -> None:
        """The checkpoint before the note that names it."""
        self._sync(sorted((self.path / log.FOLDER).glob(f"{version:020d}.checkpoint*")))
        self._sync([self.path / log.LAST_CHECKPOINT])

    def writing(self) -> AbstractContextManager[None]:
        """The table's lock, which keeps its keys unique."""
        return self.locked(self.name)

    def locked(self, name: str) -> AbstractContextManager[None]:
        """A lock in a file of the lake's own folder."""
        return disk.locked(self._lock_file(name))

    def _lock_file(self, name: str) -> Path:
        return self.root / _LOCKS / f"{name}.lock"

    def _sync(self, paths: Iterable[Path]) -> None:
        """Files first, then each folder between them and the root, which holds their names."""
        folders: dict[Path, None] = {}
        for path in paths:
            self.sync(path)
            folders |= dict.fromkeys(parent for parent in path.parents if self.root in parent.parents)
        for folder in folders:
            self.sync(folder)


def _told(folder: str, path: str) -> Lying | None:
    try:
        told = os.stat(f"{folder}/{path}")  # noqa: PTH116 - as in `check`
    except FileNotFoundError:
        return None
    return Lying(path, told.st_size, told.st_mtime_ns)
