"""What is asked of the API and what it answers, as plain values.

Belongs here: the endpoints' paths and parameters, and an answer as it is kept. Stays out: sending (`source`), keeping
(`journal`), reading what an answer says (`parse`).
"""

import gzip
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from pipeline.errors import UsageError
from pipeline.tables import ENDPOINTS

POOLS_A_PAGE: Final = 20
POOLS_A_CALL: Final = 30
LAST_PAGE: Final = 10
BARS_A_CALL: Final = 1000
_INCLUDED: Final = ("include", "base_token,quote_token,dex")


@dataclass(frozen=True)
class Call:
    """One request: what for, about which network (None: all of them), the path under the base URL, its parameters.

    >>> new_pools("eth", 2)
    Call(endpoint='new_pools', network='eth', path='networks/eth/new_pools', params=(('include', \
'base_token,quote_token,dex'), ('page', '2')))
    """

    endpoint: str
    network: str | None
    path: str
    params: tuple[tuple[str, str], ...] = ()

    def __post_init__(self) -> None:
        if self.endpoint not in ENDPOINTS:
            raise UsageError(f"there is no endpoint {self.endpoint!r}; there are {ENDPOINTS!r}")


@dataclass(frozen=True)
class Answer:
    """One answer as told: whatever its status, and whether or not it makes sense.

    `body` is what the server sent, after decompression. `plan` maps each pool that a sampler asked for to its
    inclusion probability and the visits it had missed; empty where nothing was sampled.
    """

    source: str
    call: Call
    url: str
    asked_at: datetime
    answered_at: datetime
    status: int
    content_type: str | None
    body: bytes
    plan: Mapping[str, tuple[float, int]] = field(default_factory=dict)

    @property
    def sha256(self) -> str:
        """SHA-256 of the body."""
        return hashlib.sha256(self.body).hexdigest()

    @property
    def answer_id(self) -> str:
        """Names the answer: the same bytes from the same address at the same moment are one answer."""
        told = f"{self.source}\n{self.url}\n{self.answered_at.isoformat()}\n{self.status}\n{self.sha256}"
        return hashlib.sha256(told.encode()).hexdigest()[:32]

    def as_row(self) -> dict[str, Any]:
        """The answer as a row of ANSWERS."""
        return {
            "source": self.source,
            "event_time": self.answered_at,
            "known_at": self.answered_at,
            "answer_id": self.answer_id,
            "endpoint": self.call.endpoint,
            "network": self.call.network,
            "url": self.url,
            "asked_at": self.asked_at,
            "status": self.status,
            "content_type": self.content_type,
            "n_bytes": len(self.body),
            "sha256": self.sha256,
            # No time in the header: the same body gives the same bytes.
            "body": gzip.compress(self.body, 6, mtime=0),
            "plan": json.dumps({pool: list(said) for pool, said in self.plan.items()}) if self.plan else None,
        }


def networks(page: int = 1) -> Call:
    """The chains there are."""
    return Call("networks", None, "networks", (("page", str(page)),))


def dexes(network: str, page: int = 1) -> Call:
    """The exchanges of a chain."""
    return Call("dexes", network, f"networks/{network}/dexes", (("page", str(page)),))


def new_pools(network: str | None, page: int = 1) -> Call:
    """The newest pools of a chain, or of all chains, newest first, POOLS_A_PAGE a page.

    Raises:
        UsageError: the API has no such page.
    """
    if not 1 <= page <= LAST_PAGE:
        raise UsageError(f"new pools are listed on pages 1 to {LAST_PAGE}, asked for {page!r}")
    path = "networks/new_pools" if network is None else f"networks/{network}/new_pools"
    return Call("new_pools", network, path, (_INCLUDED, ("page", str(page))))


def pools_multi(network: str, pools: Sequence[str]) -> Call:
    """The present state of up to POOLS_A_CALL pools.

    Raises:
        UsageError: none, or too many.
    """
    if not 1 <= len(pools) <= POOLS_A_CALL:
        raise UsageError(f"one call takes 1 to {POOLS_A_CALL} pools, asked for {len(pools)}")
    path = f"networks/{network}/pools/multi/{','.join(pools)}"
    return Call("pools_multi", network, path, (_INCLUDED, ("include_composition", "true")))


def pool(network: str, address: str) -> Call:
    """The present state of one pool."""
    path = f"networks/{network}/pools/{address}"
    return Call("pool", network, path, (_INCLUDED, ("include_composition", "true")))


def ohlcv(network: str, address: str, before: datetime | None = None, *, timeframe: str = "minute", aggregate: int = 5,
          limit: int = BARS_A_CALL) -> Call:  # fmt: skip
    """Bars of one pool in quote tokens, newest first, those that start before `before`; none for empty intervals."""
    params = [("aggregate", str(aggregate)), ("currency", "token"), ("limit", str(limit)), ("token", "base")]
    if before is not None:
        params.append(("before_timestamp", str(int(before.timestamp()))))
    path = f"networks/{network}/pools/{address}/ohlcv/{timeframe}"
    return Call("ohlcv", network, path, tuple(sorted(params)))


def trades(network: str, address: str) -> Call:
    """The last 300 swaps of one pool, at most 24 h old."""
    return Call("trades", network, f"networks/{network}/pools/{address}/trades", (("token", "base"),))


def token_info(network: str, address: str) -> Call:
    """What is known of one token."""
    return Call("token_info", network, f"networks/{network}/tokens/{address}/info")


def tokens_recently_updated() -> Call:
    """The tokens whose information changed last, on all chains."""
    return Call("tokens_recently_updated", None, "tokens/info_recently_updated", (("include", "network"),))
