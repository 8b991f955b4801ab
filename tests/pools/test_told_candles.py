"""Which of the API's tellings a bar is made of, and since when it was known."""

from datetime import timedelta

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from pipeline.calendars import MINUTE, Span
from pipeline.expectations.verdict import validate
from pipeline.pools.spec import PoolsSpec
from pipeline.pools.told_candles import SWAPS_AN_ANSWER, ToldCandles, told_candles
from pipeline.tables import CANDLES, QUARANTINE, RAW_CANDLES, RAW_POOLS, TRADES
from tests.pools.told_rows import after, bar, bars, record, records, trade, trades

SPEC = PoolsSpec()
SPAN = Span(after(0), after(60))
LATE = 10 * MINUTE
OLDER = trade(-20, told=11)
"""A swap of long before, told by the answer of minute 11: that answer told all of what followed."""
PRICES = ("open", "high", "low", "close")
COUNTED = ("volume_quote", "volume_usd", "n_buys", "n_sells")


NO_BARS, NO_SWAPS, NO_RECORDS = RAW_CANDLES.empty(), TRADES.empty(), RAW_POOLS.empty()


def told(
    raw: pl.DataFrame = NO_BARS, swaps: pl.DataFrame = NO_SWAPS, seen: pl.DataFrame = NO_RECORDS, span: Span = SPAN
) -> ToldCandles:
    return told_candles(raw, swaps, seen, span, SPEC, LATE)


def rows(
    raw: pl.DataFrame = NO_BARS, swaps: pl.DataFrame = NO_SWAPS, seen: pl.DataFrame = NO_RECORDS
) -> list[dict[str, object]]:
    return told(raw, swaps, seen).candles.to_dicts()


def picked(row: dict[str, object], names: tuple[str, ...]) -> tuple[object, ...]:
    return tuple(row[name] for name in names)


def test_a_told_bar_is_taken_as_told_and_says_nothing_of_volume() -> None:
    (row,) = rows(bars(bar(5, told=12)))
    assert picked(row, PRICES) == (1.0, 2.0, 0.5, 1.5)
    assert (row["built_from"], row["event_time"], row["known_at"]) == ("ohlcv", after(5), after(12))
    assert picked(row, (*COUNTED, "quote_reserve_low", "quote_reserve_close")) == (None,) * 6


def test_bars_in_usd_of_other_lengths_and_outside_the_span_are_not_used() -> None:
    other = bars(bar(5, told=12, currency="usd"), bar(-5, told=12), bar(60, told=70), bar(10, told=20, timeframe="1h"))
    assert rows(other) == []


def test_without_a_told_bar_the_swaps_give_the_prices_in_the_order_of_the_chain() -> None:
    swaps = trades(
        OLDER,
        trade(6, told=11, base=2, quote=8, kind="sell"),
        trade(5, told=11, n=10, base=1, quote=9),
        trade(5, told=11, n=9, base=1, quote=3),
        trade(7, told=11, base=4, quote=2),
    )
    (row,) = rows(swaps=swaps)
    assert (row["built_from"], row["event_time"], row["known_at"]) == ("trades", after(5), after(11))
    assert picked(row, PRICES) == (3.0, 9.0, 0.5, 0.5)
    assert picked(row, COUNTED) == (22.0, 44_000.0, 3, 1)


def test_prices_come_from_the_told_bar_and_volume_from_the_swaps_where_both_are_there() -> None:
    (row,) = rows(bars(bar(5, told=30)), trades(OLDER, trade(6, told=11, quote=5.0)))
    assert (row["built_from"], picked(row, PRICES)) == ("ohlcv", (1.0, 2.0, 0.5, 1.5))
    assert (picked(row, COUNTED), row["known_at"]) == ((5.0, 10_000.0, 1, 0), after(30))


def test_swaps_that_are_but_part_of_a_bar_make_no_bar_and_no_volume() -> None:
    partly = trades(trade(6, told=11), trade(7, told=11))
    assert rows(swaps=partly) == []
    (row,) = rows(bars(bar(5, told=12)), partly)
    assert (picked(row, COUNTED), row["known_at"]) == ((None,) * 4, after(12))


def test_an_older_swap_in_the_same_bar_or_of_another_pool_or_answer_proves_nothing() -> None:
    assert rows(swaps=trades(trade(5, told=11), trade(6, told=11))) == []
    assert rows(swaps=trades(OLDER | {"pool": "0xbb"}, trade(6, told=11))) == []
    assert rows(swaps=trades(OLDER | {"answer_id": "another", "known_at": after(4)}, trade(6, told=11))) == []
    assert len(rows(swaps=trades(trade(4.99, told=11), trade(6, told=11)))) == 1


def test_an_answer_from_before_a_bars_end_has_not_seen_all_of_it() -> None:
    early = trades(OLDER | {"answer_id": "trades 9.9", "known_at": after(9.9)}, trade(6, told=9.9))
    assert rows(swaps=early) == []
    later = pl.concat([early, trades(OLDER | {"trade_id": "late told", "known_at": after(26), "answer_id": "last"})])
    (row,) = rows(swaps=later)
    assert (row["n_buys"], row["known_at"]) == (1, after(26))


def test_a_pool_born_in_the_bar_has_no_older_swaps() -> None:
    swaps = trades(trade(6, told=11), trade(7, told=8), trade(12, told=16))
    assert [row["event_time"] for row in rows(swaps=swaps, seen=records(record(20, created_at=after(5))))] == [after(5)]
    assert rows(swaps=swaps, seen=records(record(20, created_at=after(4.9)))) == []
    assert rows(swaps=swaps, seen=records(record(20, created_at=after(10))))[0]["event_time"] == after(10)
    assert rows(swaps=trades(trade(6, told=9)), seen=records(record(20, created_at=after(5)))) == []


def test_where_answers_were_full_since_birth_the_first_swaps_may_never_have_been_told() -> None:
    born = records(record(20, created_at=after(5)))
    many = [trade(6 + n / 1000, told=8, n=n) for n in range(SWAPS_AN_ANSWER)]
    last = trade(9, told=11)
    assert rows(swaps=trades(*many, last), seen=born) == []
    (row,) = rows(swaps=trades(*many[1:], last), seen=born)
    assert row["n_buys"] == SWAPS_AN_ANSWER
    straddling = [trade(9.9 + n / 1000, told=11, n=n) for n in range(SWAPS_AN_ANSWER)]
    assert rows(swaps=trades(*straddling), seen=born) == []
    full_later = [trade(20 + n / 1000, told=30, n=n) for n in range(SWAPS_AN_ANSWER)]
    assert rows(swaps=trades(trade(6, told=8), *full_later), seen=born) == []


def test_a_swap_that_is_told_later_than_the_others_moves_the_moment_the_bar_is_known() -> None:
    (row,) = rows(swaps=trades(OLDER, trade(6, told=11), trade(7, told=30)))
    assert (row["n_buys"], row["known_at"], row["is_backfilled"]) == (2, after(30), True)


def test_a_bar_is_known_since_the_first_answer_that_told_all_of_it() -> None:
    (row,) = rows(swaps=trades(OLDER, trade(6, told=11), trade(-30, told=40), trade(-31, told=50)))
    assert (row["n_buys"], row["known_at"]) == (1, after(11))


def test_what_a_swap_does_not_tell_is_not_guessed() -> None:
    silent = trade(6, told=11, quote=None)
    (row,) = rows(swaps=trades(OLDER, silent, trade(7, told=11, base=2, quote=1), trade(8, told=11, base=0)))
    assert (picked(row, PRICES), picked(row, COUNTED)) == ((0.5,) * 4, (None, None, 3, 0))
    assert rows(swaps=trades(OLDER, silent)) == []
    assert rows(swaps=trades(OLDER, trade(6, told=11, base=1e-300, quote=1e300))) == []


@pytest.mark.parametrize(
    ("prices", "reason"),
    [
        ((1.0, 0.5, 2.0, 1.0), "high_below_low"),
        ((1.0, 2.0, 0.5, 2.1), "close_outside_bar"),
        ((1.0, 2.0, 0.5, 0.4), "close_outside_bar"),
    ],
)
def test_a_bar_that_contradicts_itself_is_not_repaired(prices: tuple[float, float, float, float], reason: str) -> None:
    raw = bars(bar(5, told=12, prices=prices), bar(15, told=20))
    found = told(raw)
    assert found.candles["event_time"].to_list() == [after(15)]
    (row,) = found.quarantine.to_dicts()
    assert (row["table_name"], row["reason"], row["event_time"]) == ("candles", reason, after(5))
    assert f'"close":"{prices[3]}"' in row["record"]
    again = told(pl.concat([bars(bar(20, told=30, prices=prices)), raw])).quarantine
    assert row["record_id"] in again["record_id"]
    assert validate(QUARANTINE, again).is_passed


@pytest.mark.parametrize("opened", [2.1, 0.4])
def test_a_bar_that_opens_outside_itself_keeps_all_but_its_open(opened: float) -> None:
    found = told(bars(bar(5, told=12, prices=(opened, 2.0, 0.5, 1.0))))
    (row,) = found.candles.to_dicts()
    assert [row[name] for name in PRICES] == [None, 2.0, 0.5, 1.0]
    assert found.quarantine.is_empty()


def test_the_prices_of_a_bar_are_all_of_one_telling() -> None:
    (row,) = rows(bars(bar(5, told=12, prices=(9.0, 2.0, 0.5, 1.0))), trades(OLDER, trade(6, told=11, quote=8)))
    assert (row["built_from"], picked(row, PRICES)) == ("ohlcv", (None, 2.0, 0.5, 1.0))


def test_a_refused_bar_counts_as_not_told() -> None:
    raw, swaps = bars(bar(5, told=12, prices=(9.0, 2.0, 0.5, 9.0))), trades(OLDER, trade(6, told=11))
    (row,) = rows(raw, swaps)
    assert (row["built_from"], row["open"], row["known_at"]) == ("trades", 1.0, after(11))


def test_a_bar_is_backfilled_if_it_was_learned_late() -> None:
    def is_backfilled(minute: float) -> object:
        return rows(bars(bar(5, told=minute)))[0]["is_backfilled"]

    assert [is_backfilled(m) for m in (11, 20, 20.1)] == [False, False, True]


def test_a_bar_is_not_known_before_it_is_over() -> None:
    (row,) = rows(bars(bar(5, told=6)))
    assert (row["known_at"], row["is_backfilled"]) == (after(10), False)


def test_the_reserve_is_that_of_the_observations_within_the_bar() -> None:
    seen = records(
        record(5, quote_reserve=9.0), record(9.9, quote_reserve=7.0), record(7, quote_reserve=3.0), record(9.95),
        record(4.9, quote_reserve=1.0), record(10, quote_reserve=2.0), record(6, pool="0xbb", quote_reserve=0.5),
    )  # fmt: skip
    (row,) = rows(bars(bar(5, told=11)), seen=seen)
    assert (row["quote_reserve_low"], row["quote_reserve_close"]) == (3.0, 7.0)
    assert rows(seen=seen) == []


def test_nothing_told_gives_no_bars() -> None:
    found = told()
    assert_frame_equal(found.candles, CANDLES.empty())
    assert_frame_equal(found.quarantine, QUARANTINE.empty())


AMOUNTS = st.none() | st.sampled_from([0.0, 0.5, 1.0, 3.0])
SWAPS = st.tuples(st.integers(-30, 59), st.integers(0, 20), AMOUNTS, AMOUNTS, st.sampled_from(["buy", "sell"]))
TOLD_BARS = st.tuples(st.integers(-1, 12), st.integers(0, 90), st.permutations([0.5, 1.0, 1.5, 2.0]))
OBSERVED = st.tuples(st.integers(0, 59), st.none() | st.sampled_from([1.0, 5.0]))


@settings(max_examples=80, deadline=None)  # the machine may be busy; what counts is the answer
@given(
    st.lists(SWAPS, max_size=20), st.lists(TOLD_BARS, max_size=6, unique_by=lambda b: b[0]),
    st.lists(OBSERVED, max_size=6, unique_by=lambda o: o[0]), st.integers(0, 9),
)  # fmt: skip
def test_the_order_of_rows_and_cutting_the_span_change_nothing_and_the_table_is_kept(
    swapped: list, drawn: list, observed: list, seed: int
) -> None:
    swaps = trades(*(
        trade(at, told=5 * (at // 5 + wait), base=base, quote=quote, kind=kind, n=n)
        for n, (at, wait, base, quote, kind) in enumerate(swapped)
    ))  # fmt: skip
    swaps = swaps.with_columns(known_at=pl.max_horizontal("known_at", "event_time"))
    raw = bars(*(bar(5 * at, told=5 * at + 5 + wait, prices=tuple(prices)) for at, wait, prices in drawn))
    seen = records(*(record(at, quote_reserve=reserve, created_at=after(-3)) for at, reserve in observed))
    whole = told(raw, swaps, seen)
    mixed = [frame.sample(fraction=1, shuffle=True, seed=seed) for frame in (raw, swaps, seen)]
    for found, expected in zip(told(*mixed), whole, strict=True):
        assert_frame_equal(found, expected)
    pieces = [told(raw, swaps, seen, piece) for piece in SPAN.pieces(timedelta(minutes=20))]
    assert_frame_equal(pl.concat(piece.candles for piece in pieces), whole.candles)
    assert (whole.candles["known_at"] >= whole.candles["event_time"] + 5 * MINUTE).all()
    assert whole.candles.select(CANDLES.key).is_unique().all()
    inside = (pl.col("low") <= pl.min_horizontal("open", "close")) & (
        pl.col("high") >= pl.max_horizontal("open", "close")
    )
    assert whole.candles.select(inside.all()).item()


def test_what_is_built_passes_the_expectations_of_the_table() -> None:
    raw = bars(bar(5, told=30), bar(10, told=30), bar(25, told=40))
    swaps = trades(OLDER, *(trade(at, told=11, base=base) for at, base in ((1, 2.0), (6, 0.0), (6.5, 3.0))))
    found = told(raw, swaps, records(record(6, quote_reserve=0.0), record(7, quote_reserve=4.0))).candles
    assert found["built_from"].to_list() == ["trades", "ohlcv", "ohlcv", "ohlcv"]
    verdict = validate(CANDLES, found)
    assert verdict.is_passed, verdict.in_words()
