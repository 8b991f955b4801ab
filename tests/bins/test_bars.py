from datetime import timedelta
from random import Random

import polars as pl
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pipeline.bins.bars import hourly_bars
from pipeline.tables import CANDLES
from tests.bins.bins_market import START, candle, candles

FIVE = timedelta(minutes=5)


def test_an_hour_is_opened_by_its_first_trade_and_closed_by_its_last() -> None:
    bars = hourly_bars(
        candles(
            candle(START + 2 * FIVE, open=2.0, high=8.0, low=1.5, close=4.0, volume_quote=3.0),
            candle(START + FIVE, open=3.0, high=3.5, low=2.5, close=2.0, volume_quote=1.0),
        )
    )
    assert bars.height == 1
    row = bars.row(0, named=True)
    assert row["event_time"] == START
    assert (row["open"], row["high"], row["low"], row["close"], row["volume"]) == (3.0, 8.0, 1.5, 4.0, 4.0)
    assert row["vwap"] == pytest.approx((13.5 / 3 * 3 + 8.0 / 3 * 1) / 4)


def test_a_five_minute_bar_nobody_traded_takes_no_part() -> None:
    bars = hourly_bars(
        candles(
            candle(START, n_buys=0, open=99.0, high=99.0, low=0.1, close=99.0, volume_quote=0.0),
            candle(START + FIVE, n_buys=0, n_sells=1, open=2.0, high=2.0, low=2.0, close=2.0),
            candle(START + timedelta(hours=1), n_buys=0),
        )
    )
    assert bars.select("event_time", "open", "high", "low", "close").rows() == [(START, 2.0, 2.0, 2.0, 2.0)]


def test_the_last_five_minutes_belong_to_the_hour_and_the_next_hour_does_not() -> None:
    hour = timedelta(hours=1)
    bars = hourly_bars(candles(candle(START + hour - FIVE), candle(START + hour, close=5.0, high=5.0)))
    assert bars["event_time"].to_list() == [START, START + hour]


def test_trades_that_moved_no_quote_token_have_no_mean_price() -> None:
    assert hourly_bars(candles(candle(START, volume_quote=0.0)))["vwap"].to_list() == [None]


def test_no_candles_give_no_bars_with_all_columns() -> None:
    bars = hourly_bars(CANDLES.empty())
    assert bars.is_empty()
    assert bars.columns == ["source", "network", "pool", "event_time", "open", "high", "low", "close", "volume", "vwap"]


@example([(0, 0.5, 5e-324)], Random(0))
@given(st.lists(st.tuples(st.integers(0, 40), st.floats(1e-9, 1e9), st.floats(0, 1e6)), max_size=30), st.randoms())
def test_bars_keep_their_order_of_prices_and_do_not_depend_on_the_order_of_rows(
    trades: list[tuple[int, float, float]], random: object
) -> None:
    unique = {at: (price, volume) for at, price, volume in trades}
    rows = [
        candle(START + at * FIVE, open=p, high=p * 1.5, low=p / 2, close=p, volume_quote=v)
        for at, (p, v) in unique.items()
    ]
    bars = hourly_bars(candles(*rows))
    shuffled = list(rows)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert hourly_bars(candles(*shuffled)).equals(bars)
    slack = 1 + 1e-9
    assert bars.filter(
        (pl.col("low") > pl.min_horizontal("open", "close"))
        | (pl.col("high") < pl.max_horizontal("open", "close"))
        | (pl.col("vwap") > pl.col("high") * slack)
        | (pl.col("vwap") * slack < pl.col("low"))
    ).is_empty()
