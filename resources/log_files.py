"""Logs that stay small.

Belongs here: keeping the servers' logs under a size, and the runs' logs under an age and a number. Stays out: who
writes them.

A log is rotated where it lies: its content is copied aside and the file is emptied. So every process writes straight
into its file: its last words are there however it dies, no pipe can run full and block it, and a full disk stops
nobody. What is written between copying and emptying, some microseconds, is lost.
"""

import os
import shutil
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

_KEPT = 3


def rotate(log: Path, most_bytes: int) -> bool:
    """Copy a log that is larger than `most_bytes` to `NAME.1` (older ones to `.2`, `.3`) and empty it.

    The writers must have opened it for appending. Where there is no room for a copy, the old ones go, and it is
    emptied without.

    Returns:
        Whether it was emptied.
    """
    with suppress(FileNotFoundError):
        if log.stat().st_size <= most_bytes:
            return False
        former = [log.with_name(f"{log.name}.{n}") for n in range(1, _KEPT + 1)]
        for older, newer in zip(reversed(former), reversed(former[:-1]), strict=False):
            with suppress(FileNotFoundError):
                newer.replace(older)
        try:
            shutil.copyfile(log, former[0])
        except FileNotFoundError:
            raise
        except OSError:
            for each in former:
                each.unlink(missing_ok=True)
        os.truncate(log, 0)
        return True
    return False


def prune(files: Iterable[Path], older_than: float, most: int) -> int:
    """Delete files last written before `older_than` (seconds since 1970), and the oldest beyond `most`.

    Returns:
        How many went.
    """
    dated: list[tuple[float, Path]] = []
    for path in files:
        with suppress(FileNotFoundError):
            dated.append((path.stat().st_mtime, path))
    dated.sort(reverse=True)
    gone = [path for n, (written, path) in enumerate(dated) if n >= most or written < older_than]
    for path in gone:
        path.unlink(missing_ok=True)
    return len(gone)


def prune_folders(folders: Iterable[Path], older_than: float) -> int:
    """Delete folders to which nothing was added since `older_than`, and what held them where it is empty then.

    Returns:
        How many went.
    """
    n_gone = 0
    for folder in folders:
        with suppress(FileNotFoundError):
            if folder.stat().st_mtime < older_than:
                shutil.rmtree(folder)
                n_gone += 1
                with suppress(OSError):
                    folder.parent.rmdir()
    return n_gone
