"""Where a lake's files lie, as the rest of the lake sees it: a folder of this machine, or a prefix of an object store.

Belongs here: what the lake needs of either, and nothing more. `folder` and `bucket` are the two; whatever differs
between them is theirs. Stays out: Delta's log, any frame's meaning.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Protocol

import polars as pl

from pipeline.errors import StorageError


@dataclass(frozen=True)
class Lying:
    """A file that lies somewhere: its path within the place, its size, when it was written (ns since 1970)."""

    path: str
    n_bytes: int
    written_ns: int


class Place(Protocol):
    """One folder, the lake's own or a table's in it. Paths are relative to it, with `/` between their parts."""

    @property
    def uri(self) -> str:
        """How Delta, Polars and messages name it; it never holds a credential."""

    @property
    def options(self) -> dict[str, str] | None:
        """What Delta must know to open it, beside what it finds in the environment."""

    @property
    def attempts(self) -> int:
        """How often a change is planned anew before it is a conflict: many where writers race, few where they queue."""

    @property
    def tells_losses(self) -> bool:
        """Whether to read a file that is gone fails by itself, and none can be cut: then a scan need not look first."""

    @property
    def grace(self) -> timedelta:
        """How long a file that no version names may still be at work: a vacuum leaves such files alone."""

    def at(self, name: str) -> "Place":
        """The folder `name` in it."""

    def told(self, paths: Sequence[str]) -> list[Lying | None]:
        """Each file of one folder, None where it is not there."""

    def lying(self, under: str = "") -> Iterator[Lying]:
        """Every file under a folder, however deep."""

    def read(self, path: str) -> bytes:
        """What the file holds.

        Raises:
            FileNotFoundError: it is not there.
        """

    def scan(self, paths: Iterable[str], **options: Any) -> pl.LazyFrame:
        """Some Parquet files, read when collected."""

    def arrow(self, path: str) -> tuple[Any, str]:
        """How Arrow reads a file: its file system, and the file's name in it."""

    def write(self, path: str, rows: pl.DataFrame, **options: Any) -> Lying:
        """Write a Parquet file, whole or not at all."""

    def delete(self, path: str) -> None:
        """Delete the file."""

    def check(self, sizes: Iterable[tuple[str, int]]) -> None:
        """Look whether every file the log speaks of is there and as long as the log says.

        A lazy scan would notice only when it is collected, and a truncated file makes Polars panic.

        Raises:
            StorageError: a file is missing or has another size.
        """

    def ending(self) -> str:
        """What a new data file's name ends with: nothing where one writes at a time, else a word that none repeats."""

    def stamp_ms(self) -> int:
        """Now, by the clock that the files are dated by, in milliseconds since 1970."""

    def begun(self) -> None:
        """Bring the table's first log entry, and the folders that lead to it, to the disk."""

    def settle(self, before: int, version: int) -> None:
        """Bring every commit up to `version` that is not known to be on the disk there; `before` is the last but ours.

        The newest commits before ours may not be: their writer may have been killed in between, and we build on them.
        """

    def settle_checkpoint(self, version: int) -> None:
        """Bring the checkpoint of `version` to the disk."""

    def writing(self) -> AbstractContextManager[None]:
        """Hold the right to change the table, waiting for whoever holds it."""

    def locked(self, name: str) -> AbstractContextManager[None]:
        """Hold the lake's lock `name`, waiting for whoever holds it."""


def missing(uri: str, path: str) -> StorageError:
    """The error where a log names a file that is not there."""
    return StorageError(
        f"could not read {uri!r}: its log names {path!r}, which is not there; either this version "
        "was vacuumed (read a newer one, or pin it next time) or the file was lost (restore it)"
    )


def resized(uri: str, path: str, found: int, expected: int) -> StorageError:
    """The error where a file is not as long as a log says."""
    return StorageError(
        f"could not read {uri!r}: {path!r} has {found!r} bytes where its log says {expected!r}; "
        "restore the file from a copy, or remove the table's folder and compute it again"
    )
