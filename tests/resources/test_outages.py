"""Parts of a running `up` die, with runs under way; at the end everything that was asked for is there once."""

import os
import re
import signal
import subprocess
import sys
import time

import psutil
import pytest

from resources.embedded_postgres import EmbeddedServer
from resources.locks import locked
from tests.resources.external_postgres import ExternalPostgres
from tests.resources.running_up import PROGRAM, ROOT, Up, hour, wait_for

pytestmark = pytest.mark.slow
_AT_MOST = 150
_AWAY = 12
"""Seconds; the stock storages give up after six."""


def has_succeeded(up: Up, run_id: str) -> bool:
    """Itself, or whoever was started in its place."""
    return any(run["status"] == "SUCCESS" and run_id in (run["runId"], run["rootRunId"]) for run in up.runs())


def is_quiet(up: Up) -> bool:
    return all(run["status"] in ("SUCCESS", "FAILURE", "CANCELED") for run in up.runs()) and not up.holders("hours")


def test_runs_outlive_a_crash_of_a_server_of_other_people(up: Up, external: ExternalPostgres) -> None:
    up.environment["POOLCAST_POSTGRES_URL"] = external.url
    up.start()
    up.wait_until_announced()

    run_id = up.launch_hours(0, 5)
    external.kill()
    time.sleep(_AWAY)
    external.start()
    wait_for(lambda: has_succeeded(up, run_id), _AT_MOST)
    wait_for(lambda: is_quiet(up), 60)
    assert sorted(set(up.hours_of("told"))) == up.hours_of("kept") == [hour(n) for n in range(6)]

    assert up.process is not None
    up.process.send_signal(signal.SIGTERM)
    said = up.wait_until_stopped()
    assert up.process.returncode == 0, said
    assert up.processes() == []


def test_whatever_dies_is_started_again_and_runs_go_on(up: Up) -> None:
    first = up.start()
    up.wait_until_announced()
    second = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env=up.environment,
        cwd=ROOT,
        text=True,
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert second.returncode == 1
    assert re.search(rf"ServiceError: another `poolcast up` .*pid {first.pid}\b", second.stderr), second.stderr

    # The daemon dies; the run that it started does not notice, and the new daemon takes it for its own.
    under_way = up.launch_hours(0, 7)
    code_servers = psutil.Process(up.pid("Dagster's daemon")).children()
    os.kill(up.pid("Dagster's daemon"), signal.SIGKILL)
    assert "Dagster's daemon died (killed by signal 9)" in up.wait_until_said("Dagster's daemon was started again")
    assert [each for each in code_servers if each.is_running() and "grpc" in str(each.cmdline())] == []
    wait_for(lambda: up.status(under_way) == "SUCCESS", _AT_MOST)

    # The database is killed with a run under way, and stays away for a while.
    server = EmbeddedServer(up.folder / "postgres")
    away = up.launch_hours(8, 12)
    with locked(server.folder / "start.lock"):  # so that nobody can start it
        psutil.Process(int((server.cluster / "postmaster.pid").read_text().split()[0])).kill()
        time.sleep(_AWAY)
    up.wait_until_said("PostgreSQL was started again")
    wait_for(lambda: has_succeeded(up, away), _AT_MOST)

    os.kill(up.pid("Dagster's webserver"), signal.SIGKILL)
    up.wait_until_said("Dagster's webserver was started again")
    wait_for(lambda: up.answers() and is_quiet(up), 90)
    assert sorted(set(up.hours_of("told"))) == up.hours_of("kept") == [hour(n) for n in range(13)]

    # Told twice to stop while a restart is pending.
    os.kill(up.pid("MLflow"), signal.SIGKILL)
    up.wait_until_said("MLflow died")
    first.send_signal(signal.SIGINT)
    time.sleep(1)
    first.send_signal(signal.SIGINT)
    said = up.wait_until_stopped()
    assert first.returncode == 0, said
    assert said.endswith("Stopped.\n")
    assert up.processes() == []
