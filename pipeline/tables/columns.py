"""What a column, a change of one, and a table are, and the columns that many tables share.

Stays out: the tables themselves (the other modules), and what a table was before its changes (`changes`).
"""

from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final

import polars as pl

from pipeline.errors import UsageError

UTC: Final = pl.Datetime("us", "UTC")

OUTCOMES: Final = ("RUG", "MOON", "PUMP", "RISE", "STABLE", "DIP", "DECLINE")
"""What may become of a pool, in the order of a model's classes; thresholds are in `pipeline.labels.spec`."""

HORIZONS_HOURS: Final = (1, 6, 24)
WINDOWS_MINUTES: Final = {"m5": 5, "h1": 60, "h6": 360, "h24": 1440}
"""The trailing windows of a snapshot, named as the GeckoTerminal API names them."""


@dataclass(frozen=True)
class Column:
    """One column: what it holds and what it may hold.

    `minimum` and `maximum` are inclusive and in the column's own unit; `values` closes a text column.
    """

    name: str
    dtype: pl.DataType | type[pl.DataType]
    meaning: str
    unit: str = ""
    nullable: bool = False
    minimum: float | None = None
    maximum: float | None = None
    values: tuple[str, ...] | None = None

    @property
    def bounds(self) -> str:
        """The bounds in words, without the unit; empty where there are none.

        >>> Column("x", pl.Float64(), "", minimum=0, maximum=100).bounds, Column("x", pl.Int64(), "", minimum=1).bounds
        ('between 0 and 100', 'at least 1')
        """
        if self.minimum is not None and self.maximum is not None:
            return f"between {self.minimum:g} and {self.maximum:g}"
        if self.minimum is not None:
            return f"at least {self.minimum:g}"
        return "" if self.maximum is None else f"at most {self.maximum:g}"


@dataclass(frozen=True)
class Added:
    """A column that older rows lack: null in them, or what `filled` makes of their other columns."""

    column: str
    filled: pl.Expr | None = field(default=None, compare=False)


@dataclass(frozen=True)
class Renamed:
    """A column that had another name; its values mean what they meant."""

    before: str
    after: str


@dataclass(frozen=True)
class Retyped:
    """A column that was of type `before`; a value that the type of now cannot hold stops the migration."""

    column: str
    before: pl.DataType


@dataclass(frozen=True)
class Dropped:
    """A column that was, and of which type; its values are let go."""

    column: str
    before: pl.DataType


Change = Added | Renamed | Retyped | Dropped


@dataclass(frozen=True)
class Table:
    """One table: its grain in words, its columns, and which of them identify, place and date a row.

    `time` is the column the table is laid out and replaced by (None: the table does not follow time),
    `partition_by` are the lake's folders (`day` is derived from `time`), `as_of` is the column the
    point-in-time join compares with the moment of decision. `key_reach` is for a key that settles a row's `time`
    without holding it: how far apart two rows of one key may lie, so that only files of that time are searched for it
    (None: anywhere). `changes` leads from the columns of the first release to those of now, oldest first.
    """

    name: str
    stage: str
    grain: str
    columns: tuple[Column, ...]
    key: tuple[str, ...]
    time: str | None = "event_time"
    as_of: str = "known_at"
    partition_by: tuple[str, ...] = ("day", "network")
    key_reach: timedelta | None = None
    changes: tuple[Change, ...] = ()

    @property
    def schema(self) -> pl.Schema:
        """Column names and dtypes, in order."""
        return pl.Schema({c.name: c.dtype for c in self.columns})

    def column(self, name: str) -> Column:
        """The column called `name`.

        Raises:
            UsageError: the table has no such column.
        """
        for column in self.columns:
            if column.name == name:
                return column
        raise UsageError(f"table {self.name!r} has no column {name!r}; it has {[c.name for c in self.columns]}")

    def empty(self) -> pl.DataFrame:
        """A frame of the table without rows."""
        return pl.DataFrame(schema=self.schema)


def time_column(name: str, meaning: str, *, nullable: bool = False) -> Column:
    """A moment, UTC."""
    return Column(name, UTC, meaning, "UTC", nullable=nullable)


def text_column(name: str, meaning: str, *, nullable: bool = False, values: tuple[str, ...] | None = None) -> Column:
    """A text, of a closed list if `values` are given."""
    return Column(name, pl.String(), meaning, nullable=nullable, values=values)


def real_column(
    name: str, meaning: str, unit: str, low: float | None = None, high: float | None = None, *, nullable: bool = True
) -> Column:
    """A number with a unit; null unless it must be there."""
    return Column(name, pl.Float64(), meaning, unit, nullable=nullable, minimum=low, maximum=high)


def count_column(
    name: str, meaning: str, unit: str = "", *, nullable: bool = False, low: float = 0, high: float | None = None
) -> Column:
    """A whole number, not negative."""
    return Column(name, pl.Int64(), meaning, unit, nullable=nullable, minimum=low, maximum=high)


def flag_column(name: str, meaning: str, *, nullable: bool = True) -> Column:
    """A yes or no."""
    return Column(name, pl.Boolean(), meaning, nullable=nullable)


SOURCE = text_column("source", "who told us: `geckoterminal`, `recording:NAME` or `simulation:SEED`")
NETWORK = text_column("network", "the chain, as GeckoTerminal names it")
POOL = text_column("pool", "the pool's address; the statistical unit")
EVENT_TIME = time_column("event_time", "when the row was true")
KNOWN_AT = time_column("known_at", "when we learned it; never before it was true")
POOL_KEY = ("source", "network", "pool")
POOL_TIME_KEY = (*POOL_KEY, "event_time")
