"""Receivers that listen on loopback, and a clock and a lake to tell them from."""

import json
import socket
import socketserver
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from pipeline.lake import Lake
from pipeline.monitoring.alerts.deliver import Told, deliver
from pipeline.monitoring.alerts.events import Event
from pipeline.monitoring.alerts.journal import record
from pipeline.monitoring.alerts.receivers import Receiver, receivers_of
from pipeline.monitoring.alerts.rules import Rules
from pipeline.monitoring.alerts.spec import AlertsSpec

NOON = datetime(2026, 3, 4, 12, tzinfo=UTC)  # a Wednesday
SALT = b"salt of the tests"


@dataclass
class MovingClock:
    """A clock that a test moves."""

    moment: datetime = NOON

    def now(self) -> datetime:
        return self.moment

    def move(self, **by: float) -> None:
        self.moment += timedelta(**by)


def event(
    subject: str = "answers", *, kind: str = "run.failed", mark: str = "", at: datetime = NOON, **more: Any
) -> Event:
    more = {"title": f"{subject}: a run failed", "body": "Words of ours.", "state": "raised", **more}
    return Event(kind=kind, subject=subject, event_time=at, mark=mark, **more)


@dataclass
class Bench:
    """A lake with alerts, and whoever is told of them."""

    folder: Path
    clock: MovingClock = field(default_factory=MovingClock)
    rules: Rules = field(default_factory=Rules)
    spec: AlertsSpec = field(default_factory=AlertsSpec)
    to: str = ""

    @property
    def lake(self) -> Lake:
        return Lake(self.folder / "lake")

    @property
    def receivers(self) -> tuple[Receiver, ...]:
        return receivers_of(self.to, SALT)

    def happens(self, *events: Event) -> int:
        return record(self.lake, events, self.clock.now())

    def delivers(self, **more: Any) -> list[Told]:
        return deliver(
            self.lake, self.folder / "alerts", self.receivers, self.clock, rules=self.rules, spec=self.spec, **more
        )


@dataclass
class Web:
    """An HTTP server that keeps what it was sent; `answers` may make it refuse, or hang."""

    port: int
    got: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    answers: Callable[[BaseHTTPRequestHandler], int] = lambda _handler: 200

    @property
    def messages(self) -> list[str]:
        return [told["message"] for _path, told in self.got]

    @property
    def titles(self) -> list[str]:
        return [told["title"] for _path, told in self.got]

    @contextmanager
    def up(self) -> Iterator["Web"]:
        web = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                status = web.answers(self)
                if status == 200:
                    web.got.append((self.path, json.loads(body)))
                self.send_response(status)
                self.send_header("Content-Length", "2")
                if status == 307:
                    self.send_header("Location", "/stolen")
                self.end_headers()
                self.wfile.write(b"ok")  # as Slack does

            def log_message(self, *_args: object) -> None:
                pass

        with ThreadingHTTPServer(("127.0.0.1", self.port), Handler) as server:
            server.daemon_threads = True
            threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
            yield self
            server.shutdown()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def mailbox(letters: list[str]) -> Iterator[int]:
    """An SMTP server that keeps what it was sent; gives its port."""

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            self.wfile.write(b"220 here\r\n")
            while line := self.rfile.readline():
                word = line.split(b" ", maxsplit=1)[0].strip().upper()
                if word == b"DATA":
                    self.wfile.write(b"354 go on\r\n")
                    lines = []
                    while (part := self.rfile.readline()) not in (b".\r\n", b""):
                        lines.append(part)
                    letters.append(b"".join(lines).decode())
                said = {b"QUIT": b"221 bye", b"EHLO": b"250-here\r\n250 AUTH PLAIN", b"AUTH": b"235 welcome"}
                self.wfile.write(said.get(word, b"250 fine") + b"\r\n")
                if word == b"QUIT":
                    return

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        yield int(server.server_address[1])
        server.shutdown()
