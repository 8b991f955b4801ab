"""The wire format: held to the official description, and exact to the last digit."""

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sandbox_market import API_DATA, SIMULATED, Update, at, breaches, market, openapi, simulated, validator

from pipeline.sandbox.market import Market
from pipeline.sandbox.records import decimal
from pipeline.sandbox.wire import Asked, Told, tell

NOW = at(2.2 * 86_400)
EVERYTHING = {"include": "base_token,quote_token,dex", "include_composition": "true"}

RESPONSES = {
    "eth_dexes_by_network_2023-2024": "networks/{network}/dexes",
    "eth_networks_2023-2024": "networks",
    "eth_new_pools_all_networks_2023-2024": "networks/new_pools",
    "eth_new_pools_by_network_2023-2024": "networks/{network}/new_pools",
    "eth_ohlcv_2023-2024": "networks/{network}/pools/{pool_address}/ohlcv/{timeframe}",
    "eth_simple_token_price_2023-2024": "simple/networks/{network}/token_price/{addresses}",
    "eth_top_pools_by_network_2023-2024": "networks/{network}/pools",
    "eth_top_pools_by_network_dex_2023-2024": "networks/{network}/dexes/{dex}/pools",
    "eth_top_pools_by_network_token_2023-2024": "networks/{network}/tokens/{token_address}/pools",
    "solana_new_pools_2025-08": "networks/{network}/new_pools",
    "solana_pool_ohlcv_hour_2025-09": "networks/{network}/pools/{pool_address}/ohlcv/{timeframe}",
    "tokens_info_recently_updated_2025-09": "tokens/info_recently_updated",
}
DEVIATING = {
    # 38 chains have no name as an asset platform: null.
    "eth_networks_2023-2024": {("coingecko_asset_platform_id", "type")},
    # The answers of 2023 had no `meta`, and no prices of the tokens in each other; very old pools have no birthday.
    "eth_ohlcv_2023-2024": {("", "required")},
    "eth_top_pools_by_network_2023-2024": {("attributes", "required"), ("pool_created_at", "type")},
    "eth_top_pools_by_network_dex_2023-2024": {("attributes", "required"), ("pool_created_at", "type")},
    # Wallets were not counted for some pools: null.
    "eth_top_pools_by_network_token_2023-2024": {("buyers", "type"), ("sellers", "type")},
    # `farcaster_url` and `zora_url` came later.
    "tokens_info_recently_updated_2025-09": {("attributes", "required")},
}
"""Recorded responses that are not what the description of 2026 says, and where."""

NOT_KNOWN = {
    "networks": {"coingecko_asset_platform_id"},
    "networks/new_pools": {"coingecko_asset_platform_id"},
    "networks/{network}/pools/multi/{addresses}": {
        "coingecko_coin_id", "image_url", "locked_liquidity_percentage", "pool_fee_percentage",
    },
    "networks/{network}/pools/{address}": {
        "coingecko_coin_id", "image_url", "locked_liquidity_percentage", "pool_fee_percentage",
    },
    "networks/{network}/pools/{pool_address}/trades": {"tx_from_address"},
    "networks/{network}/tokens/{address}/info": {
        "categories", "count", "creation", "distribution_percentage", "gt_category_ids", "gt_score", "gt_verified",
        "holders", "info", "large", "last_updated", "pool", "small", "thumb", "transaction", "websites",
    },
    "tokens/info_recently_updated": {"coingecko_asset_platform_id", "websites"},
}  # fmt: skip
"""Fields that are null here though the official schema does not allow it: no recording tells them."""


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Market:
    frames = simulated(tmp_path_factory.mktemp("simulated"))
    return Market.of(frames.reserves, frames.pools, "simulation:7")


@pytest.fixture(scope="module")
def description() -> dict[str, Any]:
    return openapi()


def ask(told: Market, path: str, moment_us: int = NOW, **params: str) -> Told:
    return tell(told, moment_us, Asked(path, params, "http://127.0.0.1/api/v2"))


def requests(told: Market) -> dict[str, tuple[str, dict[str, str]]]:
    """One request an endpoint: the description's path, and what is asked."""
    pools = list(told.newest(None, NOW))
    busiest = max(pools, key=lambda pool: told.n_known(pool, NOW) - told.n_known(pool, NOW - 86_400_000_000))
    network, pool = SIMULATED.network, f"networks/{SIMULATED.network}/pools/{busiest.address}"
    multi = ",".join(pool.address for pool in pools[:30])
    return {
        "networks": ("networks", {}),
        "networks/{network}/dexes": (f"networks/{network}/dexes", {}),
        "networks/new_pools": ("networks/new_pools", {"include": "base_token,network"}),
        "networks/{network}/new_pools": (f"networks/{network}/new_pools", EVERYTHING),
        "networks/{network}/pools/multi/{addresses}": (f"networks/{network}/pools/multi/{multi}", EVERYTHING),
        "networks/{network}/pools/{address}": (pool, EVERYTHING),
        "networks/{network}/pools/{pool_address}/ohlcv/{timeframe}": (f"{pool}/ohlcv/minute", {"aggregate": "5"}),
        "networks/{network}/pools/{pool_address}/trades": (f"{pool}/trades", {}),
        "networks/{network}/tokens/{address}/info": (f"networks/{network}/tokens/{busiest.base_token}/info", {}),
        "tokens/info_recently_updated": ("tokens/info_recently_updated", {"include": "network"}),
    }


def test_every_endpoint_answers_as_the_official_description_says_but_for_what_no_recording_knows(
    told: Market, description: dict[str, Any]
) -> None:
    for path, (asked, params) in requests(told).items():
        answer = ask(told, asked, **params)
        assert answer.status == 200, asked
        document = json.loads(json.dumps(answer.document))
        assert document["data"], path
        found = list(breaches(validator(description, path), document))
        assert {name for name, _, value in found} == NOT_KNOWN.get(path, set()), path
        assert {value for _, _, value in found} <= {None}, path


def test_a_planted_wrong_field_breaks_the_official_description(told: Market, description: dict[str, Any]) -> None:
    for path, (asked, params) in requests(told).items():
        judge = validator(description, path)
        document = json.loads(json.dumps(ask(told, asked, **params).document))
        record = document["data"][0] if isinstance(document["data"], list) else document["data"]
        record["attributes"][next(iter(record["attributes"]))] = {"planted": 1}
        assert {"planted": 1} in [value for _, _, value in breaches(judge, document)], path
        del record["attributes"]
        assert any(rule == "required" for _, rule, _ in breaches(judge, document)), path


@pytest.mark.parametrize("name", RESPONSES)
def test_the_recorded_responses_are_judged_by_the_same_description(name: str, description: dict[str, Any]) -> None:
    document = json.loads((API_DATA / "responses" / f"{name}.json").read_text())
    found = {(field, rule) for field, rule, _ in breaches(validator(description, RESPONSES[name]), document)}
    assert found == DEVIATING.get(name, set())


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_number_is_told_without_exponent_and_reads_as_the_same_float(value: float) -> None:
    text = decimal(value)
    assert text is not None
    assert float(text) == value
    assert not set(text) - set("-0123456789.")


def test_the_state_on_the_wire_is_the_market_s_own_to_the_last_digit(told: Market) -> None:
    for pool in list(told.newest(None, NOW))[:30]:
        path = f"networks/{pool.network}/pools/{pool.address}"
        attributes = ask(told, path, **EVERYTHING).document["data"]["attributes"]
        state = told.state(pool, NOW)
        assert float(attributes["base_token_price_quote_token"]) == state.price
        assert float(attributes["base_token_price_usd"]) == state.price * 375.0
        assert float(attributes["base_token_balance"]) == state.base
        assert float(attributes["quote_token_balance"]) == state.quote
        assert float(attributes["reserve_in_usd"]) == 2 * state.quote * 375.0
        for name, window in state.windows.items():
            assert float(attributes["price_change_percentage"][name]) == window.change_pct
            assert float(attributes["volume_usd"][name]) == window.volume_quote * 375.0
            assert attributes["transactions"][name] == {"buys": window.n_buys, "sells": window.n_sells}


def test_what_is_not_known_is_null_and_never_zero() -> None:
    life = [Update(0, 100, 10), Update(10, 90, math.nan)]
    pool = market({("eth", "0xaa"): life}, quote_price_usd=None, quote_symbol=None)
    told = ask(pool, "networks/eth/pools/0xaa", at(60), **EVERYTHING).document["data"]["attributes"]
    assert {told[name] for name in ("base_token_price_usd", "quote_token_price_usd", "reserve_in_usd")} == {None}
    assert told["base_token_price_quote_token"] is None
    assert (told["base_token_balance"], told["quote_token_balance"]) == ("90.0", None)
    assert told["transactions"]["h1"] == {"buys": None, "sells": None}
    assert set(told["volume_usd"].values()) == {None}
    assert told["name"] == "0xaa-bas / weth"


def test_pages_hold_twenty_pools_newest_first_and_do_not_overlap(told: Market) -> None:
    pages = [
        ask(told, f"networks/{SIMULATED.network}/new_pools", page=str(page)).document["data"] for page in range(1, 11)
    ]
    listed = [record for page in pages for record in page]
    born = [record["attributes"]["pool_created_at"] for record in listed]
    assert [len(page) for page in pages[:5]] == [20, 20, 20, 20, len(list(told.newest(None, NOW))) - 80]
    assert born == sorted(born, reverse=True)
    assert len({record["id"] for record in listed}) == len(listed)
    for page in ("0", "11", "x", "-1", "1e1"):
        assert ask(told, "networks/new_pools", page=page).status == 400


def test_multi_leaves_out_unknown_pools_keeps_the_order_and_takes_thirty(told: Market) -> None:
    known = [pool.address for pool in told.newest(None, NOW)][:31]
    path = f"networks/{SIMULATED.network}/pools/multi/"
    document = ask(told, path + ",".join([known[2], "nobody", known[0], known[2]])).document
    assert [record["attributes"]["address"] for record in document["data"]] == [known[2], known[0]]
    assert "included" not in document
    assert ask(told, path + "nobody").document["data"] == []
    assert ask(told, path + ",".join(known)).status == 422
    gone = tell(told, NOW, Asked(path + ",".join(known[:3])), gone=known[1:2]).document["data"]
    assert [record["attributes"]["address"] for record in gone] == [known[0], known[2]]


def test_included_holds_each_token_and_exchange_once_and_only_what_was_asked_for(told: Market) -> None:
    path = f"networks/{SIMULATED.network}/new_pools"
    document = ask(told, path, include="base_token,quote_token,dex").document
    names = [record["id"] for record in document["included"]]
    wanted = {relation["data"]["id"] for record in document["data"] for relation in record["relationships"].values()}
    assert sorted(names) == sorted(wanted)
    assert {record["type"] for record in ask(told, path, include="dex").document["included"]} == {"dex"}


@pytest.mark.parametrize(
    "path",
    [
        "networks/nowhere/new_pools", "networks/nowhere/dexes", "networks/simulated/pools/nobody", "nonsense", "",
        "networks/simulated/pools/nobody/trades", "networks/simulated/tokens/nobody/info", "networks/a/b/c/d/e/f",
    ],
)  # fmt: skip
def test_what_is_unknown_is_answered_like_the_api_does(told: Market, path: str) -> None:
    answer = ask(told, path)
    assert answer.status == 404
    assert answer.document["errors"] == [{"status": "404", "title": "Not Found"}]
    assert set(answer.document["meta"]) == {"ref_id"}


def test_a_pool_is_unknown_before_it_is_listed(told: Market) -> None:
    pool = next(told.newest(None, NOW))
    path = f"networks/{pool.network}/pools/{pool.address}"
    assert ask(told, path, pool.listed_us - 1).status == 404
    assert ask(told, path, pool.listed_us).status == 200
    assert ask(told, f"networks/{pool.network}/tokens/{pool.base_token}/info", pool.listed_us - 1).status == 404


def test_the_same_question_at_the_same_moment_gives_the_same_answer(told: Market) -> None:
    for asked, params in requests(told).values():
        assert ask(told, asked, **params) == ask(told, asked, **params)
