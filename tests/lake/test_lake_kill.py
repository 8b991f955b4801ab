"""A writer killed at any moment costs no acknowledged row, and leaves no half batch, no duplicate and no lock."""

import os
import random
import re
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from lake_tables import NOTES, READINGS, hours, ordered, readings
from lake_writer import ROWS, appended

from pipeline.lake import Lake

KILLS = 25
SCRIPT = Path(__file__).with_name("lake_writer.py")
PROJECT = Path(__file__).parents[2]


def start(root: Path, writer: int) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, str(SCRIPT), str(root), str(writer)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": str(PROJECT), "POLARS_MAX_THREADS": "1"},
    )


@dataclass
class Killer:
    """Kills writers at a random moment of a random write, however slow the disk is."""

    dice: random.Random
    n_reports: int = 0
    seconds: float = 0.0

    def kill(self, process: subprocess.Popen[str]) -> list[tuple[str, int]]:
        """Let the writer begin and kill it; gives what it acknowledged until then."""
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.stdin.write("go\n")
        process.stdin.flush()
        begin, n_reports = time.monotonic(), self.dice.randrange(4) if self.n_reports else 3
        told = "".join(process.stdout.readline() for _ in range(n_reports))
        self.n_reports += n_reports
        self.seconds += time.monotonic() - begin if n_reports else 0.0
        time.sleep(self.dice.random() * self.seconds / self.n_reports)
        process.kill()
        told += process.stdout.read()
        process.stdin.close()
        process.stdout.close()
        assert process.wait() == -9, "the writer ran until it was killed"
        return [(verb, int(batch)) for verb, batch in re.findall(r"^(\w+) (\d+)$", told, flags=re.MULTILINE)]


def check_appends(lake: Lake, acknowledged: set[tuple[int, int]]) -> None:
    stored = lake.scan(READINGS).filter(pl.col("pool") != "replaced").collect()
    assert not stored.is_duplicated().any()
    counts = dict(stored.group_by("pool").len().rows())
    assert set(counts.values()) <= {ROWS}, "every batch is whole or absent"
    assert {f"a{writer}-{batch}" for writer, batch in acknowledged} <= set(counts)


def check_replacements(lake: Lake, newest: tuple[int, int] | None) -> None:
    stored = lake.scan(READINGS, hours(30, 31)).collect()
    if newest is None:
        return
    assert len(stored) == ROWS, "a replacement is whole"
    assert stored["n_trades"].n_unique() == 1, "two replacements do not mix"
    assert stored["n_trades"][0] >= newest[0] * 10_000 + newest[1]


def check_upserts(lake: Lake, acknowledged: set[tuple[int, int]]) -> None:
    stored = lake.scan(NOTES).collect()
    assert not stored.select(NOTES.key).is_duplicated().any()
    current = stored.filter(pl.col("name") == "n")
    assert current["text"].n_unique() <= 1, "an upsert over three partitions is whole"
    assert {f"{writer}-{batch}" for writer, batch in acknowledged} <= set(stored["name"])


def kill_writers(
    lake: Lake, killer: Killer, launch: Callable[[int], subprocess.Popen[str]], *, n_writers: int, n_kills: int
) -> dict[str, set[tuple[int, int]]]:
    """Kill one writer after another while others write, look at the lake after each; gives what was acknowledged."""
    acknowledged: dict[str, set[tuple[int, int]]] = {"append": set(), "replace": set(), "upsert": set()}
    waiting = deque(launch(writer) for writer in range(n_writers))
    for writer in range(n_kills):
        told = killer.kill(waiting.popleft())
        waiting.append(launch(writer + n_writers))
        for verb, batch in told:
            acknowledged[verb].add((writer, batch))
        check_appends(lake, acknowledged["append"])
        check_replacements(lake, max(acknowledged["replace"], default=None))
        check_upserts(lake, acknowledged["upsert"])
    for process in waiting:
        process.kill()
        process.communicate()
    return acknowledged


@pytest.mark.slow
def test_a_writer_killed_at_many_random_moments_loses_and_doubles_nothing(tmp_path: Path) -> None:
    lake, killer = Lake(tmp_path), Killer(random.Random(20200908))
    acknowledged = kill_writers(lake, killer, lambda writer: start(tmp_path, writer), n_writers=3, n_kills=KILLS)
    assert all(len(done) >= KILLS / 10 for done in acknowledged.values()), "each verb was killed after and before"
    check_what_is_left_is_harmless(lake)


def check_what_is_left_is_harmless(lake: Lake) -> None:
    """The killed one's own batch can be written again, and vacuum removes its files."""
    before = ordered(lake.scan(READINGS))
    stored = set(lake.scan(READINGS).collect()["pool"])
    again = [appended(writer, batch) for writer in (0, 1) for batch in range(2) if f"a{writer}-{batch}" in stored]
    for frame in again:
        assert lake.append(READINGS, frame).n_rows == 0
    lake.vacuum(READINGS, now=datetime.now(UTC) + timedelta(days=1), retention=timedelta(0))
    assert ordered(lake.scan(READINGS)) == before
    assert lake.append(READINGS, readings([2000], pool="after")).n_rows == 1
