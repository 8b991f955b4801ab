from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl
import pytest
from wire_samples import (
    NOW,
    SPEC,
    answer_to,
    assert_fits,
    bar,
    bars,
    bars_told,
    changed,
    table_of,
    trade_record,
    trades_told,
)

from pipeline.pools.answer import Call, ohlcv, trades
from pipeline.pools.parse import ParsedBars, ParsedTrades, parse_ohlcv, parse_trades
from pipeline.tables import ANSWERS, QUARANTINE, RAW_CANDLES, TRADES


def swaps(answers: pl.DataFrame) -> ParsedTrades:
    told = parse_trades(answers, SPEC)
    assert_fits(TRADES, told.trades)
    assert_fits(QUARANTINE, told.quarantine)
    return told


def candles(answers: pl.DataFrame) -> ParsedBars:
    told = parse_ohlcv(answers, SPEC)
    assert_fits(RAW_CANDLES, told.raw_candles)
    assert_fits(QUARANTINE, told.quarantine)
    return told


def test_a_purchase_gives_quote_tokens_and_takes_base_tokens() -> None:
    told = swaps(trades_told(trade_record()))
    assert told.quarantine.is_empty()
    row = told.trades.row(0, named=True)
    del row["answer_id"]
    assert row == {
        "source": "geckoterminal", "network": "eth", "pool": "0xpool", "known_at": NOW,
        "event_time": datetime(2025, 9, 8, 20, 4, 11, tzinfo=UTC), "trade_id": trade_record()["id"],
        "block": 23_300_001, "tx_hash": f"0x{1:064x}", "trader": "0x0b0d1579b739b1996d28c53c4ff11e2c541a1188",
        "kind": "buy", "base_amount": 200.25, "quote_amount": 0.5, "price_usd": 10.000001, "volume_usd": 2000.0625,
    }  # fmt: skip


def test_a_sale_gives_base_tokens_and_takes_quote_tokens() -> None:
    row = swaps(trades_told(trade_record(kind="sell"))).trades.row(0, named=True)
    assert (row["base_amount"], row["quote_amount"], row["price_usd"]) == (0.5, 200.25, 4000.125)


@pytest.mark.parametrize(
    ("path", "told", "reason"),
    [
        ("id", None, "trade_id_not_credible"),
        ("id", "x" * 201, "trade_id_not_credible"),
        ("attributes.tx_hash", "<b>", "tx_hash_not_credible"),
        ("attributes.kind", "swap", "kind_not_credible"),
        ("attributes.kind", None, "kind_not_credible"),
        ("attributes.block_number", -1, "block_not_credible"),
        ("attributes.block_number", 1.5, "block_not_credible"),
        ("attributes.block_timestamp", "now", "time_not_credible"),
        ("attributes.block_timestamp", "2025-09-08T20:20:01Z", "in_the_future"),
        ("attributes.block_timestamp", "2009-01-03T18:15:05Z", "before_there_were_chains"),
    ],
)
def test_a_record_that_lacks_what_makes_it_a_swap_is_refused(path: str, told: Any, reason: str) -> None:
    answer = swaps(trades_told(changed(trade_record(1), path, told), trade_record(2)))
    assert answer.quarantine.select("table_name", "reason", "pool").rows() == [("trades", reason, "0xpool")]
    assert answer.trades["block"].to_list() == [23_300_002]


@pytest.mark.parametrize(
    ("name", "told", "column"),
    [
        ("from_token_amount", "NaN", "quote_amount"),
        ("to_token_amount", "-1", "base_amount"),
        ("price_to_in_usd", "Infinity", "price_usd"),
        ("volume_in_usd", [], "volume_usd"),
        ("tx_from_address", "<b>", "trader"),
    ],
)
def test_a_value_of_a_swap_that_is_not_credible_is_null_and_noted(name: str, told: Any, column: str) -> None:
    answer = swaps(trades_told(trade_record(**{name: told})))
    assert answer.trades[column].to_list() == [None]
    assert answer.quarantine["reason"].to_list() == ["value_not_credible"]


def test_a_swap_of_a_clock_ahead_of_ours_is_not_known_before_it_is_true() -> None:
    row = swaps(trades_told(trade_record(block_timestamp="2025-09-08T20:16:00Z"))).trades.row(0, named=True)
    assert row["known_at"] == row["event_time"] == NOW + timedelta(minutes=1)


def test_a_swap_told_again_is_kept_as_first_told_whatever_the_order_of_the_answers() -> None:
    first = trades_told(trade_record(1), trade_record(2))
    again = trades_told(trade_record(2, volume_in_usd="7"), trade_record(3), at=NOW + timedelta(minutes=5))
    for answers in (pl.concat([first, again]), pl.concat([again, first])):
        told = swaps(answers)
        assert told.trades["volume_usd"].to_list() == [2000.0625] * 3
        assert told.trades["known_at"].to_list() == [NOW, NOW, NOW + timedelta(minutes=5)]
        assert told.quarantine.is_empty()


def test_a_swap_told_twice_in_one_answer_is_noted() -> None:
    told = swaps(trades_told(trade_record(), trade_record(), trade_record(volume_in_usd="7")))
    assert told.trades["volume_usd"].to_list() == [2000.0625]
    assert sorted(told.quarantine["reason"]) == ["conflicting_duplicate", "duplicate"]


def test_the_same_swap_of_two_pools_is_two_rows() -> None:
    assert swaps(pl.concat([trades_told(trade_record()), trades_told(trade_record(), pool="0xb")])).trades.height == 2


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("networks/eth/pools/<b>/trades", "pool_not_credible"),
        ("networks/a b/pools/0x1/trades", "network_not_credible"),
        ("trades", "network_not_credible"),
        ("networks/base/pools/0x1/trades", "wrong_network"),
    ],
)
def test_swaps_of_an_address_that_names_no_pool_are_refused(path: str, reason: str) -> None:
    told = swaps(table_of(answer_to(Call("trades", "eth", path), {"data": [trade_record()]})))
    assert told.quarantine["reason"].to_list() == [reason]


def test_a_pool_with_colons_in_its_name_is_read_from_a_quoted_address() -> None:
    call = Call("trades", "sui-network", "networks/sui-network/pools/0x2%3A%3Asui%3A%3ASUI/trades")
    assert swaps(table_of(answer_to(call, {"data": [trade_record()]}))).trades["pool"].to_list() == ["0x2::sui::SUI"]


def test_a_bar_is_taken_as_told() -> None:
    told = candles(bars_told(bar(10)))
    assert told.quarantine.is_empty()
    row = told.raw_candles.row(0, named=True)
    del row["answer_id"]
    assert row == {
        "source": "geckoterminal", "network": "eth", "pool": "0xpool", "timeframe": "5min",
        "event_time": NOW - timedelta(minutes=10), "known_at": NOW, "currency": "quote",
        "open": 1.5, "high": 2.25, "low": 1.25, "close": 1.75, "volume": 1234.5,
    }  # fmt: skip


def test_a_bar_counts_when_it_has_ended_and_not_before() -> None:
    rows = (bar(0), bar(5), bar(10))
    assert candles(bars_told(*rows)).raw_candles["event_time"].min() == NOW - timedelta(minutes=10)
    assert candles(bars_told(*rows)).raw_candles.height == 2
    early = candles(bars_told(*rows, at=NOW - timedelta(microseconds=1)))
    assert (early.raw_candles.height, early.quarantine.height) == (1, 0)


@pytest.mark.parametrize(
    ("told", "reason"),
    [
        (None, "not_a_bar"),
        ([], "not_a_bar"),
        ([1, 2, 3, 4, 5], "not_a_bar"),
        ({"a": 1}, "not_a_bar"),
        (bar(7), "not_on_the_grid"),
        ([True, 1.0, 1.0, 1.0, 1.0, 1.0], "time_not_credible"),
        ([1.5, 1.0, 1.0, 1.0, 1.0, 1.0], "time_not_credible"),
        ([0, 1.0, 1.0, 1.0, 1.0, 1.0], "before_there_were_chains"),
        ([10**12, 1.0, 1.0, 1.0, 1.0, 1.0], "in_the_future"),
        (bar(10, open=None), "price_not_credible"),
        (bar(10, high="NaN"), "price_not_credible"),
        (bar(10, low=-1), "price_not_credible"),
        (bar(10, close=True), "price_not_credible"),
        (bar(10, high=1.0), "high_below_low"),
    ],
)
def test_what_is_no_bar_is_refused(told: Any, reason: str) -> None:
    answer = candles(bars_told(told, bar(15)))
    assert answer.quarantine.select("table_name", "reason").rows() == [("raw_candles", reason)]
    assert answer.raw_candles.height == 1


def test_a_volume_that_is_not_credible_is_null_and_noted_and_the_bar_stays() -> None:
    answer = candles(bars_told(bar(10, volume=-1), bar(15, volume=None)))
    assert answer.raw_candles["volume"].to_list() == [None, None]
    assert answer.quarantine["reason"].to_list() == ["value_not_credible"]


def test_an_open_outside_high_and_low_is_as_told() -> None:
    assert candles(bars_told(bar(10, open=9.0))).raw_candles["open"].to_list() == [9.0]


def test_of_a_bar_told_again_the_first_counts_within_and_across_answers() -> None:
    first = bars_told(bar(10, close=1.3), bar(10, close=1.4))
    again = bars_told(bar(10, close=1.6), bar(5), at=NOW + timedelta(minutes=1))
    for answers in (pl.concat([first, again]), pl.concat([again, first])):
        told = candles(answers)
        assert told.raw_candles["close"].to_list() == [1.3, 1.75]
        assert told.quarantine["reason"].to_list() == ["conflicting_duplicate"]


@pytest.mark.parametrize(
    ("params", "currency"),
    [
        ({"aggregate": "5"}, "usd"),
        ({"aggregate": "5", "currency": "usd"}, "usd"),
        ({"aggregate": "5", "currency": "token"}, "quote"),
        ({"aggregate": "5", "currency": "token", "token": "base"}, "quote"),
        ({"aggregate": "5", "token": "quote"}, None),
        ({"aggregate": "5", "currency": "eur"}, None),
        ({"aggregate": "15"}, None),
        ({}, None),
    ],
)
def test_the_address_says_which_bars_and_in_what(params: dict[str, str], currency: str | None) -> None:
    call = Call("ohlcv", "eth", "networks/eth/pools/0xpool/ohlcv/minute", tuple(params.items()))
    told = candles(table_of(answer_to(call, bars(bar(10)))))
    assert told.raw_candles["currency"].to_list() == ([currency] if currency else [])
    assert told.quarantine.is_empty()


def test_hourly_bars_are_passed_over() -> None:
    hourly = answer_to(ohlcv("eth", "0xpool", timeframe="hour", aggregate=1), bars(bar(15)))
    assert [frame.height for frame in candles(table_of(hourly))] == [0, 0]


@pytest.mark.parametrize(
    ("told", "reason"),
    [
        ({}, "no_data"),
        ({"data": []}, "no_list_of_bars"),
        ({"data": {"attributes": {"ohlcv_list": {}}}}, "no_list_of_bars"),
        (b"<html>", "not_json"),
    ],
)
def test_an_answer_without_bars_is_noted_with_its_pool(told: Any, reason: str) -> None:
    answer = candles(table_of(answer_to(ohlcv("eth", "0xpool"), told)))
    assert answer.quarantine.select("table_name", "reason", "pool").rows() == [("answers", reason, "0xpool")]


def test_an_answer_without_swaps_is_noted_with_its_pool() -> None:
    answer = swaps(table_of(answer_to(trades("eth", "0xpool"), {"data": 5})))
    assert answer.quarantine.select("reason", "pool").rows() == [("data_not_records", "0xpool")]


def test_no_answers_give_empty_tables() -> None:
    assert [frame.height for frame in (*swaps(ANSWERS.empty()), *candles(ANSWERS.empty()))] == [0] * 4
