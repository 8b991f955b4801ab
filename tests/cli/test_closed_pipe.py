"""Whoever stops reading, as `| head` does, ends a command without a word."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    "command",
    [
        ("--help",),
        ("features", "list", "--markdown"),
        ("lake", "sql", "SELECT unnest(range(50000))", "--format", "csv"),
        ("status", "--json"),
    ],
    ids=lambda command: command[0],
)
def test_a_reader_that_goes_away_ends_the_command_without_a_word(command: tuple[str, ...], tmp_path: Path) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    try:
        done = subprocess.run(
            [sys.executable, "-m", "pipeline.cli", *command],
            cwd=ROOT,
            env={**os.environ, "POOLCAST_DATA_DIR": str(tmp_path)},
            stdout=writer,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    finally:
        os.close(writer)
    assert done.stderr == ""
    assert done.returncode == 1
