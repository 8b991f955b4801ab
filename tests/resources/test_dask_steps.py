"""Steps of real runs on a real Dask cluster."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import psutil
import pytest
from dask_cluster import PATH, Cluster, cluster, wait_for

from resources import cluster as doors
from resources.dask_steps import steps_executor

pytestmark = pytest.mark.slow
pytest.importorskip("distributed")


class Bench:
    """A Dagster instance, a cluster, and a folder that says what the steps of `dask_graph` do."""

    def __init__(self, folder: Path, two: Cluster, instance: dg.DagsterInstance) -> None:
        self.folder, self.two, self.instance = folder, two, instance

    def run(self) -> dg.JobExecutionResult:
        import dask_graph

        return dg.execute_job(
            dg.reconstructable(dask_graph.both),
            self.instance,
            run_config={"execution": {"config": {"address": self.two.address}}},
            raise_on_error=False,
        )

    def began(self, name: str) -> list[tuple[int, int]]:
        """The process and the worker of each beginning of a step, in order."""
        traces = sorted(self.folder.glob(f"{name}.began.*"), key=lambda path: path.stat().st_mtime)
        return [tuple(map(int, path.name.split(".")[2:])) for path in traces]  # type: ignore[misc]

    def running(self) -> tuple[threading.Thread, list[dg.JobExecutionResult]]:
        """A run whose first step waits."""
        (self.folder / "first.hold").touch()
        ended: list[Any] = []
        thread = threading.Thread(target=lambda: ended.append(self.run()))
        thread.start()
        wait_for(lambda: bool(self.began("first")), 90)
        return thread, ended


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Cluster, dg.DagsterInstance]]:
    folder = tmp_path_factory.mktemp("steps")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DAGSTER_HOME", str(folder))
        patch.setenv("DASK_GRAPH_FOLDER", str(folder / "said"))
        (folder / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
        with cluster(folder, 2) as two, dg.DagsterInstance.get() as instance:
            yield folder, two, instance


@pytest.fixture
def bench(home: tuple[Path, Cluster, dg.DagsterInstance]) -> Bench:
    folder, two, instance = home
    said = folder / "said"
    said.mkdir(exist_ok=True)
    for trace in said.iterdir():
        trace.unlink()
    two.has_workers(2)
    return Bench(said, two, instance)


def test_without_an_address_steps_run_in_the_runs_own_process() -> None:
    assert steps_executor(None) is dg.in_process_executor
    assert steps_executor("tcp://127.0.0.1:8786").name == "dask_steps"


def test_what_a_failed_blocking_check_forbids_does_not_run(bench: Bench) -> None:
    (bench.folder / "unsound").touch()
    result = bench.run()
    assert not result.success
    assert bench.began("first")
    assert not bench.began("second")


def test_a_step_whose_process_dies_fails_the_run_and_says_how(bench: Bench) -> None:
    (bench.folder / "first.dies").touch()
    result = bench.run()
    (failure,) = (e for e in result.all_events if e.is_step_failure)
    assert "its process ended with status 7" in str(failure.step_failure_data.error)


def test_a_killed_workers_step_dies_with_it_and_is_made_by_the_other(bench: Bench) -> None:
    thread, ended = bench.running()
    ((step, worker),) = bench.began("first")
    number = [one.pid for one in bench.two.workers].index(worker)
    bench.two.kill(number)
    bench.two.workers[number].wait()
    wait_for(lambda: not psutil.pid_exists(step) or psutil.Process(step).status() == "zombie", 10)
    wait_for(lambda: len(bench.began("first")) == 2, 60)
    (bench.folder / "first.hold").unlink()
    thread.join(90)
    assert ended[0].success
    (_, (pid, other)) = bench.began("first")
    assert other != worker
    assert pid not in {os.getpid(), other}
    assert len(bench.began("second")) == 1


def test_a_run_that_is_stopped_takes_its_step_back_and_ends_it(bench: Bench) -> None:
    (bench.folder / "first.hold").touch()
    environment = {**os.environ, "PYTHONPATH": PATH}
    command = [sys.executable, "-m", "dask_graph", bench.two.address]
    with subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL) as run:
        wait_for(lambda: bool(bench.began("first")), 90)
        ((step, _),) = bench.began("first")
        (asked,) = bench.instance.get_runs(limit=1)
        bench.instance.report_run_canceling(asked)  # as the launcher does, before it asks the process to stop
        run.send_signal(signal.SIGINT)
        run.wait(90)
    wait_for(lambda: not psutil.pid_exists(step) or psutil.Process(step).status() == "zombie", 30)
    (last, *_) = bench.instance.get_runs(limit=1)
    assert last.status is dg.DagsterRunStatus.CANCELED
    assert not bench.began("second")


def test_a_cluster_that_is_gone_fails_the_run_so_that_dagster_tries_it_again(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    thread, ended = bench.running()
    ((step, _),) = bench.began("first")
    monkeypatch.setattr(doors, "CONNECT_SECONDS", 1)
    bench.two.stop()
    thread.join(120)
    (failure,) = (e for e in ended[0].all_events if e.is_step_failure)
    assert "the Dask cluster at" in str(failure.step_failure_data.error)
    run = bench.instance.get_run_by_id(ended[0].run_id)
    assert run is not None
    assert run.tags["dagster/retry_on_asset_or_op_failure"] == "true"
    wait_for(lambda: not psutil.pid_exists(step) or psutil.Process(step).status() == "zombie", 10)
    assert not bench.run().success
