"""Every registered feature through the battery, and the battery on features that cheat."""

import feature_battery as battery
import polars as pl
import pytest
from battery_market import market
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.features.algebra import Known
from pipeline.features.feature import Example, feature
from pipeline.features.inputs import now
from pipeline.features.registry import REGISTRY

MARKET = market(seed=1)
EVERY = list(REGISTRY.values())


@pytest.mark.parametrize("check", battery.FORMULA_CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("name", REGISTRY)
def test_every_formula_passes(name, check):
    check([REGISTRY[name]])


@pytest.mark.parametrize("check", battery.MARKET_CHECKS, ids=lambda check: check.__name__)
def test_every_feature_passes(check):
    check(EVERY, MARKET)


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 10_000), st.floats(0, 1))
def test_no_feature_changes_when_the_future_is_cut_anywhere(seed, where):
    world = market(seed, n_pools=2)
    times = world.snapshots["event_time"].sort()
    battery.check_future_cut(EVERY, world, cuts=[times[int(where * (len(times) - 1))]])


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 10_000))
def test_history_and_events_agree_on_any_market(seed):
    battery.check_online_says_the_same(EVERY, market(seed, n_pools=2))


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 10_000))
def test_a_part_agrees_with_the_whole_on_any_market(seed):
    battery.check_past_beyond_the_look_back(EVERY, market(seed, n_pools=2))


def cheat(column, formula):
    """A feature that reads other rows by itself, which a formula must never do."""
    made = feature(
        "liquidity_trend", family="trends", inputs=now(column), null_rule="never", example=Example({column: 1.0}, 1.0)
    )
    return made(lambda x, _: formula(x[column]))


def over_rows(of_rows):
    """A formula that does as told over a column, and nothing to a value."""
    return lambda value: value if isinstance(value, Known) else of_rows(value)


NEXT_ROW = cheat("reserve_usd", over_rows(lambda c: c.shift(-1)))
ROW_BEFORE = cheat("reserve_usd", over_rows(lambda c: c.shift(1)))
PEAK_OF_ALL_TIME = cheat("reserve_usd", over_rows(lambda c: c.max().over("pool")))
RANK_AMONG_ALL = cheat("reserve_usd", over_rows(lambda c: c.rank() / pl.len()))
SUM_SO_FAR = cheat("volume_h1_usd", over_rows(lambda c: c.cum_sum().over("pool")))
ZERO_FOR_NOTHING = cheat("reserve_usd", lambda c: Known(c.value or 0.0) if isinstance(c, Known) else c.fill_null(0.0))
INFINITE_INSIDE = cheat("reserve_usd", lambda c: -c - 101)


@pytest.mark.parametrize(
    ("check", "cheater"),
    [
        (battery.check_future_cut, NEXT_ROW),
        (battery.check_future_cut, PEAK_OF_ALL_TIME),
        (battery.check_future_cut, RANK_AMONG_ALL),
        (battery.check_other_pools_removed, ROW_BEFORE),
        (battery.check_online_says_the_same, ROW_BEFORE),
        (battery.check_past_beyond_the_look_back, SUM_SO_FAR),
        (battery.check_past_beyond_the_look_back, PEAK_OF_ALL_TIME),
        (battery.check_unknown_column_gives_null, ZERO_FOR_NOTHING),
        (battery.check_range_dtype_and_unit, INFINITE_INSIDE),
    ],
)
def test_the_battery_catches_a_cheat(check, cheater):
    with pytest.raises(AssertionError, match="liquidity_trend"):
        check([cheater], MARKET)


@pytest.mark.parametrize(
    ("check", "cheater"),
    [
        (battery.check_unknown_input_gives_null, ZERO_FOR_NOTHING),
        (battery.check_column_and_value_agree, ROW_BEFORE),
        (battery.check_example, INFINITE_INSIDE),
        (battery.check_says_what_it_is, NEXT_ROW),
    ],
)
def test_the_battery_catches_a_formula_that_cheats(check, cheater):
    with pytest.raises(AssertionError, match="liquidity_trend"):
        check([cheater])


def test_the_battery_catches_an_input_that_is_not_declared():
    made = feature(
        "liquidity_trend",
        family="trends",
        inputs=now("price_quote"),
        null_rule="never",
        example=Example({"price_quote": 1.0}, 1.0),
    )
    with pytest.raises(AssertionError, match="liquidity_trend"):
        battery.check_inputs_are_declared([made(lambda _x, _: pl.col("price_usd"))])
