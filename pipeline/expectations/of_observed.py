"""What a row must mean in the tables of what was observed.

Belongs here: rules of one table each. Stays out: rules that follow from a spec for every table (`meaning`).
"""

from datetime import timedelta
from itertools import combinations
from typing import Final

import polars as pl

from pipeline.expectations.rule import (
    CLOCKS_DIFFER,
    SLACK,
    Rule,
    in_order,
    nested,
    on_grid,
    ordered,
    together,
)
from pipeline.tables import API_WINDOWS, WINDOWS_MINUTES

_GRID: Final = timedelta(minutes=5)
_WINDOWS: Final = sorted(WINDOWS_MINUTES, key=WINDOWS_MINUTES.__getitem__)


def _soon_after(column: str, other: str) -> Rule:
    words = f"{column} <= {other} + 5 min"
    return Rule(words, (column, other), pl.col(column) <= pl.col(other) + CLOCKS_DIFFER)


def _within_a_step() -> Rule:
    words = "observed_at is less than one grid step before event_time"
    return Rule(words, ("observed_at", "event_time"), pl.col("event_time") - pl.col("observed_at") < _GRID)


def _above_zero(column: str) -> Rule:
    return Rule(f"{column} is above zero", (column,), pl.col(column) > 0)


def _grows(prefix: str, suffix: str) -> Rule:
    names = [f"{prefix}_{w}{suffix}" for w in API_WINDOWS]
    pairs = [(pl.col(a) <= pl.col(b) * (1 + SLACK)).fill_null(value=True) for a, b in combinations(names, 2)]
    words = f"{prefix}_*{suffix} does not fall from a window to a longer one"
    return Rule(words, tuple(names), pl.all_horizontal(pairs), "warning")


def _fewer(who: str, what: str) -> Rule:
    names = [(f"{who}_{w}", f"{what}_{w}") for w in API_WINDOWS]
    pairs = [(pl.col(a) <= pl.col(b)).fill_null(value=True) for a, b in names]
    columns = tuple(name for pair in names for name in pair)
    return Rule(f"{who}_* is not above {what}_*, window by window", columns, pl.all_horizontal(pairs), "warning")


_BAR: Final = tuple(ordered(*pair) for pair in (("low", "high"), ("open", "high"), ("close", "high"), ("low", "open"),
                                                ("low", "close")))  # fmt: skip
_TWO_TOKENS: Final = Rule(
    "base_token is not quote_token",
    ("base_token", "quote_token"),
    pl.col("base_token") != pl.col("quote_token"),
    "warning",
)
_RECORD: Final = (
    Rule("record_id is a SHA-256", ("record_id",), pl.col("record_id").str.contains("^[0-9a-f]{64}$")),
    Rule("reason says something", ("reason",), pl.col("reason").str.len_chars() > 0),
)
_CHAIN_ORDER: Final = ("block", "tx_index", "log_index")

OBSERVED: Final[dict[str, tuple[Rule, ...]]] = {
    "answers": (
        ordered("asked_at", "event_time"),
        Rule("status is an HTTP status", ("status",), pl.col("status").is_between(100, 599)),
    ),
    "collections": (
        ordered("births_from", "births_until"),
        ordered("n_found_late", "n_found"),
        ordered("n_observed_late", "n_observed"),
        ordered("n_failed", "n_calls"),
        in_order("births_until", ("event_time",), ("source", "network", "collector"), "warning"),
    ),
    "raw_pools": (
        _soon_after("created_at", "event_time"),
        _TWO_TOKENS,
        # As told: the API sums each window by itself, and its windows need not fit into one another.
        *(
            _grows(what, suffix)
            for what, suffix in (
                ("volume", "_usd"),
                ("n_buys", ""),
                ("n_sells", ""),
                ("n_buyers", ""),
                ("n_sellers", ""),
            )
        ),
        _fewer("n_buyers", "n_buys"),
        _fewer("n_sellers", "n_sells"),
    ),
    # As told: an order of blocks that the API tells in another order is its word against the chain's.
    "trades": (in_order("event_time", ("block",), ("source", "network"), "warning"),),
    # As told: the API's open is the close of the bar before and may lie outside. `told_candles` judges the rest.
    "raw_candles": (
        ordered("low", "high"),
        on_grid("event_time", "5m", "a bar's start"),
        ordered("low", "close", 0.0, "warning"),
        ordered("close", "high", 0.0, "warning"),
    ),
    "reserves": (
        together("base_reserve_before", "quote_reserve_before"),
        _above_zero("base_reserve"),
        _above_zero("quote_reserve"),
        in_order("event_time", _CHAIN_ORDER, ("source", "network")),
    ),
    "pools": (
        ordered("created_at", "watched_until"),
        _TWO_TOKENS,
    ),
    "candles": (
        *_BAR,
        together("n_buys", "n_sells"),
        ordered("quote_reserve_low", "quote_reserve_close"),
        on_grid("event_time", "5m", "a bar's start"),
        Rule(
            "known_at is not before the bar's end",
            ("known_at", "event_time"),
            pl.col("known_at") >= pl.col("event_time") + _GRID,
        ),
    ),
    "quarantine": _RECORD,
    "releases": _RECORD,
    "snapshots": (
        ordered("created_at", "event_time"),
        ordered("observed_at", "event_time"),
        ordered("observed_at", "known_at"),
        _within_a_step(),
        on_grid("event_time", "5m", "a point of the grid"),
        *nested("volume", "_usd", _WINDOWS, SLACK),
        *nested("n_buys", "", _WINDOWS),
        *nested("n_sells", "", _WINDOWS),
    ),
}
