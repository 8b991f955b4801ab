"""Many writers at one table on an object store, with no lock between them: keys stay unique, and nothing is lost."""

import os
import random
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from bucket_writer import unlocked
from deltalake import DeltaTable
from lake_tables import NOTES, READINGS, hours, ordered, readings
from lake_writer import ROWS
from test_lake_kill import Killer, check_appends, kill_writers
from test_lake_processes import write as write_to

from pipeline.lake import Commit, delta
from pipeline.lake.bucket import Bucket
from tests.object_store import Store, raw_put

WRITERS = 4
BATCHES = 2
KILLS = 3
SCRIPT = Path(__file__).with_name("bucket_writer.py")
PROJECT = Path(__file__).parents[2]


def start(bucket: Bucket, writer: int) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, str(SCRIPT), bucket.uri, str(writer)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": str(PROJECT), "POLARS_MAX_THREADS": "1"},
    )


def test_the_store_writes_an_object_once_however_many_try(object_store: Store, bucket: Bucket) -> None:
    """What all else rests on, of the store that stands in for others here."""
    prefix = urlsplit(bucket.uri).path.strip("/")

    def put(turn: int, writer: int, barrier: threading.Barrier) -> int:
        barrier.wait()
        return raw_put(object_store.port, f"{prefix}/{turn}", b"x" * 20_000 + bytes([writer]))

    with ThreadPoolExecutor(8) as pool:
        for turn in range(10):
            barrier = threading.Barrier(8)
            statuses = sorted(pool.map(lambda writer: put(turn, writer, barrier), range(8)))  # noqa: B023 - at once
            assert statuses == [200, *[412] * 7]


def write(bucket: Bucket, writer: int) -> int:
    """What writers to a folder write, into a bucket and without a lock; gives the rows appended."""
    return write_to(unlocked(bucket), writer, BATCHES)


@pytest.mark.slow
def test_four_processes_without_a_lock_lose_and_double_nothing(bucket: Bucket) -> None:
    with ProcessPoolExecutor(WRITERS, mp_context=get_context("spawn")) as pool:
        n_rows = list(pool.map(write, [bucket] * WRITERS, range(WRITERS)))
    lake = unlocked(bucket)
    stored = lake.scan(READINGS).collect()
    assert not stored.select(READINGS.key).is_duplicated().any()
    shared = readings(range((BATCHES - 1) * 10 + 15 + WRITERS - 1))
    assert ordered(stored.filter(pool="0xa")) == ordered(shared)
    assert sum(n_rows) == len(shared), "each row was written by exactly one of them"
    own = [
        readings(range(1440 + 60 * writer, 1500 + 60 * writer), pool="own", n_trades=BATCHES - 1)
        for writer in range(WRITERS)
    ]
    assert sum(map(len, own)) == stored.filter(pool="own").height
    assert lake.scan(NOTES).collect().height == 1 + WRITERS * BATCHES
    entries = [file.path for file in bucket.at("readings").lying("_delta_log") if file.path.endswith(".json")]
    assert len(entries) == lake.version(READINGS) + 1  # type: ignore[operator]


def test_an_append_compares_keys_with_what_was_committed_meanwhile(
    bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Left alone, Delta puts the second addition on top of the first: the same keys twice."""
    lake, other, commit = unlocked(bucket), unlocked(bucket), delta.commit
    lake.append(READINGS, readings([0]))
    left = [2]

    def commit_late(found: DeltaTable, *args: object) -> None:
        if left[0]:
            left[0] -= 1
            monkeypatch.setattr(delta, "commit", commit)
            other.append(READINGS, readings([1 + left[0]]))
            monkeypatch.setattr(delta, "commit", commit_late)
        commit(found, *args)

    monkeypatch.setattr(delta, "commit", commit_late)
    assert lake.append(READINGS, readings([1, 2, 3])) == Commit(4, 1)
    assert ordered(lake.scan(READINGS)) == ordered(readings(range(4)))


def test_a_compaction_does_not_wait_for_appends_to_end(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    lake, other, commit = unlocked(bucket), unlocked(bucket), delta.commit
    for minute in range(3):
        lake.append(READINGS, readings([minute]))
    tried = []

    def commit_late(found: DeltaTable, *args: object) -> None:
        tried.append(found.version())
        monkeypatch.setattr(delta, "commit", commit)
        other.append(READINGS, readings([50 + len(tried)]))
        monkeypatch.setattr(delta, "commit", commit_late)
        commit(found, *args)

    monkeypatch.setattr(delta, "commit", commit_late)
    lake.compact(READINGS)
    assert tried == [3], "one attempt, though an append came between"
    assert ordered(lake.scan(READINGS)) == ordered(readings([0, 1, 2, 51]))
    assert len(lake.listing(READINGS).files) == 2  # type: ignore[union-attr]


def test_a_compaction_gives_way_to_a_replacement_of_what_it_merged(
    bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake, other, commit = unlocked(bucket), unlocked(bucket), delta.commit
    for minute in range(3):
        lake.append(READINGS, readings([minute]))

    def commit_late(found: DeltaTable, *args: object) -> None:
        monkeypatch.setattr(delta, "commit", commit)
        other.replace(READINGS, readings([9], n_trades=-1), hours(0, 1))
        commit(found, *args)

    monkeypatch.setattr(delta, "commit", commit_late)
    lake.compact(READINGS)
    assert ordered(lake.scan(READINGS)) == ordered(readings([9], n_trades=-1))


def test_a_commit_whose_answer_was_lost_is_not_made_twice(object_store: Store, bucket: Bucket) -> None:
    lake = unlocked(bucket)
    lake.append(READINGS, readings([0]))
    for minute in range(1, 4):
        object_store.say("lose")
        lake.append(READINGS, readings([minute]))
    object_store.say("lose")
    lake.replace(READINGS, readings([3], n_trades=-1), hours(0, 1))
    assert ordered(lake.scan(READINGS)) == ordered(readings([3], n_trades=-1))
    assert ordered(lake.scan(READINGS, version=4)) == ordered(readings(range(4)))


@pytest.mark.slow
def test_writers_killed_at_random_moments_lose_and_double_nothing(bucket: Bucket) -> None:
    lake, killer = unlocked(bucket), Killer(random.Random(20200909))
    acknowledged = kill_writers(lake, killer, lambda writer: start(bucket, writer), n_writers=2, n_kills=KILLS)
    assert acknowledged["append"], "some were killed after a write"


def until_an_append(process: subprocess.Popen[str]) -> Iterator[str]:
    """What the writer acknowledges until it has appended again, however slow the machine is."""
    assert process.stdout is not None
    for line in process.stdout:
        yield line.strip()
        if line.startswith("append"):
            return


@pytest.mark.slow
def test_the_store_is_stopped_and_started_under_two_writers_and_nothing_is_lost(
    object_store: Store, bucket: Bucket
) -> None:
    writers = [start(bucket, writer) for writer in range(2)]
    for process in writers:
        assert process.stdout is not None
        assert process.stdin is not None
        assert process.stdout.readline() == "ready\n"
        process.stdin.write("go\n")
        process.stdin.flush()
    told: list[set[str]] = [set() for _ in writers]
    time.sleep(1.0)
    object_store.say("stop")
    time.sleep(0.5)
    object_store.say("start")
    for process, lines in zip(writers, told, strict=True):
        lines |= set(until_an_append(process))
    for process, lines in zip(writers, told, strict=True):
        process.kill()
        lines |= set(process.communicate()[0].splitlines())
    acknowledged = {
        (writer, int(line.split()[1])) for writer, lines in enumerate(told) for line in lines if "append" in line
    }
    check_appends(unlocked(bucket), acknowledged)
    assert len(unlocked(bucket).scan(READINGS, hours(30, 31)).collect()) == ROWS
