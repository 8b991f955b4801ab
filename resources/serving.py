"""Serving an application of ours: behind the guard, on loopback, and beyond it only with a sign-in.

Belongs here: what the settings mean for sockets and for the guard. Stays out: the rules (`pipeline.guard`) and the
applications (`webserver`, `registry_server`).
"""

import ipaddress
import logging
import secrets
import socket
import time

from pipeline.errors import ServiceError, UsageError
from pipeline.guard.hosts import AllowedHosts
from pipeline.guard.middleware import Application, Guard
from pipeline.guard.sign_in import SignIn, accounts_of
from resources.settings import HOST, OWN_NAME, OWN_WORD, Settings, own_sign_in

_AT_ONCE = 512
"""Connections; a page of Dagster's holds about ten."""


def check_reach(settings: Settings) -> None:
    """Make sure that nobody can reach our servers from elsewhere without signing in.

    Raises:
        UsageError: the address to listen on is none or wants a sign-in, or a setting of the guard cannot be read.
    """
    AllowedHosts.of(settings.allowed_hosts)
    if settings.sign_in is not None:
        accounts_of(settings.sign_in)
    elif not _address(settings.bind).is_loopback:
        raise UsageError(
            f"POOLCAST_BIND is {settings.bind!r}, which others can reach, and nobody is asked to sign in: set "
            "POOLCAST_SIGN_IN to a line of `poolcast sign-in hash NAME`, or leave POOLCAST_BIND unset"
        )


def own_credentials(settings: Settings) -> dict[str, str]:
    """What our own processes sign in to MLflow with, as its client reads it; nothing where nobody has to.

    Whoever runs workers on other machines gives the same two variables to all of them.
    """
    if settings.sign_in is None:
        return {}
    name, word = own_sign_in()
    return {OWN_NAME: name or "poolcast", OWN_WORD: word or secrets.token_urlsafe(32)}


def serve(app: Application, settings: Settings, port: int, open_paths: frozenset[str]) -> None:
    """Serve an application on `port` until SIGTERM or SIGINT.

    Args:
        app: the ASGI application.
        settings: where to listen, and who may come in under which names.
        port: the port, on every address.
        open_paths: what tells that the server is up; it is told without signing in.

    Raises:
        UsageError: as `check_reach`.
        ServiceError: an address cannot be listened on.
    """
    import uvicorn  # noqa: PLC0415 - the settings are checked in processes that serve nothing

    check_reach(settings)
    said = logging.getLogger("poolcast.guard")
    said.addHandler(logging.StreamHandler())
    said.propagate = False
    config = uvicorn.Config(
        guarded(app, settings, open_paths),
        # h11 is strict about what a request is; nothing in front of us is believed what it says of others.
        http="h11",
        ws="websockets-sansio",
        ws_max_size=2**20,
        proxy_headers=False,
        server_header=False,
        limit_concurrency=_AT_ONCE,
        # A page that is left open does not keep a server from ending.
        timeout_graceful_shutdown=5,
        log_level="warning",
    )
    uvicorn.Server(config).run(sockets=[_listening(address, port) for address in _addresses(settings.bind)])


def guarded(app: Application, settings: Settings, open_paths: frozenset[str]) -> Guard:
    """The application behind the guard that the settings ask for."""
    name, word = own_sign_in()
    sign_in = None
    if settings.sign_in is not None:
        known = (name, word) if name and word else None
        sign_in = SignIn(accounts_of(settings.sign_in), known, time.monotonic)
    return Guard(app, AllowedHosts.of(settings.allowed_hosts), sign_in, open_paths)


def _address(bind: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    try:
        return ipaddress.ip_address(bind)
    except ValueError as error:
        raise UsageError(f"POOLCAST_BIND is {bind!r}: give the IP address to listen on, like '127.0.0.1'") from error


def _addresses(bind: str) -> list[str]:
    """Where to listen: on loopback in any case, as our own processes find each other there."""
    address = _address(bind)
    return [bind] if bind in {HOST, "0.0.0.0"} else [HOST, str(address)]  # noqa: S104 - compared, not chosen


def _listening(address: str, port: int) -> socket.socket:
    is_v6 = ":" in address
    listener = socket.socket(socket.AF_INET6 if is_v6 else socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if is_v6:
        listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    try:
        listener.bind((address, port))
    except OSError as error:
        listener.close()
        raise ServiceError(f"nothing can listen on {address!r} port {port} ({error.strerror})") from error
    listener.set_inheritable(False)
    return listener


def port_argument(arguments: list[str]) -> tuple[int, list[str]]:
    """The port, which a server's command line begins with, and the rest of it."""
    if not arguments or not arguments[0].isdecimal():
        raise UsageError(f"{arguments[:1]!r} is no port: the command is `python -m resources.SERVER PORT ...`")
    return int(arguments[0]), arguments[1:]
