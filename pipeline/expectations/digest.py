"""A few values that stand for all rows of a frame, so that Great Expectations judges a sound frame in no time.

Belongs here: which values those are. Stays out: what is expected of them (`suites`) and who asks (`verdict`).

An expectation on one column holds for all rows where it holds for the column's least and greatest value, for a missing
one if there is any, and for a value outside its closed list if there is any; a rule, for whether it holds everywhere.
So the digest of a column breaks an expectation exactly where some row does. Only what is broken is asked of the rows.
"""

from collections.abc import Iterable
from typing import Any

import polars as pl


def digest(frame: pl.DataFrame, expectations: Iterable[Any], rules: dict[str, pl.Expr]) -> pl.DataFrame:
    """Up to three values of every column that is asked about, side by side; of a frame without rows, none.

    Args:
        frame: the rows.
        expectations: what will be asked; `column` is a column of the frame or a name in `rules`.
        rules: whether each rule holds, by its words.
    """
    asked = list(expectations)
    closed = {e.column: e.value_set for e in asked if e.column in frame.schema and hasattr(e, "value_set")}
    names = dict.fromkeys(e.column for e in asked)
    found = frame.lazy().select(
        expression.alias(f"{place} {name}")
        for name in names
        for place, expression in enumerate(_values(name, frame, closed, rules))
    )
    row = found.collect().row(0)
    dtypes = {name: frame.schema.get(name, pl.Boolean()) for name in names}
    columns = [pl.Series(name, row[3 * i : 3 * i + 3], dtypes[name], strict=False) for i, name in enumerate(names)]
    return pl.DataFrame(columns) if frame.height else pl.DataFrame(columns).clear()


def _values(
    name: str, frame: pl.DataFrame, closed: dict[str, list[Any]], rules: dict[str, pl.Expr]
) -> tuple[pl.Expr, pl.Expr, pl.Expr]:
    if name in rules:
        holds = rules[name].fill_null(value=True).all()
        return holds, holds, holds
    value, dtype = pl.col(name), frame.schema[name]
    is_missing = value.is_null() | value.is_nan() if dtype.is_float() else value.is_null()
    if dtype in (pl.String, pl.Binary):
        # An odd value, if there is one; a text without a closed list is asked whether it is there, and no more.
        odd = value.filter(~value.is_in(closed[name])).first() if name in closed else value.drop_nulls().first()
        low, high = pl.coalesce(odd, value.drop_nulls().first()), value.drop_nulls().first()
    else:
        low, high = value.min(), value.max()
    return low, high, pl.when(is_missing.any()).then(None).otherwise(high)
