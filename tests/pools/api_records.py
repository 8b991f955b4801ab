"""Rows of the API's tables for tests: a pool observed at a time, an answer as it is kept."""

from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl

from pipeline.pools.answer import Answer, Call, new_pools, pools_multi
from pipeline.tables import RAW_POOLS

BIRTH = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
SOURCE = "simulation:1"
_NUMBERS = {"n_missed": 0, "place": 0, "inclusion_probability": 1.0}


def minutes(count: float) -> datetime:
    """So many minutes after BIRTH."""
    return BIRTH + timedelta(minutes=count)


def observed(pool: str, at: float, **told: Any) -> dict[str, Any]:
    """A row of RAW_POOLS: `pool` of network eth observed `at` minutes after its birth; what is not told is null."""
    moment = minutes(at)
    row: dict[str, Any] = dict.fromkeys(RAW_POOLS.schema) | _NUMBERS
    row |= {
        "source": SOURCE, "network": "eth", "pool": pool, "event_time": moment, "known_at": moment,
        "answer_id": f"a{at}", "endpoint": "pools_multi", "created_at": BIRTH, "dex": "uniswap_v2",
        "base_token": f"{pool}-base", "quote_token": "0xquote", "reserve_usd": 5_000.0, "price_usd": 1.0,
    }  # fmt: skip
    return row | told


def records(*rows: dict[str, Any]) -> pl.DataFrame:
    """Rows of RAW_POOLS as a frame."""
    return pl.DataFrame(list(rows), schema=RAW_POOLS.schema)


def answer(body: bytes = b'{"data":[]}', at: float = 0, call: Call | None = None, **told: Any) -> Answer:
    """An answer that arrived `at` minutes after BIRTH."""
    moment = minutes(at)
    asked = call or new_pools("eth")
    usual: dict[str, Any] = {
        "source": SOURCE, "call": asked, "url": f"http://api/{asked.path}", "asked_at": moment, "answered_at": moment,
        "status": 200, "content_type": "application/json", "body": body,
    }  # fmt: skip
    return Answer(**usual | told)


def asked_for(*pools: str) -> Call:
    """A call for the state of some pools."""
    return pools_multi("eth", pools)
