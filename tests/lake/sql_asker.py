"""A program that asks one statement of a lake on an object store, over and over, and prints what it is told.

Run as `python sql_asker.py URI LOCKS TIMES STATEMENT`. In a process of its own, since what it tries once hung for ever.
"""

import sys
from pathlib import Path

from pipeline.errors import PoolcastError
from pipeline.lake import Lake
from pipeline.lake.bucket import Bucket
from pipeline.lake.locks import FileLocks
from pipeline.lake.query import query


def main() -> None:
    uri, locks, times, statement = sys.argv[1:]
    lake = Lake(Bucket(uri, FileLocks(Path(locks)), is_plain=True))
    for _ in range(int(times)):
        try:
            sys.stdout.write(f"{query(lake, statement).rows()}\n")
        except PoolcastError as error:
            sys.stdout.write(f"{type(error).__name__}: {error}\n")


if __name__ == "__main__":
    main()
