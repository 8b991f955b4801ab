"""Answers about pools as rows of `raw_pools`, with the tokens they speak of beside.

Belongs here: which fields a pool's record has on the wire, and what makes it a pool. Stays out: how values are read
(`wire_values`) and what becomes of the refused (`wire_judging`).
"""

import json
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import polars as pl

from pipeline.errors import InputError
from pipeline.pools.parse_tokens import included_tokens, parse_tokens, richest
from pipeline.pools.spec import PoolsSpec
from pipeline.pools.text import clean_text, is_address
from pipeline.pools.wire import Documents, data_of, read_documents
from pipeline.pools.wire_judging import (
    Rule,
    answers_quarantined,
    identity_rules,
    judge,
    quarantined,
    times_between,
    together,
    value_notes,
    with_detail,
    with_identity,
    without_copies,
)
from pipeline.pools.wire_values import Fields, moment, number, told_values
from pipeline.tables import API_WINDOWS, RAW_POOLS

ENDPOINTS: Final = ("new_pools", "pools_multi", "pool")

_TEXTS: Final = {
    "id": ("id",),
    "address": ("attributes", "address"),
    "created_told": ("attributes", "pool_created_at"),
    "told_name": ("attributes", "name"),
    "base_id": ("relationships", "base_token", "data", "id"),
    "quote_id": ("relationships", "quote_token", "data", "id"),
    "dex": ("relationships", "dex", "data", "id"),
    "told_network": ("relationships", "network", "data", "id"),
}
_NUMBERS: Final = {
    "price_quote": ("attributes", "base_token_price_quote_token"),
    "price_usd": ("attributes", "base_token_price_usd"),
    "quote_price_usd": ("attributes", "quote_token_price_usd"),
    "base_reserve": ("attributes", "base_token_balance"),
    "quote_reserve": ("attributes", "quote_token_balance"),
    "reserve_usd": ("attributes", "reserve_in_usd"),
    "fdv_usd": ("attributes", "fdv_usd"),
    "market_cap_usd": ("attributes", "market_cap_usd"),
    "lp_burned_pct": ("attributes", "locked_liquidity_percentage"),
    **{f"price_change_{w}_pct": ("attributes", "price_change_percentage", w) for w in API_WINDOWS},
    **{f"volume_{w}_usd": ("attributes", "volume_usd", w) for w in API_WINDOWS},
    **{
        f"n_{who}_{w}": ("attributes", "transactions", w, who)
        for who in ("buys", "sells", "buyers", "sellers")
        for w in API_WINDOWS
    },
}
_FIELDS: Final = Fields({**_TEXTS, **_NUMBERS}, frozenset(_TEXTS))
_COLUMNS: Final = tuple(RAW_POOLS.column(name) for name in _NUMBERS)
_SHOWN: Final = ("id", "address", "base_id", "quote_id", "dex", "told_network", "created_told")


class ParsedPools(NamedTuple):
    """What answers about pools said, as rows of RAW_POOLS, TOKENS and QUARANTINE."""

    raw_pools: pl.DataFrame
    tokens: pl.DataFrame
    quarantine: pl.DataFrame


def parse_pools(answers: pl.DataFrame, spec: PoolsSpec) -> ParsedPools:
    """What the answers of ENDPOINTS say of pools, and of their tokens where those are included.

    Args:
        answers: rows of ANSWERS, any number, in any order; those of other endpoints and errors are passed over.
        spec: what a credible text is.

    Raises:
        InputError: an answer's `plan`, which we wrote ourselves, does not say what a plan says.
    """
    parsed = [_parsed(documents, spec) for documents in read_documents(answers, ENDPOINTS)]
    raw_pools, tokens, quarantine = zip(*parsed, strict=True)
    return ParsedPools(pl.concat(raw_pools), richest(pl.concat(tokens)), together(quarantine))


def _parsed(documents: Documents, spec: PoolsSpec) -> ParsedPools:
    records, no_data = documents.records(data_of)
    included, not_included = documents.records(included_tokens)
    values = told_values(records.told, _FIELDS)
    accepted, refused = judge(_placed(values.beside(records), spec), _rules(spec))
    kept, copies = without_copies(accepted, ("network", "pool"), records.told)
    numbers = kept.select(number(column) for column in _COLUMNS)
    notes = value_notes(kept, numbers, _COLUMNS, values.strange, spec)
    refused = with_detail(pl.concat([refused, copies]), _SHOWN, spec)
    tokens = parse_tokens(included, spec)
    quarantine = [
        *answers_quarantined((documents.unread, no_data, not_included), spec),
        *(quarantined(judged, records, "raw_pools", spec) for judged in (refused, notes)),
        tokens.quarantine,
    ]
    return ParsedPools(_rows(kept, numbers, spec), tokens.tokens, pl.concat(quarantine))


def _placed(told: pl.DataFrame, spec: PoolsSpec) -> pl.DataFrame:
    """The records with their network, pool, tokens and birth, null where not credible."""
    rows = with_identity(told, "pool").with_columns(moment(pl.col("created_told")).alias("created_at"))
    return rows.with_columns(_token("base_id", spec).alias("base_token"), _token("quote_id", spec).alias("quote_token"))


def _token(told: str, spec: PoolsSpec) -> pl.Expr:
    """The address in a token's id, which begins with the pool's own network."""
    start = pl.format("{}_", "network")
    address = pl.col(told).str.slice(start.str.len_chars())
    return pl.when(pl.col(told).str.starts_with(start) & is_address(address, spec)).then(address)


def _rules(spec: PoolsSpec) -> tuple[Rule, ...]:
    return (
        ("not_an_object", pl.col("is_object")),
        *identity_rules(spec),
        ("base_token_not_credible", pl.col("base_token").is_not_null()),
        ("quote_token_not_credible", pl.col("quote_token").is_not_null()),
        ("dex_not_credible", is_address(pl.col("dex"), spec)),
        *times_between("created_at"),
    )


def _rows(kept: pl.DataFrame, numbers: pl.DataFrame, spec: PoolsSpec) -> pl.DataFrame:
    others = kept.select(
        *("source", "network", "pool", "event_time", "answer_id", "place", "endpoint"),
        *("created_at", "dex", "base_token", "quote_token"),
        pl.col("event_time").alias("known_at"),
        clean_text(pl.col("told_name"), spec).alias("name"),
        *_planned(kept),
    )
    return pl.concat([others, numbers], how="horizontal").select(RAW_POOLS.schema.names()).cast(RAW_POOLS.schema)


def _planned(kept: pl.DataFrame) -> tuple[pl.Series, pl.Series]:
    """Inclusion probability and missed visits of each pool; who was not sampled was certain to be seen."""
    plans = {text: _read_plan(text) for text in kept["plan"].unique().drop_nulls()}
    said = [plans[text].get(pool, (1.0, 0)) if text else (1.0, 0) for text, pool in kept.select("plan", "pool").rows()]
    return (
        pl.Series("inclusion_probability", [probability for probability, _ in said], pl.Float64),
        pl.Series("n_missed", [missed for _, missed in said], pl.Int64),
    )


def _read_plan(text: str) -> Mapping[str, tuple[float, int]]:
    try:
        plan: dict[str, Any] = json.loads(text)
        return {pool: _sound(probability, missed) for pool, (probability, missed) in plan.items()}
    except (ValueError, TypeError, AttributeError) as error:
        raise InputError(
            f"cannot read the plan of an answer, pool -> [inclusion probability, missed visits], found "
            f"{text[:200]!r}: {error}. What was sampled is unknown without it; mend the row of `answers`"
        ) from error


def _sound(probability: float, missed: int) -> tuple[float, int]:
    if type(missed) is not int or missed < 0 or not 0 <= probability <= 1:
        raise ValueError(f"[{probability!r}, {missed!r}] is no probability with a count")
    return float(probability), missed
