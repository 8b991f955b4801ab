"""What answers say of tokens, as rows of `tokens`.

Belongs here: a token's record on the wire, whether asked for or told beside a pool, and which of several rows of one
token and moment counts. Stays out: how values are read (`wire_values`), what becomes of the refused (`wire_judging`).
"""

from typing import Any, Final, NamedTuple

import polars as pl

from pipeline.pools.spec import PoolsSpec
from pipeline.pools.text import clean_text, is_address
from pipeline.pools.wire import Document, Documents, Records, data_of, read_documents
from pipeline.pools.wire_judging import (
    Rule,
    answers_quarantined,
    identity_rules,
    judge,
    quarantined,
    together,
    value_notes,
    with_detail,
    with_identity,
)
from pipeline.pools.wire_values import Fields, number, told_values
from pipeline.tables import TOKENS

ENDPOINTS: Final = ("token_info", "tokens_recently_updated")

_TEXTS: Final = {
    "id": ("id",),
    "type": ("type",),
    "address": ("attributes", "address"),
    "told_name": ("attributes", "name"),
    "told_symbol": ("attributes", "symbol"),
    "told_developer": ("attributes", "developer_address"),
    "told_network": ("relationships", "network", "data", "id"),
}
_NUMBERS: Final = {
    "decimals": ("attributes", "decimals"),
    "n_holders": ("attributes", "holders", "count"),
    "top10_pct": ("attributes", "holders", "distribution_percentage", "top_10"),
    "gt_score": ("attributes", "gt_score"),
}
_FLAGS: Final = {
    "is_mint_revoked": ("attributes", "mint_authority"),
    "is_freeze_revoked": ("attributes", "freeze_authority"),
    "is_honeypot": ("attributes", "is_honeypot"),
}
_FIELDS: Final = Fields({**_TEXTS, **_NUMBERS, **_FLAGS}, frozenset(_TEXTS))
_COLUMNS: Final = tuple(TOKENS.column(name) for name in _NUMBERS)
_ACCOUNTS: Final = ("websites", "discord_url", "telegram_handle", "twitter_handle", "farcaster_url", "zora_url")
_NO_TOKENS: Final = ("dex", "network", "pool")
"""What else the API includes beside its data."""
_FORMULA: Final = r"^\s*[=+\-@]"
_SHOWN: Final = ("id", "type", "address", "told_network")


class ParsedTokens(NamedTuple):
    """What answers said of tokens, as rows of TOKENS and QUARANTINE."""

    tokens: pl.DataFrame
    quarantine: pl.DataFrame


def parse_token_infos(answers: pl.DataFrame, spec: PoolsSpec) -> ParsedTokens:
    """What the answers of ENDPOINTS say of tokens.

    Args:
        answers: rows of ANSWERS, any number, in any order; those of other endpoints and errors are passed over.
        spec: what a credible text is.
    """
    parsed = [_parsed(documents, spec) for documents in read_documents(answers, ENDPOINTS)]
    tokens, quarantine = zip(*parsed, strict=True)
    return ParsedTokens(richest(pl.concat(tokens)), together(quarantine))


def _parsed(documents: Documents, spec: PoolsSpec) -> ParsedTokens:
    records, no_data = documents.records(data_of)
    parsed = parse_tokens(records, spec)
    refused = answers_quarantined((documents.unread, no_data), spec)
    return ParsedTokens(parsed.tokens, pl.concat([*refused, parsed.quarantine]))


def included_tokens(document: Document) -> list[Any] | str:
    """What a document tells beside its data, without the kinds that are no tokens; nothing is no fault."""
    included = document.get("included")
    if included is None:
        return []
    if not isinstance(included, list):
        return "included_not_records"
    return [one for one in included if not (isinstance(one, dict) and one.get("type") in _NO_TOKENS)]


def parse_tokens(records: Records, spec: PoolsSpec) -> ParsedTokens:
    """What these records tell of tokens, one row a record."""
    values = told_values(records.told, _FIELDS)
    rows = with_identity(values.beside(records), "token").with_columns(
        pl.Series("has_socials", [_names_an_account(record) for record in records.told], pl.Boolean),
        pl.lit(None, pl.String).alias("pool"),
    )
    kept, refused = judge(rows, _rules(spec))
    developer = pl.when(is_address(pl.col("told_developer"), spec)).then(pl.col("told_developer"))
    told = kept.select(*(number(column) for column in _COLUMNS), *_flags(), developer.alias("developer"))
    columns = (*_COLUMNS, *(TOKENS.column(name) for name in (*_FLAGS, "developer")))
    spoken = kept.rename({"told_developer": "developer"}).with_columns(_unless_unknown(name) for name in _FLAGS)
    notes = value_notes(spoken, told, columns, values.strange, spec)
    judged = (with_detail(refused, _SHOWN, spec), notes)
    quarantine = [quarantined(each, records, "tokens", spec) for each in judged]
    return ParsedTokens(_rows(kept, told, spec), pl.concat(quarantine))


def richest(tokens: pl.DataFrame) -> pl.DataFrame:
    """One row a token and moment: the one that says most; of equals the one of the first answer by name.

    Args:
        tokens: rows of TOKENS, those of one answer in its order; of several parsings, if they are to lie in one table.
    """
    told = pl.sum_horizontal(pl.col(column.name).is_not_null() for column in TOKENS.columns if column.nullable)
    order = tokens.with_columns(n_told=told).sort("event_time", "n_told", "answer_id", descending=[False, True, False],
                                                  maintain_order=True)  # fmt: skip
    return order.unique(TOKENS.key, keep="first", maintain_order=True).drop("n_told")


def _rules(spec: PoolsSpec) -> tuple[Rule, ...]:
    return (
        ("not_an_object", pl.col("is_object")),
        ("type_not_known", pl.col("type") == "token"),
        *identity_rules(spec),
    )


def _unless_unknown(name: str) -> pl.Expr:
    """That something is not known is as good as not told: no fault of the record."""
    return pl.when(pl.col(name) != "unknown").then(pl.col(name)).alias(name)


def _flags() -> tuple[pl.Expr, ...]:
    """An authority that is not there was revoked; whether a token is a honeypot may also be told as a boolean."""
    return (
        _flag("is_mint_revoked", {"no": True, "yes": False}),
        _flag("is_freeze_revoked", {"no": True, "yes": False}),
        _flag("is_honeypot", {"yes": True, "no": False, "true": True, "false": False}),
    )


def _flag(name: str, meaning: dict[str, bool]) -> pl.Expr:
    told = pl.col(name)
    return told.replace_strict(meaning, default=None, return_dtype=pl.Boolean).alias(name)


def _rows(kept: pl.DataFrame, told: pl.DataFrame, spec: PoolsSpec) -> pl.DataFrame:
    names = {name: pl.col(f"told_{name}") for name in ("symbol", "name")}
    others = kept.select(
        *("source", "network", "token", "event_time", "answer_id", "has_socials"),
        pl.col("event_time").alias("known_at"),
        *(clean_text(said, spec).alias(name) for name, said in names.items()),
        pl.any_horizontal(_is_hostile(said, spec) for said in names.values()).alias("is_name_hostile"),
    )
    return pl.concat([others, told], how="horizontal").select(TOKENS.schema.names()).cast(TOKENS.schema)


def _is_hostile(told: pl.Expr, spec: PoolsSpec) -> pl.Expr:
    """What had to be cleaned or cut, or what a spreadsheet would take for a formula; saying nothing is not hostile."""
    tricks = clean_text(told, spec).ne_missing(told) | told.str.contains(_FORMULA)
    return (tricks & (told != "")).fill_null(value=False)


def _names_an_account(record: Any) -> bool | None:
    """Whether any account or website is named; null where the record does not speak of them at all."""
    attributes = record.get("attributes") if type(record) is dict else None
    if type(attributes) is not dict or attributes.keys().isdisjoint(_ACCOUNTS):
        return None
    return any(_is_named(attributes.get(key)) for key in _ACCOUNTS)


def _is_named(value: Any) -> bool:
    if type(value) is list:
        return any(type(one) is str and one.strip() for one in value)
    return type(value) is str and bool(value.strip())
