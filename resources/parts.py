"""What `poolcast up` keeps running: servers of ours as processes of their own, and the embedded database.

Belongs here: starting one part, telling whether it runs, and ending what is left of it. Stays out: when that is done
(`supervisor`), and which parts there are (`services`).
"""

import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from pipeline.text import spelled
from resources.embedded_postgres import EmbeddedServer
from resources.processes import ProcessIdentity, end
from resources.roster import Roster

_GRACE_SECONDS = 5
_TAIL_BYTES = 20_000
_SILENCE = "(no output)"
_ERROR = re.compile(r"[A-Za-z_][\w.]*(?:Error|Exception)(?:: .*)?")
"""The line that a traceback ends with: the error, and what it says."""


@dataclass(frozen=True)
class Service:
    """One server of ours.

    Attributes:
        name: what people call it.
        command: the arguments after the Python interpreter.
        log: where its output goes.
        port: where it answers, or None if it serves nobody.
        ready_path: the path that answers 200 once it is ready.
    """

    name: str
    command: Sequence[str]
    log: Path
    port: int | None = None
    ready_path: str = "/"


class Part(Protocol):
    """Something that is kept running."""

    name: str
    log: Path

    def start(self) -> None:
        """Start it; OSError or ServiceError where it cannot be."""

    def is_running(self) -> bool:
        """Tell whether it lives."""

    def halt(self) -> str:
        """End what is left of it, and say how it ended."""


@dataclass
class ServicePart:
    """A service as a process, with its place in the roster (None: one that ends by itself, and is not looked for).

    `n_bytes_before`: what its log held when it was started last.
    """

    service: Service
    environment: Mapping[str, str]
    roster: Roster | None
    process: subprocess.Popen[bytes] | None = None
    identity: ProcessIdentity | None = None
    n_bytes_before: int = 0
    name: str = field(init=False)
    log: Path = field(init=False)

    def __post_init__(self) -> None:
        self.name, self.log = self.service.name, self.service.log

    def start(self) -> None:
        """Start its process; what an earlier one said stays in the log."""
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as log:
            self.n_bytes_before = log.tell()
            self.process = subprocess.Popen(  # noqa: S603 - our own command, no shell
                [sys.executable, *self.service.command],
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                # Its own session: Ctrl-C reaches us alone, and we stop it in its turn.
                start_new_session=True,
            )
        self.identity = ProcessIdentity.of(self.process.pid)
        if self.roster is not None:
            self.roster.add(self.name, self.process.pid)

    def is_running(self) -> bool:
        """Tell whether its process lives."""
        return self.process is not None and self.process.poll() is None

    def left(self) -> list[int]:
        """Return its number while that names its process or what that left behind, and not somebody else since."""
        if self.process is None:
            return []
        is_ours = self.is_running() or (self.identity is not None and self.identity.has_left_others())
        return [self.process.pid] if is_ours else []

    def halt(self) -> str:
        """End its process and the code servers it started. Runs lead sessions of their own and go on."""
        if self.process is None:
            return "never started"
        end(self.left(), _GRACE_SECONDS, is_own_session_only=True)
        status = self.process.wait()
        return f"killed by signal {-status}" if status < 0 else f"exit status {status}"


@dataclass
class DatabasePart:
    """The embedded PostgreSQL."""

    server: EmbeddedServer
    name: str = "PostgreSQL"
    log: Path = field(init=False)

    def __post_init__(self) -> None:
        self.log = self.server.log

    def start(self) -> None:
        """Start it where it does not run."""
        self.server.revive()

    def is_running(self) -> bool:
        """Tell whether its process lives."""
        return self.server.is_running()

    def halt(self) -> str:
        """Nothing to end: its own processes notice that the first of them is gone."""
        return "its process is gone"


def tail(log: Path, n_lines: int = 15) -> str:
    """Return the last words of a log, such that no terminal obeys them: they may quote a name from a chain."""
    return "\n".join(_last_lines(log)[-n_lines:]) or _SILENCE


def cause(log: Path, n_bytes_before: int = 0) -> str:
    """Return the last error that a log names after so many bytes, without its frames; else its last line."""
    lines = _last_lines(log, n_bytes_before)
    errors = [line for line in lines if _ERROR.fullmatch(line)]
    return (errors or lines or [_SILENCE])[-1]


def _last_lines(log: Path, since: int = 0) -> list[str]:
    try:
        with log.open("rb") as told:
            told.seek(max(since, log.stat().st_size - _TAIL_BYTES))
            lines = told.read().decode(errors="replace").split("\n")
    except OSError:
        return []
    return [spelled(line.rstrip("\r")) for line in lines if line]
