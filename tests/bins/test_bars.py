from datetime import datetime, timedelta
from random import Random

import numpy as np
import polars as pl
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pipeline.bins.bars import BAR_FIELDS, bars_of, features_in, identities_of
from pipeline.bins.instruments import instrument_name
from pipeline.bins.spec import BinsSpec
from pipeline.errors import UsageError
from pipeline.tables import CANDLES, FEATURES
from tests.bins.bins_market import START, candle, candles

FIVE = timedelta(minutes=5)
HOUR = timedelta(hours=1)
SPEC = BinsSpec()
WITH_FEATURES = BinsSpec(fields=("close", "factor", "reserve_usd", "has_socials"))


def feature(at: datetime, known_at: datetime | None = None, **values: object) -> dict[str, object]:
    row: dict[str, object] = dict.fromkeys(FEATURES.schema)
    head = {"source": "recording:test", "network": "eth", "pool": "0xAbC", "event_time": at, "known_at": known_at or at}
    return row | head | values


def features(*rows: dict[str, object]) -> pl.DataFrame:
    return pl.DataFrame(list(rows), schema=FEATURES.schema)


def seen(*rows: dict[str, object], field: str = "reserve_usd") -> list[object]:
    """The feature at the bars of 17 and 18 o'clock."""
    bars = bars_of(candles(candle(START), candle(START + HOUR)), WITH_FEATURES, features(*rows))
    assert bars["event_time"].to_list() == [START, START + HOUR]
    return bars[field].to_list()


def test_an_hour_is_opened_by_its_first_trade_and_closed_by_its_last() -> None:
    bars = bars_of(
        candles(
            candle(START + 2 * FIVE, open=2.0, high=8.0, low=1.5, close=4.0, volume_quote=3.0),
            candle(START + FIVE, open=3.0, high=3.5, low=2.5, close=2.0, volume_quote=1.0),
        ),
        SPEC,
    )
    assert bars.height == 1
    row = bars.row(0, named=True)
    assert row["event_time"] == START
    assert (row["open"], row["high"], row["low"], row["close"], row["volume"]) == (3.0, 8.0, 1.5, 4.0, 4.0)
    assert row["vwap"] == pytest.approx((13.5 / 3 * 3 + 8.0 / 3 * 1) / 4)


def test_a_five_minute_bar_nobody_traded_takes_no_part() -> None:
    bars = bars_of(
        candles(
            candle(START, n_buys=0, open=99.0, high=99.0, low=0.1, close=99.0, volume_quote=0.0),
            candle(START + FIVE, n_buys=0, n_sells=1, open=2.0, high=2.0, low=2.0, close=2.0),
            candle(START + HOUR, n_buys=0),
        ),
        SPEC,
    )
    assert bars.select("event_time", "open", "high", "low", "close").rows() == [(START, 2.0, 2.0, 2.0, 2.0)]


def test_a_bar_whose_trades_nobody_counted_is_one_whose_volume_nobody_knows() -> None:
    told = {"n_buys": None, "n_sells": None, "volume_quote": None, "built_from": "ohlcv", "open": None}
    bars = bars_of(candles(candle(START, high=9.0, **told), candle(START + FIVE)), SPEC)
    assert bars.select(BAR_FIELDS).rows() == [(None, 9.0, 1.0, 1.0, None, None)]


def test_what_is_no_number_makes_no_bar_and_no_volume() -> None:
    infinite, nan = float("inf"), float("nan")
    assert bars_of(candles(candle(START, high=infinite), candle(START + FIVE, close=nan)), SPEC).is_empty()
    bars = bars_of(
        candles(candle(START, open=infinite, volume_quote=1e308), candle(START + FIVE, volume_quote=1e308)), SPEC
    )
    assert bars.select("open", "volume", "vwap").rows() == [(None, None, None)]


def test_the_last_five_minutes_belong_to_the_hour_and_the_next_hour_does_not() -> None:
    bars = bars_of(candles(candle(START + HOUR - FIVE), candle(START + HOUR, close=5.0, high=5.0)), SPEC)
    assert bars["event_time"].to_list() == [START, START + HOUR]


def test_trades_that_moved_no_quote_token_have_no_mean_price() -> None:
    assert bars_of(candles(candle(START, volume_quote=0.0)), SPEC)["vwap"].to_list() == [None]


def test_no_candles_give_no_bars_with_all_columns() -> None:
    bars = bars_of(CANDLES.empty(), SPEC)
    assert bars.is_empty()
    assert bars.columns == ["source", "network", "pool", "instrument", "event_time", *BAR_FIELDS]


def test_a_bar_carries_the_name_its_pool_has_in_qlib() -> None:
    bars = bars_of(candles(candle(START), candle(START, pool="0xabc"), candle(START + HOUR)), SPEC)
    names = {instrument_name("eth", pool): ("eth", pool) for pool in ("0xAbC", "0xabc")}
    assert identities_of(bars) == names
    assert all(names[row["instrument"]] == (row["network"], row["pool"]) for row in bars.iter_rows(named=True))


def test_only_the_chosen_fields_are_there_in_their_order() -> None:
    assert bars_of(candles(candle(START)), BinsSpec(fields=("volume", "factor", "close"))).columns[5:] == [
        "volume",
        "close",
    ]


@pytest.mark.parametrize(("freq", "rule"), [("5min", "5min"), ("15min", "15min"), ("60min", "60min"), ("day", "1D")])
def test_bars_are_what_pandas_resamples(freq: str, rule: str) -> None:
    """pandas knows nothing of us; what it makes of a bucket without a row is left out."""
    rng = np.random.default_rng(3)
    rows = []
    for pool in ("0xa", "0xB"):
        for at in np.flatnonzero(rng.random(3 * 288) < 0.05):
            low, first, last, high = np.sort(rng.lognormal(size=4))[[0, 1, 2, 3]]
            first, last = rng.permutation([first, last])
            rows.append(candle(START + int(at) * FIVE, pool=pool, open=first, high=high, low=low, close=last,
                               volume_quote=rng.exponential(), n_buys=int(rng.integers(0, 2))))  # fmt: skip
    made = candles(*rows)
    found = bars_of(made.sample(fraction=1.0, shuffle=True, seed=1), BinsSpec(freq=freq)).to_pandas()
    traded = made.filter(pl.col("n_buys") + pl.col("n_sells") > 0).to_pandas().set_index("event_time")
    traded["weighed"] = (traded["high"] + traded["low"] + traded["close"]) / 3 * traded["volume_quote"]
    how = {"open": "first", "high": "max", "low": "min", "close": "last", "volume_quote": "sum", "weighed": "sum"}
    for pool, ours in found.groupby("pool"):
        theirs = traded[traded["pool"] == pool].sort_index().resample(rule).agg(how).dropna()
        assert list(ours["event_time"]) == list(theirs.index)
        for field in ("open", "high", "low", "close"):
            assert list(ours[field]) == list(theirs[field])
        np.testing.assert_allclose(ours["volume"], theirs["volume_quote"], rtol=1e-12)
        np.testing.assert_allclose(ours["vwap"], theirs["weighed"] / theirs["volume_quote"], rtol=1e-12)


def test_a_bar_sees_the_last_feature_of_its_hour_and_none_of_another() -> None:
    assert seen(
        feature(START, reserve_usd=1.0),
        feature(START + FIVE, reserve_usd=2.0),
        feature(START + 2 * FIVE, reserve_usd=3.0),
        feature(START + 2 * HOUR + FIVE, reserve_usd=4.0),
    ) == [3.0, None]


def test_what_is_known_at_the_end_of_a_bar_belongs_to_it_and_not_to_the_next() -> None:
    assert seen(feature(START + HOUR, reserve_usd=7.0)) == [7.0, None]


def test_what_was_learned_after_the_end_of_a_bar_does_not_enter_it() -> None:
    late = START + HOUR + timedelta(microseconds=1)
    rows = (feature(START + FIVE, reserve_usd=1.0), feature(START + 2 * FIVE, known_at=late, reserve_usd=2.0))
    assert seen(*rows) == [1.0, None]
    assert seen(rows[1]) == [None, None]


def test_what_the_last_row_does_not_know_is_not_taken_from_one_before() -> None:
    assert seen(feature(START + FIVE, reserve_usd=1.0), feature(START + 2 * FIVE)) == [None, None]


def test_yes_and_no_are_one_and_zero() -> None:
    rows = (feature(START + FIVE, has_socials=True), feature(START + HOUR + FIVE, has_socials=False))
    assert seen(*rows, field="has_socials") == [1.0, 0.0]


def test_a_feature_alone_makes_no_bar_and_another_pool_has_none_of_it() -> None:
    rows = features(feature(START + 5 * HOUR, reserve_usd=1.0), feature(START + FIVE, pool="0xabc", reserve_usd=1.0))
    bars = bars_of(candles(candle(START)), WITH_FEATURES, rows)
    assert bars.select("event_time", "reserve_usd").rows() == [(START, None)]


def test_a_field_that_is_not_there_is_refused_with_those_that_are() -> None:
    with pytest.raises(UsageError, match=r"no fields \['clos'\].*'close'.*'reserve_usd'"):
        bars_of(candles(candle(START)), BinsSpec(fields=("clos",)))
    with pytest.raises(UsageError, match="known_at"):
        features_in(("known_at",))
    with pytest.raises(UsageError, match=r"'reserve_usd'.* are features"):
        bars_of(candles(candle(START)), WITH_FEATURES)


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
    bars = bars_of(candles(*rows), SPEC)
    shuffled = list(rows)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert bars_of(candles(*shuffled), SPEC).equals(bars)
    slack = 1 + 1e-9
    assert bars.filter(
        (pl.col("low") > pl.min_horizontal("open", "close"))
        | (pl.col("high") < pl.max_horizontal("open", "close"))
        | (pl.col("vwap") > pl.col("high") * slack)
        | (pl.col("vwap") * slack < pl.col("low"))
    ).is_empty()
