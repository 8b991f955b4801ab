from datetime import datetime, timedelta

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from pipeline.expectations.verdict import validate
from pipeline.pools.listing import births_told_in, list_pools
from pipeline.pools.spec import PoolsSpec
from pipeline.tables import POOL_KEY, POOLS, RAW_POOLS, TOKENS
from tests.pools.told_rows import START, after, record, records, token, tokens

SPEC = PoolsSpec()
NONE_KNOWN = POOLS.empty()


def listed(told: pl.DataFrame, about: pl.DataFrame | None = None, known: pl.DataFrame = NONE_KNOWN) -> pl.DataFrame:
    return list_pools(told, TOKENS.empty() if about is None else about, known, SPEC)


def test_a_pool_is_what_it_was_first_told_to_be() -> None:
    first = record(7, created_at=after(1), dex="first") | {"base_token": "0x0a"}
    later = record(9, created_at=after(2), dex="second") | {"base_token": "0x0b"}
    (row,) = listed(records(later, first)).to_dicts()
    assert (row["created_at"], row["known_at"], row["dex"], row["base_token"]) == (after(1), after(7), "first", "0x0a")
    assert (row["quote_price_usd"], row["is_quote_price_nominal"], row["watched_until"]) == (None, False, None)


def test_a_known_pool_is_not_listed_again_and_its_key_alone_is_enough_to_know_it() -> None:
    told = records(record(1), record(1, pool="0xbb"), record(1, network="base"))
    known = listed(told.head(1))
    for of in (known, known.select(POOL_KEY)):
        assert listed(told, known=of).select("network", "pool").rows() == [("base", "0xaa"), ("eth", "0xbb")]


def test_a_token_is_what_it_was_last_told_to_be_by_the_time_the_pool_was_known() -> None:
    about = tokens(
        token("0x02", 1, symbol="OLD", decimals=6),
        token("0x02", 3, symbol="WETH"),
        token("0x02", 4, symbol="LATE", decimals=8),
        token("0x01", 3, symbol="BASE", decimals=9),
        token("0x01", 3, network="base", decimals=1),
    )
    (row,) = listed(records(record(3)), about).to_dicts()
    assert (row["quote_symbol"], row["quote_decimals"], row["base_decimals"]) == ("WETH", 6, 9)


def test_what_nobody_told_of_a_token_by_then_is_null() -> None:
    (row,) = listed(records(record(3)), tokens(token("0x02", 4, symbol="LATE", decimals=8))).to_dicts()
    assert (row["quote_symbol"], row["quote_decimals"], row["base_decimals"]) == (None, None, None)


def test_symbols_are_shown_without_tricks_and_decimals_that_cannot_be_are_unknown() -> None:
    about = tokens(token("0x02", 1, symbol="\u202eHTEW<b>", decimals=78))
    (row,) = listed(records(record(3)), about).to_dicts()
    assert (row["quote_symbol"], row["quote_decimals"]) == ("HTEWb", None)


def test_a_pool_is_not_known_before_the_chain_says_it_was_born() -> None:
    (row,) = listed(records(record(3, created_at=after(5)))).to_dicts()
    assert row["known_at"] == row["created_at"] == after(5)


def test_no_records_list_no_pools() -> None:
    assert_frame_equal(listed(RAW_POOLS.empty()), POOLS.empty())


def test_what_is_listed_keeps_to_the_table() -> None:
    told = records(*(record(n, pool=f"0x{n}", created_at=after(n - 3)) for n in range(4)))
    verdict = validate(POOLS, listed(told, tokens(token("0x02", 1, symbol="WETH", decimals=18))))
    assert verdict.is_passed, verdict.in_words()


def test_all_pools_of_some_records_were_born_in_the_span_that_is_said() -> None:
    span = births_told_in(records(record(3, created_at=after(2)), record(9, created_at=after(-7))))
    assert (span.start, span.end) == (after(-7), after(2) + timedelta(microseconds=1))
    nothing = births_told_in(RAW_POOLS.empty())
    assert nothing.start == nothing.end


MOMENTS = st.integers(0, 3)


@settings(max_examples=60, deadline=None)  # the machine may be busy; what counts is the answer
@given(
    st.lists(st.tuples(MOMENTS, MOMENTS, st.sampled_from("xy"), st.sampled_from("ab")), max_size=8,
             unique_by=lambda t: t[:3]),
    st.lists(st.tuples(MOMENTS, st.sampled_from(["0x01", "0x02"]), st.none() | st.integers(0, 9)), max_size=8,
             unique_by=lambda t: t[:2]),
    st.integers(0, 9),
)  # fmt: skip
def test_the_order_of_rows_changes_nothing_and_a_later_telling_adds_nothing(
    told: list[tuple[int, int, str, str]], said: list[tuple[int, str, int | None]], seed: int
) -> None:
    rows = records(*(record(at, place=place, dex=dex, pool=pool) for at, place, pool, dex in told))
    about = tokens(*(token(address, at, decimals=decimals) for at, address, decimals in said))
    whole = listed(rows, about)
    shuffled = (frame.sample(fraction=1, shuffle=True, seed=seed) for frame in (rows, about))
    assert_frame_equal(listed(*shuffled), whole)
    early = rows.filter(pl.col("event_time") <= after(1))
    first = listed(early, about)
    assert_frame_equal(pl.concat([first, listed(rows, about, known=first)]).sort(POOL_KEY), whole)


@pytest.mark.parametrize("column", ["created_at", "known_at"])
def test_times_are_utc(column: str) -> None:
    value = listed(records(record(1)))[column][0]
    assert isinstance(value, datetime)
    assert value.utcoffset() == START.utcoffset()
