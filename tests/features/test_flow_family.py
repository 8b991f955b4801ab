"""What single swaps say of a pool, and when they must be silent."""

from datetime import timedelta

import polars as pl
import pytest
from recorded_trades import recorded_trades, snapshots_every_hour
from traded_worlds import SPEC, START, from_history, from_online, snapshots_of, swap

from pipeline.calendars import DAY, HOUR, Span
from pipeline.features.engines.from_trades import FIELDS, attach
from pipeline.features.engines.swaps import SWAPS_AN_ANSWER
from pipeline.features.families import flow
from pipeline.features.feature import Feature
from pipeline.features.inputs import OfTrades
from pipeline.features.sources import Sources
from pipeline.features.spec import FeaturesSpec
from pipeline.pools import told_candles
from pipeline.tables import FAMILY_COLUMNS, POOL_TIME_KEY

FLOW = {value.name: value for value in vars(flow).values() if isinstance(value, Feature)}
MINUTE_BUYERS, MINUTE_USD, HOUR_USD = "first_minute_buyers", "first_minute_usd", "first_hour_usd"


def test_every_column_of_the_family_is_defined():
    assert list(FLOW) == [column.name for column in FAMILY_COLUMNS["flow"]]


@pytest.mark.parametrize("name", FLOW)
def test_the_example_holds_for_a_column_and_for_a_value(name):
    example = FLOW[name].example
    column = pl.DataFrame({k: [v] for k, v in example.given.items()}).select(FLOW[name].expr(SPEC)).item()
    assert column == FLOW[name].value(example.given, SPEC) == example.gives
    assert set(FLOW[name].expr(SPEC).meta.root_names()) == set(example.given)


@pytest.mark.parametrize(
    ("known", "buys", "sells", "speaks"),
    [(9, 6, 4, True), (8, 6, 4, False), (1, 1, 0, True), (0, 0, 0, False), (2, 0, 0, True), (5, None, 4, False)],
)
@pytest.mark.parametrize("name", ["order_flow_imbalance_1h", "largest_trade_share_1h", "buyer_herfindahl_1h"])
def test_an_hour_speaks_only_where_enough_of_its_swaps_are_known(name, known, buys, sells, speaks):
    given = FLOW[name].example.given | {"n_buys_h1": buys, "n_sells_h1": sells, flow.VALUED_1H.name: known}
    column = pl.DataFrame({k: [v] for k, v in given.items()}).select(FLOW[name].expr(SPEC)).item()
    assert (column is not None) == (FLOW[name].value(given, SPEC) is not None) == speaks


def test_the_spec_says_how_many_are_enough():
    given = FLOW["order_flow_imbalance_1h"].example.given | {flow.VALUED_1H.name: 1}
    assert FLOW["order_flow_imbalance_1h"].value(given, FeaturesSpec(trades_coverage=0.2)) == 0.5
    assert FLOW["order_flow_imbalance_1h"].value(given, FeaturesSpec(trades_coverage=0.21)) is None


def test_an_unknown_buyer_silences_the_concentration_of_buyers_alone():
    given = FLOW["buyer_herfindahl_1h"].example.given | {flow._UNNAMED.name: 1}
    assert FLOW["buyer_herfindahl_1h"].value(given, SPEC) is None
    rows = [swap("a", 10, trader=None), swap("a", 20, n=1), swap("a", 30, n=2, kind="sell", trader=None)]
    assert from_history(rows, snapshots_of([("a", 60)]))[0]["n_unnamed_buys_1h"] == 1


def test_a_swap_without_a_credible_value_is_not_known():
    rows = [swap("a", n, n=n, usd=usd) for n, usd in enumerate([None, float("nan"), -1.0, 1e12, float("inf"), 5.0])]
    found = from_history(rows, snapshots_of([("a", 60)]))[0]
    assert (found["n_valued_1h"], found["bought_usd_1h"], found["n_named_1h"]) == (1, 5.0, 6)


def test_a_lone_buyer_and_a_lone_swap_are_all_there_is_for_any_amount():
    for usd in (1e-3, 0.1, 33.3, 1e8 / 7, 9.999e8):
        found = from_history([swap("a", 10, usd=usd)], snapshots_of([("a", 60)]))[0]
        given = {OfTrades(k).name: v for k, v in found.items()} | {"n_buys_h1": 1, "n_sells_h1": 0}
        assert FLOW["buyer_herfindahl_1h"].value(given, SPEC) == 1.0
        assert FLOW["largest_trade_share_1h"].value(given, SPEC) == 1.0


def test_the_first_minute_is_told_once_it_is_known_whole_and_stays():
    rows = [
        swap("a", 0, n=0, trader="ann", usd=30.0),
        swap("a", 59.999999, n=1, trader="bob", usd=10.0),
        swap("a", 60, n=2, trader="cy", usd=40.0),
        swap("a", 70, n=3, trader="ann", kind="sell", usd=99.0),
        swap("a", 3_599, n=4, trader="di", usd=80.0),
        swap("a", 3_600, n=5, trader="ed", usd=1_000.0),
        swap("a", 30, told=7_000, n=6, trader="late", usd=500.0),
    ]
    moments = [59.999999, 60, 3_599, 3_600, 50_000]
    snapshots = snapshots_of([("a", at) for at in moments])
    for found in (from_history(rows, snapshots), from_online(rows, snapshots)):
        assert [one[MINUTE_BUYERS] for one in found] == [None, 2, 2, 2, 2]
        assert [one[MINUTE_USD] for one in found] == [None, None, None, 40.0, 40.0]
        assert [one[HOUR_USD] for one in found] == [None, None, None, 160.0, 160.0]


def both(rows, moments):
    snapshots = snapshots_of([("a", at) for at in moments])
    history, online = from_history(rows, snapshots), from_online(rows, snapshots)
    assert history == online
    return [(one[MINUTE_BUYERS], one[HOUR_USD]) for one in history]


def answer(at, happened, first=0):
    """One answer, `at` seconds after birth, that is the first to tell of swaps that happened then."""
    return [swap("a", t, told=at - t, n=first + i, answer=f"{at}", usd=1.0) for i, t in enumerate(happened)]


def test_an_answer_that_may_have_left_some_out_tells_nothing_of_before():
    n = SWAPS_AN_ANSWER
    assert both(answer(4_000, range(10, 10 + n - 1)), [5_000]) == [(1, n - 1.0)]
    assert both(answer(4_000, range(10, 10 + n)), [5_000]) == [(None, None)]


def test_a_full_answer_leaves_alone_what_was_known_before_it():
    early = answer(100, range(0, 90, 10))
    assert both(early + answer(4_000, range(200, 200 + SWAPS_AN_ANSWER), 50), [150, 5_000]) == [(1, None), (1, None)]
    assert both(early + answer(4_000, range(200, 300), 50), [150, 5_000]) == [(1, None), (1, 109.0)]


def test_what_was_first_told_a_day_after_birth_tells_nothing_of_it():
    day = DAY.total_seconds()
    assert both(answer(day - 1, [10, 20]), [2 * day]) == [(1, 2.0)]
    assert both(answer(day, [10, 20]), [2 * day]) == [(None, None)]


def test_a_pool_older_than_a_week_has_no_first_minute():
    week = 7 * DAY.total_seconds()
    assert both(answer(4_000, [10, 20]), [week - 1, week]) == [(1, 2.0), (None, None)]


def test_a_purchase_that_does_not_tell_who_or_how_much_silences_what_needs_it():
    rows = answer(4_000, [10, 20])
    assert both([rows[0], rows[1] | {"trader": None}], [5_000]) == [(None, 2.0)]
    assert both([rows[0], rows[1] | {"volume_usd": None}], [5_000]) == [(1, None)]


def test_a_first_hour_without_purchases_is_known_to_be_empty():
    rows = [swap("a", 10, kind="sell"), swap("a", 4_000, n=1)]
    assert both(rows, [5_000]) == [(0, 0.0)]
    given = {flow._MINUTE_USD.name: 0.0, flow._HOUR_USD.name: 0.0}
    assert FLOW["first_minute_buy_share"].value(given, SPEC) is None


def test_an_answer_is_as_long_here_as_where_it_is_read():
    assert told_candles.SWAPS_AN_ANSWER == SWAPS_AN_ANSWER


@pytest.fixture(scope="module")
def recorded():
    """Recorded swaps, snapshots that count them, and every feature of the family."""
    trades = recorded_trades()
    rows = snapshots_every_hour(trades).with_columns(pl.struct("source", "network", "pool").rle_id().alias("pool_run"))
    span = Span(rows["event_time"].min(), rows["event_time"].max() + timedelta(seconds=1))
    wide = attach(rows, [OfTrades(f) for f in FIELDS], Sources(rows.lazy(), trades=trades.lazy()), span, SPEC)
    return trades, rows, wide


def test_recorded_swaps_give_plausible_values(recorded):
    _, _, wide = recorded
    found = wide.select(feature.expr(SPEC) for feature in FLOW.values())
    for name in ("order_flow_imbalance_1h", "largest_trade_share_1h", "buyer_herfindahl_1h"):
        column, values = FLOW[name].column, found[name].drop_nulls()
        assert len(values) >= 20
        assert values.is_between(column.minimum, column.maximum).all()
        assert values.n_unique() > 10
    # Hundreds of swaps an hour: nobody is alone, and purchases do not differ from sales by an order of magnitude.
    busy = found.filter(wide[OfTrades("n_valued_1h").name] > 100)
    assert busy["order_flow_imbalance_1h"].abs().max() < 0.9
    assert busy["buyer_herfindahl_1h"].max() < 0.5
    assert found["first_minute_buy_share"].null_count() == found.height, "they were born a day before"


def test_recorded_spreads_are_those_of_a_market(recorded):
    _, _, wide = recorded
    spreads = wide[OfTrades("roll_spread_1h").name].drop_nulls()
    assert len(spreads) >= 10
    assert spreads.is_between(1e-5, 0.2).all()


def test_recorded_swaps_say_the_same_one_by_one(recorded):
    trades, rows, wide = recorded
    online = from_online(list(trades.iter_rows(named=True)), rows.select(*POOL_TIME_KEY, "created_at"))
    history = [dict(zip(FIELDS, row, strict=True)) for row in wide.select(OfTrades(f).name for f in FIELDS).iter_rows()]
    assert online == history


def test_half_of_the_recorded_swaps_say_nothing(recorded):
    trades, rows, _ = recorded
    half = trades.gather_every(2)
    span = Span(START - DAY, rows["event_time"].max() + HOUR)
    wide = attach(rows, [OfTrades(f) for f in FIELDS], Sources(rows.lazy(), trades=half.lazy()), span, SPEC)
    found = wide.select(feature.expr(SPEC) for feature in FLOW.values())
    busy = found.filter(rows["n_buys_h1"] + rows["n_sells_h1"] > 20)
    assert busy.height > 20
    assert busy.null_count().sum_horizontal().item() == busy.height * len(FLOW)
