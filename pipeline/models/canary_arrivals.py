"""The arrival canary: no row may claim to have been known before it was told.

Belongs here: comparing `known_at` with what else says when a row was learned. Everything point-in-time rests on
`known_at`, so a row that lies about it escapes every other canary. Stays out: features and labels.
"""

from collections.abc import Mapping
from typing import Final

import polars as pl

from pipeline.models.canary_report import CanaryResult, counted
from pipeline.tables import POOL_KEY

_TRUE_SINCE: Final = ("event_time", "observed_at")
_MADE_FROM: Final = (
    ("candles", "raw_candles", {"event_time": "event_time", "timeframe": "timeframe"}, pl.col("built_from") == "ohlcv"),
    ("snapshots", "raw_pools", {"observed_at": "event_time"}, pl.lit(True)),
)
"""A table, the table it is made from, its columns that name a row there (beside the pool), and where it was."""


def check_arrivals(told: Mapping[str, pl.LazyFrame], answers: pl.LazyFrame) -> CanaryResult:
    """Rows must not be known before they are true, before their answer arrived, or before what they were made from.

    A row is true from its `event_time` and `observed_at` on, a bar from its end on. Rows whose answer or origin is
    not on record any more are counted and not judged.

    Args:
        told: by name, the tables that features are made from, and those that these are made from. Each has
            `known_at`; those with an `answer_id` are compared with the answers, `candles` with `raw_candles` and
            `snapshots` with `raw_pools` where both are given.
        answers: rows of `answers`: `source`, `answer_id`, `known_at`.
    """
    faults: dict[str, int] = {}
    n_rows = 0
    for name, rows in told.items():
        n_rows += _height(rows)
        faults[f"of {name} known before they were true"] = _height(rows.filter(pl.col("known_at") < _true_at(rows)))
        if "answer_id" in rows.collect_schema().names():
            late = _answered(rows, answers).filter(pl.col("known_at") < pl.col("answered_at"))
            faults[f"of {name} known before they were told"] = _height(late)
    for name, origin, keys, where in _MADE_FROM:
        if name in told and origin in told:
            faults[f"of {name} known before what they are made from"] = _height(
                _originated(told[name].filter(where), told[origin], keys).filter(
                    pl.col("known_at") < pl.col("origin_at")
                )
            )
    return counted("arrivals", n_rows, "rows", faults)


def _true_at(rows: pl.LazyFrame) -> pl.Expr:
    """When a row became true at the earliest."""
    names = rows.collect_schema().names()
    since: list[pl.Expr] = [pl.col(name) for name in _TRUE_SINCE if name in names] or [pl.col("created_at")]
    if "timeframe" in names:
        minutes = pl.col("timeframe").str.extract(r"^(\d+)min$").cast(pl.Int64)
        since.append(pl.col("event_time") + pl.duration(minutes=minutes))
    return pl.max_horizontal(since)


def _answered(rows: pl.LazyFrame, answers: pl.LazyFrame) -> pl.LazyFrame:
    arrived = answers.select("source", "answer_id", pl.col("known_at").alias("answered_at"))
    return rows.select("source", "answer_id", "known_at").join(arrived, on=["source", "answer_id"], how="inner")


def _originated(rows: pl.LazyFrame, origin: pl.LazyFrame, keys: Mapping[str, str]) -> pl.LazyFrame:
    """Rows beside the first time at which what they were made from was told."""
    theirs = [*POOL_KEY, *keys.values()]
    first = origin.group_by(theirs).agg(pl.col("known_at").min().alias("origin_at"))
    return rows.join(first, left_on=[*POOL_KEY, *keys], right_on=theirs, how="inner")


def _height(rows: pl.LazyFrame) -> int:
    return int(rows.select(pl.len()).collect().item())
