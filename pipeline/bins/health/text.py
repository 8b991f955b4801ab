"""The small files of a provider directory (calendars, lists, maps, manifests) as bytes and as lines, whatever they are.

Belongs here: reading a file that a stranger put there without waiting for it or filling the memory. Stays out: what the
text means.
"""

import errno
import os
import re
import stat
from pathlib import Path
from typing import Final

LARGEST_TEXT: Final = 2**27
"""Bytes: room for a calendar of a hundred thousand days of minutes, or a list of a million instruments."""
MOST_LINES: Final = 2**24
"""A calendar of more places is none: a bin can state no later one."""

_LINE_END: Final = re.compile(r"\r\n|\r|\n")


def read_text(path: Path) -> bytes:
    """The content of a regular file of bounded size. A pipe, a device or a socket is not opened.

    Raises:
        OSError: it cannot be read, or is something else; `strerror` says what.
    """
    _require_small(path.stat(), path)
    # It may have become a pipe since, which must not be waited for either.
    with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
        _require_small(os.fstat(file.fileno()), path)
        raw = file.read(LARGEST_TEXT)
    n_lines = raw.count(b"\n") + raw.count(b"\r")
    if n_lines > MOST_LINES:
        raise OSError(errno.EFBIG, f"{n_lines} lines, at most {MOST_LINES} are read", str(path))
    return raw


def _require_small(found: os.stat_result, path: Path) -> None:
    if not stat.S_ISREG(found.st_mode):
        raise OSError(errno.EINVAL, "it is no regular file", str(path))
    if found.st_size > LARGEST_TEXT:
        raise OSError(errno.EFBIG, f"{found.st_size} bytes, at most {LARGEST_TEXT} are read", str(path))


def readable(raw: bytes) -> str:
    """Bytes as text that every table and file can hold; what is no UTF-8 shows as an escape."""
    return raw.decode("utf-8", "backslashreplace")


def lines_of(raw: bytes) -> list[str]:
    """The lines of a text file as QLib's readers tell them apart."""
    return _LINE_END.split(readable(raw))


def safe(name: str) -> str:
    """A file's name as text that every table can hold: what is no UTF-8 shows as an escape."""
    return readable(name.encode("utf-8", "surrogateescape"))
