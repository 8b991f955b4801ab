"""Everything a table's rows must hold to, as Polars expressions with their words.

Belongs here: the rules of one column, made from its spec, and the rules that follow from a spec for every table that
has the columns. Stays out: rules that only one table has (`of_observed`, `of_derived`, `of_served`) and how a rule is
judged (`suites`, `verdict`, `triage`).

Suites, verdicts and the quarantine are all made from these rules, so what a row must be is written once. Where a rule
is a warning, it says so where it is made: things that others told, and that do us no harm if they are wrong.
"""

from functools import cache
from typing import Final

import polars as pl

from pipeline.expectations.bands import BANDS, OutcomeBands
from pipeline.expectations.of_derived import derived
from pipeline.expectations.of_observed import OBSERVED
from pipeline.expectations.of_served import served
from pipeline.expectations.rule import Rule, ordered
from pipeline.tables import OUTCOMES, Column, Table

_PROBABILITIES: Final = tuple(f"p_{outcome}" for outcome in OUTCOMES)


def rules_of(table: Table, bands: OutcomeBands = BANDS) -> tuple[Rule, ...]:
    """Every rule of the table between columns of one row, and of every real number that it is one.

    >>> from pipeline.tables import CANDLES
    >>> [rule.words for rule in rules_of(CANDLES)][-2:]
    ["event_time is a bar's start", "known_at is not before the bar's end"]
    """
    return tuple(rule for rule in _all_rules(table, bands) if rule.kind != "frame")


def frame_rules(table: Table, bands: OutcomeBands = BANDS) -> tuple[Rule, ...]:
    """The rules that speak of all rows together, beside the one that the key is unique."""
    return tuple(rule for rule in _all_rules(table, bands) if rule.kind == "frame")


def column_rules(table: Table) -> tuple[Rule, ...]:
    """What each column's spec says of its values: never missing, within its bounds, one of its values."""
    return tuple(rule for column in table.columns for rule in _of_column(column))


def key_words(table: Table) -> str:
    """The rule that the key is unique, in words."""
    return f"({', '.join(table.key)}) is unique"


@cache
def _all_rules(table: Table, bands: OutcomeBands) -> tuple[Rule, ...]:
    own = {**OBSERVED, **derived(bands), **served(bands)}.get(table.name, ())
    general = (*_finite(table), *_known_after(table), *_probabilities(table))
    said = {rule.words for rule in general}
    return (*general, *(rule for rule in own if rule.words not in said))


def _of_column(column: Column) -> list[Rule]:
    name, value, found = (column.name,), pl.col(column.name), []
    if not column.nullable:
        found.append(Rule("is never missing", name, value.is_not_null(), kind="missing"))
    if column.bounds:
        low = True if column.minimum is None else value >= column.minimum
        high = True if column.maximum is None else value <= column.maximum
        # What is no number lies within no bounds and outside of none; another rule speaks of it.
        number = pl.when(value.is_not_nan()) if column.dtype.is_float() else pl.when(pl.lit(value=True))
        unit = "" if column.unit in ("", "1") else f" {column.unit}"
        words = f"is {column.bounds}{unit}"
        found.append(Rule(words, name, number.then(pl.lit(value=True) & low & high), kind="bounds"))
    if column.values is not None:
        words = f"is one of {', '.join(column.values)}"
        found.append(Rule(words, name, value.is_in(list(column.values)), kind="values"))
    return found


def _finite(table: Table) -> tuple[Rule, ...]:
    return tuple(
        Rule(f"{c.name} is a finite number or missing", (c.name,), pl.col(c.name).is_finite(), kind="finite")
        for c in table.columns
        if c.dtype.is_float()
    )


def _known_after(table: Table) -> tuple[Rule, ...]:
    """What we know, we learned when it was true or later."""
    names = table.schema.names()
    true_since = "event_time" if "event_time" in names else "created_at"
    learned = [name for name in dict.fromkeys((table.as_of, "known_at")) if name in names and name != true_since]
    return tuple(ordered(true_since, name) for name in learned) if true_since in names else ()


def _probabilities(table: Table) -> tuple[Rule, ...]:
    if not set(_PROBABILITIES) <= set(table.schema.names()):
        return ()
    total = pl.sum_horizontal(_PROBABILITIES, ignore_nulls=False)
    return (Rule("the probabilities sum to one within 1e-6", _PROBABILITIES, (total - 1).abs() <= 1e-6),)
