"""What a feature is: a named formula over a snapshot and values from before it.

Belongs here: the definition's shape, the decorator that makes one, and the two ways of looking back.
Stays out: the formulas (one module a family), and the computing of what looks back (`steps`).

A formula is a Polars expression over one row. It never shifts or joins by itself: what it needs from other rows it
names as `Lagged` or `Highest` input, so no formula can reach another pool or the future.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

import polars as pl

from pipeline.calendars import MINUTE
from pipeline.errors import UsageError
from pipeline.features.spec import FeaturesSpec
from pipeline.tables import FEATURES, SNAPSHOTS, Column

Family = Literal["core", "momentum", "trends", "patterns", "activity"]
Formula = Callable[[FeaturesSpec], pl.Expr]


def _minutes(length: timedelta) -> int:
    return length // MINUTE


@dataclass(frozen=True)
class Now:
    """A column of the snapshot itself."""

    column: str

    @property
    def name(self) -> str:
        """The column a formula reads."""
        return self.column

    @property
    def look_back(self) -> timedelta:
        """None at all."""
        return timedelta(0)

    @property
    def expr(self) -> pl.Expr:
        """The value, as a formula uses it."""
        return pl.col(self.name)


@dataclass(frozen=True)
class Lagged(Now):
    """The column as the pool's latest snapshot at or before t - `ago` had it; null if that one is too old."""

    ago: timedelta

    @property
    def name(self) -> str:
        """The column a formula reads.

        >>> Lagged("reserve_usd", timedelta(hours=1)).name
        'reserve_usd__60min_ago'
        """
        return f"{self.column}__{_minutes(self.ago)}min_ago"

    @property
    def look_back(self) -> timedelta:
        """As far as it reaches, tolerance not counted."""
        return self.ago


@dataclass(frozen=True)
class Highest(Now):
    """The largest value of the column over the pool's snapshots in (t - `window`, t]; nulls are passed over."""

    window: timedelta

    @property
    def name(self) -> str:
        """The column a formula reads.

        >>> Highest("reserve_usd", timedelta(hours=1)).name
        'reserve_usd__60min_max'
        """
        return f"{self.column}__{_minutes(self.window)}min_max"

    @property
    def look_back(self) -> timedelta:
        """As far as it reaches."""
        return self.window


@dataclass(frozen=True)
class Example:
    """One worked case: the inputs by the names a formula reads, and what the formula must give."""

    given: Mapping[str, object]
    gives: float | int | bool | None


@dataclass(frozen=True)
class Feature:
    """One column of FEATURES. Unit, range, dtype and meaning are the table's and are not repeated here."""

    name: str
    family: Family
    inputs: tuple[Now, ...]
    look_back: timedelta
    null_rule: str
    example: Example
    formula: Formula

    @property
    def column(self) -> Column:
        """What the vocabulary says of it: meaning, unit, range, dtype."""
        return FEATURES.column(self.name)

    def expr(self, spec: FeaturesSpec) -> pl.Expr:
        """The formula under a spec, under the feature's name and dtype; what is not finite is null."""
        value = self.formula(spec)
        if self.column.dtype == pl.Float64():
            value = pl.when(value.is_finite()).then(value)
        return value.cast(self.column.dtype).alias(self.name)


def feature(
    name: str, *, family: Family, inputs: tuple[Now, ...], look_back: timedelta, null_rule: str, example: Example
) -> Callable[[Formula], Feature]:
    """Make a feature of a formula.

    Args:
        name: a column of FEATURES.
        family: the module it lives in.
        inputs: everything the formula reads.
        look_back: how far before the snapshot it reaches over other snapshots.
        null_rule: when it is null, in words.
        example: a worked case, run as a test.

    Raises:
        UsageError: the name or an input is in no table, or look-back and inputs do not agree.
    """
    FEATURES.column(name)
    for read in inputs:
        SNAPSHOTS.column(read.column)
    reach = max(read.look_back for read in inputs)
    if reach != look_back:
        raise UsageError(
            f"feature {name!r} declares look-back {look_back!r}, its inputs reach {reach!r}: make them agree"
        )
    if set(example.given) != {read.name for read in inputs}:
        raise UsageError(f"feature {name!r}: the example gives {set(example.given)!r}; give exactly its inputs")

    def define(formula: Formula) -> Feature:
        return Feature(name, family, inputs, look_back, null_rule, example, formula)

    return define


def now(*columns: str) -> tuple[Now, ...]:
    """Inputs that are columns of the snapshot itself."""
    return tuple(Now(column) for column in columns)


def ratio(part: pl.Expr, whole: pl.Expr) -> pl.Expr:
    """`part / whole`; null where the whole is zero, never infinite.

    >>> pl.select(ratio(pl.lit(1.0), pl.lit(0.0))).item() is None
    True
    """
    return pl.when(whole != 0).then(part / whole)


def change_pct(value: pl.Expr, before: pl.Expr) -> pl.Expr:
    """100 (value / before - 1), in per cent; null where there was nothing before."""
    return (ratio(value, before) - 1) * 100
