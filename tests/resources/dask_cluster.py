"""A Dask scheduler and workers, each a process of its own on loopback; and parts for them."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from resources.settings import ROOT

BUILD = "under test"
PATH = os.pathsep.join([str(ROOT), str(Path(__file__).parent)])
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "POLARS_MAX_THREADS"), "1")


class Cluster:
    """A scheduler with its workers."""

    def __init__(self, folder: Path, environment: Mapping[str, str] | None = None) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.address = f"tcp://127.0.0.1:{probe.getsockname()[1]}"
        self._folder = folder
        self._environment = {
            **os.environ,
            **ONE_THREAD,
            "PYTHONPATH": PATH,
            "POOLCAST_BUILD": BUILD,
            **(environment or {}),
        }
        port = self.address.rpartition(":")[2]
        self.scheduler = self._start(
            "dask_scheduler", "--host", "127.0.0.1", "--port", port, "--no-dashboard", "--no-show"
        )
        self.workers: list[subprocess.Popen[bytes]] = []

    def has_workers(self, count: int) -> None:
        """Start as many as are missing, and wait for them."""
        for dead in [worker for worker in self.workers if worker.poll() is not None]:
            self.workers.remove(dead)
        for _ in range(count - len(self.workers)):
            options = ("--nthreads", "1", "--no-dashboard", "--no-nanny", "--host", "127.0.0.1")
            self.workers.append(self._start("dask_worker", self.address, *options))
        from distributed import Client

        with Client(self.address, timeout=90) as client:
            client.wait_for_workers(len(self.workers), timeout=90)

    def kill(self, number: int) -> None:
        """End a worker without a word."""
        self.workers[number].send_signal(signal.SIGKILL)

    def hang(self, number: int) -> None:
        """Let a worker stand still; its connections stay."""
        self.workers[number].send_signal(signal.SIGSTOP)

    def stop(self) -> None:
        """End everything, our clients first: one that is left looks for its scheduler beside the tests that follow."""
        from distributed import Client

        for client in list(Client._instances):
            if client.scheduler is not None and client.scheduler.address == self.address:
                client.close(timeout=2)
        for process in (*self.workers, self.scheduler):
            process.kill()
            process.wait()

    def _start(self, module: str, *arguments: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", f"distributed.cli.{module}", *arguments]
        with (self._folder / "cluster.log").open("ab") as log:
            return subprocess.Popen(
                command, cwd=self._folder, env=self._environment, stdout=log, stderr=log, stdin=subprocess.DEVNULL
            )


@contextmanager
def cluster(folder: Path, n_workers: int, environment: Mapping[str, str] | None = None) -> Iterator[Cluster]:
    made = Cluster(folder, environment)
    try:
        if n_workers:
            made.has_workers(n_workers)
        yield made
    finally:
        made.stop()


def marked(folder: str, part: int) -> tuple[int, int]:
    """Says that it began, and takes its time where it is told to."""
    (Path(folder) / f"{part}.began.{os.getpid()}").touch()
    while (Path(folder) / "hold").exists():
        time.sleep(0.05)
    return part * part, os.getpid()


def scaled(shared: np.ndarray[Any, Any], part: int) -> float:
    return float(shared.sum() * part)


def surroundings() -> dict[str, str]:
    return dict(os.environ)


def failing(_shared: Any, part: int) -> int:
    from pipeline.errors import InputError

    raise InputError(f"part {part!r} is not what it claims to be")


def killing(_shared: Any, _part: int) -> int:
    os.kill(os.getpid(), signal.SIGKILL)
    return 0


def wait_for(is_true: Callable[[], bool], seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not is_true():
        assert time.monotonic() < deadline, "did not come true"
        time.sleep(0.05)
