"""For any table, a frame in which every expectation is broken in a row of its own."""

from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import islice, product

import polars as pl

from pipeline.expectations.meaning import column_rules, rules_of
from pipeline.expectations.rule import Rule, holds
from pipeline.tables import Table
from tests.builders import valid_frame

FAR = (datetime(2001, 1, 1, 0, 7, tzinfo=UTC), datetime(2040, 1, 1, 0, 7, tzinfo=UTC))
MOST_TRIED = 3_000


def candidates(table: Table, name: str) -> list[object]:
    """Values that may break a rule of the column."""
    column = table.column(name)
    if column.dtype == pl.String:
        return [*(column.values or ()), "<b>?", "", None]
    if column.dtype.is_temporal():
        return [*FAR, None]
    if column.dtype == pl.Boolean:
        return [True, False, None]
    if column.dtype == pl.Binary:
        return [None]
    if column.dtype.is_float():
        return [-1e9, -101.0, -60.0, -20.0, -1.0, 0.0, 2.0, 20.0, 60.0, 150.0, 1e9, None, float("nan")]
    return [-(10**9), -1, 0, 2, 10**9, *([10**13] if column.dtype == pl.Int64 else []), None]


def single(table: Table, rule: Rule) -> Iterator[dict[str, object]]:
    """One column at a time."""
    for name in rule.columns:
        for value in candidates(table, name):
            yield {name: value}


def several(table: Table, rule: Rule) -> Iterator[dict[str, object]]:
    """The first four columns together."""
    for values in product(*(candidates(table, name) for name in rule.columns[:4])):
        yield dict(zip(rule.columns, values, strict=False))


def planted(frame: pl.DataFrame, faults: dict[str, object], row: int = 1) -> pl.DataFrame:
    """The frame with values replaced in one row."""
    at = pl.int_range(pl.len()) == row
    return frame.with_columns(
        pl.when(at).then(pl.lit(value, frame.schema[name])).otherwise(pl.col(name)).alias(name)
        for name, value in faults.items()
    )


def fault_of(table: Table, row: pl.DataFrame, rule: Rule) -> dict[str, object]:
    """The first of the candidates that breaks the rule in this row."""
    for offered in (single, several):
        tried = list(islice(offered(table, rule), MOST_TRIED))
        names = list(dict.fromkeys(name for faults in tried for name in faults))
        base = {name: row[name][0] for name in names}
        planted_columns = [
            pl.Series(name, [faults.get(name, base[name]) for faults in tried], row.schema[name]) for name in names
        ]
        frame = row.drop(names).select(pl.all().repeat_by(len(tried)).explode()).with_columns(planted_columns)
        broken = frame.select((~holds(rule)).arg_true()).to_series()
        if len(broken):
            return tried[broken[0]]
    raise AssertionError(f"nothing that was tried breaks {rule.in_words!r} of {table.name!r}")


def broken_frame(table: Table) -> tuple[pl.DataFrame, tuple[Rule, ...]]:
    """The frame, and the rules of columns and rows in the order in which its rows break them."""
    rules = (*column_rules(table), *rules_of(table))
    frame = valid_frame(table, n_rows=len(rules) + 2)
    faults = [fault_of(table, frame[i], rule) for i, rule in enumerate(rules)]
    named = sorted({name for fault in faults for name in fault})
    columns = []
    for name in named:
        values = frame[name].to_list()
        for row, fault in enumerate(faults):
            values[row] = fault.get(name, values[row])
        columns.append(pl.Series(name, values, frame.schema[name]))
    return frame.with_columns(columns), rules
