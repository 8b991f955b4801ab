"""What a row must mean beyond what its single columns may hold.

Belongs here: rules between columns, as Polars expressions with their words. Stays out: bounds, nulls and value
sets of one column (the table's spec says those) and how a rule is judged (`suites`, `verdict`).

Most rules follow from a spec, for every table that has the columns; `_OF_TABLE` holds those that only
one table has. A rule is true where it holds, false where it is broken, null where it does not apply.
"""

from dataclasses import dataclass, field
from datetime import timedelta
from itertools import pairwise
from typing import Final

import polars as pl

from pipeline.tables import OUTCOMES, WINDOWS_MINUTES, Table

_SLACK: Final = 1e-9
"""Relative; sums of floats over nested windows are made in different orders."""

_CLOCKS_DIFFER: Final = timedelta(minutes=5)


@dataclass(frozen=True)
class Rule:
    """One rule: its words, the columns it speaks of, and where it holds."""

    words: str
    columns: tuple[str, ...]
    holds: pl.Expr = field(compare=False, repr=False)


def rules_of(table: Table) -> tuple[Rule, ...]:
    """Every rule of the table that speaks of one row; that the key is unique speaks of all and is not among them.

    >>> from pipeline.tables import CANDLES
    >>> [rule.words for rule in rules_of(CANDLES)][-1]
    'quote_reserve_low <= quote_reserve_close'
    """
    return (*_finite(table), *_known_after(table), *_probabilities(table), *_OF_TABLE.get(table.name, ()))


def key_words(table: Table) -> str:
    """The rule that the key is unique, in words."""
    return f"({', '.join(table.key)}) is unique"


def _finite(table: Table) -> tuple[Rule, ...]:
    return tuple(
        Rule(f"{c.name} is a finite number or missing", (c.name,), pl.col(c.name).is_finite())
        for c in table.columns
        if c.dtype.is_float()
    )


def _known_after(table: Table) -> tuple[Rule, ...]:
    names = table.schema.names()
    true_since = "event_time" if "event_time" in names else "created_at"
    both = table.as_of != true_since and table.as_of in names and true_since in names
    return (_ordered(true_since, table.as_of),) if both else ()


def _probabilities(table: Table) -> tuple[Rule, ...]:
    columns = tuple(f"p_{outcome}" for outcome in OUTCOMES)
    if not set(columns) <= set(table.schema.names()):
        return ()
    total = pl.sum_horizontal(columns, ignore_nulls=False)
    return (Rule("the probabilities sum to one within 1e-6", columns, (total - 1).abs() <= 1e-6),)


def _ordered(low: str, high: str, slack: float = 0.0) -> Rule:
    upper = pl.col(high) * (1 + slack) if slack else pl.col(high)
    return Rule(f"{low} <= {high}", (low, high), pl.col(low) <= upper)


def _iff(column: str, words: str, condition: pl.Expr, of: str) -> Rule:
    return Rule(f"{column} is set if and only if {words}", (column, of), pl.col(column).is_not_null() == condition)


def _only(column: str, status: str) -> Rule:
    words = f"{column} is set only where status is {status}"
    return Rule(words, (column, "status"), pl.col(column).is_null() | (pl.col("status") == status))


def _together(column: str, other: str) -> Rule:
    return _iff(column, f"{other} is", pl.col(other).is_not_null(), other)


def _nested(prefix: str, suffix: str, slack: float = 0.0) -> tuple[Rule, ...]:
    windows = sorted(WINDOWS_MINUTES, key=WINDOWS_MINUTES.__getitem__)
    return tuple(_ordered(f"{prefix}_{a}{suffix}", f"{prefix}_{b}{suffix}", slack) for a, b in pairwise(windows))


_BAR: Final = (
    _ordered("low", "high"),
    _ordered("open", "high"),
    _ordered("close", "high"),
    _ordered("low", "open"),
    _ordered("low", "close"),
)

_OF_TABLE: Final[dict[str, tuple[Rule, ...]]] = {
    "answers": (_ordered("asked_at", "event_time"),),
    "raw_pools": (
        # The clock of the chain and ours may differ by a little, never by more.
        Rule(
            "created_at <= event_time + 5 min",
            ("created_at", "event_time"),
            pl.col("created_at") <= pl.col("event_time") + _CLOCKS_DIFFER,
        ),
    ),
    # As told: the API's open is the close of the bar before and may lie outside. `told_candles` judges the rest.
    "raw_candles": (_ordered("low", "high"),),
    "collections": (
        _ordered("births_from", "births_until"),
        _ordered("n_found_late", "n_found"),
        _ordered("n_observed_late", "n_observed"),
    ),
    "reserves": (_together("base_reserve_before", "quote_reserve_before"),),
    "candles": (*_BAR, _together("n_buys", "n_sells"), _ordered("quote_reserve_low", "quote_reserve_close")),
    "snapshots": (
        _ordered("created_at", "event_time"),
        _ordered("observed_at", "event_time"),
        *_nested("volume", "_usd", _SLACK),
        *_nested("n_buys", ""),
        *_nested("n_sells", ""),
    ),
    "labels": (
        _iff("outcome", "status is labelled", pl.col("status") == "labelled", "status"),
        _iff("censor_reason", "status is censored", pl.col("status") == "censored", "status"),
        _ordered("return_trough_pct", "return_peak_pct"),
        _iff("rug_kind", "the outcome is RUG", (pl.col("outcome") == "RUG").fill_null(value=False), "outcome"),
        _ordered("event_time", "executable_entry_at"),
        _iff("label_known_at", "status is labelled", pl.col("status") == "labelled", "status"),
        _together("executable_entry_at", "return_executable_pct"),
        _together("path_known_at", "return_end_pct"),
        _ordered("label_known_at", "path_known_at"),
        Rule(
            "average_uniqueness is above zero",
            ("average_uniqueness",),
            pl.col("average_uniqueness") > 0,
        ),
    ),
    "market_labels": (
        _iff("value", "status is labelled", pl.col("status") == "labelled", "status"),
        _iff("censor_reason", "status is censored", pl.col("status") == "censored", "status"),
        _iff("label_known_at", "status is labelled", pl.col("status") == "labelled", "status"),
        Rule(
            "a regime is bull, bear or sideways, a rotation into_base, into_pools or none",
            ("kind", "value"),
            (pl.col("kind") == "regime") == pl.col("value").is_in(["bull", "bear", "sideways"]),
        ),
    ),
    "bin_exports": (_ordered("first_time", "last_time"),),
    "training_sets": (_ordered("first_time", "last_time"),),
    "outcomes": (
        _only("outcome", "labelled"),
        _only("censor_reason", "censored"),
        _together("label_known_at", "outcome"),
        _together("log_loss", "outcome"),
        _ordered("event_time", "predicted_at"),
        _ordered("predicted_at", "known_at"),
        _ordered("label_known_at", "known_at"),
        Rule(
            "evidence was said before its outcome was known",
            ("predicted_at", "label_known_at", "is_evidence"),
            ~pl.col("is_evidence") | (pl.col("predicted_at") < pl.col("label_known_at")),
        ),
    ),
    "figures": (_ordered("low", "high"),),
    "comparisons": (_ordered("gain_low_pct", "gain_high_pct"),),
}
