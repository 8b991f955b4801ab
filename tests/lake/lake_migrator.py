"""A migration to be killed: `python lake_migrator.py ROOT`; waits for a line, then brings the table to its spec."""

import sys
from pathlib import Path

import polars as pl
from reshaped_tables import NOW, old_rows

from pipeline.lake import Lake
from pipeline.tables.changes import earlier


def main() -> None:
    lake = Lake(Path(sys.argv[1]))
    earlier(NOW)
    old_rows(range(3)).write_parquet(sys.argv[1] + ".warm")  # what the first write loads
    pl.scan_parquet(sys.argv[1] + ".warm").collect()
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    sys.stdin.readline()
    lake.migrate(NOW)


if __name__ == "__main__":
    main()
