"""The real servers behind the guard, and a client that sends exactly what it is told."""

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.guard.sign_in import Account
from tests.ports import free_port

ROOT = Path(__file__).parents[2]
GRAPH = ROOT / "tests" / "guard" / "guarded_graph.py"
PASSWORD = "a correct horse, a battery"  # noqa: S105 - of a server that lives for seconds
LAUNCH = """mutation { launchRun(executionParams: {
  selector: {repositoryLocationName: "guarded", repositoryName: "__repository__", jobName: "quick"}, runConfigData: {}
}) { __typename } }"""
COUNT = "{ runsOrError { ... on Runs { count } } }"


@dataclass(frozen=True)
class Answer:
    """What came back: the status, the headers in lower case, the body."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True)
class Guarded:
    """A server that runs, and where its output goes."""

    port: int
    log: Path
    user: str | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def send(self, head: str | bytes, body: bytes = b"", seconds: float = 60.0) -> Answer:
        """Send a head (PORT stands for the port) and a body as they are."""
        text = head if isinstance(head, bytes) else head.replace("PORT", str(self.port)).encode("latin-1")
        with socket.create_connection(("127.0.0.1", self.port), timeout=seconds) as connection:
            connection.sendall(text.replace(b"\n", b"\r\n") + b"\r\n\r\n" + body)
            return _read(connection)

    def ask(self, line: str, *headers: str, body: bytes = b"", host: str = "127.0.0.1:PORT") -> Answer:
        """Send a request as a well-behaved client would, with these headers."""
        length = f"\nContent-Length: {len(body)}" if body or line.startswith("POST") else ""
        told = "".join(f"\n{each}" for each in headers)
        return self.send(f"{line} HTTP/1.1\nHost: {host}\nConnection: close{told}{length}", body)

    def graphql(self, query: str, *headers: str) -> Any:
        """What GraphQL answers to somebody who may ask."""
        body = json.dumps({"query": query}).encode()
        answer = self.ask("POST /graphql", "Content-Type: application/json", *headers, body=body)
        assert answer.status == 200, answer
        return json.loads(answer.body)["data"]

    def n_runs(self, *headers: str) -> int:
        return int(self.graphql(COUNT, *headers)["runsOrError"]["count"])


def _read(connection: socket.socket) -> Answer:
    told = b""
    try:
        while more := connection.recv(65536):
            told += more
            head, found, body = told.partition(b"\r\n\r\n")
            lengths = [int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
            is_whole = head.startswith(b"HTTP/1.1 101") or bool(lengths and len(body) >= lengths[0])
            if found and is_whole:
                break
    except ConnectionResetError:
        pass
    head, _, body = told.partition(b"\r\n\r\n")
    status, *lines = head.decode("latin-1").split("\r\n")
    pairs = [line.split(": ", 1) for line in lines]
    return Answer(int(status.split()[1]) if status else 0, {name.lower(): value for name, value in pairs}, body)


@contextmanager
def dagster(folder: Path, **added: str) -> Iterator[Guarded]:
    """Dagster's webserver on a graph of one job, its state in a folder."""
    home = folder / "home"
    home.mkdir(parents=True)
    (home / "dagster.yaml").write_text("telemetry: {enabled: false}\nnux: {enabled: false}\n")
    workspace = folder / "workspace.yaml"
    workspace.write_text(
        f"load_from: [{{python_file: {{relative_path: {json.dumps(str(GRAPH))}, location_name: guarded}}}}]"
    )
    environment = {"DAGSTER_HOME": str(home), **added}
    with _running("resources.webserver", [str(workspace)], folder / "webserver.log", environment) as server:
        yield server


@contextmanager
def mlflow(folder: Path, **added: str) -> Iterator[Guarded]:
    """MLflow's server, its state in a folder."""
    folder.mkdir(parents=True)
    environment = {"MLFLOW_BACKEND_STORE_URI": f"sqlite:///{folder}/mlflow.db", **added}
    with _running("resources.registry_server", [folder.as_uri()], folder / "mlflow.log", environment) as server:
        yield server


@contextmanager
def _running(module: str, arguments: list[str], log: Path, added: Mapping[str, str]) -> Iterator[Guarded]:
    port = free_port()
    cleared = {name: value for name, value in os.environ.items() if not name.startswith("POOLCAST_")}
    environment = {**cleared, "PYTHONPATH": str(ROOT), "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", **added}
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", module, str(port), *arguments],
            env=environment,
            cwd=log.parent,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )
    try:
        yield Guarded(port, log)
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def wait_until_ready(server: Guarded, path: str, seconds: float = 300.0) -> None:
    """Until the server answers, or its last words where it does not."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            if server.ask(f"GET {path}").status == 200:
                return
        except OSError:
            time.sleep(0.2)
    raise AssertionError(server.log.read_text())


def account(name: str = "ann") -> str:
    return Account.make(name, PASSWORD).written()
