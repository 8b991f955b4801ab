"""What becomes of one record of a pool: each value, what makes it a pool, and how it is noted if it is none."""

from datetime import timedelta
from typing import Any

import polars as pl
import pytest
from wire_samples import NOW, changed, parsed, pool_record, pools_told, reasons


def test_a_sound_record_becomes_a_row_with_every_number_as_told() -> None:
    told = parsed(pools_told(pool_record(7)))
    assert told.quarantine.is_empty()
    row = told.raw_pools.row(0, named=True)
    expected = {
        "source": "geckoterminal", "network": "eth", "pool": f"0x{7:040x}", "event_time": NOW, "known_at": NOW,
        "place": 0, "endpoint": "new_pools", "inclusion_probability": 1.0, "n_missed": 0, "dex": "uniswap_v2",
        "base_token": f"0x{7:036x}beef", "quote_token": "0xc02aaa39b223fe8d0a0e5c4f27ead9083c756cc2",
        "name": "COIN7 / WETH", "price_quote": 0.0000001195425779, "price_usd": 2.5735985211073498e-05,
        "quote_price_usd": 215.28718598574025, "base_reserve": 21341.2567581564, "quote_reserve": 54447706.143913,
        "reserve_usd": 13118.8683, "fdv_usd": 26713.56172, "market_cap_usd": None,
        "lp_burned_pct": 99.5,
        "price_change_m5_pct": 0.853, "price_change_h24_pct": 5.853, "volume_m5_usd": 8117.5317629427,
        "volume_h24_usd": 58117.5317629427, "n_buys_m5": 9, "n_buys_h24": 14, "n_sells_h1": 3, "n_buyers_m30": 5,
        "n_sellers_h6": 2,
    }  # fmt: skip
    assert {name: row[name] for name in expected} == expected
    assert row["created_at"].isoformat() == "2025-09-08T20:09:26+00:00"


def test_an_answer_of_2023_without_the_newer_fields_passes_without_a_note() -> None:
    old = pool_record(
        price_change_percentage={"h1": "8.35", "h24": "-26.78"},
        transactions={"h1": {"buys": 60, "sells": 53}},
        volume_usd={"h24": "5920012.566978924298216412099127465"},
    )
    told = parsed(pools_told(old))
    assert told.quarantine.is_empty()
    row = told.raw_pools.row(0, named=True)
    assert (row["n_buys_h1"], row["n_buyers_h1"], row["n_buys_m15"], row["volume_m5_usd"]) == (60, None, None, None)
    assert (row["price_change_h24_pct"], row["volume_h24_usd"]) == (-26.78, 5920012.566978924)


@pytest.mark.parametrize(
    ("name", "told", "column", "value"),
    [
        ("reserve_in_usd", "0.0", "reserve_usd", 0.0),
        ("reserve_in_usd", "256123456.789", "reserve_usd", 256123456.789),
        ("reserve_in_usd", "-0.0", "reserve_usd", 0.0),
        ("reserve_in_usd", 13118, "reserve_usd", 13118.0),
        ("reserve_in_usd", 13118.25, "reserve_usd", 13118.25),
        ("reserve_in_usd", "1.5e3", "reserve_usd", 1500.0),
        ("base_token_price_usd", "0." + "0" * 70 + "1234567891", "price_usd", 1.234567891e-71),
        ("fdv_usd", None, "fdv_usd", None),
        ("price_change_percentage", {"h1": "866223"}, "price_change_h1_pct", 866223.0),
        ("price_change_percentage", {"h1": "-100"}, "price_change_h1_pct", -100.0),
    ],
)
def test_what_is_odd_and_true_is_taken(name: str, told: Any, column: str, value: float | None) -> None:
    answer = parsed(pools_told(pool_record(**{name: told})))
    assert answer.quarantine.is_empty()
    assert answer.raw_pools[column].to_list() == [value]


@pytest.mark.parametrize(
    "told",
    ["NaN", "Infinity", "-Infinity", "-97.36", "1e400", "1e31", "1_000", " 12 ", "+5", "0x10", "", "١٢", "1,5", ".5",
     "5.", "1e", "--1", "0." + "1" * 199, "1e0400", True, False, [1], {"a": 1}, "null"],
)  # fmt: skip
def test_a_value_that_is_no_credible_number_is_null_and_noted_and_the_pool_stays(told: Any) -> None:
    answer = parsed(pools_told(pool_record(reserve_in_usd=told)))
    assert answer.raw_pools["reserve_usd"].to_list() == [None]
    assert answer.raw_pools["price_usd"].to_list() == [2.5735985211073498e-05]
    note = answer.quarantine.row(0, named=True)
    assert (note["reason"], note["table_name"], note["pool"]) == ("value_not_credible", "raw_pools", f"0x{1:040x}")
    assert note["detail"].startswith("reserve_usd '")
    assert answer.quarantine.height == 1


@pytest.mark.parametrize("told", [1.5, "1.5", 1e3, -1, "x", True, [], 10**12 + 1, 2**64, 2**70])
def test_a_count_must_be_whole_and_not_beyond_all_measure(told: Any) -> None:
    answer = parsed(pools_told(changed(pool_record(), "attributes.transactions.h1.buys", told)))
    assert answer.raw_pools["n_buys_h1"].to_list() == [None]
    assert answer.raw_pools["n_sells_h1"].to_list() == [3]
    assert reasons(answer) == ["value_not_credible"]


@pytest.mark.parametrize("told", ["-100.001", "-1e9"])
def test_a_price_cannot_fall_by_more_than_all_of_it(told: str) -> None:
    answer = parsed(pools_told(changed(pool_record(), "attributes.price_change_percentage.h1", told)))
    assert answer.raw_pools["price_change_h1_pct"].to_list() == [None]


def test_all_that_is_wrong_with_a_record_is_one_note() -> None:
    record = pool_record(reserve_in_usd="NaN", fdv_usd="-1", transactions=5, volume_usd=[], name=["x"])
    answer = parsed(pools_told(record))
    assert answer.quarantine["detail"].to_list() == [
        "attributes.name '[\"x\"]', attributes.transactions '5', attributes.volume_usd '[]', fdv_usd '-1', "
        "reserve_usd 'NaN'"
    ]
    assert answer.raw_pools.select("name", "n_buys_h1", "volume_h1_usd").row(0) == (None, None, None)


@pytest.mark.parametrize(
    ("path", "value", "reason"),
    [
        ("id", None, "id_not_of_its_address"),
        ("id", "eth_0xother", "id_not_of_its_address"),
        ("id", f"0x{1:040x}", "id_not_of_its_address"),
        ("id", f"_0x{1:040x}", "network_not_credible"),
        ("id", f"../etc_0x{1:040x}", "network_not_credible"),
        ("id", f"__HIVE_DEFAULT_PARTITION___0x{1:040x}", "network_not_credible"),
        ("id", f"polygon_pos_0x{1:040x}", "wrong_network"),
        ("attributes.address", None, "address_not_credible"),
        ("attributes.address", "", "address_not_credible"),
        ("attributes.address", "<b>", "address_not_credible"),
        ("attributes.address", 5, "address_not_credible"),
        ("attributes", None, "address_not_credible"),
        ("attributes", [], "address_not_credible"),
        ("relationships.network", {"data": {"id": "base"}}, "network_not_credible"),
        ("relationships.base_token.data.id", "base_0xbeef", "base_token_not_credible"),
        ("relationships.base_token.data.id", "eth_", "base_token_not_credible"),
        ("relationships.base_token", None, "base_token_not_credible"),
        ("relationships.quote_token.data", "eth_0xbeef", "quote_token_not_credible"),
        ("relationships", 7, "base_token_not_credible"),
        ("relationships.dex.data.id", "", "dex_not_credible"),
        ("relationships.dex.data.id", "uni swap", "dex_not_credible"),
        ("attributes.pool_created_at", None, "created_at_not_credible"),
        ("attributes.pool_created_at", "yesterday", "created_at_not_credible"),
        ("attributes.pool_created_at", "2025-02-30T00:00:00Z", "created_at_not_credible"),
        ("attributes.pool_created_at", "2025-09-08 20:09:26", "created_at_not_credible"),
        ("attributes.pool_created_at", "2025-09-08T20:09:26+02:00", "created_at_not_credible"),
        ("attributes.pool_created_at", 1757362166, "created_at_not_credible"),
        ("attributes.pool_created_at", "2014-12-31T23:59:59Z", "before_there_were_chains"),
        ("attributes.pool_created_at", "2025-09-08T20:20:01Z", "in_the_future"),
        ("attributes.pool_created_at", "9999-12-31T23:59:59Z", "in_the_future"),
    ],
)
def test_a_record_that_lacks_what_makes_it_a_pool_is_refused_and_the_others_stay(
    path: str, value: Any, reason: str
) -> None:
    answer = parsed(pools_told(changed(pool_record(1), path, value), pool_record(2)))
    assert reasons(answer) == [reason]
    assert answer.quarantine["table_name"].to_list() == ["raw_pools"]
    assert answer.raw_pools["pool"].to_list() == [f"0x{2:040x}"]


@pytest.mark.parametrize("record", [None, 5, "pool", [], [1], True])
def test_what_is_no_object_is_no_record(record: Any) -> None:
    answer = parsed(pools_told(record, pool_record(2)))
    assert reasons(answer) == ["not_an_object"]
    assert answer.raw_pools["place"].to_list() == [1]


def test_a_chain_s_clock_may_be_five_minutes_ahead() -> None:
    answer = parsed(pools_told(pool_record(pool_created_at="2025-09-08T20:20:00Z")))
    assert answer.raw_pools["created_at"].to_list() == [NOW + timedelta(minutes=5)]


def test_a_network_with_underscores_is_told_from_the_address() -> None:
    answer = parsed(pools_told(pool_record(network="polygon_pos"), pool_record(2, network="eth"), network=None))
    assert answer.raw_pools["network"].to_list() == ["polygon_pos", "eth"]
    assert answer.raw_pools["base_token"].to_list() == [f"0x{n:036x}beef" for n in (1, 2)]


def test_of_a_pool_told_twice_in_an_answer_the_first_is_kept_and_the_others_are_noted() -> None:
    other = pool_record(1, reserve_in_usd="1")
    answer = parsed(pools_told(pool_record(2), pool_record(1), other, pool_record(1)))
    assert answer.raw_pools.select("place", "reserve_usd").rows() == [(0, 13118.8683), (1, 13118.8683)]
    assert sorted(reasons(answer)) == ["conflicting_duplicate", "duplicate"]


def test_a_refused_record_does_not_stand_in_the_way_of_a_sound_one_of_the_same_pool() -> None:
    answer = parsed(pools_told(pool_record(1, pool_created_at=None), pool_record(1)))
    assert answer.raw_pools["place"].to_list() == [1]
    assert reasons(answer) == ["created_at_not_credible"]


def test_a_hostile_name_is_shown_clean_and_raw_in_the_record_alone() -> None:
    hostile = "\u202e<script>alert(1)</script>\u200b\x07" + "!" * 100
    answer = parsed(pools_told(pool_record(name=hostile, reserve_in_usd="\u202e<img>")))
    assert answer.raw_pools["name"].to_list() == [("scriptalert(1)/script" + "!" * 100)[:64]]
    note = answer.quarantine.row(0, named=True)
    assert note["detail"] == "reserve_usd 'img'"
    assert "\u202e<script>" in note["record"]


def test_the_same_nonsense_told_twice_is_two_rows_of_the_quarantine() -> None:
    quarantine = parsed(pools_told(5, 5)).quarantine
    assert quarantine["record_id"].n_unique() == quarantine.height == 2


def test_a_record_is_cut_and_its_identity_is_not() -> None:
    long = [pool_record(1, reserve_in_usd="NaN", z_more="x" * 9_000 + end) for end in "ab"]
    answers = pl.concat([pools_told(one, at=NOW + timedelta(seconds=i)) for i, one in enumerate(long)])
    quarantine = parsed(answers).quarantine
    assert quarantine["record"].str.len_chars().to_list() == [2000, 2000]
    assert quarantine["record_id"].n_unique() == 2


def test_a_record_nested_too_deeply_to_be_written_is_still_accounted_for() -> None:
    deep: Any = "x"
    for _ in range(400):
        deep = [deep]
    answer = parsed(pools_told(pool_record(1, reserve_in_usd=deep), changed(pool_record(2), "id", deep)))
    assert sorted(reasons(answer)) == ["id_not_of_its_address", "value_not_credible"]
    assert answer.raw_pools["reserve_usd"].to_list() == [None]
