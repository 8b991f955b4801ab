"""One GET over the wire, from connecting to the last byte: bounded in time and in memory, whatever the server does.

Belongs here: sockets, deadlines, decompression, the cap on a body. Stays out: what an answer means, and whether it is
asked for again (`source`).

Deadlines are on the machine's monotonic clock: they are about sockets. The market's clock may run a thousand times
faster than the server that answers, or stand still.
"""

import math
import threading
import time
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from ssl import SSLContext
from typing import Any, Final

import httpcore2
import httpx2

from pipeline.errors import SourceError
from pipeline.pools.collecting_spec import ClientSpec

_GZIP: Final = 16 + zlib.MAX_WBITS
_KEEP_ALIVE_S: Final = 30.0
_PLAIN: Final = frozenset({"", "identity"})
_PACKED: Final = frozenset({"gzip", "x-gzip"})


@dataclass(frozen=True)
class Transferred:
    """What came back: `body` is decompressed and cut at the cap; `trouble` says why it is not whole (None: it is)."""

    status: int
    headers: httpx2.Headers
    body: bytes
    trouble: str | None


class Wire:
    """Connections to one server, shared by threads.

    No cookies, no redirects, no proxies and no credentials out of the environment: requests go to httpx2's transport
    directly, since all that its client adds would have to be switched off.
    """

    def __init__(self, headers: dict[str, str], spec: ClientSpec) -> None:
        self._headers = headers | {"Accept-Encoding": "gzip"}
        self._spec = spec
        self._deadline = _Deadline()
        self._transport = _Transport(self._deadline)
        connect, read = spec.connect_timeout_s, spec.read_timeout_s
        self._timeouts = {"connect": connect, "read": read, "write": read, "pool": None}

    def close(self) -> None:
        """Close the connections."""
        self._transport.close()

    def get(self, url: str) -> Transferred:
        """Fetch `url`, which must be percent-encoded.

        Raises:
            SourceError: no status line and headers came.
        """
        self._deadline.at = time.monotonic() + self._spec.deadline_s
        request = httpx2.Request("GET", url, headers=self._headers, extensions={"timeout": self._timeouts})
        try:
            response = self._transport.handle_request(request)
        except httpx2.TransportError as error:
            raise SourceError(self._trouble(error)) from None
        try:
            return self._read(response)
        finally:
            response.close()

    def _read(self, response: httpx2.Response) -> Transferred:
        body = _Body(response.headers.get("content-encoding", ""), self._spec.max_body_bytes)
        try:
            if all(body.takes(chunk) for chunk in response.iter_raw()):
                body.end()
        except httpx2.TransportError as error:
            body.trouble = self._trouble(error)
        return Transferred(response.status_code, response.headers, bytes(body.content), body.trouble)

    def _trouble(self, error: httpx2.TransportError) -> str:
        if time.monotonic() >= self._deadline.at:
            return f"not finished within {self._spec.deadline_s} s"
        return f"{type(error).__name__}: {error}"


class _Body:
    """A body as it comes in. It never grows beyond its cap: what a bomb would expand to is not expanded."""

    def __init__(self, encoding: str, cap: int) -> None:
        self.content = bytearray()
        self.trouble: str | None = None
        self._cap = cap
        self._inflater = zlib.decompressobj(_GZIP) if encoding.strip().lower() in _PACKED else None
        if self._inflater is None and encoding.strip().lower() not in _PLAIN:
            self.trouble = f"content encoding {encoding} where gzip or none was asked for"

    def takes(self, chunk: bytes) -> bool:
        """Add what came over the wire; False: nothing more is wanted."""
        self.content += chunk[: self._room] if self._inflater is None else self._inflated(self._inflater, chunk)
        if len(self.content) > self._cap:
            del self.content[self._cap :]
            self.trouble = f"a body of more than {self._cap} bytes"
            return False
        return self._inflater is None or self.trouble is None

    def end(self) -> None:
        """Nothing more comes."""
        if self._inflater is not None and not self._inflater.eof:
            self.trouble = "a gzip body that ends too early"

    @property
    def _room(self) -> int:
        """One more than fits, so that too much is seen; never 0, which zlib takes for no limit."""
        return self._cap + 1 - len(self.content)

    def _inflated(self, inflater: "zlib._Decompress", chunk: bytes) -> bytes:
        try:
            plain = inflater.decompress(chunk, self._room)
        except zlib.error as error:
            self.trouble = f"a body that is not the gzip it claims to be ({error})"
            # Nothing could be read of it at all: then it is kept as it came.
            return b"" if self.content else chunk[: self._cap]
        if inflater.unused_data:
            self.trouble = "a gzip body with something behind its end"
        return plain


class _Deadline(threading.local):
    """When the call of the present thread has to be over, on the monotonic clock."""

    at: float = math.inf

    def bounds(self, timeout: float | None) -> float | None:
        """The time a single wait may take.

        Raises:
            TimeoutException: it is over. A wait of no time would still read from a server that never pauses.
        """
        left = self.at - time.monotonic()
        if left <= 0:
            raise httpcore2.TimeoutException("past the deadline")
        return min(math.inf if timeout is None else timeout, left)


@cache
def _certificates() -> SSLContext:
    """Whom we trust; `SSL_CERT_FILE` is heeded. Reading the list takes 80 ms, so it is read once."""
    return httpx2.create_ssl_context()


class _Transport(httpx2.HTTPTransport):
    """httpx2's transport, except that every wait also ends at the deadline of its thread's call.

    httpx2 has a timeout for each wait alone, which a byte a second never meets. Its connection pool takes the sockets
    from outside, but its transport does not hand that on, so the pool is put in its place.
    """

    def __init__(self, deadline: _Deadline) -> None:
        context = _certificates()
        super().__init__(verify=context, trust_env=False)
        self._pool = httpcore2.ConnectionPool(
            ssl_context=context,
            max_connections=None,
            keepalive_expiry=_KEEP_ALIVE_S,
            network_backend=_Network(deadline),
        )


class _Network(httpcore2.NetworkBackend):
    """Sockets under a deadline.

    What is not: looking up a name, for which the system has no timeout; and where a name has several addresses, each is
    given the whole time to connect.
    """

    def __init__(self, deadline: _Deadline) -> None:
        self._deadline, self._system = deadline, httpcore2.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore2.SOCKET_OPTION] | None = None,
    ) -> httpcore2.NetworkStream:
        """A connection to the host."""
        timeout = self._deadline.bounds(timeout)
        return _Stream(self._system.connect_tcp(host, port, timeout, local_address, socket_options), self._deadline)


class _Stream(httpcore2.NetworkStream):
    """A connection under a deadline."""

    def __init__(self, stream: httpcore2.NetworkStream, deadline: _Deadline) -> None:
        self._stream, self._deadline = stream, deadline

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """What has arrived."""
        return self._stream.read(max_bytes, self._deadline.bounds(timeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """Send."""
        self._stream.write(buffer, self._deadline.bounds(timeout))

    def close(self) -> None:
        """Hang up."""
        self._stream.close()

    def start_tls(
        self, ssl_context: SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore2.NetworkStream:
        """The connection, encrypted from here on."""
        timeout = self._deadline.bounds(timeout)
        return _Stream(self._stream.start_tls(ssl_context, server_hostname, timeout), self._deadline)

    def get_extra_info(self, info: str) -> Any:
        """What httpcore2 asks of the socket, such as whether the other side hung up."""
        return self._stream.get_extra_info(info)
