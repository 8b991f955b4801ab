"""Who is smart, by what was realised before, and what the smart do."""

from datetime import timedelta

import polars as pl
import pytest
import trade_oracle as oracle
from hypothesis import given, settings
from recorded_trades import recorded_trades, snapshots_every_hour
from traded_worlds import SPEC, START, frame_of, from_history, snapshots_of, swap, traders_at_work

from pipeline.calendars import DAY, Span
from pipeline.features.engines.from_trades import attach
from pipeline.features.engines.swaps import read_swaps
from pipeline.features.engines.wallets import WalletBook, smart_flags
from pipeline.features.families import smart_money
from pipeline.features.feature import Feature
from pipeline.features.inputs import OfTrades
from pipeline.features.sources import Sources
from pipeline.features.spec import FeaturesSpec
from pipeline.tables import FAMILY_COLUMNS

SMART = {value.name: value for value in vars(smart_money).values() if isinstance(value, Feature)}
DAY_S = DAY.total_seconds()


def test_every_column_of_the_family_is_defined():
    assert list(SMART) == [column.name for column in FAMILY_COLUMNS["smart_money"]]


@pytest.mark.parametrize("name", SMART)
def test_the_example_holds_for_a_column_and_for_a_value(name):
    example = SMART[name].example
    column = pl.DataFrame({k: [v] for k, v in example.given.items()}).select(SMART[name].expr(SPEC)).item()
    assert column == SMART[name].value(example.given, SPEC) == example.gives
    assert set(SMART[name].expr(SPEC).meta.root_names()) == set(example.given)


def said(**changed):
    """The three features of a row like the example's, by value; the same by column."""
    example = SMART["is_smart_money_bullish"].example.given
    names = {key: next(n for n in example if n.startswith(key)) for key in changed}
    row = {k: [v] for k, v in (example | {names[key]: value for key, value in changed.items()}).items()}
    frame = pl.DataFrame(row, schema_overrides=dict.fromkeys(example, pl.Float64))
    by_column = frame.select(feature.expr(SPEC) for feature in SMART.values()).row(0)
    by_value = tuple(feature.value({k: v[0] for k, v in row.items()}, SPEC) for feature in SMART.values())
    assert by_column == by_value
    return by_value


def test_bullish_is_unknown_as_soon_as_one_half_is():
    assert said() == (1, 0.25, True)
    assert said(n_named_1h=8) == (None, 0.25, None)
    assert said(n_buys_h1=None) == (None, 0.25, None)
    assert said(n_placed_24h=8) == (1, None, None)
    assert said(n_sells_h24=None) == (1, None, None)
    assert said(held_24h=0.0, smart_held_24h=0.0) == (1, None, None)
    assert said(n_placed_24h=8, smart_net_buys_1h=-3) == (-3, None, None)


def test_bullish_needs_both_purchases_and_holdings():
    assert said(smart_net_buys_1h=0) == (0, 0.25, False)
    assert said(smart_held_24h=0.0) == (1, 0.0, False)


def flags(rows, spec=SPEC):
    """Who was smart, by the swap's name: over history and by the book, which must agree."""
    times = [row["known_at"] for row in rows]
    span = Span(min(times), max(times) + timedelta(seconds=1))
    swaps = read_swaps(frame_of(rows).lazy(), span)
    in_order = swaps.select("order", smart_flags(swaps, spec)).sort("order")["is_smart"]
    names = sorted(rows, key=lambda row: ([row["pool"] for row in rows].index(row["pool"]), oracle.order_of(row)))
    history = dict(zip((row["trade_id"] for row in names), in_order, strict=True))
    book = WalletBook(spec)
    assert {row["trade_id"]: book.take(row) for row in sorted(rows, key=lambda row: row["known_at"])} == history
    return history


def trip(pool, at, *, bought=10.0, sold=20.0, n, trader="ann", told=0):
    """One token bought and, ten seconds later, sold."""
    return [
        swap(pool, at, n=n, usd=bought, trader=trader, told=told),
        swap(pool, at + 10, n=n + 1, usd=sold, trader=trader, told=told, kind="sell"),
    ]


def smart_after(*trips, at=1_000, spec=SPEC, trader="ann", pool="z"):
    rows = [row for rows in trips for row in rows]
    return flags([*rows, swap(pool, at, n=99, trader=trader)], spec)["x99_99_1"]


def test_two_gains_in_any_pools_make_a_wallet_smart():
    assert smart_after(trip("a", 0, n=0), trip("b", 100, n=2))
    assert not smart_after(trip("a", 0, n=0))
    assert not smart_after(trip("a", 0, n=0), trip("b", 100, n=2, trader="bob"))
    assert smart_after(trip("a", 0, n=0), spec=FeaturesSpec(smart_trades=1))


def test_enough_of_the_sales_must_have_gained_and_all_together_too():
    won, lost = trip("a", 0, n=0), trip("b", 100, n=2, sold=9.0)
    assert not smart_after(won, lost)
    assert smart_after(won, trip("a", 50, n=4), lost)
    assert not smart_after(won, trip("a", 50, n=4), trip("b", 100, bought=100.0, sold=10.0, n=2))
    even = FeaturesSpec(smart_trades=2, smart_win_share=0.5)
    assert not smart_after(won, trip("b", 100, bought=20.0, sold=10.0, n=2), spec=even), "as much was lost as gained"
    assert not smart_after(trip("a", 0, n=0, sold=10.0), trip("b", 100, n=2, sold=10.0)), "nothing was gained"


def test_a_sale_counts_only_for_what_is_learned_after_it():
    trips = (trip("a", 0, n=0), trip("b", 100, n=2))
    assert not smart_after(*trips, at=110)
    assert smart_after(*trips, at=111)
    told_late = (trips[0], trip("b", 100, n=2, told=500))
    assert not smart_after(*told_late, at=610)
    assert smart_after(*told_late, at=611)


def test_the_swaps_of_the_very_pool_count_if_they_came_before():
    trips = (trip("z", 0, n=0), trip("z", 100, n=2))
    assert smart_after(*trips)
    everything = flags([row for rows in trips for row in rows])
    assert not any(everything.values())


def test_one_answer_may_tell_a_whole_round_trip():
    def told_at_500(rows):
        return [row | {"known_at": START + timedelta(seconds=500)} for row in rows]

    assert smart_after(told_at_500(trip("a", 0, n=0)), told_at_500(trip("a", 100, n=2)))


def test_a_purchase_that_does_not_tell_its_value_is_not_seen():
    unvalued = [row | {"volume_usd": None} if row["kind"] == "buy" else row for row in trip("a", 0, n=0)]
    assert not smart_after(unvalued, trip("b", 100, n=2))
    # Two tokens cost 10 USD each as far as it is told, so two sold at 9 have lost.
    mixed = [*trip("a", 0, n=0, sold=9.0), unvalued[0] | {"trade_id": "x9_9_1", "block": 0}]
    assert not smart_after(mixed, trip("b", 100, n=2), spec=FeaturesSpec(smart_trades=2, smart_win_share=1.0))


def test_tokens_from_elsewhere_realise_nothing():
    gifts = [swap("a", 10 * n, n=n, kind="sell", usd=50.0) for n in range(5)]
    assert not smart_after(gifts)
    # One token was bought, so of these sales one closes something.
    assert not smart_after([swap("a", 0, n=50, usd=1.0)], [row | {"block": 1} for row in gifts[1:]])


def test_a_sale_of_more_than_was_bought_gains_on_what_was_bought():
    big = [swap("a", 0, n=0, usd=10.0), swap("a", 10, n=1, kind="sell", usd=11_000.0, base=1_000.0)]
    lost = trip("b", 100, bought=10.0, sold=8.5, n=2)
    # 1 USD gained on the one token, not 1,000 on all; 1.50 USD lost.
    assert not smart_after(big, lost, spec=FeaturesSpec(smart_trades=2, smart_win_share=0.5))


def test_sales_older_than_the_record_and_purchases_older_than_the_costs_do_not_count():
    trips = (trip("a", 0, n=0), trip("b", 100, n=2))
    assert smart_after(*trips, at=3 * DAY_S + 9)
    assert not smart_after(*trips, at=3 * DAY_S + 10)
    for wait, is_smart in ((2 * DAY_S - 1, True), (2 * DAY_S, False)):
        slow = [swap("a", 0, n=0), swap("a", wait, n=1, kind="sell", usd=50.0)]
        assert smart_after(slow, trip("b", wait + 100, n=2), at=wait + 1_000) is is_smart


def test_a_swap_told_after_a_later_one_or_a_day_late_makes_no_record():
    out_of_order = [swap("a", 5, n=7, told=0, trader="bob"), *trip("a", 0, n=0, told=100)]
    assert not smart_after([*out_of_order[:2], out_of_order[2] | {"event_time": START}], trip("b", 100, n=2))
    too_late = trip("a", 0, n=0, told=DAY_S + 1)
    assert not smart_after(too_late, trip("b", DAY_S, n=2), at=DAY_S + 500)
    assert smart_after(trip("a", 0, n=0, told=DAY_S), trip("b", DAY_S, n=2), at=DAY_S + 500)


def test_a_wallet_of_another_network_is_another_wallet():
    rows = [*trip("a", 0, n=0), *(row | {"network": "base"} for row in trip("b", 100, n=2))]
    assert not smart_after(rows)


def test_an_unknown_wallet_is_neither_smart_nor_not():
    assert smart_after(trip("a", 0, n=0), trader=None) is None


@settings(max_examples=100)
@given(traders_at_work())
def test_flags_are_those_of_plain_loops(world):
    rows, _ = world
    realised = oracle.gains(rows)
    assert flags(rows) == {row["trade_id"]: oracle.is_smart(row, realised, SPEC) for row in rows}


def test_holding_is_what_smart_wallets_kept_of_what_all_kept():
    rows = [*trip("a", 0, n=0), *trip("b", 100, n=2)]
    rows += [swap("z", 1_000, n=10, base=30.0), swap("z", 1_010, n=11, kind="sell", base=10.0)]
    rows += [swap("z", 1_020, n=12, trader="bob", base=60.0), swap("z", 1_030, n=13, trader="cy", base=5.0)]
    rows += [swap("z", 1_040, n=14, trader="cy", kind="sell", base=50.0)]
    found = from_history(rows, snapshots_of([("z", 1_100), ("z", 1_000 + DAY_S)]))
    assert [(one["smart_held_24h"], one["held_24h"]) for one in found] == [(20.0, 80.0), (0.0, 60.0)]
    assert [one["smart_net_buys_1h"] for one in found] == [0, 0]


def test_recorded_wallets_are_told_apart():
    trades = recorded_trades()
    rows = snapshots_every_hour(trades).with_columns(pl.struct("source", "network", "pool").rle_id().alias("pool_run"))
    span = Span(rows["event_time"].min(), rows["event_time"].max() + timedelta(seconds=1))
    reads = list(dict.fromkeys(i for f in SMART.values() for i in f.inputs if isinstance(i, OfTrades)))
    wide = attach(rows, reads, Sources(rows.lazy(), trades=trades.lazy()), span, SPEC)
    found = wide.select(feature.expr(SPEC) for feature in SMART.values())
    net, holding, bullish = (found[name] for name in SMART)
    assert net.n_unique() > 5
    assert net.abs().max() < 300
    assert holding.drop_nulls().is_between(0, 1).all()
    assert holding.n_unique() > 5
    assert bullish.n_unique() >= 2
    swaps = read_swaps(trades.lazy(), span)
    smart = swaps.select("wallet_no", smart_flags(swaps, SPEC)).group_by("wallet_no").agg(pl.col("is_smart").any())
    assert 0.01 < smart["is_smart"].mean() < 0.5
