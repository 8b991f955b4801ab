"""Advisory locks on files: who may go on, across processes.

Belongs here: thin names over `flock`. The kernel lets go of a lock when its holder dies, however it dies, so none of
them is ever stale. Stays out: what is done under a lock.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

Mode = Literal["shared", "exclusive"]
_FLAGS: dict[Mode, int] = {"shared": fcntl.LOCK_SH, "exclusive": fcntl.LOCK_EX}


class FileLock:
    """One open handle on a lock file; two handles of one process count as two holders."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)

    def acquire(self, mode: Mode) -> None:
        """Wait until the lock is ours."""
        fcntl.flock(self._fd, _FLAGS[mode])

    def try_acquire(self, mode: Mode) -> bool:
        """Take the lock if that is possible at once (a lock already held is given up if it is not)."""
        try:
            fcntl.flock(self._fd, _FLAGS[mode] | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def close(self) -> None:
        """Let go."""
        os.close(self._fd)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold `path` exclusively for the length of a block."""
    lock = FileLock(path)
    try:
        lock.acquire("exclusive")
        yield
    finally:
        lock.close()
