from datetime import timedelta
from typing import Any

import polars as pl
import pytest
from wire_samples import (
    NOW,
    SPEC,
    answer_to,
    assert_fits,
    changed,
    pool_record,
    pools_told,
    table_of,
    token_info_record,
    token_record,
    token_told,
)

from pipeline.pools.answer import token_info, tokens_recently_updated
from pipeline.pools.parse import ParsedTokens, parse_pools, parse_token_infos, richest
from pipeline.tables import QUARANTINE, TOKENS


def parsed(answers: pl.DataFrame) -> ParsedTokens:
    told = parse_token_infos(answers, SPEC)
    assert_fits(TOKENS, told.tokens)
    assert_fits(QUARANTINE, told.quarantine)
    return told


def one(**attributes: Any) -> dict[str, Any]:
    """The one row of a token with these attributes."""
    told = parsed(token_told(token_info_record(**attributes)))
    return told.tokens.row(0, named=True)


def test_a_token_asked_for_tells_everything() -> None:
    told = parsed(token_told(token_info_record()))
    assert told.quarantine.is_empty()
    row = told.tokens.row(0, named=True)
    del row["answer_id"]
    assert row == {
        "source": "geckoterminal", "network": "eth", "token": f"0x{1:036x}beef", "event_time": NOW, "known_at": NOW,
        "symbol": "COIN1", "name": "Coin 1", "is_name_hostile": False, "decimals": 18, "n_holders": 47911,
        "top10_pct": 73.7977, "is_mint_revoked": True, "is_freeze_revoked": False, "is_honeypot": None,
        "has_socials": True, "gt_score": 86.54440366972477,
        "developer": "0x00000000000000000000000000000000deadbeef",
    }  # fmt: skip


def test_a_token_beside_a_pool_tells_little_and_the_rest_is_null() -> None:
    told = parse_pools(pools_told(pool_record(), included=[token_record(), {"type": "dex", "id": "x"}]), SPEC)
    assert told.quarantine.is_empty()
    row = told.tokens.row(0, named=True)
    assert (row["token"], row["symbol"], row["decimals"]) == (f"0x{1:036x}beef", "COIN1", 18)
    silent = ("n_holders", "top10_pct", "is_mint_revoked", "is_honeypot", "has_socials", "gt_score", "developer")
    assert all(row[name] is None for name in silent)


@pytest.mark.parametrize(
    ("told", "is_revoked", "is_noted"),
    [("no", True, False), ("yes", False, False), ("unknown", None, False), (None, None, False), ("maybe", None, True),
     (True, None, True)],
)  # fmt: skip
def test_an_authority_that_is_not_there_was_revoked(told: Any, is_revoked: bool | None, is_noted: bool) -> None:
    answer = parsed(token_told(token_info_record(mint_authority=told, freeze_authority=told)))
    assert answer.tokens.select("is_mint_revoked", "is_freeze_revoked").row(0) == (is_revoked, is_revoked)
    assert answer.quarantine.height == is_noted


@pytest.mark.parametrize(
    ("told", "is_honeypot"), [("yes", True), ("no", False), (True, True), (False, False), ("unknown", None), (1, None)]
)
def test_a_honeypot_may_be_told_as_a_word_or_as_a_boolean(told: Any, is_honeypot: bool | None) -> None:
    assert one(is_honeypot=told)["is_honeypot"] is is_honeypot


@pytest.mark.parametrize(
    ("attributes", "has_socials"),
    [
        ({"twitter_handle": None, "websites": []}, False),
        ({"twitter_handle": "", "websites": ["", None, 5]}, False),
        ({"twitter_handle": 5, "websites": {"a": "b"}}, False),
        ({"twitter_handle": None, "websites": [], "zora_url": "https://z"}, True),
        ({"twitter_handle": None, "websites": ["https://w"]}, True),
    ],
)
def test_a_token_has_socials_where_it_names_a_website_or_an_account(
    attributes: dict[str, Any], has_socials: bool
) -> None:
    assert one(**attributes)["has_socials"] is has_socials


@pytest.mark.parametrize(
    ("name", "is_hostile"),
    [
        ("Plain Coin", False),
        ("", False),
        (None, False),
        ("Éclair 狗 🚀", False),
        ("=1+1", True),
        ("+1", True),
        ("-1", True),
        ("@home", True),
        (" =1", True),
        ("<b>", True),
        ("a\u200bb", True),
        ("\u202eb", True),
        ("\x07", True),
        ("\u200b", True),
        ("x" * 64, False),
        ("x" * 65, True),
        ("a\nb", True),
    ],
)
@pytest.mark.parametrize("where", ["name", "symbol"])
def test_a_name_is_hostile_where_it_has_to_be_cleaned_or_reads_as_a_formula(
    where: str, name: str | None, is_hostile: bool
) -> None:
    assert one(**{where: name})["is_name_hostile"] is is_hostile


@pytest.mark.parametrize(
    ("path", "told", "column"),
    [
        ("decimals", 78, "decimals"),
        ("decimals", -1, "decimals"),
        ("decimals", 6.5, "decimals"),
        ("decimals", True, "decimals"),
        ("holders.count", -1, "n_holders"),
        ("holders.count", "many", "n_holders"),
        ("holders", 5, "n_holders"),
        ("holders.distribution_percentage.top_10", "100.5", "top10_pct"),
        ("holders.distribution_percentage.top_10", "-1", "top10_pct"),
        ("gt_score", 101, "gt_score"),
        ("gt_score", "NaN", "gt_score"),
        ("developer_address", "<b>", "developer"),
        ("developer_address", ["x"], "developer"),
        ("symbol", 5, "symbol"),
    ],
)
def test_a_value_that_is_not_credible_is_null_and_noted_and_the_token_stays(path: str, told: Any, column: str) -> None:
    answer = parsed(token_told(changed(token_info_record(), f"attributes.{path}", told)))
    assert answer.tokens[column].to_list() == [None]
    assert answer.quarantine.select("table_name", "reason").rows() == [("tokens", "value_not_credible")]


@pytest.mark.parametrize(
    ("path", "told", "reason"),
    [
        ("id", "eth_0xother", "id_not_of_its_address"),
        ("type", "tokne", "type_not_known"),
        ("type", "dex", "type_not_known"),
        ("attributes.address", None, "address_not_credible"),
        ("relationships", {"network": {"data": {"id": "base"}}}, "network_not_credible"),
        ("id", f"base_0x{1:036x}beef", "wrong_network"),
    ],
)
def test_a_record_that_lacks_what_makes_it_a_token_is_refused(path: str, told: Any, reason: str) -> None:
    answer = parsed(token_told(changed(token_info_record(), path, told)))
    assert answer.tokens.is_empty()
    assert answer.quarantine.select("table_name", "reason").rows() == [("tokens", reason)]


def test_a_list_about_all_networks_says_of_each_token_where_it_lives() -> None:
    records = [
        token_record(n, network=network) | {"relationships": {"network": {"data": {"id": network}}}}
        for n, network in enumerate(("ton", "polygon_pos"))
    ]
    answer = parsed(table_of(answer_to(tokens_recently_updated(), {"data": records})))
    assert answer.tokens["network"].to_list() == ["ton", "polygon_pos"]


def test_of_a_token_told_twice_in_an_answer_the_record_that_says_more_counts_and_then_the_first() -> None:
    poor, rich, late = token_record(decimals=None), token_record(name="Rich"), token_record(name="Late")
    told = parse_pools(pools_told(pool_record(), included=[poor, rich, late]), SPEC)
    assert told.tokens["name"].to_list() == ["Rich"]
    assert told.quarantine.is_empty()


def test_tokens_of_several_parsings_make_one_row_a_token_and_moment() -> None:
    beside = parse_pools(pools_told(pool_record(), included=[token_record()]), SPEC).tokens
    infos = parse_token_infos(token_told(token_info_record()), SPEC).tokens
    later = parse_token_infos(
        table_of(answer_to(token_info("eth", "0x"), {"data": token_info_record()}, NOW + timedelta(seconds=1))), SPEC
    ).tokens
    for order in ([beside, infos, later], [later, infos, beside]):
        rows = richest(pl.concat(order))
        assert_fits(TOKENS, rows)
        assert rows["n_holders"].to_list() == [47911, 47911]
