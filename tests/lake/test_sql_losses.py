"""SQL over an object store ends in words, and soon, whatever goes away while it reads.

Each question is asked by another process, which a test gives up on: a reading that hangs must not hang the tests.
"""

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import polars as pl
import pytest

from pipeline.lake import Lake
from pipeline.lake.bucket import Bucket
from pipeline.tables import POOLS
from tests.builders import valid_frame
from tests.object_store import Store

ASKER = Path(__file__).parent / "sql_asker.py"
LONGEST_S = 90
TIMES = 40
ALL = "SELECT * FROM pools"


@contextmanager
def told(object_store: Store, *lines: str) -> Iterator[None]:
    """A store that was told so; afterwards it is as it was."""
    try:
        for line in lines:
            object_store.say(line)
        yield
    finally:
        for line in ("hide", "delay 0"):
            object_store.say(line)


@contextmanager
def asked(object_store: Store, bucket: Bucket, folder: Path) -> Iterator["subprocess.Popen[str]"]:
    """`poolcast lake sql`, which has begun to ask the store."""
    environment = {**object_store.environment, "POOLCAST_LAKE_URL": bucket.uri, "PATH": "/usr/bin:/bin"}
    before = int(object_store.say("count"))
    command = [sys.executable, "-m", "pipeline.cli", "lake", "sql", ALL, "--data-dir", str(folder)]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        begin = time.monotonic()
        while int(object_store.say("count")) < before + 3 and process.poll() is None:
            assert time.monotonic() < begin + LONGEST_S
            time.sleep(0.02)
        yield process
    finally:
        process.kill()
        process.wait()


def ending(process: "subprocess.Popen[str]") -> tuple[int, str]:
    """Its exit status, and what it said of its failure."""
    _, words = process.communicate(timeout=LONGEST_S)
    assert "Traceback" not in words
    return process.returncode, " ".join(words.split())


@pytest.fixture
def filled(bucket: Bucket) -> Bucket:
    rows = valid_frame(POOLS, n_rows=5)
    Lake(bucket).append(POOLS, pl.concat([rows.with_columns(network=pl.lit(f"n{i}")) for i in range(4)]))
    return bucket


def test_files_that_vanish_between_a_look_and_the_reading_are_told_every_time(
    object_store: Store, filled: Bucket, tmp_path: Path
) -> None:
    command = [sys.executable, str(ASKER), filled.uri, str(tmp_path / "locks"), str(TIMES), ALL]
    with told(object_store, "hide .parquet"):
        done = subprocess.run(command, capture_output=True, text=True, timeout=LONGEST_S, check=True)
    said = done.stdout.splitlines()
    assert len(said) == TIMES
    assert {line[:83] for line in said} == {
        "StorageError: could not run the statement: a file that its log names is not there; "
    }


def test_rows_are_there_again_with_their_files(object_store: Store, filled: Bucket, tmp_path: Path) -> None:
    command = [sys.executable, str(ASKER), filled.uri, str(tmp_path / "locks"), "1", "SELECT count(*) FROM pools"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=LONGEST_S, check=True)
    assert done.stdout == "[(20,)]\n"


def test_the_command_says_what_is_lost(object_store: Store, filled: Bucket, tmp_path: Path) -> None:
    with told(object_store, "hide .parquet"), asked(object_store, filled, tmp_path) as process:
        status, words = ending(process)
    assert status == 1
    assert "could not run the statement: a file that its log names is not there" in words


def test_the_command_says_that_the_store_went_away_under_it(
    object_store: Store, filled: Bucket, tmp_path: Path
) -> None:
    with told(object_store, "delay 0.3"), asked(object_store, filled, tmp_path) as process:
        object_store.say("stop")
        try:
            status, words = ending(process)
        finally:
            object_store.say("start")
    assert status == 1
    assert "the object store did not answer" in words


def test_the_command_stops_when_it_is_told_to(object_store: Store, filled: Bucket, tmp_path: Path) -> None:
    with told(object_store, "delay 0.3"), asked(object_store, filled, tmp_path) as process:
        process.send_signal(signal.SIGINT)
        status, words = ending(process)
    assert status == 130
    assert words.startswith("poolcast: stopped")
