"""Answers as bytes on their way: sound ones, and those that WIRE_FAULTS spoil.

Belongs here: headers, compression, drips, stalls, bombs, redirects. Stays out: documents (`wire`, `planting`), and
which answer is spoilt (`faults`).
"""

import asyncio
import gzip
import hashlib
import math
import zlib
from collections.abc import Callable, Mapping
from datetime import datetime
from email.utils import format_datetime
from functools import lru_cache, partial
from typing import Final

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from pipeline.sandbox.faults import FaultPlan

TRAP_PATH: Final = "/sandbox/trap"
_JSON: Final = "application/json; charset=utf-8"
_PAGE: Final = b"<!doctype html><html><head><title>One moment</title></head><body>Checking your browser</body></html>"
_DRIPS: Final = 20
_RETRY_AFTER_S: Final = 30
_GZIP_LEVEL: Final = 1
_SMALLEST_GZIP: Final = 500

_RECORDED: Final = {
    "cache-control": "max-age=30,public,must-revalidate,s-maxage=60",
    "referrer-policy": "strict-origin-when-cross-origin",
    "vary": "Accept-Encoding,Accept,Origin",
    "x-content-type-options": "nosniff",
    "x-frame-options": "SAMEORIGIN",
}
"""Headers of recorded answers that say something about the answer and not about the machine that gave it."""


def headers(source: str, now: datetime) -> dict[str, str]:
    """What every answer of the API carries here: `date` is virtual, `x-poolcast-source` says that it is no real API."""
    return _RECORDED | {"date": format_datetime(now.replace(microsecond=0), usegmt=True), "x-poolcast-source": source}


def sound(status: int, body: bytes, head: Mapping[str, str], accepts_gzip: bool) -> Response:
    """The answer as it should be, compressed if the client takes that."""
    told = {**head, "content-type": _JSON, "etag": f'W/"{hashlib.md5(body, usedforsecurity=False).hexdigest()}"'}
    if accepts_gzip and len(body) >= _SMALLEST_GZIP:
        body, told["content-encoding"] = gzip.compress(body, _GZIP_LEVEL, mtime=0), "gzip"
    return Response(body, status, told)


def spoilt(kind: str, body: bytes, head: Mapping[str, str], plan: FaultPlan, trap: str) -> Response:
    """The answer that one of WIRE_FAULTS makes of a sound body; `trap` is where a redirect leads."""
    told = {**head, "content-type": _JSON}
    page = {**head, "content-type": "text/html; charset=utf-8"}
    makers: dict[str, Callable[[], Response]] = {
        "rate_limited": lambda: rate_limited(head, _RETRY_AFTER_S),
        "rate_limited_silently": lambda: rate_limited(head, None),
        **{f"error_{status}": partial(Response, _PAGE, status, page) for status in (500, 502, 503)},
        "redirect": lambda: Response(b"", 302, {**head, "location": trap}),
        "wrong_type": lambda: Response(_PAGE, 200, page),
        "truncated": lambda: Response(body[: len(body) // 2], 200, told),
        "bomb": lambda: Response(_bomb(plan.bomb_bytes), 200, told | {"content-encoding": "gzip"}),
        "drip": lambda: Slow(body, told, [plan.drip_s / _DRIPS] * _DRIPS),
        "stall": lambda: Slow(body, told, [plan.stall_s], is_cut=True),
    }
    return makers[kind]()


def rate_limited(head: Mapping[str, str], retry_after_s: int | None) -> Response:
    """The API's refusal of a call too many."""
    body = b'{"status":{"error_code":429,"error_message":"The rate limit is exceeded: this is a sandbox, wait."}}'
    told = {**head, "content-type": _JSON} | ({} if retry_after_s is None else {"retry-after": str(retry_after_s)})
    return Response(body, 429, told)


@lru_cache(maxsize=2)
def _bomb(n_bytes: int) -> bytes:
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    block = b" " * 1_000_000
    whole, rest = divmod(n_bytes, len(block))
    return b"".join([*(packer.compress(block) for _ in range(whole)), packer.compress(block[:rest]), packer.flush()])


class Slow(Response):
    """A body that comes piece by piece, with a pause after each; `is_cut`: half of it, and then the connection ends."""

    def __init__(self, body: bytes, head: Mapping[str, str], pauses_s: list[float], *, is_cut: bool = False) -> None:
        super().__init__(body, 200, dict(head))
        self._pauses_s, self._is_cut = pauses_s, is_cut

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 -- ASGI's signature
        """Send the body slowly."""
        body = bytes(self.body)
        told = body[: len(body) // 2] if self._is_cut else body
        size = max(1, math.ceil(len(told) / len(self._pauses_s)))
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        for place, pause_s in enumerate(self._pauses_s):
            piece = told[place * size : (place + 1) * size]
            await send({"type": "http.response.body", "body": piece, "more_body": True})
            await asyncio.sleep(pause_s)
        if not self._is_cut:
            await send({"type": "http.response.body", "body": b"", "more_body": False})
