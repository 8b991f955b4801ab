"""A writer to be killed: `python lake_writer.py ROOT ID`; waits for a line, then writes batches until it dies.

Batch n of writer w is one append, one replacement and one upsert; each is reported on stdout once it is acknowledged.
"""

import sys
import tempfile
from itertools import count
from pathlib import Path

import polars as pl
from lake_tables import NOTES, READINGS, hours, notes, readings

from pipeline.lake import Lake

ROWS = 40


def appended(writer: int, batch: int) -> pl.DataFrame:
    """Rows on two days and two networks: one commit, four files."""
    times = [*range(ROWS // 4), *range(1440, 1440 + ROWS // 4)]
    pool = f"a{writer}-{batch}"
    return pl.concat([readings(times, pool=pool), readings(times, pool=pool, network="bsc")])


def replaced(writer: int, batch: int) -> pl.DataFrame:
    """The next content of hour 30, which every writer replaces."""
    return readings(range(1800, 1800 + ROWS), pool="replaced", n_trades=writer * 10_000 + batch)


def upserted(writer: int, batch: int) -> pl.DataFrame:
    """The same note under every topic."""
    return notes(*((topic, "n", f"{writer}-{batch}") for topic in "abc"), ("a", f"{writer}-{batch}", None))


def main() -> None:
    lake, writer = Lake(Path(sys.argv[1])), int(sys.argv[2])
    with tempfile.TemporaryDirectory() as folder:  # the first write of a process loads what later ones need
        Lake(Path(folder)).append(READINGS, readings([1]))
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    sys.stdin.readline()
    for batch in count():
        lake.append(READINGS, appended(writer, batch))
        say("append", batch)
        lake.replace(READINGS, replaced(writer, batch), hours(30, 31))
        say("replace", batch)
        lake.upsert(NOTES, upserted(writer, batch))
        say("upsert", batch)


def say(verb: str, batch: int) -> None:
    sys.stdout.write(f"{verb} {batch}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
