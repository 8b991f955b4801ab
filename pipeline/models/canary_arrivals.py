"""The arrival canary: no row may claim to have been known before it was told.

Belongs here: comparing `known_at` with what else says when a row was learned. Everything point-in-time rests on
`known_at`, so a row that lies about it escapes every other canary. Stays out: features and labels.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import polars as pl

from pipeline.models.canary_report import CanaryResult, counted
from pipeline.tables import POOL_KEY

_BAR: Final = "5m"
_TRUE_SINCE: Final = ("event_time", "observed_at")
_MADE_FROM: Final = (
    ("candles", "raw_candles", {"event_time": "event_time", "timeframe": "timeframe"}, pl.col("built_from") == "ohlcv"),
    ("candles", "trades", {"event_time": "bar"}, pl.col("built_from") == "trades"),
    ("snapshots", "raw_pools", {"observed_at": "event_time"}, pl.lit(True)),
)
"""A table, the table it is made from, its columns that name a row there (beside the pool), and where it was."""
_AS_TOLD: Final = ("open", "high", "low", "close")


@dataclass
class _Findings:
    """What was found so far: faults, and rows that could not be judged."""

    first_answer: datetime | None
    faults: dict[str, int]
    off_record: dict[str, int]

    def add(self, fault: str, rows: pl.LazyFrame, paired: pl.LazyFrame) -> None:
        """Rows beside those of them whose answer or origin is on record, with its time as `told_at`."""
        n, n_paired = _height(rows), _height(paired)
        self.faults[fault] = _height(paired.filter(pl.col("known_at") < pl.col("told_at")))
        self.off_record[fault] = n - n_paired
        if self.first_answer is not None and not n_paired:
            due = _height(rows.filter(pl.col("known_at") >= self.first_answer))
            self.faults[f"{fault} (none of them is on record)"] = due


def check_arrivals(told: Mapping[str, pl.LazyFrame], answers: pl.LazyFrame) -> CanaryResult:
    """Rows must not be known before they are true, before their answer arrived, or before what they were made from.

    A row is true from its `event_time` and `observed_at` on, a bar from its end on. A bar that was told holds the
    prices of a telling that was known by then; one made of swaps is not known before the first of them.

    Rows whose answer or origin is not on record any more are counted and not judged: answers expire first. But where
    rows were learned while answers were being kept and not one of a table's rows has its own, its times rest on
    nothing, and that is a fault. A source without answers (a recording, a simulation) has none to miss.

    Args:
        told: by name, the tables that features are made from, and those that these are made from. Each has
            `known_at`; those with an `answer_id` are compared with the answers, `candles` with `raw_candles` and
            `trades`, and `snapshots` with `raw_pools`, where both are given.
        answers: rows of `answers`: `source`, `answer_id`, `known_at`.
    """
    found = _Findings(answers.select(pl.col("known_at").min()).collect().item(), {}, {})
    n_rows = 0
    for name, rows in told.items():
        n_rows += _height(rows)
        early = rows.filter(pl.col("known_at") < _true_at(rows))
        found.faults[f"of {name} known before they were true"] = _height(early)
        if "answer_id" in rows.collect_schema().names():
            found.add(f"of {name} known before they were told", rows, _answered(rows, answers))
    for name, origin, keys, where in _MADE_FROM:
        if name in told and origin in told:
            made = told[name].filter(where)
            fault = f"of {name} known before what they are made from, {origin}"
            found.add(fault, made, _originated(made, _with_bar(told[origin]), keys))
    if "candles" in told and "raw_candles" in told:
        found.faults["of candles with prices that nobody had told by then"] = _other_prices(
            told["candles"].filter(pl.col("built_from") == "ohlcv"), told["raw_candles"]
        )
    result = counted("arrivals", n_rows, "rows", found.faults)
    lost = {f"not on record: {fault}": float(n) for fault, n in found.off_record.items() if n}
    said = f" ({sum(lost.values()):.0f} comparisons with what is not on record any more left out)" if lost else ""
    return CanaryResult(result.name, result.is_passed, result.words + said, result.numbers | lost)


def _true_at(rows: pl.LazyFrame) -> pl.Expr:
    """When a row became true at the earliest."""
    names = rows.collect_schema().names()
    since: list[pl.Expr] = [pl.col(name) for name in _TRUE_SINCE if name in names] or [pl.col("created_at")]
    if "timeframe" in names:
        minutes = pl.col("timeframe").str.extract(r"^(\d+)min$").cast(pl.Int64)
        since.append(pl.col("event_time") + pl.duration(minutes=minutes))
    return pl.max_horizontal(since)


def _answered(rows: pl.LazyFrame, answers: pl.LazyFrame) -> pl.LazyFrame:
    arrived = answers.select("source", "answer_id", pl.col("known_at").alias("told_at"))
    return rows.select("source", "answer_id", "known_at").join(arrived, on=["source", "answer_id"], how="inner")


def _originated(rows: pl.LazyFrame, origin: pl.LazyFrame, keys: Mapping[str, str]) -> pl.LazyFrame:
    """Rows beside the first time at which what they were made from was told."""
    theirs = [*POOL_KEY, *keys.values()]
    first = origin.group_by(theirs).agg(pl.col("known_at").min().alias("told_at"))
    return rows.join(first, left_on=[*POOL_KEY, *keys], right_on=theirs, how="inner")


def _with_bar(origin: pl.LazyFrame) -> pl.LazyFrame:
    """The bar each row would be in."""
    return origin.with_columns(pl.col("event_time").dt.truncate(_BAR).alias("bar"))


def _other_prices(bars: pl.LazyFrame, told: pl.LazyFrame) -> int:
    """Bars with a telling on record by the time they were known, none of which has their prices; nulls are no price."""
    key = [*POOL_KEY, "timeframe", "event_time"]
    known = {*bars.collect_schema().names()} & {*told.collect_schema().names()}
    prices = [name for name in _AS_TOLD if name in known]
    if not prices:
        return 0
    same = [(pl.col(name) == pl.col(f"{name}_told")).fill_null(value=True) for name in prices]
    pairs = bars.join(told, on=key, suffix="_told").filter(pl.col("known_at_told") <= pl.col("known_at"))
    agreed = pairs.group_by(key).agg(pl.all_horizontal(same).any().alias("is_told"))
    return _height(agreed.filter(~pl.col("is_told")))


def _height(rows: pl.LazyFrame) -> int:
    return int(rows.select(pl.len()).collect().item())
