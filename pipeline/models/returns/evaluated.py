"""QLib's expressions at the bars that are asked for.

Belongs here: evaluating expressions, instrument by instrument, and picking bars. Stays out: which bars (`rows`), the
expressions themselves (`expressions`).

QLib's `D.features` evaluates the same, but copies, slices and aligns every series for bars that nobody asked for. Here
each expression is loaded as QLib loads it, and says the same to the last bit.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import numpy as np
import polars as pl

from pipeline.models.returns.processors import Matrix
from pipeline.models.returns.qlib_session import qlib_expressions
from pipeline.models.splits import Rows


def evaluated(asked: pl.DataFrame, fields: Mapping[str, str], calendar: Sequence[datetime], freq: str) -> pl.DataFrame:
    """The asked rows with a Float32 column a field; what is not finite is null.

    Always from the start of the calendar: a series has nothing before its first bar, so that costs nothing, what a
    window sees does not depend on which bars are asked for together, and QLib computes what expressions share once.

    Args:
        asked: `instrument`, `bar` (its start, UTC), any other column.
        fields: name -> expression, none of which looks ahead.
        calendar: the provider's, in order.
    """
    place = pl.Series(calendar, dtype=asked.schema["bar"]).search_sorted(asked["bar"]).to_numpy().astype(np.int64)
    last = int(place.max(initial=0))
    loaded = [qlib_expressions().get_expression_instance(field) for field in fields.values()]
    found = np.full((len(loaded), asked.height), np.nan, np.float32)
    by_instrument = asked.with_row_index("row").group_by("instrument", maintain_order=True).agg("row")
    with np.errstate(all="ignore"):  # the logarithm of nothing is not finite, which is what becomes null
        for name, rows in by_instrument.iter_rows():
            for values, expression in zip(found, loaded, strict=True):
                values[rows] = _picked(expression.load(name, 0, last, freq), place[rows])
    told = pl.DataFrame(dict(zip(fields, found, strict=True)))
    return asked.with_columns(pl.when(column.is_finite()).then(column).alias(column.name) for column in told)


def _picked(series: Any, place: Rows) -> Matrix:
    """The values at some places of the calendar; NaN where the series, which has no gaps, does not reach."""
    if not len(series):
        return np.full(len(place), np.nan, np.float32)
    at = place - series.index[0]
    values = series.to_numpy().astype(np.float32)
    is_there = (at >= 0) & (at < len(values))
    return np.asarray(np.where(is_there, values[np.clip(at, 0, len(values) - 1)], np.float32(np.nan)))
