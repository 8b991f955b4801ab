"""Recorded answers of the API and the examples of its official description, against a second, plain reading."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import polars as pl
import pytest
from wire_oracle import POOL_FIELDS, TOKEN_FIELDS, number, read, told
from wire_samples import REAL, SPEC, WHY_NOT_REAL, answer_to, assert_fits, real_example, table_of

from pipeline.pools.answer import Call, new_pools, ohlcv, pools_multi, token_info, tokens_recently_updated, trades
from pipeline.pools.parse import (
    ParsedBars,
    ParsedPools,
    ParsedTokens,
    parse_ohlcv,
    parse_pools,
    parse_token_infos,
    parse_trades,
)
from pipeline.tables import QUARANTINE, RAW_CANDLES, RAW_POOLS, TOKENS, TRADES

pytestmark = pytest.mark.skipif(not REAL.is_dir(), reason=WHY_NOT_REAL)
AT = datetime(2026, 6, 1, tzinfo=UTC)
RESPONSES = {
    "solana_new_pools_2025-08": "solana",
    "eth_new_pools_by_network_2023-2024": "eth",
    "eth_new_pools_all_networks_2023-2024": None,
    "eth_top_pools_by_network_2023-2024": "eth",
    "eth_top_pools_by_network_dex_2023-2024": "eth",
    "eth_top_pools_by_network_token_2023-2024": "eth",
}
N_WITHOUT_BIRTH = {"eth_top_pools_by_network_2023-2024": 4, "eth_top_pools_by_network_dex_2023-2024": 20}
EXAMPLES = (
    "networks/{network}/pools/{address}",
    "networks/new_pools",
    "networks/{network}/new_pools",
    "networks/{network}/pools/multi/{addresses}",
)


def body_of(name: str) -> bytes:
    return (REAL / "responses" / f"{name}.json").read_bytes()


def pools(call: Call, body: Any) -> ParsedPools:
    parsed = parse_pools(table_of(answer_to(call, body, AT)), SPEC)
    assert_fits(RAW_POOLS, parsed.raw_pools)
    assert_fits(TOKENS, parsed.tokens)
    assert_fits(QUARANTINE, parsed.quarantine)
    return parsed


def tokens(call: Call, body: Any) -> ParsedTokens:
    parsed = parse_token_infos(table_of(answer_to(call, body, AT)), SPEC)
    assert_fits(TOKENS, parsed.tokens)
    return parsed


def bars(call: Call, body: Any) -> ParsedBars:
    parsed = parse_ohlcv(table_of(answer_to(call, body, AT)), SPEC)
    assert_fits(RAW_CANDLES, parsed.raw_candles)
    return parsed


@pytest.mark.parametrize("name", RESPONSES)
def test_every_recorded_pool_is_a_row_with_its_numbers_exactly_as_told(name: str) -> None:
    body = body_of(name)
    parsed = pools(new_pools(RESPONSES[name]), body)
    records = read(body)["data"]
    assert parsed.raw_pools.height + N_WITHOUT_BIRTH.get(name, 0) == len(records) == 20
    assert set(parsed.quarantine["reason"]) <= {"created_at_not_credible"}
    for row in parsed.raw_pools.iter_rows(named=True):
        record = records[row["place"]]
        assert f"{row['network']}_{row['pool']}" == record["id"]
        for column, field in POOL_FIELDS.items():
            assert row[column] == number(told(record, field.path), field), column


def test_the_first_recorded_pool_reads_as_a_person_reads_it() -> None:
    row = pools(new_pools("solana"), body_of("solana_new_pools_2025-08")).raw_pools.row(0, named=True)
    expected = {
        "network": "solana", "pool": "FCPVZaM7wfBZ6dLriSPBuatA9sEBWxWMWUnWXvd2qEVT", "dex": "pump-fun",
        "base_token": "F1ZyVxWjL4Xnys2Gj2BftMrkkEGc1kQQxteG5aupump", "name": "OBR / SOL",
        "price_usd": float(Decimal("0.0000257359852110734978163333787250598705858077211305690235155024934")),
        "price_quote": float(Decimal("0.0000001195425779")), "reserve_usd": 13118.8683, "market_cap_usd": None,
        "price_change_m5_pct": 35.853, "price_change_h24_pct": 265.871, "volume_m5_usd": 8117.5317629427,
        "n_buys_m5": 71, "n_sells_m15": 110, "n_buyers_h1": 84, "n_sellers_h24": 53, "base_reserve": None,
        "created_at": datetime(2025, 9, 8, 20, 9, 26, tzinfo=UTC),
    }  # fmt: skip
    assert {name: row[name] for name in expected} == expected


def test_the_tokens_beside_the_recorded_pools_are_rows_too() -> None:
    body = body_of("solana_new_pools_2025-08")
    included = [one for one in read(body)["included"] if one["type"] == "token"]
    parsed = pools(new_pools("solana"), body)
    assert parsed.tokens.height == len(included) > 20
    assert set(parsed.tokens["token"]) == {one["attributes"]["address"] for one in included}
    assert parsed.tokens["decimals"].null_count() == parsed.tokens["symbol"].null_count() == 0


@pytest.mark.parametrize("path", EXAMPLES)
def test_the_examples_of_the_description_are_read_to_the_last_number(path: str) -> None:
    body = real_example(path)
    network = None if path == "networks/new_pools" else "eth"
    parsed = pools(new_pools(network) if path.endswith("new_pools") else pools_multi("eth", ["0x"]), body)
    data = body["data"] if isinstance(body["data"], list) else [body["data"]]
    assert parsed.raw_pools.height == len(data)
    n_noted = sum(parsed.quarantine["reason"] == "value_not_credible")
    # The description's own example of new pools has a reserve below nothing.
    assert n_noted == (1 if path == "networks/{network}/new_pools" else 0)


def test_the_composition_of_a_pool_is_read_where_it_is_told() -> None:
    row = pools(pools_multi("eth", ["0x"]), real_example("networks/{network}/pools/multi/{addresses}"))
    told_first = row.raw_pools.row(0, named=True)
    assert (told_first["base_reserve"], told_first["quote_reserve"]) == (21341.2567581564, 54447706.143913)


def test_recorded_token_infos_are_rows_with_their_numbers_exactly_as_told() -> None:
    body = body_of("tokens_info_recently_updated_2025-09")
    parsed = tokens(tokens_recently_updated(), body)
    records = {one["id"]: one for one in read(body)["data"]}
    assert parsed.tokens.height == len(records) == 100
    assert parsed.quarantine.is_empty()
    for row in parsed.tokens.iter_rows(named=True):
        record = records[f"{row['network']}_{row['token']}"]
        for column, field in TOKEN_FIELDS.items():
            assert row[column] == number(told(record, field.path), field), column
    assert parsed.tokens["has_socials"].null_count() == 0


def test_the_example_of_a_token_info_reads_as_a_person_reads_it() -> None:
    parsed = tokens(token_info("solana", "x"), real_example("networks/{network}/tokens/{address}/info"))
    row = parsed.tokens.row(0, named=True)
    expected = {
        "symbol": "pippin", "decimals": 6, "n_holders": 47911, "top10_pct": 73.7977, "is_mint_revoked": True,
        "is_freeze_revoked": True, "is_honeypot": None, "has_socials": True, "gt_score": 86.54440366972477,
        "developer": "4t7dHZcUzNC96d79won5TRZsvwP1bumhPNf3awR5BHdu", "is_name_hostile": False,
    }  # fmt: skip
    assert {name: row[name] for name in expected} == expected
    assert parsed.quarantine.is_empty()


def test_recorded_bars_are_rows_and_the_one_told_twice_is_kept_as_first_told() -> None:
    parsed = bars(ohlcv("eth", "0xpool"), body_of("eth_ohlcv_2023-2024"))
    assert parsed.raw_candles.height == 99
    assert parsed.quarantine["reason"].to_list() == ["conflicting_duplicate"]
    first = parsed.raw_candles.row(0, named=True)
    assert first["event_time"] == datetime(2023, 7, 13, 20, 30, tzinfo=UTC)
    assert [first[name] for name in ("open", "high", "low", "close", "volume")] == [
        1.00176903067631, 1.00346106470275, 1.00090364948961, 1.00090364948961, 55810.14196810057,
    ]  # fmt: skip
    twice = parsed.raw_candles.filter(pl.col("event_time") == datetime(2023, 7, 12, 19, 30, tzinfo=UTC))
    assert twice["volume"].to_list() == [286827.8582456858]


def test_the_example_of_swaps_reads_as_a_person_reads_it() -> None:
    body = real_example("networks/{network}/pools/{pool_address}/trades")
    parsed = parse_trades(table_of(answer_to(trades("eth", "0xpool"), body, AT)), SPEC)
    assert_fits(TRADES, parsed.trades)
    assert parsed.quarantine.is_empty()
    columns = ("kind", "base_amount", "quote_amount", "price_usd", "volume_usd", "block")
    assert parsed.trades.select(columns).rows() == [
        ("buy", 211.331589, 0.106968578509495, 1.00027690571219, 211.39010792416, 25191329),
        ("sell", 192.459164, 0.096413761161719, 0.992388076121959, 190.994179494001, 25191103),
    ]
