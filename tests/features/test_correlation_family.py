"""The correlation family: against a slow oracle, over history, over a piece of it, and event by event."""

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from correlated_market import (
    FIELDS,
    INPUTS,
    SPEC,
    START,
    STEP,
    Slowly,
    assert_same,
    attached,
    market,
    online,
    rebuilt,
    table,
)
from feature_battery import is_of_the_market
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pipeline.calendars import DAY, HOUR, MINUTE, Span
from pipeline.features.engine import Event, micros
from pipeline.features.engines import from_index
from pipeline.features.engines.online_index import OnlineIndex
from pipeline.features.families import correlation
from pipeline.features.feature import Feature
from pipeline.features.sources import Sources
from pipeline.pools.candles import candles as candles_of
from pipeline.pools.spec import PoolsSpec
from pipeline.tables import CANDLES, FAMILY_COLUMNS, POOL_KEY, POOLS, SNAPSHOTS

RECORDING = Path(__file__).parents[2] / "../shared/data/recordings/uniswap_v2_2020"
FEATURES = {one.name: one for one in vars(correlation).values() if isinstance(one, Feature)}


@settings(max_examples=6, deadline=None)
@given(st.integers(0, 10**6))
@example(0)
def test_every_field_is_what_its_definition_says(seed: int) -> None:
    sources = market(seed)
    found = attached(sources).sample(40, seed=seed)
    slowly = Slowly(sources)
    expected = [row | slowly.at(row["pool"], row["network"], row["event_time"]) for row in found.to_dicts()]
    assert_same(found, pl.DataFrame(expected, schema=found.schema), tolerance=1e-8)


@settings(max_examples=6, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from([0.0, 1e-6, 0.02]))
def test_event_by_event_says_the_same_as_over_history(seed: int, noise: float) -> None:
    sources = market(seed, noise=noise)
    assert_same(online(sources), attached(sources))


@settings(max_examples=8, deadline=None)
@given(st.integers(0, 10**6), st.floats(0, 1))
def test_no_field_changes_when_the_future_is_cut(seed: int, where: float) -> None:
    sources = market(seed)
    times = sources.snapshots.select("event_time").collect().to_series().sort()
    cut = times[int(where * (len(times) - 1))]
    known = pl.col("known_at") <= cut
    past = replace(sources, snapshots=sources.snapshots.filter(known), candles=sources.candles.filter(known))
    assert_same(attached(past), attached(sources).filter(pl.col("event_time") <= cut), tolerance=0)


@settings(max_examples=8, deadline=None)
@given(st.integers(0, 10**6))
def test_a_piece_says_the_same_with_no_more_past_than_is_declared(seed: int) -> None:
    sources = market(seed, n_bars=520)
    span = Span(START + 38 * HOUR, START + 42 * HOUR)
    since = pl.col("event_time") >= span.start - from_index.reach(SPEC)
    piece = replace(sources, snapshots=sources.snapshots.filter(since), candles=sources.candles.filter(since))
    whole = attached(sources).filter(pl.col("event_time") >= span.start, pl.col("event_time") < span.end)
    assert_same(attached(piece, span), whole)


def test_the_order_of_rows_and_repeated_rows_change_nothing() -> None:
    sources = market(4)
    mixed = {
        name: frame.sample(fraction=1, shuffle=True, seed=2).lazy()
        for name in ("snapshots", "pools", "candles")
        for frame in [pl.concat([getattr(sources, name).collect(), getattr(sources, name).collect().head(30)])]
    }
    mixed["snapshots"] = mixed["snapshots"].unique()
    assert_same(attached(replace(sources, **mixed)), attached(sources), tolerance=0)


def test_snapshots_told_twice_weigh_once_in_the_quote_tokens_price() -> None:
    sources = market(5)
    told = sources.snapshots.collect()
    twice = replace(sources, snapshots=pl.concat([told, told.filter(pl.col("pool") == "pool1")]).lazy())
    assert rebuilt(twice)[1].equals(rebuilt(sources)[1])


def test_every_field_has_something_to_say_in_the_market_of_these_tests() -> None:
    found = attached(market(1))
    assert [name for name in FIELDS if found[name].n_unique() < 100 and name != "share_rising"] == []
    assert found["share_rising"].n_unique() >= 4
    usdc = found.filter(pl.col("pool") == "pool2")
    assert usdc["quote_correlation"].null_count() == usdc.height


def follow(moves: dict[str, np.ndarray], quote: np.ndarray | None = None) -> pl.DataFrame:
    """The last snapshot's fields in a network of pools with these returns."""
    bars, snapshots, pools = [], [], []
    for pool, move in moves.items():
        key = {"source": "simulation:1", "network": "eth", "pool": pool}
        pools.append(key | {"quote_token": "weth"})
        close = np.exp(np.cumsum(move))
        usd = np.full(len(move), 0.1) if quote is None else np.exp(np.cumsum(quote))
        for j, price in enumerate(close):
            end = START + (j + 1) * STEP
            bars.append(key | {"timeframe": "5min", "event_time": end - STEP, "known_at": end}
                        | dict.fromkeys(("open", "high", "low", "close"), price))  # fmt: skip
            snapshots.append(
                key | {"event_time": end, "known_at": end, "price_quote": price, "price_usd": price * usd[j]}
            )
    sources = Sources(
        table(snapshots, SNAPSHOTS.schema).lazy(), table(pools, POOLS.schema).lazy(),
        candles=table(bars, CANDLES.schema).lazy(),
    )  # fmt: skip
    found = attached(sources)
    assert_same(online(sources), found)
    return found.group_by("pool", maintain_order=True).last().sort("pool")


RNG = np.random.default_rng(0)
MOVES = RNG.normal(0, 0.05, 100)


def test_a_pool_alone_is_not_compared_with_itself() -> None:
    alone = follow({"a": MOVES}).row(0, named=True)
    assert {alone[name] for name in FIELDS if name != "share_rising"} == {None}
    assert alone["share_rising"] in {0.0, 1.0}


def test_a_pool_is_taken_out_of_the_index_it_is_compared_with() -> None:
    other = RNG.normal(0, 0.05, 100)
    found = follow({"a": MOVES, "b": other})
    # Two bars of grace: the last pair is of the bar before the last two.
    for mine, its, row in ((MOVES, other, 0), (other, MOVES, 1)):
        expected = np.corrcoef(mine[1:98], np.clip(its[1:98], -0.2, 0.2))[0, 1]
        assert found["index_correlation"][row] == pytest.approx(expected, rel=1e-9)


def test_a_pool_that_moves_twice_as_much_has_a_slope_of_two() -> None:
    found = follow({"a": MOVES, "b": MOVES / 2})
    assert found["index_beta"].to_list() == pytest.approx([2.0, 0.5])
    assert found["index_correlation"].to_list() == pytest.approx([1.0, 1.0])


def test_a_pool_that_goes_ahead_leads_and_the_other_lags() -> None:
    found = follow({"a": MOVES, "b": np.roll(MOVES, 1)})
    lead, lag = found["lead_correlation"], found["lag_correlation"]
    assert lead[0] == pytest.approx(1.0)
    assert lag[1] == pytest.approx(1.0)
    assert abs(lag[0]) < 0.3 > abs(lead[1])


def test_a_pool_that_vanishes_counts_for_no_more_than_the_limit() -> None:
    crash = MOVES.copy()
    crash[50] = -40.0
    cut = MOVES.copy()
    cut[50] = -0.2
    assert follow({"a": MOVES, "b": crash})["index_correlation"][0] == pytest.approx(
        np.corrcoef(MOVES[1:98], cut[1:98])[0, 1]
    )


def test_a_quote_token_whose_price_stands_says_nothing() -> None:
    """0.1 times a price, over that price, is not always 0.1: the rounding must not be taken for a move."""
    found = follow({"a": MOVES, "b": -MOVES})
    assert found["quote_correlation"].to_list() == [None, None]
    assert found["quote_beta"].to_list() == [None, None]


def test_the_quote_tokens_price_is_known_at_once_and_the_index_after_its_grace() -> None:
    quote = MOVES + RNG.normal(0, 0.01, 100)
    found = follow({"a": MOVES, "b": RNG.normal(0, 1, 100)}, quote)
    # The first snapshot has no price before it, so the second bar is the first that can be compared.
    assert found["quote_correlation"][0] == pytest.approx(np.corrcoef(MOVES[1:], quote[1:])[0, 1])
    assert found["quote_beta"][0] == pytest.approx(np.polyfit(quote[1:], MOVES[1:], 1)[0])


def test_the_rising_share_is_of_those_that_traded_in_the_last_hour() -> None:
    up, down = np.full(60, 0.01), np.full(60, -0.01)
    found = follow({"a": up, "b": up, "c": down, "gone": down[:20], "new": up[:1]})
    assert found["share_rising"][0] == pytest.approx(2 / 3)


def test_nothing_is_said_of_a_market_that_fell_silent_an_hour_before() -> None:
    sources = market(7)
    silent = replace(sources, candles=sources.candles.filter(pl.col("event_time") < START + 10 * HOUR))
    found = attached(silent)
    assert_same(online(silent), found)
    # The last bar ends at 10:00 and is of the index until the bar that ends at 10:55, which is stale an hour later.
    last = START + 11 * HOUR + 55 * MINUTE
    here = found.filter(pl.col("network") == "eth")
    assert here.filter(pl.col("event_time") == last)["share_rising"].is_not_null().all()
    after = here.filter(pl.col("event_time") > last)
    assert after.select(FIELDS).null_count().sum_horizontal().item() == after.height * len(FIELDS) > 0


def test_an_event_costs_the_same_after_many() -> None:
    from time import perf_counter

    state = OnlineIndex(INPUTS, SPEC)
    moves = np.exp(np.random.default_rng(0).normal(0, 0.1, 4000))
    took = []
    for i, move in enumerate(moves):
        at = START + i * STEP
        bar = {"event_time": at, "known_at": at + STEP} | dict.fromkeys(("open", "high", "low", "close"), float(move))
        market_row = {"event_time": at, "return_sum": float(move), "n_returns": 5, "share_rising": 0.5}
        start = perf_counter()
        state.observe(Event("candles", bar))
        state.observe(Event("index", market_row))
        state.observe(Event("quote", {"event_time": at, "log_return": float(move) - 1}))
        found = state.values({}, micros(at + STEP))
        took.append(perf_counter() - start)
    assert None not in found.values()
    assert np.median(took[-1000:]) < 3 * np.median(took[300:1300])
    assert np.quantile(took[300:], 0.9) < 1e-3


@pytest.mark.parametrize("name", FEATURES)
def test_the_example_gives_what_it_says_in_both_ways(name: str) -> None:
    one = FEATURES[name]
    assert one.value(one.example.given, SPEC) == pytest.approx(one.example.gives)
    assert one.worked().select(one.expr(SPEC)).item() == pytest.approx(one.example.gives)


def test_the_family_defines_every_column_of_its_table_and_says_that_others_matter() -> None:
    assert {column.name for column in FAMILY_COLUMNS["correlation"]} == set(FEATURES)
    assert all(is_of_the_market(one) for one in FEATURES.values())


def test_pools_of_other_networks_change_nothing() -> None:
    sources = market(6, n_pools=8)
    is_here = pl.col("network") == "eth"
    alone = replace(sources, candles=sources.candles.filter(is_here), snapshots=sources.snapshots.filter(is_here))
    assert_same(attached(alone), attached(sources).filter(is_here), tolerance=0)


def test_without_candles_and_prices_every_field_is_null() -> None:
    sources = market(2)
    nothing = Sources(sources.snapshots.drop("price_usd"))
    found = attached(nothing)
    assert found.height > 100
    assert found.select(FIELDS).null_count().sum_horizontal().item() == found.height * len(FIELDS)


@pytest.fixture(scope="module")
def recorded() -> Sources:
    """Forty recorded pools; a snapshot at the end of every bar."""
    if not RECORDING.exists():
        pytest.skip("no recording beside the project")
    source = pl.lit("recording:uniswap_v2_2020").alias("source")
    pools = pl.read_parquet(RECORDING / "pools.parquet").sort("created_at").slice(300, 40)
    pools = pools.with_columns(source, quote_price_usd=pl.lit(375.0))
    before = [pl.col(f"{s}_reserve").shift(1).over("pool").alias(f"{s}_reserve_before") for s in ("base", "quote")]
    updates = (
        pl.scan_parquet(RECORDING / "reserves.parquet")
        .join(pools.lazy().select("pool", "network", "created_at"), on="pool")
        .filter(pl.col("time") < pl.col("created_at") + 5 * DAY)
        .sort("pool", "block", "tx_index", "log_index")
        .with_columns(source, *before)
        .rename({"time": "event_time"})
        .collect()
    )
    bars = candles_of(updates, pools, PoolsSpec())
    snapshots = bars.join(pools.select(*POOL_KEY, "created_at"), on=list(POOL_KEY)).with_columns(
        pl.col("known_at").alias("event_time"),
        pl.col("close").alias("price_quote"),
        (pl.col("close") * 375.0).alias("price_usd"),
    )
    return Sources(snapshots.lazy(), pools.lazy(), candles=bars.lazy())


def test_recorded_pools_are_the_same_in_both_ways(recorded: Sources) -> None:
    found = attached(recorded)
    assert_same(online(recorded), found)
    assert found.filter(pl.col("index_correlation").is_not_null()).height > 100
    assert found.select("quote_correlation", "quote_beta").null_count().row(0) == (found.height, found.height)
    assert found["share_rising"].null_count() < found.height / 10


def test_recorded_pools_are_as_defined(recorded: Sources) -> None:
    found = attached(recorded)
    some = found.filter(pl.col("index_correlation").is_not_null()).sample(12, seed=1)
    slowly = Slowly(recorded)
    expected = [row | slowly.at(row["pool"], row["network"], row["event_time"]) for row in some.to_dicts()]
    assert_same(some, pl.DataFrame(expected, schema=some.schema), tolerance=1e-8)


def index_of(bars: dict[str, dict[int, float]], late: dict[int, timedelta] | None = None) -> pl.DataFrame:
    """The index of a network of pools with these closes, by the number of the bar."""
    rows = [
        {"source": "simulation:1", "network": "eth", "pool": pool, "timeframe": "5min", "event_time": START + j * STEP,
         "known_at": START + (j + 1) * STEP + (late or {}).get(j, timedelta(0))}
        | dict.fromkeys(("open", "high", "low", "close"), close)
        for pool, closes in bars.items()
        for j, close in closes.items()
    ]  # fmt: skip
    return rebuilt(replace(market(1), candles=table(rows, CANDLES.schema).lazy()))[0]


def test_a_bar_learned_in_the_last_minute_of_grace_counts_and_one_after_does_not() -> None:
    too_late = 10 * MINUTE + timedelta(microseconds=1)
    index = index_of({"a": {0: 1.0, 1: 2.0, 2: 3.0}}, {1: 10 * MINUTE, 2: too_late})
    assert index["n_returns"].to_list()[:3] == [0, 1, 0]
    assert index["return_sum"].to_list()[:3] == [0.0, 0.2, 0.0]
    assert index["known_at"][1] == START + 2 * STEP + 10 * MINUTE


def test_a_bar_stands_for_the_hour_after_it_and_cannot_be_compared_with_itself() -> None:
    index = index_of({"a": {0: 1.0, 40: 2.0}})
    assert index["event_time"].to_list() == [START + j * STEP for j in (*range(12), *range(40, 52))]
    assert index["share_rising"].to_list() == [None] * 12 + [1.0] * 12
    assert index_of({"a": {0: 1.0}, "b": {0: 1.0, 3: 2.0}})["share_rising"].to_list() == [None] * 3 + [1.0] * 12


@pytest.mark.parametrize(("before", "share"), [(13, 1.0), (14, 0.0), (289, 0.0), (290, 1.0)])
def test_a_close_is_compared_with_one_of_the_day_before_the_last_hour(before: int, share: float) -> None:
    """At bar 301 the day's bars are those after 13 and the last hour's those after 289."""
    closes = {before: 5.0, 300: 1.0, 301: 2.0}
    if before > 289:
        closes[before] = 1.5
    assert index_of({"a": closes}).filter(pl.col("event_time") == START + 301 * STEP)["share_rising"].item() == share


def test_a_snapshot_learned_after_its_moment_says_nothing_of_the_quote_token() -> None:
    sources = market(3)
    late = pl.col("event_time") + MINUTE
    told = sources.snapshots.with_columns(known_at=pl.when(pl.col("pool") == "pool0").then(late).otherwise("known_at"))
    without = sources.snapshots.filter(pl.col("pool") != "pool0")
    assert rebuilt(replace(sources, snapshots=told))[1].equals(rebuilt(replace(sources, snapshots=without))[1])
    assert not rebuilt(sources)[1].equals(rebuilt(replace(sources, snapshots=without))[1])
