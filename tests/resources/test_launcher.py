"""The gate before a run's worker, and the patience behind it."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
import sqlalchemy as sa
from dagster import DagsterRunStatus as Status
from dagster._core.launcher.base import LaunchRunContext

from resources.patient_storage import wait_for_server, webserver_engine
from resources.processes import ProcessIdentity
from resources.settings import ROOT
from tests.resources.external_postgres import ExternalPostgres
from tests.resources.patient_job import patience
from tests.resources.running_up import wait_for

STARTER = """
import subprocess, sys
from resources.launcher import _GATE
worker = subprocess.Popen([*_GATE, "/usr/bin/touch", sys.argv[1]], stdin=subprocess.PIPE, start_new_session=True)
print(worker.pid, flush=True)
sys.stdin.read()
"""


@pytest.fixture
def instance(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dg.DagsterInstance]:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    launcher = {"module": "resources.launcher", "class": "ProcessRunLauncher", "config": {"log_dir": str(tmp_path)}}
    with dg.instance_for_test(temp_dir=str(tmp_path), overrides={"run_launcher": launcher}) as found:
        yield found


def created(instance: dg.DagsterInstance) -> dg.DagsterRun:
    origin = dg.reconstructable(patience).get_python_origin()
    return instance.create_run_for_job(patience, job_code_origin=origin, status=Status.STARTING)


@pytest.mark.slow
def test_a_worker_runs_under_the_number_its_run_names_and_waits_for_its_database(
    instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    run = created(instance)
    instance.run_launcher.launch_run(LaunchRunContext(run, workspace=None))
    tagged = instance.get_run_by_id(run.run_id)
    assert tagged is not None
    worker = ProcessIdentity.from_tags(tagged.tags)
    assert worker is not None

    def is_over() -> bool:
        now = instance.get_run_by_id(run.run_id)
        return now is not None and now.is_finished

    wait_for(is_over, 90)
    told = [entry.message for entry in instance.all_logs(run.run_id)]
    ended = instance.get_run_by_id(run.run_id)
    assert ended is not None
    assert ended.status is Status.SUCCESS, "\n".join(told)
    assert (tmp_path / "patience").read_text() == "120"
    # Dagster's own word from within: the shell that waited at the gate has become the worker, number and all.
    assert [line for line in told if f"(pid: {worker.pid})" in line], told


@pytest.mark.slow
def test_a_run_that_cannot_be_tagged_has_no_worker(
    instance: dg.DagsterInstance, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = created(instance)

    def away(*_: object) -> None:
        raise sa.exc.OperationalError("UPDATE runs", {}, Exception("the database is away"))

    monkeypatch.setattr(instance, "add_run_tags", away)
    with pytest.raises(sa.exc.OperationalError):
        instance.run_launcher.launch_run(LaunchRunContext(run, workspace=None))
    worker = instance.run_launcher._workers[-1]  # type: ignore[attr-defined]
    assert worker.wait(20) != 0
    assert not (tmp_path / "patience").exists()


def test_there_is_no_worker_where_whoever_starts_it_dies_first(tmp_path: Path) -> None:
    starter = subprocess.Popen(
        [sys.executable, "-c", STARTER, str(tmp_path / "worked")],
        cwd=ROOT,
        text=True,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert starter.stdout is not None
    worker = int(starter.stdout.readline())
    assert ProcessIdentity.of(worker) is not None
    os.kill(starter.pid, signal.SIGKILL)
    starter.communicate()
    wait_for(lambda: ProcessIdentity.of(worker) is None, 20)
    assert not (tmp_path / "worked").exists()


@pytest.mark.slow
def test_a_worker_waits_for_its_database_and_a_webserver_sees_that_a_connection_is_dead(
    external: ExternalPostgres,
) -> None:
    kept = webserver_engine(external.url, statement_timeout=5_000, pool_recycle=3600, max_overflow=2)
    with kept.connect() as connection:
        assert connection.scalar(sa.text("SHOW statement_timeout")) == "5s"
    external.stop("immediate")
    patient, hasty = (sa.create_engine(external.url, poolclass=sa.NullPool) for _ in range(2))
    wait_for_server(patient, 60)
    wait_for_server(hasty, 0.1)
    with pytest.raises(sa.exc.OperationalError):
        hasty.connect()
    back = threading.Timer(2, external.start)
    began = time.monotonic()
    back.start()
    with patient.connect() as connection:
        assert connection.scalar(sa.text("SELECT 1")) == 1
    assert time.monotonic() - began >= 2
    back.join()
    with kept.connect() as connection:
        assert connection.scalar(sa.text("SELECT 1")) == 1
    kept.dispose()
