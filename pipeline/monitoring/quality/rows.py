"""Rows that are there twice, and how the outcomes are spread.

Belongs here: what is said of rows as a whole, each pool counting once. Stays out: what is too much (`score`).
"""

import math
from collections.abc import Sequence
from typing import Final

import polars as pl

from pipeline.monitoring.quality.columns import pool_of

ENOUGH: Final = 3
"""Rows with fewer numbers other than zero say too little for two of them to be called copies."""


def repeated(frame: pl.DataFrame, by: Sequence[str], unit: Sequence[str]) -> float:
    """The share of rows that repeat an earlier one in the columns `by`, a mean over pools.

    >>> repeated(pl.DataFrame({"k": [1, 1, 2, 3]}), ["k"], [])
    0.25
    """
    if frame.is_empty() or not by:
        return 0.0
    marks = _marks(frame.select(by))
    is_again = pl.DataFrame({"mark": marks}).select(~pl.col("mark").is_first_distinct()).to_series()
    return _mean_over_pools(frame, is_again, unit)


def copied(frame: pl.DataFrame, key: Sequence[str], unit: Sequence[str]) -> float | None:
    """The share of rows whose numbers are all those of a row of another pool; None where that cannot be told.

    Only rows with at least three numbers other than zero are looked at: two pools in which nothing happened are alike.
    """
    numbers = [name for name, dtype in frame.schema.items() if dtype.is_float() and name not in key]
    if not unit or len(numbers) < ENOUGH or frame.is_empty():
        return None
    told = frame.select(numbers)
    is_telling = told.select(
        pl.sum_horizontal((pl.col(name) != 0).fill_null(value=False) for name in numbers) >= ENOUGH
    ).to_series()
    pool = frame.select(pool_of(unit)).to_series()
    same = pl.DataFrame({"mark": _marks(told), "pool": pool}).select(pl.col("pool").n_unique().over("mark") > 1)
    return _mean_over_pools(frame, same.to_series() & is_telling, unit)


def spread(frame: pl.DataFrame, label: str, unit: Sequence[str]) -> dict[str, float]:
    """How frequent each outcome is: the mean over pools of its share of the pool's rows; missing ones are left out."""
    told = frame.select(pl.col(label).cast(pl.String).alias("label"), *unit).drop_nulls("label")
    if told.is_empty():
        return {}
    if not unit:
        counted = told.group_by("label").agg((pl.len() / told.height).alias("share"))
    else:
        by_pool = told.select("label", pool_of(unit)).with_columns(share=1 / pl.len().over("pool"))
        counted = by_pool.group_by("label").agg(pl.col("share").sort().sum() / by_pool["pool"].n_unique())
    return {str(name): float(share) for name, share in counted.sort("label").iter_rows()}


def imbalance(shares: dict[str, float], classes: Sequence[str] = ()) -> float | None:
    """The most frequent against the least frequent; None: there are fewer than two, or one never came.

    >>> imbalance({"a": 0.75, "b": 0.25})
    3.0
    """
    told = [shares.get(name, 0.0) for name in classes] if classes else list(shares.values())
    return max(told) / min(told) if len(told) > 1 and min(told) > 0 else None


def evenness(shares: dict[str, float], classes: Sequence[str] = ()) -> float | None:
    """Entropy of the shares against that of equal ones (Pielou 1966), 0 to 1; None: there are no two classes to share.

    >>> evenness({"a": 0.5, "b": 0.5}), round(evenness({"a": 10 / 11, "b": 1 / 11}), 3)
    (1.0, 0.439)
    """
    n = len(classes) or len(shares)
    if not shares or (n < 2 and classes):
        return None
    entropy = -sum(share * math.log(share) for share in shares.values() if share > 0)
    return max(0.0, min(1.0, entropy / math.log(n))) if n > 1 else 0.0


def _marks(frame: pl.DataFrame) -> pl.Series:
    """A number a row, equal where rows are: nested values by what they say."""
    nested = [name for name, dtype in frame.schema.items() if dtype.is_nested() or dtype in (pl.Object, pl.Null)]
    as_text = [pl.Series(name, [repr(value) for value in frame[name].to_list()]) for name in nested]
    return frame.with_columns(as_text).hash_rows(seed=1)


def _mean_over_pools(frame: pl.DataFrame, is_so: pl.Series, unit: Sequence[str]) -> float:
    told = is_so.alias("is so").to_frame()
    if unit:
        told = told.with_columns(frame.select(pool_of(unit)).to_series()).group_by("pool").agg(pl.mean("is so"))
    return float(told["is so"].sort().mean() or 0.0)  # type: ignore[arg-type]  # of flags a mean is a number
