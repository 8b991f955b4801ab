"""Locks that several machines share: one at a time, free when their holder dies, and never silently lost."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import sqlalchemy as sa
from lake_tables import READINGS, ordered, readings

from pipeline.errors import LockLostError
from pipeline.lake import Lake
from pipeline.lake.bucket import Bucket
from pipeline.lake.locks import FileLocks, Locks, ServerLocks

PROJECT = Path(__file__).parents[2]
AWAY = ServerLocks("postgresql://nobody:planted-password@127.0.0.1:9/none")
HOLD = """
import sys, time
from pipeline.lake.locks import ServerLocks
with ServerLocks(sys.argv[1]).held("moves"):
    print("held", flush=True)
    time.sleep(600)
"""


@pytest.fixture(params=["files", "server"])
def locks(request: pytest.FixtureRequest, tmp_path: Path) -> Locks:
    if request.param == "files":
        return FileLocks(tmp_path)
    return ServerLocks(request.getfixturevalue("database"))


def end_connections(database: str) -> int:
    """End whoever holds a lock, as a restart of the server does."""
    engine = sa.create_engine(database, isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)
    ours = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'poolcast lock'"
    with engine.connect() as connection:
        return len(connection.execute(sa.text(ours)).all())


def test_a_lock_is_held_by_one_at_a_time(locks: Locks) -> None:
    inside, most = [0], [0]

    def work() -> None:
        for _ in range(3):
            with locks.held("moves"):
                inside[0] += 1
                most[0] = max(most[0], inside[0])
                time.sleep(0.01)
                inside[0] -= 1

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1]


def test_locks_of_two_names_do_not_wait_for_each_other(locks: Locks) -> None:
    with locks.held("moves"), locks.held("training"), locks.courtesy("s3://bucket/pools"):
        pass


def test_a_lock_dies_with_its_holder(database: str) -> None:
    command = [sys.executable, "-c", HOLD, database]
    holder = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=PROJECT)
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    os.kill(holder.pid, signal.SIGKILL)
    holder.communicate()
    begin = time.monotonic()
    with ServerLocks(database).held("moves"):
        assert time.monotonic() - begin < 5


def test_a_lock_that_went_while_it_was_needed_is_told(database: str) -> None:
    with pytest.raises(LockLostError, match="lost it before the work was done"), ServerLocks(database).held("moves"):
        assert end_connections(database)


def test_a_lock_that_cannot_be_had_is_told_without_the_password() -> None:
    with pytest.raises(LockLostError, match="is PostgreSQL running") as caught, AWAY.held("moves"):
        pytest.fail("went on without the lock")
    assert "planted-password" not in str(caught.getrepr(chain=True)) + repr(AWAY)


def test_the_work_that_a_lock_only_saves_goes_on_without_it(database: str, bucket: Bucket) -> None:
    for locks in (AWAY, ServerLocks(database)):
        lake = Lake(Bucket(bucket.uri, locks, is_plain=True))
        lake.append(READINGS, readings([1, 2]))
        assert ordered(lake.scan(READINGS)) == ordered(readings([1, 2]))
    with ServerLocks(database).courtesy("pools"):
        assert end_connections(database)


def test_who_waits_longer_than_a_turn_gets_his(locks: Locks) -> None:
    holding, order = threading.Event(), []

    def hold() -> None:
        with locks.held("moves"):
            holding.set()
            time.sleep(1.3)
            order.append("first")

    thread = threading.Thread(target=hold)
    thread.start()
    holding.wait()
    with locks.held("moves"):
        order.append("second")
    thread.join()
    assert order == ["first", "second"]


def test_what_fails_under_a_lock_fails_as_itself(locks: Locks) -> None:
    with pytest.raises(KeyError, match="mine"), locks.held("moves"):
        raise KeyError("mine")
    with locks.held("moves"):
        pass
