"""The installation that is soaked: a sandbox market, `poolcast up` beside it, and a hand that disturbs both.

Belongs here: starting, asking, disturbing and ending processes. Stays out: when (`__main__`), and what is found
(`findings`).
"""

import os
import re
import signal
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any, Final, Self

import psutil

from tests.resources.running_up import graphql

ROOT: Final = Path(__file__).parents[2]
SELECTOR: Final = '{repositoryLocationName: "poolcast", repositoryName: "__repository__", sensorName: $name}'
START: Final = f"mutation($name: String!) {{ startSensor(sensorSelector: {SELECTOR}) {{ __typename }} }}"
STATE: Final = f"""query($name: String!) {{ sensorOrError(sensorSelector: {SELECTOR}) {{
  ... on Sensor {{ id sensorState {{ selectorId }} }} }} }}"""
STOP: Final = "mutation($id: String!) { stopSensor(id: $id) { __typename } }"
LAUNCH: Final = """mutation($job: String!) { launchRun(executionParams: {runConfigData: {}, selector: {
  repositoryLocationName: "poolcast", repositoryName: "__repository__", jobName: $job}}) { __typename } }"""
RUNS: Final = """query($before: String) { runsOrError(limit: 500, cursor: $before) { ... on Runs { results {
  runId jobName status creationTime startTime endTime rootRunId tags { key value } } } } }"""
SLOTS: Final = """{ instance { concurrencyLimits { concurrencyKey activeRunIds claimedSlots { runId } } } }"""
PARTS: Final = {
    "registry_server": "MLflow",
    "mlflow": "MLflow",
    "webserver": "webserver",
    "resources.daemon": "daemon",
    "code-server": "code servers",
    "grpc": "code servers",
    "execute_run": "runs",
    "pipeline.cli": "other",
    "resources.services": "up",
}
"""What in a command line tells which part a process belongs to."""
UP: Final = """
import sys
from rich.console import Console
from resources.services import up
from resources.settings import Settings
sys.exit(up(Settings.from_environment(), Console(width=1000)))
"""


class Sandbox:
    """A sandbox market in a process of its own."""

    def __init__(self, market: Path, start: datetime, speed: float, log: Path) -> None:
        self._log = log
        with log.open("wb") as told:
            self.process = subprocess.Popen(  # noqa: S603 - our own command
                [sys.executable, "-m", "pipeline.cli", "sandbox", "serve", str(market),
                 "--start", f"{start:%Y-%m-%dT%H:%MZ}", "--speed", str(speed)],
                cwd=ROOT, env={**os.environ, "PYTHONUNBUFFERED": "1", "COLUMNS": "300"}, stdout=told, stderr=told,
            )  # fmt: skip
        self.url = wait_for(self._announced, 60)

    def _announced(self) -> str:
        found = re.search(r"API at (\S+)/api/v2", self._log.read_text())
        return found[1] if found else ""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.send_signal(signal.SIGINT)
        self.process.wait(30)


class House:
    """`poolcast up` on a data folder, as a person has it in a terminal."""

    def __init__(self, folder: Path, logs: Path, sandbox_url: str, ports: tuple[int, int]) -> None:
        self.folder, self.log = folder, logs / "up.log"
        self.dagster_port, self.mlflow_port = ports
        workspace = folder.parent / "workspace.yaml"
        workspace.write_text(
            "load_from: [{python_module: {module_name: benchmarks.soak.location, location_name: poolcast}}]\n"
        )
        self.environment = {
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "PYTHONUNBUFFERED": "1",
            "POOLCAST_DATA_DIR": str(folder),
            "POOLCAST_WORKSPACE": str(workspace),
            "POOLCAST_DAGSTER_PORT": str(self.dagster_port),
            "POOLCAST_MLFLOW_PORT": str(self.mlflow_port),
            "POOLCAST_SANDBOX_URL": sandbox_url,
            "POOLCAST_NETWORKS": "simulated",
        }
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it and wait until it answers."""
        with self.log.open("ab") as told:
            self.process = subprocess.Popen(  # noqa: S603 - our own command
                [sys.executable, "-c", UP], cwd=ROOT, env=self.environment, stdin=subprocess.DEVNULL,
                stdout=told, stderr=subprocess.STDOUT,
            )  # fmt: skip
        wait_for(self.answers, 180)

    def stop(self) -> int:
        """Stop it as Ctrl-C does; gives the exit status, -1 where it does not end."""
        if self.process is None:
            return 0
        self.process.send_signal(signal.SIGINT)
        try:
            return self.process.wait(200)
        except subprocess.TimeoutExpired:
            return -1

    def ask(self, query: str, **variables: object) -> dict[str, Any]:
        """Ask Dagster, as its pages do."""
        return graphql(self.dagster_port, query, variables)

    def answers(self) -> bool:
        """Whether Dagster's pages are there."""
        try:
            return bool(self.ask("{ version }"))
        except (OSError, KeyError, TypeError):
            return False

    def switch(self, sensor: str, *, on: bool) -> None:
        """Switch a sensor on or off."""
        if on:
            told = self.ask(START, name=sensor)["startSensor"]["__typename"]
        else:
            told = self.ask(STOP, id=self.ask(STATE, name=sensor)["sensorOrError"]["id"])["stopSensor"]["__typename"]
        if told not in ("Sensor", "StopSensorMutationResult"):
            raise RuntimeError(f"the sensor {sensor!r} cannot be switched: {told}")

    def launch(self, job: str) -> None:
        """Ask for a run of a job."""
        told = self.ask(LAUNCH, job=job)["launchRun"]["__typename"]
        if told != "LaunchRunSuccess":
            raise RuntimeError(f"the job {job!r} cannot be launched: {told}")

    def runs(self, since: float = 0.0) -> list[dict[str, Any]]:
        """Every run that was asked for since a time of the machine, the newest first."""
        found: list[dict[str, Any]] = []
        while True:
            page = self.ask(RUNS, before=found[-1]["runId"] if found else None)["runsOrError"]["results"]
            found += page
            if len(page) < 500:
                return [run for run in found if run["creationTime"] >= since]

    def under_way(self) -> list[dict[str, Any]]:
        """The runs that are not over."""
        over = {"SUCCESS", "FAILURE", "CANCELED"}
        return [run for run in self.runs() if run["status"] not in over]

    def held_slots(self) -> list[str]:
        """The pools of which a slot is held."""
        limits = self.ask(SLOTS)["instance"]["concurrencyLimits"]
        return [limit["concurrencyKey"] for limit in limits if limit["activeRunIds"] or limit["claimedSlots"]]

    def processes(self) -> Iterator[tuple[str, psutil.Process]]:
        """Its processes, each with the part it belongs to."""
        database = str(self.folder / "postgres")
        for process in psutil.process_iter():
            try:
                line, parent = " ".join(process.cmdline()), process.parent()
                # PostgreSQL clears its environment, and its children wear titles in place of command lines.
                above = " ".join(parent.cmdline()) if parent is not None else ""
                if "postgres" in process.name() and (database in line or database in above):
                    yield "PostgreSQL", process
                elif process.environ().get("POOLCAST_DATA_DIR") == str(self.folder):
                    yield next((name for word, name in PARTS.items() if word in line), "other"), process
            except psutil.Error:
                continue

    def memory(self) -> dict[str, float]:
        """MiB of each part: proportional shares, so that what is shared counts once."""
        used: dict[str, float] = defaultdict(float)
        for part, process in self.processes():
            try:
                used[part] += process.memory_full_info().pss / 2**20
            except psutil.Error:
                continue
        return dict(used)

    def send(self, part: str, number: int, *, first_only: bool = False) -> int:
        """Send a signal to the processes of a part; `first_only`: to the one that has no parent among them."""
        found = [process for name, process in self.processes() if name == part]
        pids = {process.pid for process in found}
        chosen = [p for p in found if not first_only or p.ppid() not in pids]
        for process in chosen:
            try:
                process.send_signal(number)
            except psutil.Error:
                continue
        return len(chosen)

    def kill_everything(self) -> int:
        """What a power cut leaves: nothing. Gives how many processes there were."""
        killed: set[int] = set()
        # Again, until there is nobody: whoever is looked at last may have started another meanwhile.
        while found := [process for _, process in self.processes() if process.status() != psutil.STATUS_ZOMBIE]:
            for process in found:
                with suppress(psutil.Error):
                    process.kill()
            killed |= {process.pid for process in found}
            time.sleep(0.2)
        if self.process is not None:
            self.process.wait(30)
        return len(killed)


def wait_for[T](what: Callable[[], T], seconds: float) -> T:
    """What `what` gives as soon as it is something.

    Raises:
        TimeoutError: it never was.
    """
    deadline = time.monotonic() + seconds
    while not (found := what()):
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what!r} gave nothing within {seconds:g} s")
        time.sleep(0.25)
    return found
