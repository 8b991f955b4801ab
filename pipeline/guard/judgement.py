"""What a request says of itself, and whether it may pass.

Belongs here: one function over plain values, in the order of what is cheapest to know. Stays out: reading, answering,
and who signed in.

Browsers say where a request comes from (`Origin`, `Sec-Fetch-Site`) and pages cannot forge it; programs say nothing,
and a program that can reach us is no page. So what is said must be right, and what is not said passes.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, Self
from urllib.parse import unquote

from pipeline.guard.hosts import AllowedHosts, Authority, Origin

_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE"})
_SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS"})
_LONGEST_HEAD: Final = 32 * 2**10
_ONCE: Final = (
    "host", "origin", "authorization", "content-type", "content-length", "transfer-encoding", "content-encoding",
    "sec-fetch-site", "sec-fetch-mode", "sec-fetch-dest",
)  # fmt: skip
"""Headers that decide something here or behind us: said twice, two readers may take different ones for the truth."""


@dataclass(frozen=True)
class Refusal:
    """An answer instead of the server's: its status, and what was found and what to do in a sentence."""

    status: int
    reason: str


@dataclass(frozen=True)
class Request:
    """What a request says before its body: the path is decoded once, as the server behind us will see it."""

    kind: Literal["http", "websocket"]
    method: str
    path: str
    headers: Sequence[tuple[str, str]]

    @classmethod
    def of(cls, scope: dict[str, Any]) -> Self:
        """The request of an ASGI scope."""
        headers = [(name.decode("latin-1").lower(), value.decode("latin-1")) for name, value in scope["headers"]]
        return cls(scope["type"], scope.get("method", "GET"), scope["path"], headers)

    def told(self, name: str) -> str | None:
        """The value of a header, or None."""
        return next((value for each, value in self.headers if each == name), None)


def refusal(request: Request, hosts: AllowedHosts) -> Refusal | None:
    """Why the request may not pass, or None where it may.

    >>> asked = Request("http", "GET", "/", [("host", "evil.example:3000")])
    >>> refusal(asked, AllowedHosts()).status
    403
    >>> refusal(Request("http", "GET", "/", [("host", "localhost:3000")]), AllowedHosts()) is None
    True
    """
    host = Authority.parse(request.told("host") or "")
    return _malformed(request, host) or _foreign(request, hosts, host) or _graphql(request)


def _malformed(request: Request, host: Authority | None) -> Refusal | None:
    if not request.path.startswith("/") or not request.path.isprintable():
        return Refusal(400, f"{request.path[:80]!r} is no path of this server: begin it with a slash")
    if request.method not in _METHODS:
        return Refusal(405, f"{request.method[:20]!r} is no method of this server")
    return _ambiguous(request) or (
        None if host is not None else Refusal(400, "the header 'host' names no host: send one")
    )


def _ambiguous(request: Request) -> Refusal | None:
    names = [name for name, _ in request.headers]
    doubled = [name for name in _ONCE if names.count(name) > 1]
    if doubled:
        return Refusal(400, f"the header {doubled[0]!r} is there {names.count(doubled[0])} times: send it once")
    if len(request.path) + sum(len(name) + len(value) for name, value in request.headers) > _LONGEST_HEAD:
        return Refusal(431, f"path and headers are longer than {_LONGEST_HEAD:,} letters: send less")
    if "content-length" in names and "transfer-encoding" in names:
        return Refusal(400, "a body has either a length or chunks: send one of the two headers")
    return Refusal(415, "the body is packed: send it plain") if "content-encoding" in names else None


def _foreign(request: Request, hosts: AllowedHosts, host: Authority | None) -> Refusal | None:
    if host is None or not hosts.admit(host):
        name = host.host if host else ""
        return Refusal(403, f"this server is not spoken to as {name[:80]!r}: name it in POOLCAST_ALLOWED_HOSTS")
    told = request.told("origin")
    origin = None if told is None else Origin.parse(told)
    if told is not None and (origin is None or not hosts.is_same_origin(origin, host)):
        return Refusal(403, f"a page of {told[:80]!r} may not speak to this server")
    return None if _is_from_here(request) else Refusal(403, "a page of another site may only link to this server")


def _is_from_here(request: Request) -> bool:
    """Whether the browser says that the page is ours, or that a person followed a link; or there is no browser."""
    site = request.told("sec-fetch-site")
    if site in {None, "same-origin"}:
        return True
    is_link = (
        request.kind == "http"
        and request.method in _SAFE
        and request.told("sec-fetch-mode") == "navigate"
        and request.told("sec-fetch-dest") == "document"
    )
    return is_link or (site == "none" and request.kind == "http" and request.method in _SAFE)


def _graphql(request: Request) -> Refusal | None:
    """GraphQL changes things whatever the method: by POST only, in the one form that no plain form can send."""
    if request.kind == "websocket" or not is_graphql(request.path):
        return None
    if request.method != "POST":
        return Refusal(405, "GraphQL is asked by POST here, never by GET")
    form = (request.told("content-type") or "").partition(";")[0].strip().lower()
    return None if form == "application/json" else Refusal(415, f"GraphQL is asked in JSON here, found {form[:80]!r}")


def is_graphql(path: str) -> bool:
    """Whether any reader could take the path for GraphQL's: under any prefix, however encoded.

    >>> [is_graphql(path) for path in ("/graphql", "//x/./GraphQL/", "/%2567raphql", "/x/../graphql;a", "/graph")]
    [True, True, True, True, False]
    """
    plain, before = path, ""
    while plain != before:
        plain, before = unquote(plain), plain
    words = [word.partition(";")[0].strip().lower() for word in re.split(r"[/\\]+", plain)]
    return next((word for word in reversed(words) if word not in {"", "."}), "") == "graphql"
