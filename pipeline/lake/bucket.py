"""A lake on an object store: `s3://bucket/prefix`, for writers on many machines.

Belongs here: what the lake does on a store that speaks S3. An object appears whole or not at all, and is on many disks
before the store acknowledges it: there is nothing to sync. The store takes each log entry once (`If-None-Match`), which
keeps keys unique without any lock; the locks only save work.
Stays out: credentials, which Delta and Polars take from the usual `AWS_*` variables themselves.
"""

import secrets
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

import polars as pl

from pipeline.errors import StorageError
from pipeline.lake.locks import Locks
from pipeline.lake.place import Lying, missing, resized

if TYPE_CHECKING:
    from pyarrow.fs import PyFileSystem

_ATTEMPTS: Final = 40
_AT_ONCE: Final = 16
_GRACE: Final = timedelta(hours=1)
# A store that is away is told within seconds; one that answers slowly is waited for. The restart of a server takes
# about as long as five retries do.
_PATIENCE: Final = {"max_retries": "5", "retry_timeout": "10s", "connect_timeout": "3s", "timeout": "15s"}
_POLARS_PATIENCE: Final = {"max_retries": 5, "retry_timeout_ms": 10_000, "connect_timeout": "3s", "timeout": "60s"}


@dataclass(frozen=True)
class Bucket:
    """A prefix of an object store.

    Args:
        uri: `s3://bucket/prefix`, without a slash at its end.
        locks: the locks of all who work on this lake; they save work, and keep the steps apart that must not overlap.
        is_plain: whether the store may be spoken to without encryption, for one on this machine.
        root: the lake's own prefix; only `at` says another.
    """

    uri: str
    locks: Locks = field(repr=False)
    is_plain: bool = False
    root: str = ""

    @property
    def attempts(self) -> int:
        """Many: where no lock could be had, writers race, and one of them wins each time."""
        return _ATTEMPTS

    @property
    def options(self) -> dict[str, str]:
        """What Delta must know: a log entry is put only where there is none."""
        return {**_PATIENCE, "aws_conditional_put": "etag", **({"allow_http": "true"} if self.is_plain else {})}

    @property
    def tells_losses(self) -> bool:
        """Yes: an object is whole or not there. To list the days of every scan would be most of what is asked."""
        return True

    @property
    def grace(self) -> timedelta:
        """More than any commit takes: its writer may have gone on without the lock."""
        return _GRACE

    def at(self, name: str) -> "Bucket":
        """The prefix of table `name`."""
        return Bucket(f"{self.uri}/{name}", self.locks, self.is_plain, self.root or self.uri)

    def told(self, paths: Sequence[str]) -> list[Lying | None]:
        """Each file of one folder, from one listing of it."""
        folder = paths[0].rpartition("/")[0] if paths else ""
        found = {file.path: file for file in self._listed(folder, is_deep=False)}
        return [found.get(path) for path in paths]

    def lying(self, under: str = "") -> Iterator[Lying]:
        """Every object under a prefix."""
        return iter(self._listed(under, is_deep=True))

    def read(self, path: str) -> bytes:
        """What the object holds."""
        with self._files().open_input_file(path) as file:
            return bytes(file.read())

    def scan(self, paths: Iterable[str], **options: Any) -> pl.LazyFrame:
        """Some Parquet files; Polars asks the store for the columns and row groups it needs."""
        names = [f"{self.uri}/{path}" for path in paths]
        return pl.scan_parquet(names, glob=False, **self._polars, **options)

    def arrow(self, path: str) -> tuple[Any, str]:
        """The object within this prefix."""
        return self._files(), path

    def write(self, path: str, rows: pl.DataFrame, **options: Any) -> Lying:
        """Write a Parquet file, and ask the store how long it is: only what lies there is put on record."""
        rows.write_parquet(f"{self.uri}/{path}", **self._polars, **options)
        size = self._size(path)
        if size is None:
            raise StorageError(f"wrote {path!r} to {self.uri!r}: it is not there; find out who deletes from the store")
        return Lying(path, size, time.time_ns())

    def delete(self, path: str) -> None:
        """Delete the object."""
        self._files().delete_file(path)

    def check(self, sizes: Iterable[tuple[str, int]]) -> None:
        """One listing of each folder that holds one of the files, several at a time."""
        wanted: dict[str, list[tuple[str, int]]] = defaultdict(list)
        for path, size in sizes:
            wanted[path.rpartition("/")[0]].append((path, size))
        listings = _several().map(lambda folder: self._listed(folder, is_deep=False), wanted)
        found = {file.path: file.n_bytes for listing in listings for file in listing}
        for path, size in (each for named in wanted.values() for each in named):
            if path not in found:
                raise missing(self.uri, path)
            if found[path] != size:
                raise resized(self.uri, path, found[path], size)

    def ending(self) -> str:
        """A drawn word: writers that race for a version must not write into each other's files."""
        return f"-{secrets.token_hex(8)}"

    def stamp_ms(self) -> int:
        """Now, by this machine's clock: the store's own tells its time only in answer to a write."""
        return time.time_ns() // 1_000_000

    def begun(self) -> None:
        """Nothing: what the store acknowledged is durable."""

    def settle(self, before: int, version: int) -> None:
        """Nothing, as above."""

    def settle_checkpoint(self, version: int) -> None:
        """Nothing, as above."""

    def writing(self) -> AbstractContextManager[None]:
        """A lock that saves writers from planning in vain; without it they race, and are as right."""
        return self.locks.courtesy(self.uri)

    def locked(self, name: str) -> AbstractContextManager[None]:
        """A lock that must be held."""
        return self.locks.held(f"{self.root or self.uri}/{name}")

    @property
    def _polars(self) -> dict[str, Any]:
        allowed = {"allow_http": "true"} if self.is_plain else {}
        # Without a provider, credentials are found where Delta finds them, whatever other packages are installed.
        return {"storage_options": _POLARS_PATIENCE | allowed, "credential_provider": None}

    def _files(self) -> "PyFileSystem":
        return _file_system(self.uri, self.is_plain)

    def _size(self, path: str) -> int | None:
        with suppress(FileNotFoundError):
            return int(self._files().open_input_file(path).size())
        return None

    def _listed(self, folder: str, *, is_deep: bool) -> list[Lying]:
        from pyarrow.fs import FileSelector, FileType  # noqa: PLC0415 - as above

        selector = FileSelector(folder, recursive=is_deep, allow_not_found=True)
        found = (info for info in self._files().get_file_info(selector) if info.type == FileType.File)
        return sorted((Lying(info.path, info.size, info.mtime_ns) for info in found), key=lambda file: file.path)


@lru_cache(maxsize=1)
def _several() -> ThreadPoolExecutor:
    """Threads that ask the store side by side."""
    return ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="store")


@lru_cache(maxsize=256)
def _file_system(uri: str, is_plain: bool) -> "PyFileSystem":
    """The store as Arrow sees it; made once a process, since it keeps its connections."""
    from deltalake.fs import DeltaStorageHandler  # noqa: PLC0415 - only a lake on a store pays for it
    from pyarrow.fs import PyFileSystem  # noqa: PLC0415 - as above

    allowed = {"allow_http": "true"} if is_plain else {}
    return PyFileSystem(DeltaStorageHandler(uri, {**_PATIENCE, **allowed}))
