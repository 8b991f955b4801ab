"""`poolcast up` on a folder and free ports, as a person has it in a terminal, and a browser to look at it with."""

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CHROMIUM = Path("/usr/bin/chromium")
FLAGS = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
)  # fmt: skip
WIDTH, HEIGHT = 1600, 1000


class Served:
    """A running `poolcast up`; the addresses of its pages are as it printed them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        ports = {"POOLCAST_DAGSTER_PORT": str(free_port()), "POOLCAST_MLFLOW_PORT": str(free_port())}
        environment = {**os.environ, **ports, "POOLCAST_DATA_DIR": str(folder), "PYTHONUNBUFFERED": "1"}
        environment.pop("POOLCAST_POSTGRES_URL", None)
        self.process = subprocess.Popen(
            [sys.executable, "-m", "pipeline.cli", "up"],
            cwd=ROOT,
            env=environment,
            text=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        told = self._until_ready()
        self.dagster = next(word for word in told.split() if word.startswith("http") and ports_in(word, ports, 0))
        self.mlflow = next(word for word in told.split() if word.startswith("http") and ports_in(word, ports, 1))

    def _until_ready(self) -> str:
        assert self.process.stdout is not None
        said = ""
        for line in self.process.stdout:
            said += line
            if "Ctrl-C" in line:
                return said
        pytest.fail(f"up ended with {self.process.wait()}: {said}")

    def stop(self) -> None:
        """Stop it as Ctrl-C does."""
        self.process.send_signal(signal.SIGINT)
        self.process.communicate(timeout=120)


def ports_in(word: str, ports: dict[str, str], place: int) -> bool:
    """Whether an address is on the port of that place: Dagster's, MLflow's."""
    return word.rstrip("/.").endswith(f":{list(ports.values())[place]}")


def free_port() -> int:
    """A port on which nobody listens now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
