"""The sandbox as a server: a loopback socket, blocking here or in a process of its own.

Belongs here: the socket, signals, starting and stopping. Stays out: what is answered (`app`).

`python -m pipeline.sandbox.server JSON` serves the SandboxSpec in JSON; `running` starts exactly that.
"""

import ipaddress
import json
import os
import selectors
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import IO, Any, Final

import polars as pl
import uvicorn

from pipeline.calendars import EPOCH
from pipeline.errors import InputError, ServiceError, UsageError
from pipeline.sandbox.app import API_PREFIX, Sandbox
from pipeline.sandbox.clock import VirtualClock
from pipeline.sandbox.control import SandboxControl
from pipeline.sandbox.faults import FaultPlan
from pipeline.sandbox.market import Market

HOST: Final = "127.0.0.1"
CALLS_PER_MINUTE: Final = 30
"""What the API grants without a key."""

_START_S: Final = 60.0
_STOP_S: Final = 10.0
_READY: Final = "sandbox at "


@dataclass(frozen=True)
class SandboxSpec:
    """A sandbox for a process of its own: parquet files with rows of RESERVES and POOLS, and how to serve them.

    `start`: the first moment (None: the first pool's creation). `speed`: virtual seconds a real second (None: stepped).
    """

    reserves: Path
    pools: Path
    source: str
    start: datetime | None = None
    speed: float | None = None
    calls_per_minute: int = CALLS_PER_MINUTE
    faults: FaultPlan = field(default_factory=FaultPlan)
    port: int = 0


@dataclass(frozen=True)
class RunningSandbox:
    """A sandbox that serves: its address, the API's address on it, its process, its controls."""

    url: str
    pid: int
    control: SandboxControl

    @property
    def api_url(self) -> str:
        """The base URL of the API."""
        return self.url + API_PREFIX


def serve(
    market: Market,
    *,
    host: str = HOST,
    port: int = 0,
    start: datetime | None = None,
    speed: float | None = None,
    calls_per_minute: int = CALLS_PER_MINUTE,
    faults: FaultPlan | None = None,
    announce: Callable[[str], None] = lambda _url: None,
) -> None:
    """Serve a market until SIGTERM or SIGINT; `announce` is told the address once it can be connected to.

    Port 0 takes a free one. `start` and `speed` as in SandboxSpec.

    Raises:
        UsageError: the host is not loopback, or a number makes no sense.
        ServiceError: the port is taken.
    """
    _require_loopback(host)
    clock = VirtualClock(start or EPOCH + timedelta(microseconds=market.first_birth_us), speed, time.monotonic)
    app = Sandbox(market, clock, faults or FaultPlan(), calls_per_minute).app()
    with _listening(host, port) as listener:
        # What breaks a connection here was asked for; the log of calls says so.
        config = uvicorn.Config(
            app, log_level="critical", lifespan="off", date_header=False, server_header=False,
            timeout_graceful_shutdown=1,
        )  # fmt: skip
        announce(f"http://{host}:{listener.getsockname()[1]}")
        with _signals_ignored_afterwards():
            uvicorn.Server(config).run(sockets=[listener])


def write_frames(reserves: pl.DataFrame, pools: pl.DataFrame, folder: Path) -> tuple[Path, Path]:
    """Put the frames where another process finds them: the files of RESERVES and POOLS rows in `folder`."""
    files = folder / "reserves.parquet", folder / "pools.parquet"
    reserves.write_parquet(files[0])
    pools.write_parquet(files[1])
    return files


@contextmanager
def running(spec: SandboxSpec) -> Iterator[RunningSandbox]:
    """A sandbox in a process of its own, ready; stopped at the end.

    Raises:
        ServiceError: it did not start.
    """
    command = [sys.executable, "-m", "pipeline.sandbox.server", json.dumps(_as_json(spec))]
    with (
        tempfile.TemporaryFile("w+") as complaints,
        # Its standard input is never written to: it ends when this process does, and the sandbox with it.
        subprocess.Popen(  # noqa: S603 -- our own module, with a value we wrote
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=complaints, text=True
        ) as process,
    ):
        try:
            url = _ready(process, complaints)
            yield RunningSandbox(url, process.pid, SandboxControl(url))
        finally:
            _stop(process)


def _require_loopback(host: str) -> None:
    with suppress(ValueError):
        if host == "localhost" or ipaddress.IPv4Address(host).is_loopback:
            return
    raise UsageError(f"the sandbox serves on loopback only, asked for {host!r}: use {HOST!r}")


def _listening(host: str, port: int) -> socket.socket:
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(128)
    except (OSError, OverflowError) as error:
        listener.close()
        raise ServiceError(f"the sandbox cannot listen on {host}:{port} ({error}): choose another port") from error
    return listener


@contextmanager
def _signals_ignored_afterwards() -> Iterator[None]:
    """The server stops on a signal, and then raises it once more for whoever handled it before; here that is nobody."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, lambda *_: None) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _ready(process: "subprocess.Popen[str]", complaints: IO[str]) -> str:
    """The address that the process prints once it listens."""
    line = ""
    with selectors.DefaultSelector() as selector:
        if process.stdout is not None and selector.register(process.stdout, selectors.EVENT_READ):
            line = process.stdout.readline() if selector.select(_START_S) else ""
    if line.startswith(_READY):
        return line.removeprefix(_READY).strip()
    _stop(process)
    complaints.seek(0)
    said = complaints.read()[-2000:]
    raise ServiceError(f"the sandbox did not start within {_START_S:g} s; it said {said!r}: mend what it complains of")


def _stop(process: "subprocess.Popen[str]") -> None:
    process.terminate()
    try:
        process.wait(_STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _as_json(spec: SandboxSpec) -> dict[str, Any]:
    start = None if spec.start is None else spec.start.isoformat()
    paths = {"reserves": str(spec.reserves.resolve()), "pools": str(spec.pools.resolve())}
    return asdict(spec) | paths | {"start": start, "faults": spec.faults.as_json()}


def _end_with_parent() -> None:
    """Stop when standard input ends: whoever started this process is gone."""

    def wait() -> None:
        sys.stdin.read()
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=wait, daemon=True).start()


def _announce(url: str) -> None:
    sys.stdout.write(f"{_READY}{url}\n")
    sys.stdout.flush()


def _main(told: str) -> None:
    _end_with_parent()
    spec = json.loads(told)
    try:
        reserves, pools = pl.read_parquet(spec.pop("reserves")), pl.read_parquet(spec.pop("pools"))
    except (pl.exceptions.PolarsError, OSError) as error:
        raise InputError(f"the frames of the sandbox cannot be read ({error}): write them with write_frames") from error
    start = spec.pop("start")
    serve(
        Market.of(reserves, pools, spec.pop("source")),
        start=None if start is None else datetime.fromisoformat(start),
        faults=FaultPlan.from_json(spec.pop("faults")),
        announce=_announce,
        **spec,
    )


if __name__ == "__main__":
    _main(sys.argv[1])
