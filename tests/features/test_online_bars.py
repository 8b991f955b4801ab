"""Over history, over one partition and candle by candle, the same values come out of the same events."""

import math
from datetime import UTC, datetime

import numpy as np
import polars as pl
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pipeline.calendars import DAY, MINUTE, Span
from pipeline.features.engine import Bar, Event, micros
from pipeline.features.engines.bars import numbered_pools
from pipeline.features.engines.from_bars import attach
from pipeline.features.engines.indicators import FIELDS
from pipeline.features.engines.online_bars import LongerBar, OnlineBars
from pipeline.features.engines.online_indicators import Technical, bounded
from pipeline.features.inputs import SINCE_BIRTH, OfBar
from pipeline.features.sources import Sources
from pipeline.features.spec import FeaturesSpec
from pipeline.tables import BAR_MINUTES, CANDLES, POOL_KEY

MIDNIGHT = datetime(2020, 9, 8, tzinfo=UTC)
SPEC = FeaturesSpec(stale_bars=4)
INPUTS = [OfBar(field, minutes) for minutes in BAR_MINUTES for field in FIELDS]
NAMES = [wanted.name for wanted in INPUTS]
COLUMNS = (*POOL_KEY, "timeframe", "event_time", "known_at", "open", "high", "low", "close", "volume_usd")


def at(minute):
    return MIDNIGHT + minute * MINUTE


def market(seed, n, *, n_pools=2, late=0.1, gap=0.2, unknown=0.02):
    """Candles of a few pools as a random walk: late ones, gaps, unknown volumes, stretches in which nothing moves."""
    rng = np.random.default_rng(seed)
    rows = []
    for pool in range(n_pools):
        step = np.where(rng.random(n) < 0.3, 0.0, rng.normal(0, rng.choice([1e-7, 1e-3, 0.1]), n))
        step[rng.random(n) < 0.01] -= 5
        close = rng.choice([1e-9, 1.0, 1e4]) * np.exp(np.cumsum(step))
        start = 5 * np.cumsum(np.where(rng.random(n) < gap, rng.integers(1, 30, n), 1))
        known = start + 5 + np.where(rng.random(n) < late, rng.integers(0, 60, n), 0)
        for i in range(n):
            c = float(close[i])
            volume = None if rng.random() < unknown else float(rng.choice([0.0, rng.lognormal(4, 3)]))
            price = c * (1 + 0.02 * rng.random(2)) if rng.random() < 0.7 else np.array([c, c])
            rows.append((
                "recording:test", "eth", f"pool {pool}", "5min", at(int(start[i])), at(int(known[i])),
                None if rng.random() < 0.05 else c, float(price.max()), c * (2 - price.min() / c), c, volume,
            ))  # fmt: skip
    return pl.DataFrame(rows, schema={name: CANDLES.schema[name] for name in COLUMNS}, orient="row")


def moments(frame, seed, n=40):
    """Moments of decision of every pool, some of them exactly when a candle was learned."""
    rng = np.random.default_rng(seed)
    last = (frame["known_at"].max() - MIDNIGHT) // MINUTE
    drawn = [at(int(m)) for m in rng.integers(0, last + 200, n)]
    exact = frame["known_at"].sample(min(n, frame.height), seed=seed).to_list()
    times = pl.DataFrame({"event_time": sorted({*drawn, *exact})}, schema={"event_time": CANDLES.schema["event_time"]})
    return times.join(numbered_pools(frame), how="cross").sort(*POOL_KEY, "event_time")


def over_history(rows, frame, span):
    inside = rows.filter(pl.col("event_time").is_between(span.start, span.end, closed="left"))
    return attach(inside, INPUTS, Sources(rows.lazy(), candles=frame.lazy()), span, SPEC)


def online(rows, frame):
    """The same rows, pool by pool, from events in the order in which they were learned."""
    found = []
    for pool, decisions in rows.group_by("pool", maintain_order=True):
        state = OnlineBars(INPUTS, SPEC)
        candles = frame.filter(pl.col("pool") == pool[0]).sort("known_at", "event_time").to_dicts()
        for moment in decisions["event_time"]:
            while candles and candles[0]["known_at"] <= moment:
                state.observe(Event("candles", candles.pop(0)))
            found.append(state.values({}, micros(moment)))
    return pl.DataFrame(found, schema=dict.fromkeys(NAMES, pl.Float64))


def in_ticks(frame):
    """The same bars with prices of a few whole ticks, so that ties and stretches without a move are common."""
    tick = pl.col("volume_usd").fill_null(3.0).hash(1) % 4
    still = (pl.int_range(pl.len()) // 40) % 3 == 0
    close = pl.when(still).then(5.0).otherwise(5.0 + tick)
    width = pl.when(still).then(0.0).otherwise(tick // 2)
    return frame.with_columns(open=close, high=close + width, low=close - width, close=close)


OF_PRICES = ("macd", "macd_signal", "macd_histogram")
"""Differences of averages of prices: they keep the rounding of a price, however near zero they are."""


def rounding(frame, field, minutes):
    """What the last bits of a price can move a field by."""
    close, atr, upper, lower = (
        frame[OfBar(name, minutes).name] for name in ("close", "atr", "bollinger_upper", "bollinger_lower")
    )
    if field in OF_PRICES:
        return 1e-13 * close
    if field == "trend_strength":
        return 1e-13 * close / atr
    return 1e-13 * close / (upper - lower) if field == "bollinger_position" else 0.0


def assert_same(one, other):
    for wanted in INPUTS:
        a, b = one[wanted.name], other[wanted.name]
        assert a.is_null().equals(b.is_null()), wanted.name
        allowed = 1e-9 * b.abs() + rounding(one, wanted.field, wanted.minutes)
        wrong = pl.select(a, b.alias("online"), allowed=allowed).filter((a - b).abs() > pl.col("allowed"))
        assert wrong.is_empty(), wrong


def everything(frame):
    return Span(MIDNIGHT, frame["known_at"].max() + DAY)


@settings(max_examples=25)
@example(524289, 175, 0.0, 0.0)
@given(st.integers(0, 2**32), st.integers(1, 300), st.sampled_from([0.0, 0.1, 0.6]), st.sampled_from([0.0, 0.03]))
def test_history_and_candle_by_candle_are_the_same(seed, n, late, unknown):
    frame = market(seed, n, late=late, unknown=unknown)
    rows = moments(frame, seed)
    assert_same(over_history(rows, frame, everything(frame)), online(rows, frame))


@settings(max_examples=15)
@given(st.integers(0, 2**32), st.integers(1, 300), st.booleans())
def test_they_are_the_same_where_prices_tie_and_stand_still(seed, n, is_one_pool):
    frame = in_ticks(market(seed, n, n_pools=1 if is_one_pool else 2, late=0.0, gap=0.05))
    rows = moments(frame, seed)
    assert_same(over_history(rows, frame, everything(frame)), online(rows, frame))


@settings(max_examples=15)
@given(st.integers(0, 2**32), st.integers(1, 300), st.integers(0, 10), st.integers(1, 30))
def test_a_partition_with_its_look_back_is_the_same_as_history(seed, n, day, hours):
    frame = market(seed, n)
    span = Span(at(1440 * day), at(1440 * day + 60 * hours))
    told = frame.filter(pl.col("event_time") >= span.start - SINCE_BIRTH, pl.col("event_time") < span.end)
    young = frame.filter(pl.col("event_time").min().over("pool") >= span.start - SINCE_BIRTH)
    rows = moments(young, seed) if young.height else moments(frame, seed).clear()
    whole = over_history(rows, young, everything(frame))
    within = whole.filter(pl.col("event_time").is_between(span.start, span.end, closed="left"))
    part = over_history(rows, told.join(young, on=[*POOL_KEY, "event_time"], how="semi"), span)
    assert_same(within, part)


def test_a_long_life_leaves_history_and_candle_by_candle_the_same():
    frame = market(7, 6_000, n_pools=1, late=0.02, gap=0.05, unknown=0.0)
    rows = moments(frame, 7, n=300)
    found = over_history(rows, frame, everything(frame))
    assert_same(found, online(rows, frame))
    assert min(found[name].is_not_null().sum() for name in NAMES) > 50


def candle(start, known, close=1.0):
    prices = {"open": close, "high": close, "low": close, "close": close}
    return Event("candles", {"event_time": at(start), "known_at": at(known), "volume_usd": 1.0, **prices})


def close_at(state, minute):
    return state.values({}, micros(at(minute)))["close__of_5min_bars"]


def test_a_snapshot_learned_late_does_not_see_what_was_learned_after_its_own_moment():
    state = OnlineBars([OfBar("close", 5), OfBar("close", 15)], FeaturesSpec())
    for event in (candle(0, 5, 1.0), candle(5, 10, 2.0), candle(10, 15, 3.0)):
        state.observe(event)
    assert [close_at(state, minute) for minute in (4, 9, 10, 15)] == [None, 1.0, 2.0, 3.0]


def test_other_events_and_impossible_candles_are_passed_over():
    state = OnlineBars([OfBar("close", 5)], FeaturesSpec())
    state.observe(Event("trades", {}))
    state.observe(candle(0, 5, math.nan))
    state.observe(candle(5, 10, -1.0))
    assert close_at(state, 10) is None
    state.observe(candle(0, 10, 1.0))
    assert close_at(state, 10) == 1.0


def test_a_thousand_candles_told_at_once_leave_what_was_known_before_to_be_seen():
    state = OnlineBars([OfBar("close", 5)], FeaturesSpec(stale_bars=10_000))
    state.observe(candle(0, 5, 1.0))
    for i in range(1, 1_001):
        state.observe(candle(5 * i, 6_000, 2.0))
    assert (close_at(state, 5_999), close_at(state, 6_000)) == (1.0, 2.0)


def test_a_candle_told_twice_counts_once_as_first_told():
    state = OnlineBars([OfBar("obv", 5), OfBar("volume", 15)], FeaturesSpec())
    for event in (candle(0, 5), candle(0, 6), candle(5, 10), candle(5, 10)):
        state.observe(event)
    assert state.values({}, micros(at(30))) == {"obv__of_5min_bars": 1.0, "volume__of_15min_bars": 2.0}


def test_only_what_is_asked_for_is_kept_and_told():
    state = OnlineBars([OfBar("rsi", 60)], FeaturesSpec())
    assert (list(state.computed), list(state.longer)) == ([60], [60])
    assert state.values({}, 0) == {"rsi__of_60min_bars": None}


def test_a_longer_bar_closes_once():
    longer = LongerBar(15, FeaturesSpec())
    part = Bar(0, micros(at(5)) - micros(MIDNIGHT), 1.0, 1.0, 1.0, 1.0, None)
    assert longer.push(part) == []
    limit = 25 * 60_000_000
    assert longer.close_by(limit - 1) == []
    assert [bar.closed_us for bar in longer.close_by(limit)] == [limit]
    assert longer.close_by(limit + 1) == []


@pytest.mark.parametrize("wild", [1e200, 1e308, 5e-324, 0.0])
def test_extreme_prices_never_raise_and_never_give_anything_but_numbers(wild):
    stream = Technical()
    for i in range(80):
        price = wild if i % 3 else 1.0
        values = stream.push(Bar(i * 300_000_000, 0, price, price, price, price, wild))
        assert all(value is None or math.isfinite(value) for name, value in values.items())


def test_a_bound_is_kept_where_the_last_bit_overshoots_it():
    assert bounded("stoch_k", -1e-16) == 0.0
    assert bounded("williams_r", 1e-16) == 0.0
    assert bounded("mfi", 100 + 1e-13) == 100.0
    assert bounded("cci", 1e9) == 1e9
    assert bounded("cci", math.nan) is None
