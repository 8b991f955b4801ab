"""What a feature is: a named formula over one row of inputs.

Belongs here: the definition's shape and the decorator that makes one. Stays out: formulas (one module a family), what
a formula may ask for (`inputs`) and may do with it (`algebra`).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property
from math import isfinite
from typing import Any, Final, Literal

import polars as pl

from pipeline.errors import UsageError
from pipeline.features.algebra import Known, Value
from pipeline.features.inputs import Columns, Input, Row, Values, dtype_of
from pipeline.features.spec import FeaturesSpec
from pipeline.tables import FAMILY_COLUMNS, Column

Family = Literal[
    "core", "momentum", "smart_money", "trends", "patterns", "sentiment", "activity", "technical", "market",
    "correlation", "flow",
]  # fmt: skip
Formula = Callable[[Row, FeaturesSpec], Value]
_PYTHON: Final[Mapping[Any, Callable[[float], float | bool]]] = {
    pl.Float64(): float, pl.Int64(): int, pl.Boolean(): bool,
}  # fmt: skip


@dataclass(frozen=True)
class Example:
    """One worked case: the inputs by the names a formula reads, and what the formula must give."""

    given: Mapping[str, float | bool | None]
    gives: float | int | bool | None


@dataclass(frozen=True)
class Feature:
    """One column of FEATURES. Unit, range, dtype and meaning are the table's and are not repeated here."""

    name: str
    family: Family
    inputs: tuple[Input, ...]
    null_rule: str
    example: Example
    formula: Formula
    needs_all: bool = True

    @cached_property
    def column(self) -> Column:
        """What the vocabulary says of it: meaning, unit, range, dtype."""
        return next(column for column in FAMILY_COLUMNS[self.family] if column.name == self.name)

    @cached_property
    def _as_python(self) -> Callable[[float], float | bool]:
        return _PYTHON[self.column.dtype]

    @property
    def look_back(self) -> timedelta:
        """How far before the snapshot its inputs reach."""
        return max((read.look_back for read in self.inputs), default=timedelta(0))

    def expr(self, spec: FeaturesSpec) -> pl.Expr:
        """The formula under a spec, under the feature's name and dtype; what is not finite is null."""
        value = self.formula(Columns(), spec)
        if self.column.dtype == pl.Float64():
            value = pl.when(value.is_finite()).then(value)
        expr: pl.Expr = value.cast(self.column.dtype).alias(self.name)
        return expr

    def worked(self) -> pl.DataFrame:
        """The example's inputs as a frame of one row."""
        return pl.DataFrame(
            {read.name: pl.Series([self.example.given[read.name]], dtype=_dtype(self, read)) for read in self.inputs}
        )

    def value(self, row: Mapping[str, float | bool | None], spec: FeaturesSpec) -> float | bool | None:
        """The same for one row of inputs, by their names."""
        return self.of(Values(row), spec)

    def of(self, row: Values, spec: FeaturesSpec) -> float | bool | None:
        """The same for one row of inputs that several features read."""
        found: Known = self.formula(row, spec)
        value = found.value
        if value is None or not isfinite(value):
            return None
        return self._as_python(value)


def feature(
    name: str, *, family: Family, inputs: tuple[Input, ...], null_rule: str, example: Example, needs_all: bool = True
) -> Callable[[Formula], Feature]:
    """Make a feature of a formula.

    Args:
        name: a column of the family's table.
        family: the module it lives in.
        inputs: everything the formula reads.
        null_rule: when it is null, in words.
        example: a worked case, run as a test.
        needs_all: it is null as soon as one input is.

    Raises:
        UsageError: the name is in no table, or the example does not give exactly the inputs.
    """
    if name not in {column.name for column in FAMILY_COLUMNS[family]}:
        raise UsageError(f"family {family!r} has no column {name!r} in `pipeline.tables.featured`: add it there")
    if set(example.given) != {read.name for read in inputs}:
        raise UsageError(f"feature {name!r}: the example gives {set(example.given)!r}; give exactly its inputs")

    def define(formula: Formula) -> Feature:
        return Feature(name, family, inputs, null_rule, example, formula, needs_all)

    return define


def _dtype(one: Feature, read: Input) -> pl.DataType | type[pl.DataType] | None:
    """What the engine gives; of engines that give whatever is right for their field, what the example shows."""
    given = one.example.given[read.name]
    return dtype_of(read) if given is None or read.engine in {"snapshots", "tokens"} else None
