import gzip
from datetime import timedelta
from typing import Any

import polars as pl
import pytest
from wire_samples import NOW, SPEC, answer_to, assert_fits, changed, pool_record, pools_told, table_of, token_record

from pipeline.errors import InputError
from pipeline.pools.answer import new_pools, pool, pools_multi, trades
from pipeline.pools.parse import ParsedPools, parse_pools
from pipeline.pools.wire import MOST_RECORDS
from pipeline.tables import ANSWERS, QUARANTINE, RAW_POOLS, TOKENS


def parsed(answers: pl.DataFrame) -> ParsedPools:
    """What the answers say, seen to fit their tables."""
    told = parse_pools(answers, SPEC)
    assert_fits(RAW_POOLS, told.raw_pools)
    assert_fits(TOKENS, told.tokens)
    assert_fits(QUARANTINE, told.quarantine)
    return told


def reasons(told: ParsedPools) -> list[str]:
    return told.quarantine["reason"].to_list()


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


def test_the_plan_says_how_a_pool_was_sampled_and_who_is_not_in_it_was_certain() -> None:
    call = pools_multi("eth", [f"0x{n:040x}" for n in (1, 2)])
    document = {"data": [pool_record(1), pool_record(2)]}
    answer = parsed(table_of(answer_to(call, document, plan={f"0x{1:040x}": (0.25, 3)})))
    assert answer.raw_pools.select("inclusion_probability", "n_missed").rows() == [(0.25, 3), (1.0, 0)]


@pytest.mark.parametrize("plan", ["{", "[]", '{"a": 1}', '{"a": [2.0, 0]}', '{"a": [0.5, -1]}', '{"a": ["x", 0]}'])
def test_a_plan_that_is_none_is_our_own_fault_and_said_loudly(plan: str) -> None:
    answers = pools_told(pool_record()).with_columns(plan=pl.lit(plan))
    with pytest.raises(InputError, match="plan"):
        parse_pools(answers, SPEC)


def test_one_pool_asked_for_is_an_object() -> None:
    answer = parsed(table_of(answer_to(pool("eth", "0x1"), {"data": pool_record(1)})))
    assert answer.raw_pools.select("endpoint", "place").rows() == [("pool", 0)]


@pytest.mark.parametrize("status", [204, 299])
def test_an_answer_of_success_that_is_no_json_is_noted_once(status: int) -> None:
    answer = parsed(table_of(answer_to(new_pools("eth"), b"<html>", status=status)))
    assert answer.quarantine.select("table_name", "reason", "network", "record").rows() == [
        ("answers", "not_json", "eth", "<html>")
    ]


@pytest.mark.parametrize("status", [199, 301, 404, 429, 500])
@pytest.mark.parametrize("told", [b"<html>", {"data": [pool_record()]}])
def test_an_answer_that_says_it_is_an_error_is_neither_parsed_nor_noted(status: int, told: Any) -> None:
    answer = parsed(table_of(answer_to(new_pools("eth"), told, status=status)))
    assert (answer.raw_pools.height, answer.quarantine.height) == (0, 0)


def test_answers_of_other_endpoints_are_passed_over() -> None:
    answer = parsed(table_of(answer_to(trades("eth", "0x1"), {"data": [pool_record()]})))
    assert (answer.raw_pools.height, answer.quarantine.height) == (0, 0)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "not_json"),
        (b"{", "not_json"),
        (b'{"data": [], }', "not_json"),
        (b"\xff\xfe{\x00}\x00", "not_json"),
        (b"\xef\xbb\xbf{}", "not_json"),
        (b"[" * 100_000, "not_json"),
        (b'{"data":' * 900 + b"1" + b"}" * 900, "no_data"),
        (b'{"data":' * 5_000 + b"1" + b"}" * 5_000, "not_json"),
        (b"[]", "no_data"),
        (b"null", "no_data"),
        (b"NaN", "no_data"),
        (b"{}", "no_data"),
        (b'{"data": null}', "no_data"),
        (b'{"data": "x"}', "data_not_records"),
        (b'{"data": 1e999}', "data_not_records"),
        (b'{"data": [' + b"0," * MOST_RECORDS + b"0]}", "too_many_records"),
        (b'{"data": [], "included": {}}', "included_not_records"),
    ],
)
def test_a_body_that_tells_nothing_usable_is_one_row_of_the_quarantine(body: bytes, reason: str) -> None:
    answer = parsed(table_of(answer_to(new_pools("eth"), body)))
    if body.startswith(b'{"data":' * 900) and reason == "no_data":
        assert [*reasons(answer)] == ["address_not_credible"]  # the outermost `data` is one record, sound or not
        return
    assert answer.quarantine.select("table_name", "reason").rows() == [("answers", reason)]
    assert answer.raw_pools.is_empty()


@pytest.mark.parametrize("spoil", [lambda b: b[:-9], lambda b: b"x" + b, lambda b: b[:40] + b"\0\0\0" + b[43:]])
def test_a_body_damaged_in_the_lake_is_noted(spoil: Any) -> None:
    whole = pools_told(pool_record(1), pool_record(2))
    damaged = whole.with_columns(pl.Series("body", [spoil(whole["body"][0])], pl.Binary))
    answer = parsed(damaged)
    assert reasons(answer) == ["body_damaged"]


def poisoned(value: bytes, name: str = "reserve_in_usd") -> pl.DataFrame:
    """Two pools, the first with these bytes where a value belongs."""
    answers = pools_told(pool_record(1, **{name: "@"}), pool_record(2))
    body = gzip.compress(gzip.decompress(answers["body"][0]).replace(b'"@"', value))
    return answers.with_columns(pl.Series("body", [body], pl.Binary))


@pytest.mark.parametrize("value", [b"NaN", b"-Infinity", b"1e400", b"1" + b"0" * 5_000, b"-" + b"9" * 400])
def test_one_number_that_json_cannot_hold_costs_no_other_value(value: bytes) -> None:
    answer = parsed(poisoned(value))
    assert answer.raw_pools["reserve_usd"].to_list() == [None, 13118.8683]
    assert answer.raw_pools["price_usd"].to_list() == [2.5735985211073498e-05] * 2
    assert reasons(answer) == ["value_not_credible"]


def test_half_a_character_in_a_name_costs_no_other_pool() -> None:
    answer = parsed(poisoned(b'"X\\ud800 / WETH"', "name"))
    assert answer.raw_pools["name"].to_list() == ["X? / WETH", "COIN2 / WETH"]


def test_of_a_value_told_twice_in_an_object_the_last_counts() -> None:
    answer = parsed(poisoned(b'"1.0", "reserve_in_usd": "2.0"'))
    assert answer.raw_pools["reserve_usd"].to_list() == [2.0, 13118.8683]


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


def several() -> pl.DataFrame:
    """Answers of three hours, some with faults, in the order in which they came."""
    told = [
        pools_told(
            *(pool_record(n, reserve_in_usd="NaN" if n % 3 == hour else "1.5") for n in range(1, 6)),
            pool_record(1),
            5,
            included=[token_record(1), token_record(1, decimals=None), token_record(2)],
            at=NOW + timedelta(hours=hour, minutes=minute),
        )
        for hour in range(3)
        for minute in (0, 7)
    ]
    broken = table_of(answer_to(new_pools("eth"), b"<", NOW + timedelta(hours=1, minutes=3)))
    return pl.concat([*told, broken]).sort("event_time")


def test_the_order_of_the_answers_makes_no_difference() -> None:
    answers = several()
    once = parsed(answers)
    for seed in range(5):
        again = parsed(answers.sample(fraction=1.0, shuffle=True, seed=seed))
        assert all(a.equals(b) for a, b in zip(once, again, strict=True))
    assert all(a.equals(b) for a, b in zip(once, parsed(pl.concat([answers, answers])), strict=True))


def by_hour(answers: pl.DataFrame) -> list[pl.DataFrame]:
    hours = answers.with_columns(hour=pl.col("event_time").dt.truncate("1h"))
    return hours.partition_by("hour", maintain_order=True, include_key=False)


def test_parsing_hour_by_hour_gives_the_same_rows_as_parsing_at_once() -> None:
    answers = several()
    hourly = [parsed(part) for part in by_hour(answers)]
    for whole, parts in zip(parsed(answers), zip(*hourly, strict=True), strict=True):
        assert whole.height > 0
        assert whole.equals(pl.concat(parts))


def test_parsing_in_small_batches_gives_the_same_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = several()
    whole = parsed(answers)
    monkeypatch.setattr("pipeline.pools.wire.BATCH_BYTES", 1)
    assert all(a.equals(b) for a, b in zip(whole, parsed(answers), strict=True))


def test_no_answers_give_empty_tables() -> None:
    answer = parsed(ANSWERS.empty())
    assert [frame.height for frame in answer] == [0, 0, 0]
