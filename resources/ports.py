"""Ports on loopback: free or whose.

Belongs here: looking before a server is started, so that the answer is a sentence. Stays out: which server wants which.
"""

import errno
import http.client
import socket

import psutil

from pipeline.errors import ServiceError
from resources.settings import HOST


def check_port(port: int, purpose: str, remedy: str) -> None:
    """Make sure that a server can listen on `port`.

    Raises:
        ServiceError: it is taken (the message says by which process, where that can be known) or not allowed.
    """
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                raise ServiceError(f"port {port} for {purpose} is taken by {holder(port)}: {remedy}") from error
            raise ServiceError(f"port {port} for {purpose} cannot be used ({error.strerror}): {remedy}") from error


def holder(port: int) -> str:
    """Return the name and number of the process that listens on `port`, as far as we may know."""
    try:
        for connection in psutil.net_connections(kind="tcp"):
            if connection.laddr and connection.laddr.port == port and connection.status == psutil.CONN_LISTEN:
                return _name(connection.pid)
    except psutil.AccessDenied:
        pass
    return "another process"


def answers(port: int, path: str, timeout_seconds: float = 2.0) -> bool:
    """Tell whether an HTTP server on `port` answers `path` with 200."""
    connection = http.client.HTTPConnection(HOST, port, timeout=timeout_seconds)
    try:
        connection.request("GET", path)
        return connection.getresponse().status == http.HTTPStatus.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _name(pid: int | None) -> str:
    try:
        return "another user's process" if pid is None else f"{psutil.Process(pid).name()!r} (pid {pid})"
    except psutil.NoSuchProcess:
        return "a process that just ended"
