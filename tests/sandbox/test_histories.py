"""Bars and trades, as the API tells a pool's past."""

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sandbox_market import Update, at, market

from pipeline.sandbox.market import Market
from pipeline.sandbox.wire import Asked, tell

POOL = "networks/eth/pools/0xaa"
amounts = st.sampled_from([1.0, 2.0, 3.0, 100.0, 1e-7])
lives = st.lists(st.tuples(st.integers(0, 7200), amounts, amounts), min_size=1, max_size=40).map(
    lambda rows: [Update(*row) for row in sorted(rows, key=lambda row: row[0])]
)


def ask(made: Market, path: str, seconds: float, **params: str) -> Any:
    answer = tell(made, at(seconds), Asked(f"{POOL}/{path}", params))
    assert answer.status == 200, answer.document
    return answer.document["data"]


def bars(made: Market, seconds: float, timeframe: str = "minute", **params: str) -> list[list[float]]:
    told: list[list[float]] = ask(made, f"ohlcv/{timeframe}", seconds, **params)["attributes"]["ohlcv_list"]
    return told


def naive_bars(life: list[Update], now: int, length: int) -> list[list[float]]:
    told: dict[int, list[float]] = {}
    before: Update | None = None
    for update in (u for u in life if u.seconds <= now):
        start, price = int(at(update.seconds) // 1_000_000 // length * length), update.quote / update.base
        is_trade = before is not None and (update.quote - before.quote) * (update.base - before.base) < 0
        traded = abs(update.quote - before.quote) if before is not None and is_trade else 0.0
        bar = told.setdefault(start, [start, price, price, price, price, 0.0])
        bar[2], bar[3], bar[4], bar[5] = max(bar[2], price), min(bar[3], price), price, bar[5] + traded
        before = update
    return list(told.values())[::-1]


@given(life=lives, now=st.integers(7200, 9000), length=st.sampled_from([1, 5, 15]), limit=st.integers(1, 50))
def test_bars_are_those_of_a_naive_walk_newest_first(life: list[Update], now: int, length: int, limit: int) -> None:
    made = market({("eth", "0xaa"): life, ("eth", "0x0"): life[:1]})
    told = bars(made, now, aggregate=str(length), currency="token", limit=str(limit))
    wanted = naive_bars(life, now, length * 60)[:limit]
    assert [bar[:5] for bar in told] == [bar[:5] for bar in wanted]
    assert [bar[5] for bar in told] == pytest.approx([bar[5] for bar in wanted])


def test_the_running_bar_is_told_as_far_as_it_went_and_the_next_one_is_not() -> None:
    made = market({("eth", "0xaa"): [Update(0, 100, 10), Update(30, 90, 12), Update(70, 80, 14), Update(400, 79, 15)]})
    assert bars(made, 30, aggregate="5", currency="token") == [[at(0) // 10**6, 0.1, 12 / 90, 0.1, 12 / 90, 2.0]]
    assert bars(made, 399, aggregate="5", currency="token")[0][4:] == [14 / 80, 4.0]
    assert len(bars(made, 400, aggregate="5", currency="token")) == 2


def test_bars_start_before_the_moment_that_was_given() -> None:
    made = market({("eth", "0xaa"): [Update(minute * 300, 100 - minute, 10 + minute) for minute in range(5)]})
    starts = [bar[0] - at(0) // 10**6 for bar in bars(made, 9999, aggregate="5")]
    assert starts == [1200, 900, 600, 300, 0]
    before = str(at(600) // 10**6)
    assert [bar[0] - at(0) // 10**6 for bar in bars(made, 9999, aggregate="5", before_timestamp=before)] == [300, 0]
    assert bars(made, 9999, before_timestamp="0") == []


def test_bars_are_told_in_the_currency_and_of_the_token_that_was_asked_for() -> None:
    made = market({("eth", "0xaa"): [Update(0, 100, 10), Update(1, 50, 20), Update(2, 80, 15)]})
    start = at(0) // 10**6
    assert bars(made, 10, "day", currency="token") == [[start, 0.1, 0.4, 0.1, 0.1875, 15.0]]
    assert bars(made, 10, "hour", aggregate="4") == [[start, 0.2, 0.8, 0.2, 0.375, 30.0]]
    assert bars(made, 10, **{"token": "quote", "currency": "token"}) == [[start, 10.0, 10.0, 2.5, 80 / 15, 15.0]]
    assert bars(made, 10, **{"token": "weth"}) == [[start, 2.0, 2.0, 2.0, 2.0, 30.0]]


@pytest.mark.parametrize(
    ("timeframe", "params"),
    [
        ("minute", {"aggregate": "2"}), ("hour", {"aggregate": "5"}), ("day", {"aggregate": "12"}),
        ("minute", {"limit": "1001"}), ("minute", {"limit": "0"}), ("minute", {"currency": "eur"}),
        ("minute", {"token": "nobody"}), ("minute", {"before_timestamp": "yesterday"}),
    ],
)  # fmt: skip
def test_bars_that_the_api_does_not_have_are_refused(timeframe: str, params: dict[str, str]) -> None:
    made = market({("eth", "0xaa"): [Update(0, 1, 1)]})
    assert tell(made, at(1), Asked(f"{POOL}/ohlcv/{timeframe}", params)).status == 400


def test_trades_are_the_swaps_of_the_day_newest_first_and_three_hundred_at_most() -> None:
    life = [Update(i * 200, 1000 - i, 1000 + i * 2) for i in range(400)]
    life += [Update(80_100, 2000, 4000), Update(80_200, 2010, 3980)]
    made = market({("eth", "0xaa"): life})
    told = [record["attributes"] for record in ask(made, "trades", 80_200)]
    assert len(told) == 300
    assert [told[0]["kind"], told[1]["kind"]] == ["sell", "buy"]
    assert (told[0]["from_token_amount"], told[0]["to_token_amount"]) == ("10.0", "20.0")
    assert (told[0]["from_token_address"], told[0]["to_token_address"]) == ("0xaa-base", "weth")
    assert (told[0]["volume_in_usd"], told[0]["price_from_in_usd"], told[0]["price_to_in_usd"]) == (
        "40.0",
        "4.0",
        "2.0",
    )
    assert (told[1]["from_token_amount"], told[1]["to_token_amount"]) == ("2.0", "1.0")
    assert told[1]["block_timestamp"] == "2024-03-01T22:10:00Z"
    assert len({record["id"] for record in ask(made, "trades", 80_200)}) == 300
    assert [record["attributes"]["kind"] for record in ask(made, "trades", 80_100 + 86_400)] == ["sell"]


def test_a_trade_is_measured_from_the_state_before_it_as_told_and_not_from_the_row_before() -> None:
    made = market({("eth", "0xaa"): [Update(0, 100, 10), Update(1, 70, 16, before=(75, 14))]})
    (told,) = ask(made, "trades", 5)
    assert (told["attributes"]["from_token_amount"], told["attributes"]["to_token_amount"]) == ("2.0", "5.0")


def test_what_cannot_be_read_is_in_no_bar_and_no_trade() -> None:
    made = market({("eth", "0xaa"): [Update(0, 100, 10), Update(1, math.nan, 12), Update(2, 90, 12)]})
    (bar,) = bars(made, 5, currency="token")
    assert bar == [at(0) // 10**6, 0.1, 12 / 90, 0.1, 12 / 90, None]
    assert ask(made, "trades", 5) == []
