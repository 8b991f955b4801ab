"""The file system under the lake: one writer at a time, durable before acknowledged, errors as ours.

Belongs here: everything that would be different on another file system. Stays out: Delta's log and any frame.
"""

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import polars as pl
from deltalake.exceptions import DeltaError

from pipeline.errors import StorageError, StorageFullError
from pipeline.lake.failures import store_error

_FULL_ERRNOS: Final = (errno.ENOSPC, errno.EDQUOT)
# Rust libraries hand the error on as text only; both spellings have been seen from deltalake.
_FULL_TEXTS: Final = (*(f"os error {number}" for number in _FULL_ERRNOS), "No space left on device")


def fsync(path: Path) -> None:
    """Bring a file's or a folder's content to the disk before returning.

    Raises:
        OSError: the disk could not take it.
    """
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the exclusive lock on the file `path`, waiting for whoever holds it.

    The kernel gives it back when the process dies, however it dies, so there is no stale lock to clean up.
    It also tells threads of one process apart, since every call opens the file anew.
    """
    with _opened(path) as descriptor:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield


@contextmanager
def tried(path: Path) -> Iterator[bool]:
    """The same without waiting: whether nobody else holds it, and then it is held."""
    with _opened(path) as descriptor:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            is_ours = False
        else:
            is_ours = True
        yield is_ours


@contextmanager
def _opened(path: Path) -> Iterator[int]:
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def stamp(path: Path) -> int:
    """Now, by the file system's own clock, in milliseconds since 1970: the one its files are dated by."""
    path.touch()
    return path.stat().st_mtime_ns // 1_000_000


def noted(path: Path) -> int | None:
    """The number in the file `path`, or None where there is none: a note that may be lost but is never wrong."""
    try:
        return int(path.read_text(encoding="ascii"))
    except (FileNotFoundError, ValueError):
        return None


@contextmanager
def reporting(attempted: str) -> Iterator[None]:
    """Turn what deltalake, Polars and the system raise inside into storage errors that say what was attempted.

    Raises:
        StorageFullError: no space, or no quota, is left.
        StoreAwayError: the lake is on an object store, and that did not answer.
        StorageError: any other failure of the files or of the log.
    """
    try:
        yield
    except (DeltaError, OSError, pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
        if (told := store_error(attempted, str(error))) is not None:
            raise told from None  # a store's answers may quote keys
        raise storage_error(attempted, error) from error


def storage_error(attempted: str, error: BaseException) -> StorageError:
    """The error to raise for a failure below the lake.

    >>> type(storage_error("append to 'pools'", OSError(28, "No space left on device"))).__name__
    'StorageFullError'
    >>> str(storage_error("read 'pools'", OSError("gone")))
    "could not read 'pools': 'gone'; restore the table's folder from a copy, or remove it and compute it again"
    """
    if getattr(error, "errno", None) in _FULL_ERRNOS or any(text in str(error) for text in _FULL_TEXTS):
        return StorageFullError(
            f"could not {attempted}: the disk is full; what was committed before is intact. Free some space and "
            "run it again: writes are idempotent"
        )
    return StorageError(
        f"could not {attempted}: {_gist(error)!r}; restore the table's folder from a copy, or remove it and compute "
        "it again"
    )


def _gist(error: BaseException) -> str:
    """The message without the stack of foreign addresses that may follow it."""
    return str(error).split("\n   0:", maxsplit=1)[0].strip()[:500]
