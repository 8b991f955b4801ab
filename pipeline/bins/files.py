"""Many small files, fast: written, read and linked by a few threads.

Belongs here: bare system calls. Stays out: what the files hold and where they belong.

pathlib and buffered files would cost more than the work itself, tens of thousands of times.
"""

import errno
import os
import shutil
import stat
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import batched
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

_N_THREADS: Final = 4
_BATCH: Final = 64

# How the system says that what lies there is no file, or that nothing does.
_NO_FILE: Final = frozenset({errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ELOOP, errno.ENXIO})

Content = bytes | npt.NDArray[np.float32]


def each[T](work: Callable[[T], None], items: Sequence[T]) -> None:
    """Do `work` for every item, a few at a time; the first error is raised once all that began have ended."""

    def several(batch: tuple[T, ...]) -> None:
        for item in batch:
            work(item)

    if len(items) <= _BATCH:
        several(tuple(items))
        return
    with ThreadPoolExecutor(_N_THREADS) as threads:
        # Once all are handed in, an error or a person's Ctrl-C ends the iterator, and that cancels what has not begun.
        for _ in threads.map(several, batched(items, _BATCH)):
            pass


def write_new(path: str, content: Content) -> None:
    """Write a file that is not there yet: one that is may be shared with an export that somebody reads."""
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
    try:
        rest = memoryview(content).cast("B")
        while rest:
            rest = rest[os.write(handle, rest) :]
    finally:
        os.close(handle)


def read_into(path: str, target: npt.NDArray[np.float32]) -> bool:
    """Fill `target` from a file; whether it is a plain file of exactly that size, and no link to one."""
    try:
        # A pipe that somebody put there would keep us waiting.
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        if error.errno in _NO_FILE:
            return False
        raise
    try:
        is_plain = stat.S_ISREG(os.fstat(handle).st_mode)
        # One byte more than there should be shows a file that is too long.
        return is_plain and os.readv(handle, [target, bytearray(1)]) == target.nbytes
    finally:
        os.close(handle)


def is_plain_file(path: str, n_bytes: int | None = None) -> bool:
    """Whether there is a plain file, no link, of this size (None: of any)."""
    try:
        found = os.lstat(path)
    except OSError as error:
        if error.errno in _NO_FILE:
            return False
        raise
    return stat.S_ISREG(found.st_mode) and n_bytes in (None, found.st_size)


def make_folder(path: str) -> None:
    """Make a folder whose parent is there; it may be there itself."""
    try:
        os.mkdir(path)  # noqa: PTH102 - see the head of the file
    except FileExistsError:
        return


def remove_tree(root: Path) -> None:
    """Remove an export, or what there is of it, and whatever somebody put into it; links are not followed."""
    features = root / "features"
    if features.is_dir() and not features.is_symlink():
        with os.scandir(features) as entries:
            folders = [entry.path for entry in entries if entry.is_dir(follow_symlinks=False)]
        each(_remove_folder, folders)
    shutil.rmtree(root)


def _remove_folder(path: str) -> None:
    with os.scandir(path) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                shutil.rmtree(entry.path)
            else:
                os.unlink(entry.path)  # noqa: PTH108 - see the head of the file
    os.rmdir(path)  # noqa: PTH106


def all_files(root: Path) -> Iterator[str]:
    """Every file below `root`, as a path relative to it."""
    for folder, _, names in os.walk(root):
        for name in names:
            yield os.path.relpath(f"{folder}/{name}", root)
