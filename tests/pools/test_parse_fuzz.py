"""Ten thousand spoiled answers: no exception, no invented number, no record lost."""

import copy
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import cache
from random import Random
from typing import Any

import polars as pl
import pytest
from wire_mutations import spoiled
from wire_oracle import (
    BAR_PLACES,
    BUY_FIELDS,
    POOL_FIELDS,
    SELL_FIELDS,
    TOKEN_FIELDS,
    Field,
    Literal,
    number,
    read,
    told,
)
from wire_samples import (
    REAL,
    SPEC,
    answer_to,
    assert_fits,
    bar,
    bars,
    pool_record,
    real_example,
    real_response,
    table_of,
    token_info_record,
    token_record,
    trade_record,
)

from pipeline.pools.answer import Answer, Call, new_pools, ohlcv, token_info, trades
from pipeline.pools.parse import parse_ohlcv, parse_pools, parse_token_infos, parse_trades
from pipeline.tables import QUARANTINE, RAW_CANDLES, RAW_POOLS, TOKENS, TRADES

AT = datetime(2026, 6, 1, tzinfo=UTC)
N_A_CHUNK = 250
NOTE = "value_not_credible"
BESIDE = ("dex", "network", "pool")

Rows = list[dict[str, Any]]


def first_of(document: dict[str, Any], n: int) -> dict[str, Any]:
    """The document with its first records alone, and what it includes for them."""
    short = copy.deepcopy(document)
    short["data"] = short["data"][:n]
    if "included" in short:
        names = {related["data"]["id"] for record in short["data"] for related in record["relationships"].values()}
        short["included"] = [one for one in short["included"] if one["id"] in names]
    return short


@cache
def documents(kind: str) -> list[dict[str, Any]]:
    """Sound documents of a kind: our own, and real ones where they are beside this checkout."""
    made: dict[str, list[dict[str, Any]]] = {
        "pools": [{"data": [pool_record(n) for n in range(2)], "included": [token_record(n) for n in range(2)]}],
        "tokens": [{"data": token_info_record()}],
        "trades": [{"data": [trade_record(1), trade_record(2, kind="sell"), trade_record(3)]}],
        "bars": [bars(*(bar(5 * n, open=1.5 + n / 64) for n in range(6)))],
    }
    found = made[kind]
    if REAL.is_dir() and kind == "pools":
        found += [first_of(real_response(name), 2) for name in (
            "solana_new_pools_2025-08", "eth_new_pools_all_networks_2023-2024", "eth_top_pools_by_network_2023-2024",
        )]  # fmt: skip
        found += [real_example("networks/{network}/pools/{address}"), real_example("networks/new_pools")]
    elif REAL.is_dir() and kind == "tokens":
        found += [first_of(real_response("tokens_info_recently_updated_2025-09"), 2)]
        found += [real_example("networks/{network}/tokens/{address}/info")]
    elif REAL.is_dir() and kind == "trades":
        found += [real_example("networks/{network}/pools/{pool_address}/trades")]
    elif REAL.is_dir():
        recorded = real_response("eth_ohlcv_2023-2024")["data"]["attributes"]["ohlcv_list"]
        found += [bars(*recorded[:5])]
    return found


def spoiled_answers(kind: str, call: Callable[[int], Call], seed: int) -> list[Answer]:
    """Spoiled documents as answers, each at a moment of its own."""
    rng = Random(f"{kind} {seed}")
    sound = documents(kind)
    return [answer_to(call(i), spoiled(rng.choice(sound), rng), AT + timedelta(seconds=i)) for i in range(N_A_CHUNK)]


def accounts(
    answers: list[Answer], rows: pl.DataFrame, quarantine: pl.DataFrame, told_at: str
) -> Iterator[tuple[Answer, Any, Rows, Rows]]:
    """Each answer's document (None: unreadable, seen to be noted once) with its rows and quarantined records."""
    rows_at = by_time(rows, told_at)
    refused_at = by_time(quarantine, "event_time")
    for answer in answers:
        mine, refused = rows_at.get(answer.answered_at, []), refused_at.get(answer.answered_at, [])
        reasons = [one["reason"] for one in refused if one["table_name"] == "answers"]
        try:
            document = read(answer.body)
        except (ValueError, RecursionError):
            assert (reasons, mine, len(refused)) == (["not_json"], [], 1)
            continue
        if reasons == ["not_json"]:
            assert answer.body.count(b"[") + answer.body.count(b"{") > 1_000, "readable, and yet it was not read"
            continue
        yield answer, document, mine, refused


def by_time(frame: pl.DataFrame, column: str) -> dict[datetime, Rows]:
    found: dict[datetime, Rows] = {}
    for row in frame.iter_rows(named=True):
        found.setdefault(row[column], []).append(row)
    return found


def records_of(document: Any, refused: Rows) -> list[Any] | None:
    """The told records; None where there are none and the quarantine says so."""
    data = document.get("data") if isinstance(document, dict) else None
    if type(data) is dict or type(data) is list:
        return data if type(data) is list else [data]
    assert {"no_data", "data_not_records"} & {one["reason"] for one in refused if one["table_name"] == "answers"}
    return None


def n_refused(refused: Rows, table: str) -> int:
    return sum(one["table_name"] == table and one["reason"] != NOTE for one in refused)


def assert_numbers(row: dict[str, Any], record: Any, fields: dict[str, Field]) -> bool:
    """Every number is the one that was told, or null where none was; whether any told value was not taken."""
    is_lost = False
    for name, field in fields.items():
        value = told(record, field.path)
        expected = number(value, field)
        assert row[name] == expected, f"{name}: told {value!r}, taken as {row[name]!r}"
        assert type(row[name]) is type(expected) or expected is None
        is_lost |= expected is None and value is not None
    return is_lost


def assert_whole_columns(row: dict[str, Any], fields: dict[str, Field]) -> None:
    numeric = {name for name, value in row.items() if type(value) in (int, float)}
    assert numeric <= {*fields, "place", "inclusion_probability", "n_missed"}, "a number that nobody looked at"


@pytest.mark.parametrize("seed", range(20))
def test_spoiled_answers_about_pools(seed: int) -> None:
    answers = spoiled_answers("pools", lambda _: new_pools(None), seed)
    parsed = parse_pools(table_of(*answers), SPEC)
    for table, frame in ((RAW_POOLS, parsed.raw_pools), (TOKENS, parsed.tokens), (QUARANTINE, parsed.quarantine)):
        assert_fits(table, frame)
    tokens_at = by_time(parsed.tokens, "event_time")
    for answer, document, rows, refused in accounts(answers, parsed.raw_pools, parsed.quarantine, "event_time"):
        records = records_of(document, refused)
        if records is None:
            assert not rows
            continue
        assert len(rows) + n_refused(refused, "raw_pools") == len(records)
        assert len({row["place"] for row in rows}) == len(rows)
        notes = {one["pool"] for one in refused if (one["table_name"], one["reason"]) == ("raw_pools", NOTE)}
        for row in rows:
            record = records[row["place"]]
            assert_whole_columns(row, POOL_FIELDS)
            assert row["pool"] == told(record, ("attributes", "address"))
            assert f"{row['network']}_{row['pool']}" == record["id"]
            assert row["created_at"] == datetime.fromisoformat(told(record, ("attributes", "pool_created_at")))
            assert f"{row['network']}_{row['base_token']}" == told(
                record, ("relationships", "base_token", "data", "id")
            )
            assert f"{row['network']}_{row['quote_token']}" == told(
                record, ("relationships", "quote_token", "data", "id")
            )
            if assert_numbers(row, record, POOL_FIELDS):
                assert row["pool"] in notes
        assert_tokens(document, tokens_at.get(answer.answered_at, []), refused)


def assert_tokens(document: Any, rows: Rows, refused: Rows) -> None:
    """Every included token is a row or refused; rows share nothing that was not told."""
    included = document.get("included")
    if type(included) is not list:
        assert not rows
        return
    wanted = [one for one in included if not (type(one) is dict and one.get("type") in BESIDE)]
    check_tokens(wanted, rows, refused)


def check_tokens(records: list[Any], rows: Rows, refused: Rows) -> None:
    addresses = [row["token"] for row in rows]
    missing = [r for r in records if told(r, ("attributes", "address")) not in addresses]
    assert len(missing) <= n_refused(refused, "tokens")
    for row in rows:
        assert_whole_columns(row, TOKEN_FIELDS)
        candidates = [r for r in records if told(r, ("attributes", "address")) == row["token"]]
        assert any(fits(row, record, TOKEN_FIELDS) for record in candidates)


def fits(row: dict[str, Any], record: Any, fields: dict[str, Field]) -> bool:
    return all(row[name] == number(told(record, field.path), field) for name, field in fields.items())


@pytest.mark.parametrize("seed", range(6))
def test_spoiled_answers_about_tokens(seed: int) -> None:
    answers = spoiled_answers("tokens", lambda _: token_info("eth", "0x"), seed)
    frame = table_of(*answers).with_columns(network=pl.lit(None, pl.String))
    parsed = parse_token_infos(frame, SPEC)
    assert_fits(TOKENS, parsed.tokens)
    assert_fits(QUARANTINE, parsed.quarantine)
    for _, document, rows, refused in accounts(answers, parsed.tokens, parsed.quarantine, "event_time"):
        records = records_of(document, refused)
        if records is None:
            assert not rows
            continue
        check_tokens(records, rows, refused)


@pytest.mark.parametrize("seed", range(7))
def test_spoiled_answers_about_swaps(seed: int) -> None:
    answers = spoiled_answers("trades", lambda i: trades("eth", f"0x{i}"), seed)
    parsed = parse_trades(table_of(*answers), SPEC)
    assert_fits(TRADES, parsed.trades)
    assert_fits(QUARANTINE, parsed.quarantine)
    for _, document, rows, refused in accounts(answers, parsed.trades, parsed.quarantine, "known_at"):
        records = records_of(document, refused)
        if records is None:
            assert not rows
            continue
        assert len(rows) + n_refused(refused, "trades") == len(records)
        for row in rows:
            fields = BUY_FIELDS if row["kind"] == "buy" else SELL_FIELDS
            assert_whole_columns(row, fields)
            candidates = [r for r in records if told(r, ("id",)) == row["trade_id"]]
            same = [r for r in candidates if told(r, ("attributes", "kind")) == row["kind"] and fits(row, r, fields)]
            assert same
            assert row["event_time"] in [datetime.fromisoformat(r["attributes"]["block_timestamp"]) for r in same]


@pytest.mark.parametrize("seed", range(7))
def test_spoiled_answers_with_bars(seed: int) -> None:
    answers = spoiled_answers("bars", lambda i: ohlcv("eth", f"0x{i}"), seed)
    parsed = parse_ohlcv(table_of(*answers), SPEC)
    assert_fits(RAW_CANDLES, parsed.raw_candles)
    assert_fits(QUARANTINE, parsed.quarantine)
    for _, document, rows, refused in accounts(answers, parsed.raw_candles, parsed.quarantine, "known_at"):
        told_bars = told(document, ("data", "attributes", "ohlcv_list"))
        if type(told_bars) is not list:
            assert [one["reason"] for one in refused] in (["no_data"], ["no_list_of_bars"])
            assert not rows
            continue
        assert len(rows) + n_refused(refused, "raw_candles") == len(told_bars)
        for row in rows:
            assert_whole_columns(row, dict.fromkeys(BAR_PLACES, Field(())))
            values = [row[place] for place in BAR_PLACES]
            start = str(int(row["event_time"].timestamp()))
            assert any(values == [number(v, Field(())) for v in one[1:]] for one in told_bars if is_bar(one, start))


def is_bar(one: Any, start: str) -> bool:
    return type(one) is list and len(one) == 6 and type(one[0]) in (str, Literal) and one[0] == start
