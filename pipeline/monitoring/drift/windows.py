"""Which rows are compared: pools at the same ages, born in a stretch of time, that had the time to reach all of them.

Belongs here: the choice of rows, the same for the reference and for what is looked at. Stays out: any figure.

A short window of decisions holds young pools beside a reference of all ages, and differs from it with no drift at all.
So a window is one of *births*: a pool is in it with all of its first hours or not at all. On both sides a pool has one
row an age, its first within the tolerance, and every pool had the same time to get there.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

import polars as pl

from pipeline.calendars import HOUR, require_utc
from pipeline.errors import UsageError

GROUP: Final = ("network", "pool")
"""The statistical unit; a source is chosen before."""
_MICROSECONDS_AN_HOUR: Final = 3_600_000_000


@dataclass(frozen=True)
class Ages:
    """The ages at which pools are decided on, and how much later a row still stands for one.

    Raises:
        UsageError: no age, or ages so close that one row would stand for two.
    """

    hours: tuple[int, ...]
    tolerance_hours: int

    def __post_init__(self) -> None:
        pairs = zip(self.hours, self.hours[1:], strict=False)
        if not self.hours or any(later - sooner < self.tolerance_hours for sooner, later in pairs):
            raise UsageError(f"expected rising ages at least {self.tolerance_hours!r} h apart, found {self.hours!r}")

    def up_to(self, last_age_hours: int) -> "Ages":
        """The ages of the first hours; the youngest one where all are older."""
        young = tuple(hours for hours in self.hours if hours <= last_age_hours)
        return Ages(young or self.hours[:1], self.tolerance_hours)

    @property
    def settled(self) -> timedelta:
        """How long after its birth a pool has a row at every age, if it ever has."""
        return (self.hours[-1] + self.tolerance_hours) * HOUR


@dataclass(frozen=True)
class Births:
    """A stretch of births, `after` < born <= `until`, UTC; empty where it ends before it begins."""

    after: datetime
    until: datetime

    def __post_init__(self) -> None:
        require_utc(self.after)
        require_utc(self.until)


def births(now: datetime, ages: Ages, window: timedelta, *, not_before: datetime, wait: timedelta) -> Births:
    """The pools that have all of their ages, and whose labels need no longer than `wait`, in a window up to `now`.

    Args:
        not_before: pools born by then are left out, such as those that a model learned from.
        wait: zero for what is known at once; for labels their horizon, and how long they may come late.
    """
    until = now - ages.settled - wait
    return Births(max(until - window, not_before), until)


def at_ages(rows: pl.LazyFrame, ages: Ages, born: Births | None = None) -> pl.LazyFrame:
    """One row a pool and age: its first at or after the age, within the tolerance; of pools born in `born`.

    Args:
        rows: `network`, `pool`, `event_time`, `age_hours` and whatever else; rows of unknown age are left out.

    Returns:
        the same columns, and `at_age` (h) and `born` (when the pool was created, by its first row).
    """
    age = pl.col("age_hours")
    at_age = pl.coalesce(
        pl.when(age >= hours, age < hours + ages.tolerance_hours).then(pl.lit(hours, pl.Int32)) for hours in ages.hours
    )
    birth = pl.col("event_time") - pl.duration(microseconds=(age * _MICROSECONDS_AN_HOUR).round().cast(pl.Int64))
    chosen = (
        rows.filter(age.is_not_null())
        .with_columns(at_age.alias("at_age"), birth.min().over(GROUP).alias("born"))
        .filter(pl.col("at_age").is_not_null())
        .filter(pl.col("event_time") == pl.col("event_time").min().over(*GROUP, "at_age"))
    )
    return chosen if born is None else chosen.filter(pl.col("born") > born.after, pl.col("born") <= born.until)


def n_pools(rows: pl.DataFrame) -> int:
    """How many pools there are."""
    return rows.select(GROUP).n_unique()


def drawn(rows: pl.DataFrame, n: int, seed: int) -> pl.DataFrame:
    """All rows of at most `n` pools, drawn by the seed; in order of pool and time."""
    pools = rows.select(GROUP).unique().sort(GROUP)
    chosen = pools if pools.height <= n else pools.sample(n, seed=seed, shuffle=True)
    return rows.join(chosen, on=list(GROUP), how="semi").sort(*GROUP, "event_time")


def mean_of_pools(rows: pl.DataFrame, columns: Sequence[str]) -> pl.DataFrame:
    """One row a pool, in order: the mean of its rows, and the day of its birth as `day`."""
    return (
        rows.group_by(GROUP, maintain_order=True)
        .agg(pl.col(columns).mean(), pl.col("born").min().dt.truncate("1d").alias("day"))
        .sort(GROUP)
    )
