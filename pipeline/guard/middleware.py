"""The guard as an ASGI application around another one: judge, sign in, read, pass on.

Belongs here: the order of these, and how a refusal is answered. Stays out: every rule (`judgement`, `sign_in`, `body`).
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any, Final

from pipeline.guard.body import Limits, Message, Receive, told_again, whole_body
from pipeline.guard.headers import guarded
from pipeline.guard.hosts import AllowedHosts
from pipeline.guard.judgement import Refusal, Request, refusal
from pipeline.guard.sign_in import SignIn

type Send = Callable[[Message], Awaitable[None]]
type Application = Callable[[Any, Any, Any], Awaitable[None]]

_CHALLENGE: Final = (b"www-authenticate", b'Basic realm="poolcast", charset="UTF-8"')
_AT_ONCE: Final = 2
"""Passwords checked at the same time: each takes 32 MiB and a core."""

_log = logging.getLogger("poolcast.guard")


class Guard:
    """Lets through to `app` what may pass, and answers the rest itself.

    Args:
        app: the ASGI application that is guarded.
        hosts: the names under which it may be spoken to.
        sign_in: who may come in; None: everybody who can reach it.
        open_paths: what anybody may GET without signing in: whether the server is up.
        limits: how much a client may say.
    """

    def __init__(
        self,
        app: Application,
        hosts: AllowedHosts,
        sign_in: SignIn | None = None,
        open_paths: frozenset[str] = frozenset(),
        limits: Limits | None = None,
    ) -> None:
        self._app, self._hosts, self._sign_in = app, hosts, sign_in
        self._open_paths, self._limits = open_paths, limits or Limits()
        self._checking = asyncio.Semaphore(_AT_ONCE)

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        """One connection's request."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        request = Request.of(scope)
        refused = refusal(request, self._hosts) or await self._stranger(request)
        if refused is None and request.kind == "http":
            body = await whole_body(receive, request.told("content-length"), self._limits)
            if body is None:
                return
            if isinstance(body, bytes):
                await self._app(scope, told_again(body, receive), _guarding(send))
                return
            refused = body
        if refused is None:
            await self._app(scope, receive, send)
            return
        # Quoted, and cut: whoever is refused does not write our log.
        _log.warning("refused %.10r %.200r: %d, %s", request.method, request.path, refused.status, refused.reason)
        await _refuse(scope, receive, send, refused)

    async def _stranger(self, request: Request) -> Refusal | None:
        if self._sign_in is None or (request.method == "GET" and request.path in self._open_paths):
            return None
        shown = request.told("authorization")
        if shown is None:
            return Refusal(401, "sign in")
        if self._sign_in.is_known(shown):
            return None
        async with self._checking:
            outcome = await asyncio.to_thread(self._sign_in.judge, shown)
        if outcome == "wait":
            return Refusal(429, "too many wrong passwords under this name: try again in a minute")
        return None if outcome == "admitted" else Refusal(401, "name or password is wrong")


def _guarding(send: Send) -> Send:
    async def guarding(message: Message) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = guarded((bytes(name), bytes(value)) for name, value in message.get("headers", ()))
        await send(message)

    return guarding


async def _refuse(scope: dict[str, Any], receive: Receive, send: Send, refused: Refusal) -> None:
    body = f"{refused.reason}\n".encode()
    # What is left of the body is not read, so the connection cannot be used again.
    headers = [
        (b"content-type", b"text/plain; charset=utf-8"),
        (b"content-length", b"%d" % len(body)),
        (b"connection", b"close"),
    ]
    headers += [_CHALLENGE] if refused.status == 401 else []
    headers += [(b"retry-after", b"60")] if refused.status == 429 else []
    kind = "http.response"
    if scope["type"] == "websocket":
        await receive()
        kind = "websocket.http.response"
        if kind not in scope.get("extensions", {}):
            await send({"type": "websocket.close", "code": 1008})
            return
    await send({"type": f"{kind}.start", "status": refused.status, "headers": guarded(headers)})
    await send({"type": f"{kind}.body", "body": body})
