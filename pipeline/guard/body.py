"""A body read whole before the server behind us sees any of it: bounded in length and in time.

So a huge one is refused before it is kept, and one that drips in holds no thread of the server's.
"""

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass
from typing import Any

from pipeline.guard.judgement import Refusal

type Message = MutableMapping[str, Any]
type Receive = Callable[[], Awaitable[Message]]


@dataclass(frozen=True)
class Limits:
    """How much a client may say, and how long it may take to say it.

    Attributes:
        body_bytes: the longest body; the longest of ours are a run's configuration and a batch of metrics.
        body_seconds: from the first byte of the body to the last.
    """

    body_bytes: int = 16 * 2**20
    body_seconds: float = 30.0


async def whole_body(receive: Receive, told_length: str | None, limits: Limits) -> bytes | Refusal | None:
    """The body, or why it is refused; None where the client went away."""
    too_long = Refusal(413, f"the body is longer than {limits.body_bytes:,} bytes: send less")
    if told_length is not None and (len(told_length) > 19 or int(told_length) > limits.body_bytes):
        return too_long
    chunks, n_bytes = [], 0
    try:
        async with asyncio.timeout(limits.body_seconds):
            while True:
                message = await receive()
                if message["type"] != "http.request":
                    return None
                chunks.append(message.get("body", b""))
                n_bytes += len(chunks[-1])
                if n_bytes > limits.body_bytes:
                    return too_long
                if not message.get("more_body", False):
                    return b"".join(chunks)
    except TimeoutError:
        return Refusal(408, f"the body took longer than {limits.body_seconds:g} s: send it faster")


def told_again(body: bytes, receive: Receive) -> Receive:
    """A `receive` that gives the body at once, and then whatever else the client does."""
    told = [False]

    async def again() -> Message:
        if told[0]:
            return await receive()
        told[0] = True
        return {"type": "http.request", "body": body, "more_body": False}

    return again
