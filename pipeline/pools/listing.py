"""Pools that the API told of for the first time, as rows of the pools table.

Belongs here: what is taken to be true of a pool from its first telling on. Stays out: the state it was seen in
(`raw_pools`), and pools of recordings, which come with their own list (`recording`).
"""

from datetime import datetime, timedelta

import polars as pl

from pipeline.calendars import EPOCH, Span
from pipeline.pools.spec import PoolsSpec
from pipeline.pools.text import clean_text
from pipeline.pools.validation import credible_decimals
from pipeline.tables import POOL_KEY, POOLS

_TOKEN_KEY = ("source", "network", "token")


def births_told_in(records: pl.DataFrame) -> Span:
    """The stretch of time in which every pool of these RAW_POOLS rows was born; an empty one where there is none."""
    first, last = records["created_at"].min(), records["created_at"].max()
    if not isinstance(first, datetime) or not isinstance(last, datetime):
        return Span(EPOCH, EPOCH)
    return Span(first, last + timedelta(microseconds=1))


def list_pools(records: pl.DataFrame, tokens: pl.DataFrame, known: pl.DataFrame, spec: PoolsSpec) -> pl.DataFrame:
    """The pools of `records` that are not among the known ones, as they were first told; a later telling changes none.

    A pool is known from its first answer on, or from its birth where a chain's clock dates that after the answer.
    What its tokens were known to be by then is taken from the last row of theirs that speaks of it. Nobody states a
    price of its quote token for good, nor vouches for its record, so `quote_price_usd` and `watched_until` are null.

    Args:
        records: RAW_POOLS rows, in any order.
        tokens: TOKENS rows, in any order.
        known: POOLS rows, or their key alone.
        spec: what can be shown of a symbol, and which decimals are credible.

    Returns:
        POOLS rows, sorted by key.
    """
    first = (
        records.join(known, on=list(POOL_KEY), how="anti")
        .sort(*POOL_KEY, "event_time", "known_at", "answer_id", "place")
        .unique(POOL_KEY, keep="first", maintain_order=True)
        .select(*POOL_KEY, "created_at", "dex", "base_token", "quote_token",
                pl.max_horizontal("known_at", "created_at").alias("known_at"))
    )  # fmt: skip
    told = tokens.with_columns(clean_text(pl.col("symbol"), spec), credible_decimals("decimals", spec))
    return (
        first.pipe(_with_last_told, told, "quote_token", {"symbol": "quote_symbol", "decimals": "quote_decimals"})
        .pipe(_with_last_told, told, "base_token", {"decimals": "base_decimals"})
        .with_columns(quote_price_usd=None, is_quote_price_nominal=False, watched_until=None)
        .select(POOLS.schema.names())
        .cast(POOLS.schema)
        .sort(POOL_KEY)
    )


def _with_last_told(pools: pl.DataFrame, tokens: pl.DataFrame, token: str, names: dict[str, str]) -> pl.DataFrame:
    """The pools with columns of a token's rows, each as it was last told by the time the pool was known."""
    key = [*_TOKEN_KEY[:2], token]
    for told, name in names.items():
        said = (
            tokens.filter(pl.col(told).is_not_null())
            .rename({"token": token})
            .select(*key, pl.col("known_at").alias("said_at"), "answer_id", pl.col(told).alias(name))
        )
        last = (
            pools.select(*POOL_KEY, token, "known_at")
            .join(said, on=key, how="inner")
            .filter(pl.col("said_at") <= pl.col("known_at"))
            .sort("said_at", "answer_id", name)
            .unique(POOL_KEY, keep="last", maintain_order=True)
        )
        pools = pools.join(last.select(*POOL_KEY, name), on=list(POOL_KEY), how="left")
    return pools
