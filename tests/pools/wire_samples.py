"""Answers in the API's own form, made up here, and the real ones beside this checkout."""

import copy
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl

from pipeline.lake.rows import conform
from pipeline.pools.answer import Answer, Call, new_pools, ohlcv, token_info, trades
from pipeline.pools.parse import ParsedPools, parse_pools
from pipeline.pools.spec import PoolsSpec
from pipeline.tables import ANSWERS, QUARANTINE, RAW_POOLS, TOKENS, Table

SPEC = PoolsSpec()
NOW = datetime(2025, 9, 8, 20, 15, tzinfo=UTC)
REAL = Path(__file__).parents[2] / "../shared/data/geckoterminal_api"
WHY_NOT_REAL = "the recorded answers are not beside this checkout"
WINDOWS = ("m5", "m15", "m30", "h1", "h6", "h24")
WETH = "0xc02aaa39b223fe8d0a0e5c4f27ead9083c756cc2"

PoolRecord = dict[str, Any]


def pool_record(number: int = 1, network: str = "eth", **attributes: Any) -> PoolRecord:
    """A sound pool as the API tells it; `attributes` replace or add single ones."""
    address = f"0x{number:040x}"
    told = {
        "base_token_price_usd": "0.0000257359852110734978163333787250598705858077211305690235155024934",
        "base_token_price_quote_token": "0.0000001195425779",
        "base_token_balance": "21341.2567581564",
        "quote_token_price_usd": "215.287185985740251652631542445376875802248575401",
        "quote_token_balance": "54447706.143913",
        "address": address,
        "name": f"COIN{number} / WETH",
        "pool_created_at": "2025-09-08T20:09:26Z",
        "fdv_usd": "26713.56172",
        "market_cap_usd": None,
        "locked_liquidity_percentage": "99.5",
        "price_change_percentage": {w: f"{i}.853" for i, w in enumerate(WINDOWS)},
        "transactions": {w: {"buys": 9 + i, "sells": 3, "buyers": 5, "sellers": 2} for i, w in enumerate(WINDOWS)},
        "volume_usd": {w: f"{i}8117.5317629427" for i, w in enumerate(WINDOWS)},
        "reserve_in_usd": "13118.8683",
    }
    tokens = {"base_token": f"0x{number:036x}beef", "quote_token": WETH}
    related = {who: {"data": {"id": f"{network}_{token}", "type": "token"}} for who, token in tokens.items()}
    related["dex"] = {"data": {"id": "uniswap_v2", "type": "dex"}}
    return {"id": f"{network}_{address}", "type": "pool", "attributes": told | attributes, "relationships": related}


def token_record(number: int = 1, network: str = "eth", **attributes: Any) -> dict[str, Any]:
    """A token as the API includes it beside its pool."""
    address = f"0x{number:036x}beef"
    told = {"address": address, "name": f"Coin {number}", "symbol": f"COIN{number}", "decimals": 18}
    return {"id": f"{network}_{address}", "type": "token", "attributes": told | attributes}


def token_info_record(**attributes: Any) -> dict[str, Any]:
    """A token as the API tells it when it is asked for it."""
    told = {
        "websites": ["https://coin.example"],
        "discord_url": None,
        "telegram_handle": None,
        "twitter_handle": "coin",
        "gt_score": 86.54440366972477,
        "holders": {"count": 47911, "distribution_percentage": {"top_10": "73.7977", "rest": "26.2023"}},
        "mint_authority": "no",
        "freeze_authority": "yes",
        "is_honeypot": "unknown",
        "developer_address": "0x00000000000000000000000000000000deadbeef",
    }
    return token_record(**(told | attributes))


def trade_record(number: int = 1, **attributes: Any) -> dict[str, Any]:
    """A purchase: 0.5 quote tokens given for 200 base tokens."""
    told = {
        "block_number": 23_300_000 + number,
        "tx_hash": f"0x{number:064x}",
        "tx_from_address": "0x0b0d1579b739b1996d28c53c4ff11e2c541a1188",
        "from_token_amount": "0.5",
        "to_token_amount": "200.25",
        "price_from_in_usd": "4000.125",
        "price_to_in_usd": "10.000001",
        "block_timestamp": "2025-09-08T20:04:11Z",
        "kind": "buy",
        "volume_in_usd": "2000.0625",
    }
    return {"id": f"eth_{number}_0x{number:064x}_9_1757362166", "type": "trade", "attributes": told | attributes}


def bar(minutes_ago: float, **prices: Any) -> list[Any]:
    """A bar that started so many minutes before NOW."""
    told = {"open": 1.5, "high": 2.25, "low": 1.25, "close": 1.75, "volume": 1234.5} | prices
    return [int((NOW - timedelta(minutes=minutes_ago)).timestamp()), *told.values()]


def bars(*rows: Any) -> dict[str, Any]:
    """The document around bars."""
    return {"data": {"id": "390eb34a", "type": "ohlcv_request_response", "attributes": {"ohlcv_list": list(rows)}}}


def answer_to(call: Call, told: Any, at: datetime = NOW, *, status: int = 200, **more: Any) -> Answer:
    """An answer with `told` as its body: bytes as they are, everything else as JSON."""
    body = told if isinstance(told, bytes) else json.dumps(told).encode()
    query = "&".join(f"{name}={value}" for name, value in call.params)
    url = f"https://api.geckoterminal.com/api/v2/{call.path}?{query}"
    asked_at = at - timedelta(seconds=1)
    return Answer("geckoterminal", call, url, asked_at, at, status, "application/json", body, **more)


def table_of(*answers: Answer) -> pl.DataFrame:
    """The answers as rows of ANSWERS."""
    return pl.DataFrame([answer.as_row() for answer in answers], schema=ANSWERS.schema)


def pools_told(*records: Any, network: str | None = "eth", included: Any = None, **more: Any) -> pl.DataFrame:
    """One answer about new pools."""
    document: dict[str, Any] = {"data": list(records)}
    if included is not None:
        document["included"] = included
    return table_of(answer_to(new_pools(network), document, **more))


def trades_told(*records: Any, at: datetime = NOW, pool: str = "0xpool") -> pl.DataFrame:
    """One answer about the swaps of a pool."""
    return table_of(answer_to(trades("eth", pool), {"data": list(records)}, at))


def bars_told(*rows: Any, at: datetime = NOW, pool: str = "0xpool") -> pl.DataFrame:
    """One answer with the bars of a pool."""
    return table_of(answer_to(ohlcv("eth", pool), bars(*rows), at))


def token_told(record: Any) -> pl.DataFrame:
    """One answer about a token."""
    return table_of(answer_to(token_info("eth", "0xtoken"), {"data": record}))


def real_response(name: str) -> dict[str, Any]:
    """A recorded answer."""
    document: dict[str, Any] = json.loads((REAL / "responses" / f"{name}.json").read_bytes())
    return document


def real_example(path: str) -> dict[str, Any]:
    """The example of the official API description for a path."""
    document: dict[str, Any] = json.loads((REAL / "openapi/onchain_response_examples.json").read_bytes())
    return document["/onchain/" + path]


def changed(record: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    """A copy of the record with another value at a dotted path."""
    record = copy.deepcopy(record)
    *parents, last = path.split(".")
    node = record
    for parent in parents:
        node = node[parent]
    node[last] = value
    return record


def assert_fits(table: Table, frame: pl.DataFrame) -> None:
    """The lake takes the frame, and every value lies within what the table's spec says."""
    assert frame.schema == table.schema
    conform(table, frame)
    for column in table.columns:
        told = frame[column.name].drop_nulls()
        if column.values:
            assert set(told) <= set(column.values), column.name
        if column.minimum is not None and len(told):
            assert told.min() >= column.minimum, column.name
        if column.maximum is not None and len(told):
            assert told.max() <= column.maximum, column.name


def parsed(answers: pl.DataFrame) -> ParsedPools:
    """What the answers say of pools, seen to fit its tables."""
    told = parse_pools(answers, SPEC)
    assert_fits(RAW_POOLS, told.raw_pools)
    assert_fits(TOKENS, told.tokens)
    assert_fits(QUARANTINE, told.quarantine)
    return told


def reasons(told: ParsedPools) -> list[str]:
    return told.quarantine["reason"].to_list()
