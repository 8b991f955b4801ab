import os
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import psutil
import pytest
from dagster._daemon.types import DaemonHeartbeat

from resources.housekeeping import CodeServer, Heartbeats
from resources.processes import end
from resources.roster import Roster
from tests.resources.running_up import wait_for


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.instance_for_test() as found:
        yield found


SERVER = """
import subprocess, sys, time
if sys.argv[1] == "loads code":
    subprocess.Popen([sys.executable, "-m", "dagster", "api", "grpc", "--socket", sys.argv[2]])
print("ready", flush=True)
time.sleep(600)
"""


def serving(what: str, tmp_path: Path) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", SERVER, what, str(tmp_path / "socket")],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
    )
    assert process.stdout is not None
    process.stdout.readline()
    return process


def test_a_server_that_lost_the_process_with_our_code_is_not_well(tmp_path: Path) -> None:
    # Stands in for Dagster's, which takes seconds to start: what counts is the command line.
    (tmp_path / "dagster").mkdir()
    (tmp_path / "dagster" / "__init__.py").touch()
    (tmp_path / "dagster" / "__main__.py").write_text("import time; time.sleep(600)")
    roster = Roster(tmp_path / "up.json")
    with_code, without = serving("loads code", tmp_path), serving("serves others", tmp_path)
    roster.add("with", with_code.pid)
    roster.add("without", without.pid)
    is_well = CodeServer(roster, "with")
    assert is_well()
    assert CodeServer(roster, "without")(), "code that does not load is no reason to end who says so"
    assert not CodeServer(roster, "never started")()
    for child in psutil.Process(with_code.pid).children():
        child.kill()
    wait_for(lambda: not is_well(), 10)
    fresh = serving("loads code", tmp_path)
    roster.add("with", fresh.pid)
    assert is_well(), "another process has another code server"
    end([with_code.pid, without.pid, fresh.pid], 10)
    for process in (with_code, without, fresh):
        process.communicate()


def beat(instance: dg.DagsterInstance, *but: str) -> None:
    for name in instance.get_required_daemon_types():
        if name not in but:
            instance.add_daemon_heartbeat(DaemonHeartbeat(time.time(), name, str(uuid.uuid4()), errors=[]))


def test_the_daemon_lives_as_long_as_each_of_its_threads_beats(instance: dg.DagsterInstance) -> None:
    is_there = True
    lives = Heartbeats(instance, lambda: is_there, silent_seconds=1.0)
    assert lives(), "it has only just been started"
    time.sleep(1.1)
    beat(instance)
    assert lives()
    time.sleep(1.1)
    beat(instance, "SENSOR")
    assert not lives(), "one thread is silent"
    is_there = False
    assert lives(), "who cannot write a heartbeat is not silent"
    is_there = True
    assert lives(), "and has time to do so when the database is back"
    time.sleep(1.1)
    assert not lives()
