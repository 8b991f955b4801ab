import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.pools.recording import RecordedFrames
from pipeline.pools.spec import PoolsSpec
from pipeline.pools.text import clean_text
from pipeline.pools.validation import judge_updates

Read = Callable[..., RecordedFrames]
START = datetime(2024, 3, 1, tzinfo=UTC)


def with_value(frame: pl.DataFrame, row: int, **values: Any) -> pl.DataFrame:
    """The frame with other values in one row."""
    here = pl.int_range(pl.len()) == row
    return frame.with_columns(
        pl.when(here).then(pl.lit(v, frame.schema[c])).otherwise(pl.col(c)).alias(c) for c, v in values.items()
    )


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"base_reserve": float("nan")}, "not_finite"),
        ({"quote_reserve": float("inf")}, "not_finite"),
        ({"quote_reserve": float("-inf")}, "not_finite"),
        ({"base_reserve": -1.0}, "not_positive"),
        ({"quote_reserve": 0.0}, "not_positive"),
        ({"base_reserve": 1e-300, "quote_reserve": 1e300}, "price_not_finite"),
        ({"base_reserve": 1e300, "quote_reserve": 1e-300}, "price_not_finite"),
        ({"quote_reserve": None}, "null_field"),
        ({"pool": None}, "null_field"),
        ({"time": None}, "null_field"),
        ({"block": None}, "null_field"),
        ({"pool": "0xdd"}, "unknown_pool"),
        ({"pool": ""}, "unknown_pool"),
        ({"log_index": -1}, "place_not_credible"),
        ({"time": START - timedelta(seconds=1)}, "before_creation"),
        ({"time": START + timedelta(days=1, microseconds=1)}, "in_the_future"),
    ],
)
def test_a_bad_update_is_quarantined_with_its_reason_and_the_rest_stays(
    read: Read, told_updates: pl.DataFrame, values: dict[str, Any], reason: str
) -> None:
    frames = read(updates=with_value(told_updates, 3, **values))
    assert frames.quarantine["reason"].to_list() == [reason]
    assert frames.reserves.height == 5
    record = json.loads(frames.quarantine["record"][0])
    assert set(record) == set(told_updates.columns)


def test_what_json_cannot_say_is_still_in_the_record(read: Read, told_updates: pl.DataFrame) -> None:
    frames = read(updates=with_value(told_updates, 3, base_reserve=float("inf")))
    assert json.loads(frames.quarantine["record"][0])["base_reserve"] == "inf"
    assert "base_reserve inf" in frames.quarantine["detail"][0]


def test_a_block_number_beyond_every_chain_is_refused_not_wrapped(read: Read, told_updates: pl.DataFrame) -> None:
    wide = with_value(told_updates.with_columns(pl.col("block").cast(pl.UInt64)), 5, block=2**64 - 1)
    frames = read(updates=wide)
    assert frames.quarantine["reason"].to_list() == ["null_field"]
    assert str(2**64 - 1) in frames.quarantine["record"][0]


def test_a_copy_of_an_event_is_kept_once(read: Read, told_updates: pl.DataFrame) -> None:
    frames = read(updates=pl.concat([told_updates, told_updates[2:4], told_updates[2:3]]))
    assert frames.quarantine["reason"].to_list() == ["duplicate"] * 3
    assert frames.reserves.equals(read().reserves)


def test_events_that_contradict_each_other_are_all_refused(read: Read, told_updates: pl.DataFrame) -> None:
    other = with_value(told_updates[3:4], 0, base_reserve=1.0)
    frames = read(updates=pl.concat([told_updates, told_updates[3:4], other]))
    assert frames.quarantine["reason"].to_list() == ["conflicting_duplicates"] * 3
    assert frames.reserves.height == 5


def test_an_instant_shared_by_two_blocks_is_refused_whole(read: Read, told_updates: pl.DataFrame) -> None:
    stood = told_updates.with_columns(time=pl.when(pl.col("block") > 100).then(START + timedelta(seconds=12)))
    frames = read(updates=stood.with_columns(pl.col("time").fill_null(START)))
    assert frames.quarantine["reason"].to_list() == ["clock_stood_still"] * 4
    assert frames.reserves["block"].to_list() == [100, 100]


def test_two_networks_may_share_an_instant(read: Read, told_pools: pl.DataFrame, told_updates: pl.DataFrame) -> None:
    pools = with_value(told_pools, 1, network="base")
    elsewhere = told_updates.with_columns(
        block=pl.when(pl.col("pool") == "0xbb").then(pl.col("block") + 7).otherwise("block")
    )
    assert read(pools=pools, updates=elsewhere).quarantine.is_empty()


@pytest.mark.parametrize(("seconds", "block"), [(6, 102), (3600, 100)])
def test_only_the_rows_that_break_the_order_of_time_are_refused(
    read: Read, told_updates: pl.DataFrame, seconds: int, block: int
) -> None:
    when = START + timedelta(seconds=seconds)
    bent = told_updates.with_columns(time=pl.when(pl.col("block") == block).then(when).otherwise("time"))
    frames = read(updates=bent)
    assert frames.quarantine["reason"].to_list() == ["time_runs_backwards"] * 2
    assert frames.reserves["block"].unique().sort().to_list() == sorted({100, 101, 102} - {block})


@settings(deadline=None)  # the machine may be busy; what counts is the answer
@given(st.lists(st.integers(0, 30), min_size=1, max_size=40))
def test_time_never_runs_backwards_in_what_is_kept_and_no_row_too_many_is_refused(ages: list[int]) -> None:
    n = len(ages)
    # Two halves of a second keep every block's instant its own, so that only the order of time is at stake.
    times = [START + timedelta(seconds=age, microseconds=i) for i, age in enumerate(ages)]
    told = pl.DataFrame(
        {"pool": ["p"] * n, "time": times, "block": range(n), "tx_index": [0] * n, "log_index": [0] * n,
         "base_reserve": [1.0] * n, "quote_reserve": [1.0] * n},
        schema_overrides={"time": pl.Datetime("us", "UTC")},
    )  # fmt: skip
    pools = pl.DataFrame({"pool": ["p"], "network": ["eth"], "created_at": [START]})
    accepted, refused = judge_updates(told, pools, START + timedelta(days=1))
    longest = [1] * n
    for i in range(n):
        longest[i] = 1 + max((longest[j] for j in range(i) if times[j] <= times[i]), default=0)
    assert accepted["time"].is_sorted()
    assert accepted.height == max(longest)
    assert accepted.height + refused.height == n


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"pool": ""}, "empty_address"),
        ({"pool": "  "}, "empty_address"),
        ({"base_token": ""}, "empty_address"),
        ({"pool": "<script>alert(1)</script>"}, "address_not_credible"),
        ({"pool": "0xa\u200ba"}, "address_not_credible"),
        ({"quote_token": "x" * 129}, "address_not_credible"),
        ({"network": "../../etc"}, "network_not_credible"),
        ({"network": ""}, "network_not_credible"),
        ({"dex": "\u200b"}, "dex_not_credible"),
        ({"created_at": None}, "null_field"),
        ({"network": None}, "null_field"),
        ({"created_at": START + timedelta(days=2)}, "in_the_future"),
    ],
)
def test_a_bad_pool_is_refused_and_its_updates_with_it(
    read: Read, told_pools: pl.DataFrame, values: dict[str, Any], reason: str
) -> None:
    frames = read(pools=with_value(told_pools, 0, **values))
    reasons = dict(frames.quarantine.group_by("reason").len().iter_rows())
    assert reasons == {reason: 1, "unknown_pool": 3}


def test_a_pool_told_twice_is_kept_once_and_told_differently_refused(read: Read, told_pools: pl.DataFrame) -> None:
    assert read(pools=pl.concat([told_pools, told_pools[0:1]])).quarantine["reason"].to_list() == ["duplicate"]
    other = with_value(told_pools[0:1], 0, dex="another")
    reasons = read(pools=pl.concat([told_pools, told_pools[0:1], other])).quarantine["reason"].to_list()
    assert sorted(reasons) == ["conflicting_duplicates"] * 3 + ["unknown_pool"] * 3


@pytest.mark.parametrize("decimals", [-999, 78, 2**40])
def test_decimals_out_of_range_become_unknown_and_the_pool_stays(
    read: Read, told_pools: pl.DataFrame, decimals: int
) -> None:
    frames = read(pools=with_value(told_pools, 1, base_decimals=decimals))
    assert frames.quarantine.select("reason", "pool").rows() == [("decimals_not_credible", "0xbb")]
    assert frames.pools["base_decimals"].to_list() == [18, None, 6]
    assert frames.reserves.height == 6


def test_a_name_with_tricks_is_shown_clean_and_kept_raw_in_the_record_alone(
    read: Read, told_pools: pl.DataFrame
) -> None:
    hostile = "\u202e\uff37ETH</b>\u200b\x00" + "!" * 100
    frames = read(pools=with_value(told_pools, 0, quote_symbol=hostile, base_decimals=-1))
    assert sorted(frames.quarantine["reason"]) == ["decimals_not_credible", "text_cleaned"]
    assert frames.pools["quote_symbol"][0] == ("WETH/b" + "!" * 100)[:64]
    record = frames.quarantine.filter(pl.col("reason") == "text_cleaned")["record"][0]
    assert json.loads(record)["quote_symbol"] == hostile


def test_a_record_is_cut_and_its_identity_is_not(read: Read, told_pools: pl.DataFrame) -> None:
    long = told_pools.with_columns(dex=pl.Series(["x" * 5000 + end for end in "abc"]))
    quarantine = read(pools=long).quarantine
    assert quarantine["record"].str.len_chars().to_list() == [2000] * 3
    assert quarantine["record"].str.slice(100).n_unique() == 1
    assert quarantine["record_id"].n_unique() == 3


def test_a_recording_of_nothing_but_rubbish_is_read_to_its_end(read: Read, told_pools: pl.DataFrame) -> None:
    frames = read(pools=told_pools.with_columns(pool=pl.lit("")))
    assert (frames.pools.height, frames.reserves.height, frames.quarantine.height) == (0, 0, 9)


@settings(deadline=None)  # the machine may be busy; what counts is the answer
@given(st.text(max_size=200))
def test_cleaned_text_is_short_normal_printable_and_clean_for_good(text: str) -> None:
    spec = PoolsSpec()
    encodable = text.encode("utf-8", "ignore").decode()
    once = pl.DataFrame({"t": [encodable]}).select(clean_text(pl.col("t"), spec))
    cleaned = once["t"][0]
    assert once.select(clean_text(pl.col("t"), spec))["t"][0] == cleaned
    if cleaned is not None:
        assert 0 < len(cleaned) <= spec.max_text_length
        assert not set(cleaned) & set("<>\u200b\u200e\u202e\u2066\ufeff\x00\n\t")


def test_an_update_after_a_standstill_moves_only_what_it_moved_itself(read: Read, told_updates: pl.DataFrame) -> None:
    moved = told_updates.with_columns(time=pl.when(pl.col("block") != 101).then(pl.col("time")))
    standing = moved.with_columns(pl.col("time").fill_null(START))
    later = read(updates=standing).reserves.filter(pl.col("block") == 102).sort("pool")
    assert later["base_reserve_before"].to_list() == [80.0, 1100.0]
    assert later["quote_reserve_before"].to_list() == [12.5, 4.6]
