"""A real HTTP server on loopback that does what no server should; it speaks over raw sockets, so that it can."""

import gzip
import json
import socket
import ssl
import struct
import threading
import zlib
from collections.abc import Callable
from typing import Self

GOOD = json.dumps({"data": [{"id": "eth_0xaa"}]}).encode()
JSON = {"Content-Type": "application/json; charset=utf-8"}


class MisbehavingServer:
    """Answers the n-th request with the n-th behaviour, and every later one with the last.

    A behaviour is given the connection and the path, and says whether the connection stays open. `requests` holds what
    was received, as text. With `tls` it speaks HTTPS.
    """

    def __init__(self, *behaviours: "Behaviour", tls: ssl.SSLContext | None = None) -> None:
        self._behaviours, self._tls = behaviours, tls
        self.requests: list[str] = []
        self.stopping = threading.Event()
        self._lock = threading.Lock()
        self._threads: list[threading.Thread] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.url = f"{'https' if tls else 'http'}://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        self._start(self._accept)
        return self

    def __exit__(self, *_: object) -> None:
        self.stopping.set()
        socket.create_connection(("127.0.0.1", self.port)).close()  # wakes whoever accepts
        for thread in self._threads:  # the first is the one that accepts, and adds the others
            thread.join()
        self._listener.close()

    def _start(self, work: Callable[..., None], *args: object) -> None:
        thread = threading.Thread(target=work, args=args, daemon=True)
        thread.start()
        self._threads.append(thread)

    def _accept(self) -> None:
        while not self.stopping.is_set():
            connection, _ = self._listener.accept()
            connection.settimeout(0.05)
            self._start(self._serve, connection)

    def _serve(self, connection: socket.socket) -> None:
        try:
            if self._tls is not None:
                connection.settimeout(5)
                connection = self._tls.wrap_socket(connection, server_side=True)
                connection.settimeout(0.05)
            with connection:
                while request := self._request(connection):
                    with self._lock:
                        behaviour = self._behaviours[min(len(self.requests), len(self._behaviours) - 1)]
                        self.requests.append(request)
                    if not behaviour(self, connection, request.split()[1]):
                        return
        except OSError:
            return  # the other side hung up, as it may
        finally:
            connection.close()

    def _request(self, connection: socket.socket) -> str:
        received = b""
        while not received.endswith(b"\r\n\r\n") and not self.stopping.is_set():
            try:
                chunk = connection.recv(65536)
            except TimeoutError:
                continue
            if not chunk:
                return ""
            received += chunk
        return received.decode("latin-1") if received else ""


Behaviour = Callable[[MisbehavingServer, socket.socket, str], bool]


def head(status: int, headers: dict[str, str]) -> bytes:
    lines = [f"HTTP/1.1 {status} Whatever", *(f"{name}: {value}" for name, value in headers.items()), "", ""]
    return "\r\n".join(lines).encode("latin-1")


def send(connection: socket.socket, told: bytes) -> None:
    connection.settimeout(10)
    connection.sendall(told)
    connection.settimeout(0.05)


def reply(
    status: int = 200, body: bytes = GOOD, headers: dict[str, str] | None = None, *, length: int = -1
) -> Behaviour:
    """An ordinary answer; with `length` its header lies about the body, after which the connection is closed."""

    def behave(server: MisbehavingServer, connection: socket.socket, path: str) -> bool:
        told = JSON | {"Content-Length": str(len(body) if length < 0 else length)} | (headers or {})
        send(connection, head(status, told) + body)
        return length < 0

    return behave


def echo(server: MisbehavingServer, connection: socket.socket, path: str) -> bool:
    """The path that was asked for, as the data."""
    body = json.dumps({"data": path}).encode()
    send(connection, head(200, JSON | {"Content-Length": str(len(body))}) + body)
    return True


def drip(start: bytes, drop: bytes, seconds: float) -> Behaviour:
    """Send `start`, and then a drop every few seconds, for ever."""

    def behave(server: MisbehavingServer, connection: socket.socket, path: str) -> bool:
        send(connection, start)
        while not server.stopping.wait(seconds):
            send(connection, drop)
        return False

    return behave


def stall(start: bytes) -> Behaviour:
    """Send `start` and then nothing, with the connection open."""

    def behave(server: MisbehavingServer, connection: socket.socket, path: str) -> bool:
        send(connection, start)
        connection.settimeout(None)
        while not server.stopping.is_set():
            connection.settimeout(0.05)
            try:
                if not connection.recv(1):
                    return False
            except TimeoutError:
                continue
        return False

    return behave


def raw(told: bytes) -> Behaviour:
    """These bytes, and then the end."""

    def behave(server: MisbehavingServer, connection: socket.socket, path: str) -> bool:
        send(connection, told)
        return False

    return behave


def reset(server: MisbehavingServer, connection: socket.socket, path: str) -> bool:
    """Hang up without a word, rudely."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    return False


def packed(body: bytes, headers: dict[str, str] | None = None) -> Behaviour:
    """A gzip body, as it is given."""
    return reply(200, body, {"Content-Encoding": "gzip"} | (headers or {}))


def bomb(n_megabytes: int) -> bytes:
    """So many megabytes of zeros, well formed, as gzip. One megabyte is compressed and then repeated."""
    deflater, megabyte = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS), bytes(1_000_000)
    first = deflater.compress(megabyte) + deflater.flush(zlib.Z_FULL_FLUSH)
    checksum = 0
    for _ in range(n_megabytes):
        checksum = zlib.crc32(megabyte, checksum)
    end = struct.pack("<II", checksum, n_megabytes * len(megabyte) & 0xFFFFFFFF)
    return gzip.compress(b"")[:10] + first * n_megabytes + deflater.flush() + end
