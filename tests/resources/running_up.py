"""A running `up` for tests: started, asked, killed as a person would."""

import json
import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.ports import free_port

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
LAUNCH = """mutation($job: String!, $tags: [ExecutionTag!]) { launchRun(executionParams: {
  selector: {repositoryLocationName: "throwaway", repositoryName: "__repository__", jobName: $job}, runConfigData: {},
  executionMetadata: {tags: $tags}
}) { __typename ... on LaunchRunSuccess { run { runId } } ... on PythonError { message } } }"""
BACKFILL = """mutation($hours: [String!]!) { launchPartitionBackfill(backfillParams: {
  assetSelection: [{path: ["told"]}, {path: ["kept"]}], partitionNames: $hours
}) { __typename ... on LaunchBackfillSuccess { backfillId } ... on PythonError { message } } }"""
BACKFILLS = "{ partitionBackfillsOrError { ... on PartitionBackfills { results { id status } } } }"
RUNS = "{ runsOrError { ... on Runs { results { runId jobName status rootRunId parentRunId } } } }"
SLOTS = """query($pool: String!) { instance { concurrencyLimit(concurrencyKey: $pool) {
  activeRunIds claimedSlots { runId } } } }"""
MADE = """query($asset: String!) { assetNodeOrError(assetKey: {path: [$asset]}) { ... on AssetNode {
  assetMaterializations(limit: 1000) { partition } } } }"""
SENSOR = """{ sensorOrError(sensorSelector: {
  repositoryLocationName: "throwaway", repositoryName: "__repository__", sensorName: "counter"
}) { ... on Sensor { sensorState { typeSpecificData { ... on SensorData { lastCursor } } } } } }"""


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
        return self._read_until(lambda line: "Ctrl-C" in line)

    def _read_until(self, is_it: Callable[[str], bool]) -> str:
        assert self.process is not None
        assert self.process.stdout is not None
        said = ""
        for line in self.process.stdout:
            said += line
            if is_it(line):
                return said
        pytest.fail(f"up ended with {self.process.wait()}: {said}")

    def ask(self, query: str, **variables: object) -> dict[str, Any]:
        return graphql(self.dagster_port, query, variables)

    def launch(self, job: str, **tags: str) -> str:
        told = [{"key": f"dagster/{name}", "value": value} for name, value in tags.items()]
        answer = self.ask(LAUNCH, job=job, tags=told)["launchRun"]
        assert answer["__typename"] == "LaunchRunSuccess", answer
        return str(answer["run"]["runId"])

    def launch_hours(self, first: int, last: int) -> str:
        """A run over hours of one day, and the moment when it has begun with the first of them."""
        (self.folder / "begun").unlink(missing_ok=True)
        run_id = self.launch("hours", asset_partition_range_start=hour(first), asset_partition_range_end=hour(last))
        wait_for((self.folder / "begun").exists, 120)
        return run_id

    def backfill(self, hours: list[str]) -> None:
        answer = self.ask(BACKFILL, hours=hours)["launchPartitionBackfill"]
        assert answer["__typename"] == "LaunchBackfillSuccess", answer

    def backfills(self) -> set[str]:
        return {each["status"] for each in self.ask(BACKFILLS)["partitionBackfillsOrError"]["results"]}

    def holders(self, pool: str) -> set[str]:
        """The runs that hold a slot of a pool."""
        limit = self.ask(SLOTS, pool=pool)["instance"]["concurrencyLimit"]
        return {*limit["activeRunIds"], *(each["runId"] for each in limit["claimedSlots"])}

    def hours_of(self, asset: str) -> list[str]:
        """The hours of every materialization there was, also of one that was told twice."""
        made = self.ask(MADE, asset=asset)["assetNodeOrError"]["assetMaterializations"]
        return sorted(each["partition"] for each in made)

    def cursor(self) -> int:
        """How often the sensor has looked."""
        state = self.ask(SENSOR)["sensorOrError"]["sensorState"]
        return int(state["typeSpecificData"]["lastCursor"] or 0)

    def answers(self) -> bool:
        try:
            return bool(self.ask("{ version }"))
        except OSError:
            return False

    def pid(self, name: str) -> int:
        return int(json.loads((self.folder / "up.json").read_text())["processes"][name]["pid"])

    def wait_until_said(self, words: str) -> str:
        return self._read_until(lambda line: words in line)

    def wait_until_stopped(self) -> str:
        assert self.process is not None
        said, _ = self.process.communicate(timeout=120)
        return str(said)

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


def hour(n: int) -> str:
    return f"2024-03-01-{n:02d}:00"


def wait_for(condition: Callable[[], bool], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.25)


def graphql(port: int, query: str, variables: dict[str, object]) -> dict[str, Any]:
    """What Dagster's webserver on a port of loopback answers, as its pages ask it."""
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/graphql",
        json.dumps({"query": query, "variables": variables}).encode(),
        {"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310
        return dict(json.load(answer)["data"])
