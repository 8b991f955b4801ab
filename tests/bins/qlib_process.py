"""QLib in processes of their own: it keeps global state, and warns while it is imported."""

import subprocess
import sys
from pathlib import Path

import polars as pl


def call(script: str, *arguments: object) -> None:
    path = Path(__file__).with_name(script)
    done = subprocess.run(
        [sys.executable, path, *map(str, arguments)], capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stderr[-2000:]


def read_by_qlib(directory: Path, output: Path, freq: str = "60min", *fields: str) -> pl.DataFrame:
    """What D.features answers for every instrument, of the fields asked for or else every field of ours."""
    call("qlib_reader.py", directory, output, freq, *fields)
    return pl.read_parquet(output)
