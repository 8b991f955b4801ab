"""One pool as the tables know it.

Belongs here: which columns a person wants to see. Stays out: showing them (the command line).
"""

from typing import Any

import polars as pl

from pipeline.calendars import Span
from pipeline.errors import UsageError
from pipeline.lake import Lake
from pipeline.tables import CANDLES, LABELS, POOLS, SNAPSHOTS, TOKENS, TRADES, Table

_LAST = 8
_STATES = (
    "event_time", "observed_at", "price_quote", "price_usd", "reserve_usd", "price_change_h1_pct", "volume_h1_usd",
    "n_buys_h1", "n_sells_h1", "interval_minutes", "n_missed", "inclusion_probability",
)  # fmt: skip
_OUTCOMES = ("event_time", "horizon_hours", "status", "outcome", "censor_reason", "return_end_pct")


def portrait(lake: Lake, address: str) -> dict[str, list[dict[str, Any]]]:
    """What is known of the pool at `address`, by title: facts, token, last snapshots, bars, swaps, last labels.

    Raises:
        UsageError: no pool is known there.
    """
    facts = lake.scan(POOLS).filter(pl.col("pool") == address).collect()
    if facts.is_empty():
        raise UsageError(f"no pool is known at {address!r}: addresses are told apart by case; collect it first")
    told: dict[str, list[dict[str, Any]]] = {}
    for fact in facts.sort("source", "network").iter_rows(named=True):
        name = f"{fact['source']} {fact['network']}"
        told[f"{name}: pool"] = [fact]
        told[f"{name}: base token"] = _token(lake, fact)
        told[f"{name}: last snapshots"] = _last(lake, SNAPSHOTS, fact, _STATES)
        told[f"{name}: histories"] = [_extent(lake, table, fact) for table in (CANDLES, TRADES)]
        told[f"{name}: last labels"] = _last(lake, LABELS, fact, _OUTCOMES)
    return told


def _of(lake: Lake, table: Table, fact: dict[str, Any]) -> pl.LazyFrame:
    """The pool's rows; none is older than the pool, so older days are not opened."""
    newest = fact["created_at"].replace(year=fact["created_at"].year + 20)
    same = [pl.col(name) == fact[name] for name in ("source", "network", "pool")]
    return lake.scan(table, Span(fact["created_at"].replace(minute=0, second=0, microsecond=0), newest)).filter(*same)


def _last(lake: Lake, table: Table, fact: dict[str, Any], columns: tuple[str, ...]) -> list[dict[str, Any]]:
    rows = _of(lake, table, fact).select(columns).sort("event_time", descending=True).head(_LAST).collect()
    return rows.reverse().to_dicts()


def _token(lake: Lake, fact: dict[str, Any]) -> list[dict[str, Any]]:
    """What was told last of each fact of the pool's base token."""
    rows = lake.scan(TOKENS).filter(
        pl.col("source") == fact["source"], pl.col("network") == fact["network"], pl.col("token") == fact["base_token"]
    )
    last = rows.sort("event_time").select(pl.all().exclude("answer_id").drop_nulls().last()).collect()
    return [] if last.is_empty() or last["token"][0] is None else last.to_dicts()


def _extent(lake: Lake, table: Table, fact: dict[str, Any]) -> dict[str, Any]:
    first, last = pl.col("event_time").min().alias("first"), pl.col("event_time").max().alias("last")
    row = _of(lake, table, fact).select(pl.len().alias("rows"), first, last).collect().row(0, named=True)
    return {"table": table.name, **row}
