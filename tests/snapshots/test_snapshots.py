"""Worked cases of the sampler, its bad input, and a slice of the real recording."""

import json
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal
from snapshot_oracle import chained, pool_frame, update_frame

from pipeline.calendars import DAY, HOUR, MINUTE, Span
from pipeline.errors import UsageError
from pipeline.snapshots.recorded import take_snapshots
from pipeline.snapshots.spec import SnapshotsSpec, Tier
from pipeline.tables import SNAPSHOTS

NOON = datetime(2020, 9, 8, 12, tzinfo=UTC)
SPEC = SnapshotsSpec()
SHARED = Path(__file__).parents[2] / "../shared/data"
RECORDING = SHARED / "recordings/uniswap_v2_2020"


def taken(states, *, span=None, born=NOON, **about_pool):
    span = span or Span(NOON, NOON + DAY)
    return take_snapshots(update_frame({"p": chained(states)}), pool_frame({"p": born}, **about_pool), span, SPEC)


def test_a_newborn_pool_is_seen_every_five_minutes_of_its_first_hour_however_poor():
    found = taken([(NOON, 10.0, 0.001)])
    assert found["event_time"].head(13).to_list() == [NOON + 5 * i * MINUTE for i in range(13)]
    # The thirteenth, at one hour of age, is the first to follow the tier; from then on every four hours.
    assert found["interval_minutes"].head(13).to_list() == [5] * 12 + [240]
    assert found["event_time"].slice(13, 2).to_list() == [NOON + 4 * HOUR, NOON + 8 * HOUR]


@pytest.mark.parametrize(
    ("quote", "minutes"),
    [(134.0, 5), (400 / 3, 15), (40 / 3, 15), (13.3, 60), (4 / 3, 60), (1.3, 240), (0.0, 240)],
)
def test_the_tiers_bounds_fall_where_the_spec_says(quote, minutes):
    later = taken([(NOON, 10.0, quote)]).filter(pl.col("event_time") >= NOON + HOUR)
    assert later["interval_minutes"].unique().to_list() == [minutes]
    steps = later["event_time"].diff().drop_nulls().tail(3).unique().to_list()
    assert steps == [minutes * MINUTE]


def test_the_sampler_does_not_know_what_happens_before_its_next_look():
    poor, rich = (NOON, 10.0, 1.0), (NOON + 2 * HOUR, 10.0, 1000.0)
    later = taken([poor, rich]).filter(pl.col("event_time") >= NOON + HOUR)
    assert later["event_time"].head(3).to_list() == [NOON + HOUR, NOON + 4 * HOUR, NOON + 4 * HOUR + 5 * MINUTE]


def test_a_pool_of_unknown_worth_is_seen_every_four_hours_and_its_usd_columns_are_null():
    found = taken([(NOON, 10.0, 1e6), (NOON + MINUTE, 9.0, 2e6)], price=None)
    last = found.row(-1, named=True)
    assert last["interval_minutes"] == 240
    assert {last[n] for n in SNAPSHOTS.schema if n.endswith("_usd")} == {None}
    assert last["price_quote"] == pytest.approx(2e6 / 9)
    assert last["n_buys_h24"] == 1


def test_a_pool_is_followed_for_seven_days_and_not_a_moment_longer():
    found = taken([(NOON, 10.0, 1.0)], span=Span(NOON, NOON + 30 * DAY))
    assert found["event_time"].max() == NOON + 7 * DAY - 4 * HOUR


def test_nothing_is_seen_after_the_source_stopped_watching():
    until = NOON + 7 * HOUR
    assert taken([(NOON, 10.0, 1e6)], until=until)["event_time"].max() == until
    assert taken([(NOON, 10.0, 1e6)], until=until - timedelta(seconds=1))["event_time"].max() == until - 5 * MINUTE


def test_the_first_snapshot_waits_for_the_first_observed_state():
    found = taken([(NOON + 17 * MINUTE, 10.0, 1.0)])
    assert found["event_time"][0] == NOON + 20 * MINUTE


def test_what_is_told_of_a_pool_before_its_birth_is_left_out():
    found = taken([(NOON - HOUR, 10.0, 5.0), (NOON + MINUTE, 10.0, 1.0)])
    assert found["event_time"][0] == NOON + 5 * MINUTE
    assert found["price_change_h24_pct"][0] == 0.0


def test_a_replay_looks_at_the_grid_point_itself_and_misses_none():
    found = taken([(NOON, 10.0, 1.0), (NOON + 17 * MINUTE, 9.0, 2.0)])
    assert (found["observed_at"] == found["event_time"]).all()
    assert found.select("inclusion_probability", "n_missed").unique().rows() == [(1.0, 0)]


def test_a_watched_pool_without_trades_has_true_zeros():
    last = taken([(NOON, 10.0, 1.0)]).row(-1, named=True)
    assert (last["volume_h24_usd"], last["n_buys_h24"], last["n_sells_m5"]) == (0.0, 0, 0)
    assert last["price_change_h6_pct"] == 0.0


def test_liquidity_that_comes_and_goes_is_no_trade():
    last = taken([(NOON, 10.0, 1.0), (NOON + MINUTE, 20.0, 2.0), (NOON + 2 * MINUTE, 1.0, 0.1)]).row(-1, named=True)
    assert (last["volume_h24_usd"], last["n_buys_h24"], last["n_sells_h24"]) == (0.0, 0, 0)


def test_a_small_trade_after_an_enormous_one_keeps_its_value():
    states = [(NOON, 1e9, 1.0), (NOON + MINUTE, 9e8, 1e25), (NOON + 2 * MINUTE, 1e9, 1.0)]
    found = taken([*states, (NOON + 3 * HOUR, 9e8, 1.5), (NOON + 3 * HOUR, 9e8, 1.5)])
    at = found.filter(pl.col("event_time") == NOON + 4 * HOUR).row(0, named=True)
    assert at["volume_h6_usd"] == pytest.approx(2e25 * 375)
    assert at["volume_h1_usd"] == 0.0
    exact = taken([*states, (NOON + 3.5 * HOUR, 9e8, 1.5)])
    at = exact.filter(pl.col("event_time") == NOON + 4 * HOUR).row(0, named=True)
    assert at["volume_h1_usd"] == 0.5 * 375


def test_a_new_pools_longer_windows_repeat_the_change_since_birth():
    row = taken([(NOON, 100.0, 1.0), (NOON + 11 * MINUTE, 50.0, 2.0)]).row(3, named=True)
    assert row["price_change_h1_pct"] == row["price_change_h6_pct"] == row["price_change_h24_pct"] == 300.0


@pytest.mark.skipif(not SHARED.exists(), reason="no recorded API answers beside the project")
def test_the_api_repeats_them_too():
    answer = json.loads((SHARED / "geckoterminal_api/responses/solana_new_pools_2025-08.json").read_text())
    for record in answer["data"]:
        change = record["attributes"]["price_change_percentage"]
        assert change["h1"] == change["h6"] == change["h24"]


def test_no_base_in_the_pool_means_no_price():
    row = taken([(NOON, 10.0, 1.0), (NOON + MINUTE, 0.0, 2.0)]).row(1, named=True)
    assert (row["price_quote"], row["price_usd"], row["price_change_m5_pct"]) == (None, None, None)
    assert row["reserve_usd"] == 1500.0


@pytest.mark.parametrize("told", [float("nan"), float("inf"), -1.0])
def test_an_unreadable_reserve_makes_its_windows_unknown_not_zero(told):
    found = taken([(NOON, 10.0, 1.0), (NOON + MINUTE, 10.0, told), (NOON + 2 * MINUTE, 9.0, 2.0)])
    row = found.row(1, named=True)
    assert (row["volume_m5_usd"], row["n_buys_h1"], row["n_sells_h24"]) == (None, None, None)
    reals = found.select(pl.col(pl.Float64))
    assert reals.select(pl.all().is_finite().all()).row(0) == (True,) * reals.width


def test_an_enormous_change_stays_finite():
    row = taken([(NOON, 1e300, 1e-18), (NOON + MINUTE, 1e-18, 1e300)]).row(-1, named=True)
    assert row["price_change_h24_pct"] is None
    assert row["price_quote"] is None


def test_repeated_updates_and_unknown_pools_change_nothing():
    updates = update_frame({"p": chained([(NOON, 10.0, 1.0), (NOON + MINUTE, 9.0, 2.0)])})
    stranger = updates.with_columns(pool=pl.lit("stranger"))
    span, pools = Span(NOON, NOON + DAY), pool_frame({"p": NOON})
    found = take_snapshots(pl.concat([updates, updates, stranger]).lazy(), pools, span, SPEC)
    assert_frame_equal(found, take_snapshots(updates, pools, span, SPEC))


def test_no_pools_or_no_updates_give_an_empty_table():
    span = Span(NOON, NOON + DAY)
    assert_frame_equal(take_snapshots(update_frame({}), pool_frame({"p": NOON}), span, SPEC), SNAPSHOTS.empty())
    assert_frame_equal(take_snapshots(update_frame({}), pool_frame({}), span, SPEC), SNAPSHOTS.empty())
    assert_frame_equal(taken([(NOON, 1.0, 1.0)], span=Span(NOON, NOON)), SNAPSHOTS.empty())
    between = Span(NOON + 130 * MINUTE, NOON + 135 * MINUTE)
    assert_frame_equal(taken([(NOON, 1.0, 1.0)], span=between), SNAPSHOTS.empty())


def test_a_spec_whose_intervals_lose_the_beat_is_refused():
    with pytest.raises(UsageError, match="divide"):
        SnapshotsSpec(tiers=(Tier(1.0, 25),))
    with pytest.raises(UsageError, match="richest"):
        SnapshotsSpec(tiers=(Tier(1.0, 5), Tier(2.0, 15)))
    with pytest.raises(UsageError, match="grid"):
        SnapshotsSpec(grid_minutes=7)
    assert json.loads(json.dumps(asdict(SPEC)))["tiers"][0]["interval_minutes"] == 5


@pytest.fixture(scope="module")
def recorded():
    """Updates and pools of the first eighty recorded pools that were born after the clock's first standstill."""
    if not RECORDING.exists():
        pytest.skip("no recording beside the project")
    source = pl.lit("recording:uniswap_v2_2020").alias("source")
    pools = pl.read_parquet(RECORDING / "pools.parquet").sort("created_at").slice(200, 80)
    updates = (
        pl.scan_parquet(RECORDING / "reserves.parquet")
        .join(pools.lazy().select("pool", "network"), on="pool")
        .filter(pl.col("base_reserve").is_finite())
        .sort("pool", "block", "tx_index", "log_index")
        .with_columns(
            source,
            known_at="time",
            base_reserve_before=pl.col("base_reserve").shift(1).over("pool"),
            quote_reserve_before=pl.col("quote_reserve").shift(1).over("pool"),
        )
        .rename({"time": "event_time"})
        .collect()
    )
    about = pools.with_columns(source, quote_price_usd=pl.lit(375.0), watched_until=updates["event_time"].max())
    return updates, about


def test_recorded_pools_give_the_same_rows_by_the_hour_as_in_one_go(recorded):
    updates, pools = recorded
    start = pools["created_at"].min().replace(minute=0, second=0, microsecond=0) + DAY
    span = Span(start, start + 30 * HOUR)
    whole = take_snapshots(updates, pools, span, SPEC)
    assert whole.height > 1000
    pieces = pl.concat(take_snapshots(updates, pools, hour, SPEC) for hour in span.pieces(HOUR))
    assert_frame_equal(pieces.sort("pool", "event_time"), whole, check_exact=True)


def test_recorded_pools_keep_to_the_table(recorded):
    updates, pools = recorded
    start = pools["created_at"].min()
    found = take_snapshots(updates, pools, Span(start, start + 12 * DAY), SPEC)
    assert found.schema == SNAPSHOTS.schema
    assert found.select(SNAPSHOTS.key).is_unique().all()
    for column in SNAPSHOTS.columns:
        values = found[column.name].drop_nulls()
        assert column.nullable or len(values) == found.height
        assert column.minimum is None or values.is_empty() or values.min() >= column.minimum
