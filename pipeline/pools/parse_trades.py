"""Answers about the swaps of a pool as rows of `trades`.

Belongs here: a swap's record on the wire, and which of several tellings counts. Stays out: how values are read
(`wire_values`), what becomes of the refused (`wire_judging`), and candles made of swaps (`candles`).
"""

from typing import Final, NamedTuple

import polars as pl

from pipeline.pools.spec import PoolsSpec
from pipeline.pools.text import is_address
from pipeline.pools.wire import Documents, data_of, read_documents
from pipeline.pools.wire_judging import (
    Rule,
    answers_quarantined,
    asked_rules,
    judge,
    quarantined,
    times_between,
    together,
    value_notes,
    with_detail,
    without_copies,
)
from pipeline.pools.wire_urls import with_asked_pool
from pipeline.pools.wire_values import Fields, count, moment, number, told_values
from pipeline.tables import POOL_KEY, TRADES

_TEXTS: Final = {
    "trade_id": ("id",),
    "told_time": ("attributes", "block_timestamp"),
    "tx_hash": ("attributes", "tx_hash"),
    "kind": ("attributes", "kind"),
    "trader": ("attributes", "tx_from_address"),
}
_NUMBERS: Final = {
    "told_block": ("attributes", "block_number"),
    "from_amount": ("attributes", "from_token_amount"),
    "to_amount": ("attributes", "to_token_amount"),
    "from_price_usd": ("attributes", "price_from_in_usd"),
    "to_price_usd": ("attributes", "price_to_in_usd"),
    "volume_usd": ("attributes", "volume_in_usd"),
}
_FIELDS: Final = Fields({**_TEXTS, **_NUMBERS}, frozenset(_TEXTS))
_SIDES: Final = {
    "base_amount": ("to_amount", "from_amount"),
    "quote_amount": ("from_amount", "to_amount"),
    "price_usd": ("to_price_usd", "from_price_usd"),
}
"""Column -> what it is told as in a purchase, and in a sale: who buys gives quote tokens and takes base tokens."""
_COLUMNS: Final = tuple(TRADES.column(name) for name in (*_SIDES, "volume_usd"))
_SWAP: Final = (*POOL_KEY, "trade_id")
_NAME: Final = r"^[A-Za-z0-9:_.\-+/=]{1,200}$"
"""A swap or a transaction: longer than an address, and in base 64 on some chains."""
_SHOWN: Final = ("trade_id", "told_time", "tx_hash", "kind", "told_block")


class ParsedTrades(NamedTuple):
    """What answers of `trades` said, as rows of TRADES and QUARANTINE."""

    trades: pl.DataFrame
    quarantine: pl.DataFrame


def parse_trades(answers: pl.DataFrame, spec: PoolsSpec) -> ParsedTrades:
    """The swaps that answers of `trades` tell, each as first told.

    Args:
        answers: rows of ANSWERS, any number, in any order; those of other endpoints and errors are passed over.
        spec: what a credible text is.
    """
    parsed = [_parsed(documents, spec) for documents in read_documents(with_asked_pool(answers), ("trades",))]
    trades, quarantine = zip(*parsed, strict=True)
    return ParsedTrades(pl.concat(trades).unique(_SWAP, keep="first", maintain_order=True), together(quarantine))


def _parsed(documents: Documents, spec: PoolsSpec) -> ParsedTrades:
    records, no_data = documents.records(data_of)
    values = told_values(records.told, _FIELDS)
    accepted, refused = judge(_placed(values.beside(records)), _rules(spec))
    kept, copies = without_copies(accepted, ("network", "pool", "trade_id"), records.told)
    trader = pl.when(is_address(pl.col("trader"), spec)).then(pl.col("trader"))
    taken = kept.select(*(number(column) for column in _COLUMNS), trader)
    notes = value_notes(kept, taken, (*_COLUMNS, TRADES.column("trader")), values.strange, spec)
    refused = with_detail(pl.concat([refused, copies]), _SHOWN, spec)
    quarantine = [
        *answers_quarantined((documents.unread, no_data), spec),
        *(quarantined(judged, records, "trades", spec) for judged in (refused, notes)),
    ]
    return ParsedTrades(_rows(kept, taken), pl.concat(quarantine))


def _placed(told: pl.DataFrame) -> pl.DataFrame:
    """The records with their pool, block and time, and what was told of the base and of the quote token."""
    is_buy = pl.col("kind") == "buy"
    return told.with_columns(
        pl.col("url_network").alias("network"),
        moment(pl.col("told_time")).alias("time"),
        count(pl.col("told_block")).alias("block"),
        *(pl.when(is_buy).then(bought).otherwise(sold).alias(name) for name, (bought, sold) in _SIDES.items()),
    )


def _rules(spec: PoolsSpec) -> tuple[Rule, ...]:
    return (
        ("not_an_object", pl.col("is_object")),
        *asked_rules(spec),
        ("trade_id_not_credible", pl.col("trade_id").str.contains(_NAME)),
        ("tx_hash_not_credible", pl.col("tx_hash").str.contains(_NAME)),
        ("kind_not_credible", pl.col("kind").is_in(TRADES.column("kind").values or ())),
        ("block_not_credible", pl.col("block").is_not_null()),
        *times_between("time"),
    )


def _rows(kept: pl.DataFrame, taken: pl.DataFrame) -> pl.DataFrame:
    others = kept.select(
        *("source", "network", "pool", "answer_id", "trade_id", "block", "tx_hash", "kind"),
        pl.col("time").alias("event_time"),
        # A chain's clock may be ahead of ours, and nothing is known before it is true.
        pl.max_horizontal("time", "event_time").alias("known_at"),
    )
    return pl.concat([others, taken], how="horizontal").select(TRADES.schema.names()).cast(TRADES.schema)
