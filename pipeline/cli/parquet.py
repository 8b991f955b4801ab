"""A Parquet file that somebody names: whether it is one, and what to do where it is none.

Belongs here: saying so before a reader does in words of its own. Stays out: columns and values, which each command
judges for itself.
"""

import os
from pathlib import Path
from typing import Final

from pipeline.errors import InputError

_MAGIC: Final = (b"PAR1", b"PARE")
"""Every Parquet file begins and ends with the same four bytes; the other ones say that it is encrypted."""
_SHOWN: Final = 24


def require_parquet(path: Path) -> None:
    """Make sure that a path leads to a whole Parquet file.

    Raises:
        InputError: it is no file, is empty, is something else (a CSV), or its end is missing.
    """
    if not path.is_file():
        raise InputError(f"{str(path)!r} is no file: give one Parquet file")
    with path.open("rb") as file:
        head = file.read(_SHOWN)
        file.seek(max(0, file.seek(0, os.SEEK_END) - 4))
        tail = file.read(4)
    if not head:
        raise InputError(f"{str(path)!r} is empty (0 bytes): give a Parquet file")
    if not head.startswith(_MAGIC):
        told = head.decode("utf-8", "replace")
        raise InputError(
            f"{str(path)!r} is no Parquet file, it begins with {told!r}: give a Parquet file; of CSV Polars makes one: "
            f"polars.read_csv('IN.csv', try_parse_dates=True).write_parquet('OUT.parquet')"
        )
    if tail not in _MAGIC:
        raise InputError(f"{str(path)!r} is cut short, a Parquet file ends with b'PAR1': write or copy it again")
