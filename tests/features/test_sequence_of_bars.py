"""Which bars there are, when each closes, and that none of it changes afterwards."""

from datetime import UTC, datetime, timedelta

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.calendars import DAY, MINUTE, Span
from pipeline.errors import UsageError
from pipeline.features.engine import POOL_RUN
from pipeline.features.engines.bars import five_minute_bars, longer_bars, numbered_pools
from pipeline.features.engines.from_bars import attach
from pipeline.features.engines.indicators import FIELDS, technical_of_bars
from pipeline.features.inputs import OfBar
from pipeline.features.sources import Sources
from pipeline.features.spec import FeaturesSpec
from pipeline.tables import CANDLES, POOL_KEY

MIDNIGHT = datetime(2020, 9, 8, tzinfo=UTC)
SPEC = FeaturesSpec()
INF = float("inf")


def at(minute):
    return MIDNIGHT + minute * MINUTE


def candle(start, known=None, *, pool="a", open=1.0, high=2.0, low=0.5, close=1.5, volume=10.0):  # noqa: A002
    """A row of CANDLES that starts and becomes known so many minutes after midnight; known at its end, if not said."""
    return {
        "source": "recording:test", "network": "eth", "pool": pool, "timeframe": "5min", "event_time": at(start),
        "known_at": at(start + 5 if known is None else known), "open": open, "high": high, "low": low, "close": close,
        "volume_usd": volume,
    }  # fmt: skip


def table(*rows):
    return pl.DataFrame(list(rows), schema={name: CANDLES.schema[name] for name in candle(0)})


def five(*rows):
    frame = table(*rows)
    return five_minute_bars(frame, numbered_pools(frame))


def minutes_of(frame, column):
    return [(moment - MIDNIGHT) // MINUTE for moment in frame[column]]


def closings(*rows, minutes=15, spec=SPEC):
    """(start, closing) of the longer bars, in minutes after midnight."""
    bars = longer_bars(five(*rows), minutes, spec)
    return list(zip(minutes_of(bars, "event_time"), minutes_of(bars, "closed_at"), strict=True))


def test_a_bar_learned_after_a_later_one_is_left_out():
    bars = five(candle(0), candle(5, 20), candle(10, 15), candle(15))
    assert minutes_of(bars, "event_time") == [0, 10, 15]
    assert minutes_of(bars, "closed_at") == [5, 15, 20]


def test_bars_learned_at_once_count_in_the_order_of_their_starts():
    assert minutes_of(five(candle(10, 60), candle(0, 60), candle(5, 60)), "event_time") == [0, 5, 10]


def test_a_bar_that_was_left_out_still_bars_the_way_of_none():
    assert minutes_of(five(candle(20, 25), candle(10, 30), candle(15, 35), candle(25, 40)), "event_time") == [20, 25]


def test_a_bar_told_twice_counts_once_as_first_told():
    bars = five(candle(0, close=1.0), candle(0, 9, close=1.7))
    assert bars["close"].to_list() == [1.0]


def test_a_bar_with_an_impossible_price_does_not_exist_and_an_impossible_open_or_volume_is_unknown():
    bars = five(
        candle(0, high=INF), candle(5, low=-1.0), candle(10, close=float("nan")), candle(15, open=-1.0, volume=INF),
        candle(20, open=None, volume=None),
    )  # fmt: skip
    assert minutes_of(bars, "event_time") == [15, 20]
    assert bars.select("open", "volume").rows() == [(None, None), (None, None)]


def test_a_bar_closes_no_sooner_than_it_ends():
    assert minutes_of(five(candle(0, 2)), "closed_at") == [5]


def test_pools_are_numbered_in_order_and_their_bars_kept_apart():
    bars = five(candle(0, pool="b"), candle(5, pool="a"), candle(10, pool="b"))
    assert bars[POOL_RUN].to_list() == [0, 1, 1]
    assert minutes_of(bars, "event_time") == [5, 0, 10]
    frame = table(candle(0, pool="b"), candle(5, pool="a"))
    assert five_minute_bars(frame, numbered_pools(frame).tail(1)).height == 1


def test_bars_of_another_length_are_passed_over():
    frame = table(candle(0), candle(5) | {"timeframe": "1h"})
    assert five_minute_bars(frame, numbered_pools(frame)).height == 1


def test_a_longer_bar_has_the_first_open_the_extremes_the_last_close_and_the_sum_of_the_volumes():
    bars = longer_bars(
        five(
            candle(15, open=3.0, high=4.0, low=2.0, close=3.5, volume=1.0),
            candle(20, open=3.4, high=9.0, low=3.0, close=8.0, volume=2.0),
            candle(25, open=8.0, high=8.5, low=1.0, close=1.2, volume=4.0),
        ),
        15,
        SPEC,
    )
    assert bars.select("open", "high", "low", "close", "volume").rows() == [(3.0, 9.0, 1.0, 1.2, 7.0)]


def test_the_volume_of_a_longer_bar_is_unknown_if_that_of_a_part_is():
    assert longer_bars(five(candle(0), candle(5, volume=None), candle(15)), 15, SPEC)["volume"].to_list() == [
        None,
        10.0,
    ]


def test_a_longer_bar_closes_when_the_part_that_ends_it_is_known():
    assert closings(candle(0), candle(10, 17)) == [(0, 17)]


def test_a_longer_bar_without_its_last_part_closes_when_a_later_bar_is_known():
    assert closings(candle(0), candle(15, 21)) == [(0, 21), (15, 40)]


def test_a_longer_bar_that_nothing_ends_closes_when_the_grace_is_over():
    assert closings(candle(0), candle(40)) == [(0, 25), (30, 45)]
    assert closings(candle(0), spec=FeaturesSpec(bar_grace_minutes=3)) == [(0, 18)]


def test_a_part_learned_after_its_bar_closed_is_left_out():
    bars = longer_bars(five(candle(0), candle(5, 26, high=99.0), candle(10, 27, high=99.0)), 15, SPEC)
    assert (minutes_of(bars, "closed_at"), bars["high"].to_list()) == ([25], [2.0])


def test_a_part_learned_as_the_grace_ends_is_kept():
    bars = longer_bars(five(candle(0), candle(5, 25, high=99.0)), 15, SPEC)
    assert (minutes_of(bars, "closed_at"), bars["high"].to_list()) == ([25], [99.0])


def test_a_longer_bar_told_in_one_late_answer_closes_then_with_all_its_parts():
    rows = [candle(start, 300, volume=1.0) for start in range(0, 40, 5)]
    bars = longer_bars(five(*rows), 15, SPEC)
    assert minutes_of(bars, "event_time") == [0, 15, 30]
    assert minutes_of(bars, "closed_at") == [300, 300, 300]
    assert bars["volume"].to_list() == [3.0, 3.0, 2.0]


def test_an_hour_is_made_of_twelve():
    assert closings(*(candle(start) for start in range(0, 65, 5)), minutes=60) == [(0, 60), (60, 130)]


@pytest.mark.parametrize("minutes", [0, 1, 7, 35, -15, 2880])
def test_a_length_that_cannot_be_made_is_refused(minutes):
    with pytest.raises(UsageError, match=f"{minutes} min"):
        longer_bars(five(candle(0)), minutes, SPEC)


def test_no_bars_give_no_bars():
    for minutes in (5, 15, 60):
        assert technical_of_bars(table(), minutes, SPEC).height == 0


def looked_up(frame, *moments, minutes=5, field="close", spec=SPEC):
    rows = pl.DataFrame({"event_time": [at(m) for m in moments]}, schema={"event_time": CANDLES.schema["event_time"]})
    rows = rows.join(numbered_pools(frame), how="cross").sort(*POOL_KEY, "event_time")
    wanted = OfBar(field, minutes)
    found = attach(rows, [wanted], Sources(rows.lazy(), candles=frame.lazy()), Span(MIDNIGHT, at(9999)), spec)
    assert found.columns == [*rows.columns, wanted.name]
    return found[wanted.name].to_list()


def test_a_snapshot_sees_the_bar_that_closed_last_and_none_that_is_not_known():
    frame = table(candle(0, close=1.0), candle(5, 12, close=1.1), candle(10, 60, close=1.2))
    assert looked_up(frame, 4, 5, 11, 12, 59, 60) == [None, 1.0, 1.0, 1.1, 1.1, 1.2]


def test_of_bars_that_close_together_the_latest_is_seen():
    frame = table(candle(0, 30, close=1.0), candle(5, 30, close=1.1), candle(10, 30, close=1.2))
    assert looked_up(frame, 30) == [1.2]


def test_a_bar_that_ended_too_long_ago_is_not_seen():
    frame = table(candle(0, close=1.0))
    assert looked_up(frame, 65, 66) == [1.0, None]
    assert looked_up(frame, 195, 196, minutes=15) == [1.0, None]
    assert looked_up(frame, 10, 11, spec=FeaturesSpec(stale_bars=1)) == [1.0, None]


def test_a_field_that_nobody_computes_is_refused():
    with pytest.raises(UsageError, match="no_such_field"):
        looked_up(table(candle(0)), 5, field="no_such_field")


VOLUMES = st.none() | st.floats(0, 1e6)
PARTS = st.tuples(
    st.sampled_from("ab"), st.integers(0, 400), st.integers(0, 60), st.floats(0.5, 2.0), VOLUMES,
)  # fmt: skip


@st.composite
def markets(draw):
    """Candles of two pools, some late, with gaps and unknown volumes; no bar twice."""
    told = draw(st.lists(PARTS, max_size=120, unique_by=lambda part: part[:2]))
    return table(
        *(
            candle(5 * i, 5 * i + 5 + late, pool=pool, open=p, high=1.1 * p, low=0.9 * p, close=p, volume=volume)
            for pool, i, late, p, volume in told
        )
    )


@given(markets(), st.integers(0, 2100))
def test_what_was_computed_at_a_closed_bar_does_not_change_when_more_is_learned(frame, cut):
    known = frame.filter(pl.col("known_at") <= at(cut))
    for minutes in (5, 15, 60):
        then = technical_of_bars(known, minutes, SPEC).filter(pl.col("closed_at") <= at(cut))
        later = technical_of_bars(frame, minutes, SPEC).filter(pl.col("closed_at") <= at(cut))
        assert then.equals(later)


@given(markets(), st.randoms(use_true_random=False))
def test_the_order_of_rows_and_other_pools_change_nothing(frame, random):
    order = list(range(frame.height))
    random.shuffle(order)
    whole = technical_of_bars(frame, 15, SPEC)
    assert technical_of_bars(frame[order], 15, SPEC).equals(whole)
    alone = technical_of_bars(frame.filter(pl.col("pool") == "b"), 15, SPEC)
    assert whole.filter(pl.col("pool") == "b").equals(alone)


@given(markets())
def test_bars_close_in_the_order_of_their_starts_and_never_before_they_end(frame):
    for minutes in (15, 60):
        bars = longer_bars(five_minute_bars(frame, numbered_pools(frame)), minutes, SPEC)
        key = bars.select(POOL_RUN, "event_time")
        assert key.equals(key.unique().sort(POOL_RUN, "event_time"))
        assert (bars["closed_at"] >= bars["event_time"] + minutes * MINUTE).all()
        assert bars.select(pl.col("closed_at").diff().over(POOL_RUN).drop_nulls() >= timedelta(0)).to_series().all()


def test_an_unknown_volume_is_unknown_where_it_counts_and_forgotten_after():
    day = DAY // (5 * MINUTE)
    rows = [candle(5 * i, close=1.0 + i % 3 / 10, volume=None if i == 40 else 5.0) for i in range(day + 40)]
    found = technical_of_bars(table(*rows), 5, SPEC)
    assert found["obv"].is_null().to_list() == [i >= 40 for i in range(day + 40)]
    assert found["vwap"].is_null().to_list() == [40 <= i < day for i in range(day + 40)]
    assert found["mfi"].is_null().to_list() == [i < 14 or 40 <= i < 54 for i in range(day + 40)]
    silent = technical_of_bars(table(*(row | {"volume_usd": 5.0} for row in rows)), 5, SPEC)
    assert found["mfi"].to_list()[54:] == silent["mfi"].to_list()[54:]


def test_nothing_is_said_before_its_window_is_full():
    rows = [candle(5 * i, high=2.0 + i % 7, low=1.0, close=1.5 + i % 5 / 10) for i in range(40)]
    found = technical_of_bars(table(*rows), 5, SPEC)
    first = {field: found[field].is_not_null().arg_max() for field in FIELDS}
    of_the_bar = dict.fromkeys(("open", "high", "low", "close", "volume", "vwap", "obv"), 0)
    assert first == of_the_bar | {
        "atr": 14, "rsi": 14, "macd": 33, "macd_signal": 33, "macd_histogram": 33, "bollinger_upper": 19,
        "bollinger_middle": 19, "bollinger_lower": 19, "bollinger_position": 19, "stoch_k": 17, "stoch_d": 17,
        "williams_r": 13, "cci": 13, "adx": 27, "mfi": 14, "trend_strength": 33,
    }  # fmt: skip


def test_where_the_price_stands_still_there_is_no_place_between_the_bands_and_no_strength():
    rows = [candle(5 * i, open=0.1, high=0.1, low=0.1, close=0.1) for i in range(60)]
    found = technical_of_bars(table(*rows), 5, SPEC)
    assert found["bollinger_position"].null_count() == found["trend_strength"].null_count() == 60


def test_where_the_price_has_stood_still_for_long_its_range_is_no_unit_to_measure_in():
    rows = [candle(5 * i, high=1.0 + i % 2, low=1.0, close=1.0 + i % 2 if i < 40 else 1.1) for i in range(40)]
    rows += [candle(5 * i, high=1.1, low=1.1, close=1.1) for i in range(40, 1_000)]
    found = technical_of_bars(table(*rows), 5, SPEC)
    assert found["trend_strength"][40] is not None
    assert found["atr"][-1] > 0
    assert found["trend_strength"][-1] is None
