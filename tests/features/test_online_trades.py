"""Swaps beside snapshots: over history, in partitions and one by one, against plain loops."""

import math
import time
from datetime import timedelta

import pytest
import trade_oracle as oracle
from hypothesis import given, settings
from hypothesis import strategies as st
from traded_worlds import (
    INPUTS,
    SPEC,
    START,
    frame_of,
    from_history,
    from_online,
    histories,
    snapshots_of,
    swap,
    traders_at_work,
)

from pipeline.calendars import DAY, HOUR, Span
from pipeline.features.engine import Event, micros
from pipeline.features.engines.from_trades import FIELDS, attach
from pipeline.features.engines.online_trades import OnlineTrades
from pipeline.features.engines.swaps import LATE
from pipeline.features.engines.wallets import COST_WINDOW, RECORD_WINDOW, WalletBook
from pipeline.features.inputs import SINCE_BIRTH, OfTrades
from pipeline.features.sources import Sources

WORLDS = st.one_of(histories(), traders_at_work())


def same(found, expected):
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        for field, value in other.items():
            is_same = one[field] == value or (
                None not in (one[field], value) and math.isclose(one[field], value, rel_tol=1e-9)
            )
            assert is_same, f"{field} is {one[field]!r}, not {value!r}"


@settings(max_examples=150)
@given(WORLDS)
def test_history_says_what_plain_loops_say(world):
    rows, snapshots = world
    same(from_history(rows, snapshots), oracle.expected(rows, snapshots))


@settings(max_examples=150)
@given(WORLDS)
def test_one_by_one_says_what_history_says_to_the_last_bit(world):
    rows, snapshots = world
    assert from_online(rows, snapshots) == from_history(rows, snapshots)


@settings(max_examples=80)
@given(WORLDS, st.floats(0, 1))
def test_a_partition_with_its_look_back_says_what_history_says(world, where):
    rows, snapshots = world
    cut = snapshots["event_time"].sort()[int(where * (snapshots.height - 1))]
    kept = [row for row in rows if row["event_time"] >= cut - SINCE_BIRTH]
    is_later = (snapshots["event_time"] >= cut).to_list()
    whole = [found for found, later in zip(from_history(rows, snapshots), is_later, strict=True) if later]
    assert from_history(kept, snapshots.filter(snapshots["event_time"] >= cut)) == whole


@settings(max_examples=80)
@given(WORLDS, st.floats(0, 1))
def test_what_is_learned_later_changes_nothing_before(world, where):
    rows, snapshots = world
    cut = snapshots["event_time"].sort()[int(where * (snapshots.height - 1))]
    known = [row for row in rows if row["known_at"] <= cut]
    earlier = snapshots.filter(snapshots["event_time"] <= cut)
    whole = [
        found
        for found, at in zip(from_history(rows, snapshots), snapshots["event_time"].to_list(), strict=True)
        if at <= cut
    ]
    assert from_history(known, earlier) == whole


def test_the_windows_of_a_wallets_record_fit_into_the_look_back():
    assert DAY + RECORD_WINDOW + COST_WINDOW + LATE <= SINCE_BIRTH


def test_without_trades_nothing_is_known_and_nothing_breaks():
    snapshots = snapshots_of([("a", 60)])
    for found in (from_history([], snapshots), from_online([], snapshots)):
        assert found[0]["n_valued_1h"] == 0
        assert found[0]["largest_usd_1h"] is found[0]["roll_spread_1h"] is found[0]["first_hour_usd"] is None


@pytest.mark.parametrize("field", FIELDS)
def test_each_field_can_be_asked_for_alone(field):
    rows = [swap("a", 60 * n, n=n, told=30) for n in range(70)]
    snapshots = snapshots_of([("a", 4_300), ("b", 4_300)])
    alone = from_history_of(field, rows, snapshots)
    assert alone == [found[field] for found in from_history(rows, snapshots)]


def from_history_of(field, rows, snapshots):
    read = OfTrades(field)
    span = Span(snapshots["event_time"].min(), snapshots["event_time"].max() + timedelta(seconds=1))
    sources = Sources(snapshots.lazy(), trades=frame_of(rows).lazy())
    return attach(snapshots, [read], sources, span, SPEC)[read.name].to_list()


def test_a_bouncing_price_gives_its_spread():
    """Half a per cent up and down around 1: the effective spread is 1 %, by Roll's own argument (independent sides)."""
    sides = [int(c) for c in "0110100110010110100101100110100110010110011010010110100110010110"]
    rows = [swap("a", 30 * n, n=n, quote=1.005 if side else 0.995) for n, side in enumerate(sides)]
    found = from_history(rows, snapshots_of([("a", 2_000)]))[0]["roll_spread_1h"]
    assert found == pytest.approx(0.01, rel=0.25)


@pytest.mark.parametrize("step", [0.0, 0.01, math.log(2)])
def test_a_price_that_only_rises_has_no_spread(step):
    rows = [swap("a", 30 * n, n=n, quote=math.exp(step * n)) for n in range(40)]
    for found in (from_history, from_online):
        assert found(rows, snapshots_of([("a", 2_000)]))[0]["roll_spread_1h"] is None


@pytest.mark.parametrize("names", [("x{n}_7_1",), ("x{n}", "x{n}_0_1"), ("x{n}_99999999999999999999_1", "x{n}_3_1")])
def test_swaps_of_one_block_come_in_the_order_of_their_places_and_then_of_their_names(names):
    """Prices that jump by what no other order gives; told at one moment, backwards."""
    rows = [swap("a", 10, n=n, name=names[n % len(names)], quote=1 + (n * 7 % 11) ** 2, told=5) for n in range(20)]
    snapshots = snapshots_of([("a", 60)])
    expected = oracle.expected(rows, snapshots)
    assert expected[0]["roll_spread_1h"] is not None
    for found in (from_history(rows[::-1], snapshots), from_online(rows[::-1], snapshots)):
        same(found, expected)


def test_a_swap_that_is_told_after_a_later_one_is_no_price_step():
    rows = [swap("a", 30 * n, n=n, quote=1 + 0.01 * (n % 2)) for n in range(20)]
    late = swap("a", 45, n=99, told=1_000, quote=50.0)
    snapshots = snapshots_of([("a", 2_000)])
    with_late, without = from_history([*rows, late], snapshots)[0], from_history(rows, snapshots)[0]
    assert with_late["roll_spread_1h"] == without["roll_spread_1h"] is not None
    assert with_late["n_valued_1h"] == without["n_valued_1h"] + 1


def test_an_event_takes_as_long_after_a_hundred_thousand_as_after_a_hundred():
    """Steady trading, a snapshot every five minutes; the clock is the processor's, since the machine is shared."""
    pool, book, took = OnlineTrades(INPUTS, SPEC), WalletBook(SPEC), []
    for n in range(100_000):
        row = swap("a", 10 * n, told=5, n=n, trader=f"w{n * n % 97}", kind="buy" if n % 3 else "sell", usd=n % 89 + 0.5)
        began = time.process_time()
        pool.observe(Event("trades", row | {"is_smart": book.take(row)}))
        if n % 30 == 0:
            pool.values({"created_at": START}, micros(row["known_at"]))
        took.append(time.process_time() - began)
    # From the 30,000th on every window is full: three days of a swap in ten seconds.
    early, late = (sorted(part)[int(0.99 * len(part))] for part in (took[30_000:40_000], took[-10_000:]))
    assert late < 1e-3
    assert late < max(3 * early, 2e-4)


def test_memory_holds_the_windows_and_no_more():
    pool, book = OnlineTrades(INPUTS, SPEC), WalletBook(SPEC)
    sizes = []
    for n in range(9_000):
        # One swap in 100 s: 864 a day; each wallet and pool is seen once in a while and never again.
        row = swap(f"p{n // 50}", 100 * n, n=n, trader=f"w{n // 10}", kind="sell" if n % 2 else "buy", usd=10.0 + n % 7)
        pool.observe(Event("trades", row | {"is_smart": book.take(row)}))
        if n == 3_000:
            pool.observe(Event("snapshots", {"created_at": START}))
        if n in (5_000, 8_999):
            pool.values({"created_at": START}, micros(row["known_at"]))
            states = (pool._day._heap, pool._day._here, pool._hour._heap, pool._held._wallets, pool._roll._prices,
                      pool._flow._bought_by, pool._largest._stairs, pool._first._waiting, pool._first._bought,
                      book._taken, book._sales, book._positions, book._records, book._newest)  # fmt: skip
            sizes.append([len(state) for state in states])
    before, after = sizes
    assert all(late <= early + 10 for early, late in zip(before, after, strict=True)), sizes
    assert max(after) <= (COST_WINDOW + HOUR) / timedelta(seconds=100)
