"""`poolcast up` on a folder and free ports, as a person has it in a terminal."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.ports import free_port

ROOT = Path(__file__).parents[2]
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
