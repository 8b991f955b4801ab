"""What every answer tells the browser: no framing, no guessing of types, nothing loaded from or sent elsewhere.

Content policies add up: a server's own, stricter one stays, and ours is laid over it.
"""

from collections.abc import Iterable
from typing import Final

CONTENT_POLICY: Final = "; ".join((
    "default-src 'self'",
    # Dagster's own policy narrows scripts down to a nonce; MLflow's pages need these words.
    "script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:",
    "style-src 'self' 'unsafe-inline'",
    "img-src 'self' data: blob:",
    "font-src 'self' data:",
    "worker-src 'self' blob:",
    "connect-src 'self' data: blob:",
    "frame-src 'self' data: blob:",
    "object-src 'none'",
    "base-uri 'none'",
    "form-action 'self'",
    "frame-ancestors 'none'",
))  # fmt: skip

_ALWAYS: Final = (
    (b"content-security-policy", CONTENT_POLICY.encode()),
    (b"x-frame-options", b"DENY"),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
)
_OURS: Final = frozenset(name for name, _ in _ALWAYS) - {b"content-security-policy"}


def guarded(headers: Iterable[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """The headers of an answer: ours in place of the server's, and no word that lets another site read it.

    >>> told = [(b"Access-Control-Allow-Origin", b"*"), (b"x-frame-options", b"SAMEORIGIN"), (b"a", b"1")]
    >>> found = dict(guarded(told))
    >>> found[b"a"], found[b"x-frame-options"], b"Access-Control-Allow-Origin" in found
    (b'1', b'DENY', False)
    """
    kept = [
        (name, value)
        for name, value in headers
        if name.lower() not in _OURS and not name.lower().startswith(b"access-control-")
    ]
    return [*kept, *_ALWAYS]
