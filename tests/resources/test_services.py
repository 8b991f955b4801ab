import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

ROOT = Path(__file__).parents[2]
PROGRAM = """
import sys
from rich.console import Console
from pipeline.errors import PoolcastError
from resources.services import up
from resources.settings import Settings
try:
    sys.exit(up(Settings.from_environment(), Console(width=1000)))
except PoolcastError as error:
    sys.exit(f"{type(error).__name__}: {error}")
"""
LAUNCH = """mutation($job: String!) { launchRun(executionParams: {
  selector: {repositoryLocationName: "throwaway", repositoryName: "__repository__", jobName: $job}, runConfigData: {}
}) { __typename ... on LaunchRunSuccess { run { runId } } ... on PythonError { message } } }"""
RUNS = "{ runsOrError { ... on Runs { results { runId jobName status rootRunId } } } }"


class Up:
    """A running `up` on a folder and two free ports, as a person has it in a terminal."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.dagster_port, self.mlflow_port = free_port(), free_port()
        workspace = folder.parent / "workspace.yaml"
        graph = json.dumps(str(Path(__file__).with_name("throwaway_graph.py")))
        workspace.write_text(f"load_from: [{{python_file: {{relative_path: {graph}, location_name: throwaway}}}}]")
        self.environment = {
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "PYTHONUNBUFFERED": "1",
            "POOLCAST_DATA_DIR": str(folder),
            "POOLCAST_WORKSPACE": str(workspace),
            "POOLCAST_DAGSTER_PORT": str(self.dagster_port),
            "POOLCAST_MLFLOW_PORT": str(self.mlflow_port),
        }
        self.environment.pop("POOLCAST_POSTGRES_URL", None)
        self.process: subprocess.Popen[str] | None = None

    def start(self) -> subprocess.Popen[str]:
        self.process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM],
            env=self.environment,
            cwd=ROOT,
            text=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        return self.process

    def wait_until_announced(self) -> str:
        assert self.process is not None
        assert self.process.stdout is not None
        said = ""
        for line in self.process.stdout:
            said += line
            if "Ctrl-C" in line:
                return said
        pytest.fail(f"up ended with {self.process.wait()}: {said}")

    def ask(self, query: str, **variables: str) -> dict[str, Any]:
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.dagster_port}/graphql",
            json.dumps({"query": query, "variables": variables}).encode(),
            {"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310
            return dict(json.load(answer)["data"])

    def launch(self, job: str) -> str:
        answer = self.ask(LAUNCH, job=job)["launchRun"]
        assert answer["__typename"] == "LaunchRunSuccess", answer
        return str(answer["run"]["runId"])

    def runs(self) -> list[dict[str, str]]:
        return list(self.ask(RUNS)["runsOrError"]["results"])

    def status(self, run_id: str) -> str:
        return next(run["status"] for run in self.runs() if run["runId"] == run_id)

    def processes(self) -> list[psutil.Process]:
        found = []
        for process in psutil.process_iter():
            try:
                is_ours = process.environ().get("POOLCAST_DATA_DIR") == str(self.folder)
                if is_ours or any(str(self.folder) in word for word in process.cmdline()):
                    found.append(process)
            except psutil.Error:
                continue
        return [process for process in found if process.pid != os.getpid()]

    def kill_everything(self) -> None:
        for process in self.processes():
            try:
                process.kill()
            except psutil.NoSuchProcess:
                continue
        if self.process is not None:
            self.process.communicate()
        wait_for(lambda: not self.processes(), 30)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for(condition: Callable[[], bool], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.5)


@pytest.fixture
def up(server_folder: Path) -> Iterator[Up]:
    running = Up(server_folder / "a data folder")
    try:
        yield running
    finally:
        running.kill_everything()


@pytest.mark.slow
def test_after_a_crash_of_everything_the_orphan_is_failed_and_the_queue_carries_on(up: Up) -> None:
    up.start()
    said = up.wait_until_announced()
    assert f"http://127.0.0.1:{up.dagster_port}" in said
    assert f"http://127.0.0.1:{up.mlflow_port}" in said
    with urllib.request.urlopen(f"http://127.0.0.1:{up.mlflow_port}/health", timeout=10) as answer:
        assert answer.status == 200
    orphan = up.launch("sleeper")
    wait_for((up.folder / "has_slept").exists, 90)
    queued = up.launch("quick")
    wait_for(lambda: up.status(queued) == "QUEUED", 30)

    up.kill_everything()
    up.start()
    assert "Ended 1 run(s)" in up.wait_until_announced()
    assert up.status(orphan) == "FAILURE"
    wait_for(lambda: "Nothing has moved yet" in (up.folder / "logs" / "reconcile.log").read_text(), 60)
    wait_for(lambda: up.status(queued) == "SUCCESS", 60)
    wait_for(lambda: any(run["rootRunId"] == orphan and run["status"] == "SUCCESS" for run in up.runs()), 90)

    assert up.process is not None
    up.process.send_signal(signal.SIGINT)
    said, _ = up.process.communicate(timeout=90)
    assert up.process.returncode == 0, said
    assert said.endswith("Stopped.\n")
    assert up.processes() == []


@pytest.mark.slow
def test_a_second_up_is_told_who_holds_the_folder_and_a_dead_server_ends_the_first_and_its_runs(up: Up) -> None:
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

    # A run goes on in a session of its own, and a killed daemon leaves the process behind that holds its code:
    # both are ended, too.
    up.launch("sleeper")
    wait_for((up.folder / "has_slept").exists, 90)
    roster = json.loads((up.folder / "up.json").read_text())
    os.kill(roster["Dagster's daemon"]["pid"], signal.SIGKILL)
    said, _ = first.communicate(timeout=90)
    assert first.returncode == 1
    assert "Dagster's daemon died" in said
    assert up.processes() == []


def test_a_taken_port_is_named_with_its_holder_before_anything_is_started(up: Up) -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", up.mlflow_port))
        holder.listen()
        said, _ = up.start().communicate(timeout=60)
    assert up.process is not None
    assert up.process.returncode == 1
    assert f"port {up.mlflow_port} for MLflow is taken by" in said
    assert f"(pid {os.getpid()})" in said
    assert "--mlflow-port" in said
    assert not (up.folder / "postgres").exists()
