"""What the API answers to a request at a moment: routing, parameters, pages, errors.

Belongs here: which records an answer holds, and the shape around them. Stays out: the records (`records`), the
transport (`responses`, `server`), the time, and everything that goes wrong on purpose (`faults`).

Shapes follow the official OpenAPI description (its on-chain paths, without their prefix) and recorded responses.
"""

import uuid
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Final

from pipeline.sandbox import records
from pipeline.sandbox.histories import bars, trades
from pipeline.sandbox.market import MINUTE_US, Market, PoolFacts

POOLS_A_PAGE: Final = 20
LAST_PAGE: Final = 10
POOLS_A_CALL: Final = 30
TOKENS_TOLD: Final = 100
BARS_A_CALL: Final = 1000
BARS_UNLESS_TOLD: Final = 100
AGGREGATES: Final = {"minute": (1, 5, 15), "hour": (1, 4, 12), "day": (1,)}
_UNIT_US: Final = {"minute": MINUTE_US, "hour": 60 * MINUTE_US, "day": 1440 * MINUTE_US}

Document = dict[str, Any]


@dataclass(frozen=True)
class Asked:
    """A request: its path under the API's prefix, its parameters, the API's address as the client wrote it."""

    path: str
    params: Mapping[str, str] = field(default_factory=dict)
    base_url: str = ""


@dataclass(frozen=True)
class Told:
    """An answer: status, document, and the endpoint it came from (None: there is no such path)."""

    status: int
    document: Document
    endpoint: str | None


class _Refused(Exception):  # noqa: N818 -- not an error of ours: it is an answer
    def __init__(self, status: int, title: str, detail: str | None = None) -> None:
        self.status, self.title, self.detail = status, title, detail


@dataclass(frozen=True)
class _Question:
    market: Market
    moment_us: int
    asked: Asked
    gone: Collection[str]

    @property
    def included(self) -> set[str]:
        return {name.strip() for name in self.asked.params.get("include", "").split(",")}

    @property
    def has_composition(self) -> bool:
        return self.asked.params.get("include_composition") == "true"

    def number(self, name: str, default: int | None, low: int, high: int) -> int | None:
        told = self.asked.params.get(name)
        if told is None:
            return default
        if not (told.isascii() and told.isdigit() and len(told) <= 19 and low <= int(told) <= high):
            raise _Refused(400, "Bad Request", f"{name} must be a whole number from {low} to {high}")
        return int(told)

    def network(self, name: str) -> str:
        if name not in self.market.networks:
            raise _Refused(404, "Not Found")
        return name

    def pool(self, network: str, address: str) -> PoolFacts:
        found = self.market.pool(self.network(network), address, self.moment_us)
        if found is None or address in self.gone:
            raise _Refused(404, "Not Found")
        return found


def tell(market: Market, moment_us: int, asked: Asked, gone: Collection[str] = ()) -> Told:
    """The answer to a request, at a moment in microseconds since the epoch; pools in `gone` are unknown to it."""
    question = _Question(market, moment_us, asked, gone)
    endpoint, answer, arguments = _route(asked.path.strip("/").split("/"))
    try:
        if answer is None:
            raise _Refused(404, "Not Found")
        return Told(200, answer(question, *arguments), endpoint)
    except _Refused as refused:
        return Told(refused.status, error_document(refused.status, refused.title, refused.detail, asked.path), endpoint)


def error_document(status: int, title: str, detail: str | None, seed: str) -> Document:
    """The API's error document; `seed` names its reference."""
    error = {"status": str(status), "title": title} | ({} if detail is None else {"detail": detail})
    return {"errors": [error], "meta": {"ref_id": str(uuid.uuid5(uuid.NAMESPACE_URL, seed))}}


def _listed(question: _Question, items: list[Document]) -> Document:
    page = question.number("page", 1, 1, 1_000_000)
    url = f"{question.asked.base_url}/{question.asked.path.strip('/')}?page=1"
    links = {"first": url, "prev": None, "next": None, "last": url}
    return {"data": items if page == 1 else [], "links": links}


def _networks(question: _Question) -> Document:
    return _listed(question, [records.network_record(name) for name in question.market.networks])


def _dexes(question: _Question, network: str) -> Document:
    return _listed(question, [records.dex_record(name) for name in question.market.dexes(question.network(network))])


def _with_included(question: _Question, data: Any, pools: list[PoolFacts]) -> Document:
    document: Document = {"data": data}
    if "include" in question.asked.params:
        document["included"] = records.included_records(pools, question.included)
    return document


def _page(question: _Question, network: str | None) -> Document:
    page = question.number("page", 1, 1, LAST_PAGE) or 1
    listed = (pool for pool in question.market.newest(network, question.moment_us) if pool.address not in question.gone)
    pools = list(islice(listed, (page - 1) * POOLS_A_PAGE, page * POOLS_A_PAGE))
    told = [
        records.pool_record(pool, question.market.state(pool, question.moment_us), names_network=network is None)
        for pool in pools
    ]
    return _with_included(question, told, pools)


def _new_pools_of_all(question: _Question) -> Document:
    return _page(question, None)


def _new_pools(question: _Question, network: str) -> Document:
    return _page(question, question.network(network))


def _detailed(question: _Question, pool: PoolFacts) -> Document:
    state = question.market.state(pool, question.moment_us)
    return records.pool_record(pool, state, is_detailed=True, has_composition=question.has_composition)


def _pools_multi(question: _Question, network: str, addresses: str) -> Document:
    wanted = list(dict.fromkeys(addresses.split(",")))
    if len(wanted) > POOLS_A_CALL:
        raise _Refused(422, "Unprocessable Entity", f"one call takes at most {POOLS_A_CALL} addresses")
    network = question.network(network)
    found = (question.market.pool(network, address, question.moment_us) for address in wanted)
    pools = [pool for pool in found if pool is not None and pool.address not in question.gone]
    return _with_included(question, [_detailed(question, pool) for pool in pools], pools)


def _pool(question: _Question, network: str, address: str) -> Document:
    pool = question.pool(network, address)
    return _with_included(question, _detailed(question, pool), [pool])


def _ohlcv(question: _Question, network: str, address: str, timeframe: str) -> Document:
    pool = question.pool(network, address)
    if timeframe not in AGGREGATES:
        raise _Refused(404, "Not Found")
    params = question.asked.params
    length = question.number("aggregate", 1, 1, 15) or 1
    if length not in AGGREGATES[timeframe]:
        raise _Refused(400, "Bad Request", f"aggregate of {timeframe} must be one of {AGGREGATES[timeframe]}")
    currency, token = params.get("currency", "usd"), params.get("token", "base")
    if currency not in {"usd", "token"} or token not in {"base", "quote", pool.base_token, pool.quote_token}:
        raise _Refused(400, "Bad Request", "currency must be usd or token, token one of base, quote or their addresses")
    before = question.number("before_timestamp", None, 0, 10**11)
    limit = question.number("limit", BARS_UNLESS_TOLD, 1, BARS_A_CALL) or BARS_UNLESS_TOLD
    cut = bars(
        question.market,
        pool,
        question.moment_us,
        length * _UNIT_US[timeframe],
        None if before is None else before * 1_000_000,
        limit,
    )
    is_inverted = token in {"quote", pool.quote_token}
    told = [records.bar_row(pool, bar, in_usd=currency == "usd", is_inverted=is_inverted) for bar in cut]
    name = f"{question.asked.path}?{sorted(params.items())}@{question.moment_us}"
    return {
        "data": {
            "id": str(uuid.uuid5(uuid.NAMESPACE_URL, name)),
            "type": "ohlcv_request_response",
            "attributes": {"ohlcv_list": told},
        },
        "meta": records.pair_meta(pool),
    }


def _trades(question: _Question, network: str, address: str) -> Document:
    pool = question.pool(network, address)
    return {"data": [records.trade_record(pool, swap) for swap in trades(question.market, pool, question.moment_us)]}


def _token_info(question: _Question, network: str, token: str) -> Document:
    pools = question.market.pools_of_token(question.network(network), token, question.moment_us)
    if not pools:
        raise _Refused(404, "Not Found")
    return {"data": records.token_info(pools[0], token)}


def _tokens_recently_updated(question: _Question) -> Document:
    """The recording knows no changes of token information: the base tokens of the newest pools stand in for them."""
    network = question.asked.params.get("network")
    if network is not None:
        question.network(network)
    newest: dict[tuple[str, str], PoolFacts] = {}
    for pool in question.market.newest(network, question.moment_us):
        newest.setdefault((pool.network, pool.base_token), pool)
        if len(newest) == TOKENS_TOLD:
            break
    document: Document = {"data": [records.updated_token(pool) for pool in newest.values()]}
    if "network" in question.included:
        document["included"] = [records.network_record(name) for name in sorted({network for network, _ in newest})]
    return document


_Answer = Callable[..., Document]

_ROUTES: Final[tuple[tuple[str, str, _Answer], ...]] = (
    ("networks", "networks", _networks),
    ("networks/new_pools", "new_pools", _new_pools_of_all),
    ("networks/*/dexes", "dexes", _dexes),
    ("networks/*/new_pools", "new_pools", _new_pools),
    ("networks/*/pools/multi/*", "pools_multi", _pools_multi),
    ("networks/*/pools/*", "pool", _pool),
    ("networks/*/pools/*/ohlcv/*", "ohlcv", _ohlcv),
    ("networks/*/pools/*/trades", "trades", _trades),
    ("networks/*/tokens/*/info", "token_info", _token_info),
    ("tokens/info_recently_updated", "tokens_recently_updated", _tokens_recently_updated),
)
"""Path, endpoint, who answers; a star is one part of the path, and an argument."""


def _route(parts: list[str]) -> tuple[str | None, _Answer | None, list[str]]:
    for path, endpoint, answer in _ROUTES:
        wanted = path.split("/")
        if len(wanted) == len(parts) and all(w in {"*", part} for w, part in zip(wanted, parts, strict=True)):
            return endpoint, answer, [part for w, part in zip(wanted, parts, strict=True) if w == "*"]
    return None, None, []
