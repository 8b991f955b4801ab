"""What becomes of an answer of pools as a whole, and of many: its plan, its body, the order in which they came."""

import gzip
from datetime import timedelta
from typing import Any

import polars as pl
import pytest
from wire_samples import NOW, SPEC, answer_to, parsed, pool_record, pools_told, reasons, table_of, token_record

from pipeline.errors import InputError
from pipeline.pools.answer import new_pools, pool, pools_multi, trades
from pipeline.pools.parse import parse_pools
from pipeline.pools.wire import MOST_RECORDS
from pipeline.tables import ANSWERS


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
