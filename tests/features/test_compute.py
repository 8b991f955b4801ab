"""Worked cases of looking back, the table that comes out, and bad input."""

from dataclasses import replace
from datetime import timedelta

import polars as pl
import pytest
from battery_market import SPAN, START, market
from polars.testing import assert_frame_equal

from pipeline.calendars import DAY, HOUR, MINUTE, Span
from pipeline.errors import InputError
from pipeline.features.compute import compute_columns, compute_family, compute_features, join_families
from pipeline.features.registry import FAMILIES, LOOK_BACK, REGISTRY
from pipeline.features.sources import Sources
from pipeline.features.spec import FeaturesSpec
from pipeline.tables import FAMILY_TABLES, FEATURES, SNAPSHOTS

SPEC = FeaturesSpec()
COUNTS = {name: dtype for name, dtype in SNAPSHOTS.schema.items() if name.startswith("n_")}


def seen(at_minutes, *, born=START, **columns):
    """Snapshots of one pool at some minutes after START; a column not given is null."""
    n = len(at_minutes)
    times = [START + m * MINUTE for m in at_minutes]
    told = {"source": ["s"] * n, "network": ["eth"] * n, "pool": ["p"] * n, "interval_minutes": [5] * n,
            "event_time": times, "known_at": times, "observed_at": times, "created_at": [born] * n,
            "inclusion_probability": [1.0] * n, "n_missed": [0] * n, **columns}  # fmt: skip
    rest = {name: pl.Series([None] * n, dtype=dtype) for name, dtype in SNAPSHOTS.schema.items() if name not in told}
    frame = pl.DataFrame({**told, **rest})
    return frame.select(pl.col(name).cast(dtype) for name, dtype in SNAPSHOTS.schema.items())


def computed(frame, names=tuple(REGISTRY)):
    """Features of snapshots alone."""
    return compute_columns(Sources(frame.lazy()), SPAN, SPEC, [REGISTRY[name] for name in names])


def values(frame, name):
    return computed(frame, [name])[name].to_list()


def test_a_value_from_an_hour_before_is_the_latest_snapshot_up_to_then():
    frame = seen([0, 5, 10, 65, 71], reserve_usd=[100.0, 200.0, 400.0, 100.0, 100.0])
    # At 65 the one at 5 counts exactly; at 71 the one at 10, a minute older than asked for.
    assert values(frame, "liquidity_trend") == [None, None, None, -50.0, -75.0]


@pytest.mark.parametrize(("late", "expected"), [(75, 0.0), (76, None)])
def test_a_value_from_an_hour_before_may_be_a_quarter_of_an_hour_old_and_no_more(late, expected):
    frame = seen([0, late], reserve_usd=[100.0, 100.0])
    assert values(frame, "liquidity_trend")[-1] == expected


def test_a_snapshot_after_that_time_does_not_count_however_near():
    frame = seen([0, 12, 71], reserve_usd=[100.0, 400.0, 200.0])
    assert values(frame, "liquidity_trend")[-1] == 100.0


def test_a_snapshot_before_its_pools_birth_has_no_age_and_no_rates():
    frame = seen([5], born=START + HOUR, price_change_h1_pct=[6.0], volume_m5_usd=[1.0], volume_h1_usd=[1.0])
    row = computed(frame).row(0, named=True)
    assert {row[n] for n in ("age_hours", "price_velocity", "volume_acceleration", "has_volume_spike")} == {None}


def test_the_part_of_a_first_bar_counts_as_a_whole_one():
    newborn = seen([2], volume_m5_usd=[10.0], volume_h1_usd=[10.0])
    assert values(newborn, "volume_acceleration") == [1.0]


def test_a_null_then_is_null_and_not_the_value_before_it():
    frame = seen([0, 5, 65], reserve_usd=[100.0, None, 100.0])
    assert values(frame, "liquidity_trend")[-1] is None


def test_volume_against_an_hour_of_silence_is_unknown_and_never_infinite():
    frame = seen([0, 60, 120], volume_h1_usd=[0.0, 50.0, 25.0])
    assert values(frame, "volume_change_1h_pct") == [None, None, -50.0]


def test_drawdown_looks_at_the_last_day_and_forgets_the_moment_a_day_ago():
    frame = seen([0, 60, 1440, 1500], price_quote=[10.0, 8.0, 4.0, 4.0])
    assert values(frame, "price_drawdown_24h_pct") == pytest.approx([0.0, -20.0, -50.0, 0.0])


def test_nobody_trading_leaves_buy_pressure_open_but_is_no_spike():
    trades = {name: [0] for name in COUNTS}
    frame = seen([600], price_change_m5_pct=[0.0], volume_m5_usd=[0.0], volume_h1_usd=[0.0], **trades)
    row = computed(frame).row(0, named=True)
    assert (row["buy_pressure_1h"], row["volume_acceleration"]) == (None, None)
    assert (row["has_volume_spike"], row["is_pumping"], row["n_trades_24h"]) == (False, False, 0)


def test_half_of_what_a_flag_needs_is_not_enough_to_say_no():
    frame = seen([600], price_change_m5_pct=[None], n_buys_m5=[0], n_sells_m5=[5])
    assert values(frame, "is_pumping") == [None]


def test_birth_is_not_a_spike_and_a_young_pools_rates_divide_by_what_it_lived():
    frame = seen(
        [5, 30, 600], volume_m5_usd=[10.0] * 3, volume_h1_usd=[10.0, 60.0, 60.0], price_change_h1_pct=[6.0] * 3
    )
    assert values(frame, "volume_acceleration") == [1.0, 1.0, 2.0]
    assert values(frame, "price_velocity") == pytest.approx([72.0, 12.0, 6.0])
    assert values(frame, "has_volume_spike") == [False, False, False]


def test_a_pool_younger_than_five_minutes_has_no_velocity():
    frame = seen([0, 4], price_change_h1_pct=[6.0, 6.0])
    assert values(frame, "price_velocity") == [None, None]


def test_a_pump_and_a_dump_need_price_and_side():
    pump = {"price_change_m5_pct": [11.0, 11.0, 9.0], "n_buys_m5": [2, 1, 5], "n_sells_m5": [1, 1, 0]}
    assert values(seen([5, 10, 15], **pump), "is_pumping") == [True, False, False]
    dump = {"price_change_m5_pct": [-11.0, -11.0, -9.0], "n_buys_m5": [1, 1, 0], "n_sells_m5": [2, 1, 5]}
    assert values(seen([5, 10, 15], **dump), "is_dumping") == [True, False, False]


def test_what_comes_out_is_the_table_one_row_a_snapshot_known_when_the_snapshot_was():
    world = market(3)
    late = world.snapshots.with_columns(pl.col("event_time").dt.offset_by("2m").alias("known_at"))
    found = compute_features(replace(world, snapshots=late).sources(), SPAN, SPEC)
    assert found.schema == FEATURES.schema
    assert found.height == late.height
    assert (found["known_at"] - found["event_time"]).unique().to_list() == [2 * MINUTE]


def test_a_span_cut_into_pieces_gives_the_rows_of_the_whole():
    world = market(4)
    span = Span(START, START + 30 * HOUR)
    pieces = [
        compute_features(world.learned_from(piece.start - LOOK_BACK).sources(), piece, SPEC)
        for piece in span.pieces(5 * HOUR)
    ]
    whole = compute_features(world.sources(), span, SPEC)
    assert_frame_equal(pl.concat(pieces).sort("pool", "event_time"), whole, rel_tol=1e-9)
    assert whole.height > 30


def test_the_families_joined_are_the_features():
    sources = market(5).sources()
    families = {family: compute_family(family, sources, SPAN, SPEC) for family in FAMILIES}
    assert {family: frame.schema for family, frame in families.items()} == {
        family: table.schema for family, table in FAMILY_TABLES.items()
    }
    assert_frame_equal(join_families(families), compute_features(sources, SPAN, SPEC))


def test_families_that_do_not_know_the_same_snapshots_are_not_joined():
    sources = market(5).sources()
    families = {family: compute_family(family, sources, SPAN, SPEC) for family in FAMILIES}
    families["activity"] = families["activity"].head(-1)
    with pytest.raises(InputError, match="'activity'"):
        join_families(families)


def test_no_snapshots_give_an_empty_table():
    assert_frame_equal(compute_features(Sources(SNAPSHOTS.empty().lazy()), SPAN, SPEC), FEATURES.empty())
    late = Span(SPAN.end + 9 * DAY, SPAN.end + 10 * DAY)
    assert_frame_equal(compute_features(market(1).sources(), late, SPEC), FEATURES.empty())


def test_two_truths_about_one_moment_are_refused():
    frame = seen([5], reserve_usd=[1.0])
    other = frame.with_columns(reserve_usd=2.0)
    with pytest.raises(InputError, match="contradict"):
        computed(pl.concat([frame, other]))


def test_a_frame_without_a_key_is_refused():
    with pytest.raises(InputError, match="event_time"):
        computed(market(1).snapshots.drop("event_time"))


def test_every_family_says_what_a_snapshot_born_this_moment_lacks():
    found = computed(seen([0])).row(0, named=True)
    # Its age is known, and that alone earns risk points: all of those that can be earned by what is known.
    assert (found["age_hours"], found["risk_score"]) == (0.0, 100.0)
    assert {found[name] for name in REGISTRY if name not in {"age_hours", "risk_score"}} == {None}
    assert found["known_at"] - START == timedelta(0)


def test_what_is_unknown_neither_raises_the_risk_nor_lowers_it():
    # 25 points for a small reserve of 25 + 10 that are known; an hour old is not young any more.
    assert values(seen([60], reserve_usd=[10.0]), "risk_score") == pytest.approx([100 * 25 / 35])
    assert values(seen([60], reserve_usd=[10.0], lp_burned_pct=[99.0]), "risk_score") == pytest.approx([100 * 25 / 50])
