"""Every registered feature through the battery, and the battery on features that cheat."""

from datetime import timedelta
from pathlib import Path

import feature_battery as battery
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.calendars import DAY, HOUR, Span
from pipeline.features.feature import Example, feature, now
from pipeline.features.registry import REGISTRY
from pipeline.snapshots.snapshots import take_snapshots
from pipeline.snapshots.spec import SnapshotsSpec

RECORDING = Path(__file__).parents[2] / "../shared/data/recordings/uniswap_v2_2020"
MARKET = battery.market(seed=1)


@pytest.mark.parametrize("check", battery.CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("name", REGISTRY)
def test_every_feature_passes(name, check):
    check([REGISTRY[name]], MARKET)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.floats(0, 1))
def test_no_feature_changes_when_the_future_is_cut_anywhere(seed, where):
    frame = battery.market(seed, n_pools=2)
    cut = frame["event_time"].sort()[int(where * (frame.height - 1))]
    battery.check_future_cut(list(REGISTRY.values()), frame, cuts=[cut])


def cheat(column, formula):
    """A feature that reads other rows by itself, which a formula must never do."""
    made = feature(
        "liquidity_trend", family="trends", inputs=now(column), look_back=timedelta(0), null_rule="never",
        example=Example({column: 1.0}, 1.0),
    )  # fmt: skip
    return made(lambda _: formula(pl.col(column)))


NEXT_ROW = cheat("reserve_usd", lambda c: c.shift(-1))
ROW_BEFORE = cheat("reserve_usd", lambda c: c.shift(1))
PEAK_OF_ALL_TIME = cheat("reserve_usd", lambda c: c.max().over("pool"))
RANK_AMONG_ALL = cheat("reserve_usd", lambda c: c.rank() / pl.len())
SUM_SO_FAR = cheat("volume_h1_usd", lambda c: c.cum_sum().over("pool"))
HALF_THE_ROWS = cheat("reserve_usd", lambda c: c.fill_null(0.0))
INFINITE_INSIDE = cheat("reserve_usd", lambda c: -c - 101)


@pytest.mark.parametrize(
    ("check", "cheater"),
    [
        (battery.check_future_cut, NEXT_ROW),
        (battery.check_future_cut, PEAK_OF_ALL_TIME),
        (battery.check_future_cut, RANK_AMONG_ALL),
        (battery.check_other_pools_removed, ROW_BEFORE),
        (battery.check_past_beyond_the_look_back, SUM_SO_FAR),
        (battery.check_past_beyond_the_look_back, PEAK_OF_ALL_TIME),
        (battery.check_unknown_input_gives_null, HALF_THE_ROWS),
        (battery.check_null_in_some_rows, HALF_THE_ROWS),
        (battery.check_range_dtype_and_unit, INFINITE_INSIDE),
        (battery.check_example, INFINITE_INSIDE),
        (battery.check_inputs_are_declared, cheat("price_quote", lambda _: pl.col("price_usd"))),
        (battery.check_says_what_it_is, NEXT_ROW),
    ],
)
def test_the_battery_catches_a_cheat(check, cheater):
    with pytest.raises(AssertionError, match="liquidity_trend"):
        check([cheater], MARKET)


@pytest.fixture(scope="module")
def recorded():
    """Snapshots of sixty recorded pools."""
    if not RECORDING.exists():
        pytest.skip("no recording beside the project")
    source = pl.lit("recording:uniswap_v2_2020").alias("source")
    pools = pl.read_parquet(RECORDING / "pools.parquet").sort("created_at").slice(300, 60)
    pools = pools.with_columns(
        source, quote_price_usd=pl.lit(375.0), watched_until=pl.lit(None, pl.Datetime("us", "UTC"))
    )
    before = [
        pl.col(f"{side}_reserve").shift(1).over("pool").alias(f"{side}_reserve_before") for side in ("base", "quote")
    ]
    updates = (
        pl.scan_parquet(RECORDING / "reserves.parquet")
        .join(pools.lazy().select("pool", "network"), on="pool")
        .sort("pool", "block", "tx_index", "log_index")
        .with_columns(source, *before)
        .rename({"time": "event_time"})
    )
    born = pools["created_at"].min()
    return take_snapshots(updates, pools, Span(born, born + 9 * DAY), SnapshotsSpec())


WITHOUT_PLANTED_INPUTS = [
    battery.check_future_cut,
    battery.check_past_beyond_the_look_back,
    battery.check_shuffled,
    battery.check_other_pools_removed,
    battery.check_repeated_rows,
    battery.check_range_dtype_and_unit,
]


@pytest.mark.parametrize("check", WITHOUT_PLANTED_INPUTS, ids=lambda check: check.__name__)
def test_every_feature_passes_on_recorded_pools(recorded, check):
    check(list(REGISTRY.values()), recorded)


def test_recorded_pools_fill_every_feature(recorded):
    found = battery.computed(REGISTRY.values(), recorded, battery._span_of(recorded))
    silent = [name for name in REGISTRY if found[name].null_count() == found.height]
    constant = [name for name in REGISTRY if found[name].n_unique() < 2]
    assert (silent, constant) == ([], [])
    assert found.height == recorded.height > 1000


def test_the_market_of_the_battery_has_something_to_find():
    span = Span(MARKET["event_time"].min(), MARKET["event_time"].max() + HOUR)
    found = battery.computed(REGISTRY.values(), MARKET, span)
    assert [name for name in REGISTRY if found[name].n_unique() < 2] == []
