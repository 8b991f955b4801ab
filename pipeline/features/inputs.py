"""What a formula may ask for: values of the snapshot itself, and values from before it.

Belongs here: the kinds of input, as plain data. Each kind is computed twice, over history and online, by the engine it
names; tests hold the two together. A formula sees one row of inputs: it cannot reach another pool or the future.
Stays out: the engines (`from_*` over history, `online_*` for one pool), and formulas.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property
from typing import ClassVar, Final, Literal, Protocol

import polars as pl

from pipeline.calendars import DAY, MINUTE
from pipeline.features.algebra import Known, Value
from pipeline.tables import SNAPSHOTS, TOKENS

EngineName = Literal["snapshots", "tokens", "bars", "extra", "index", "trades"]
NOTHING: Final = timedelta(0)
SINCE_BIRTH: Final = 7 * DAY
"""How far back a history is read that begins with the pool: pools are followed for a week."""


class Input(Protocol):
    """One value a formula reads."""

    engine: ClassVar[EngineName]

    @property
    def name(self) -> str:
        """The column a formula reads; unique among all inputs."""
        ...

    @property
    def look_back(self) -> timedelta:
        """How far before the snapshot its rows must be given, tolerances not counted."""
        ...


@dataclass(frozen=True)
class Now:
    """A column of the snapshot itself."""

    engine: ClassVar[EngineName] = "snapshots"
    column: str

    @cached_property
    def name(self) -> str:
        """The column a formula reads."""
        return self.column

    @property
    def look_back(self) -> timedelta:
        """None at all."""
        return NOTHING


@dataclass(frozen=True)
class Age:
    """Microseconds from birth to the snapshot; null before birth."""

    engine: ClassVar[EngineName] = "snapshots"

    @cached_property
    def name(self) -> str:
        """The column a formula reads."""
        return "age_us"

    @property
    def look_back(self) -> timedelta:
        """None at all."""
        return NOTHING


@dataclass(frozen=True)
class Lagged:
    """The column as the pool's latest snapshot at or before t - `ago` had it; null if that one is too old."""

    engine: ClassVar[EngineName] = "snapshots"
    column: str
    ago: timedelta

    @cached_property
    def name(self) -> str:
        """The column a formula reads.

        >>> Lagged("reserve_usd", timedelta(hours=1)).name
        'reserve_usd__60min_ago'
        """
        return f"{self.column}__{self.ago // MINUTE}min_ago"

    @property
    def look_back(self) -> timedelta:
        """As far as it reaches."""
        return self.ago


@dataclass(frozen=True)
class Rolled:
    """A statistic of the column over the pool's snapshots in (t - `window`, t]; nulls are passed over.

    `std` is the sample's (ddof 1), and null of fewer than two values.
    """

    engine: ClassVar[EngineName] = "snapshots"
    column: str
    window: timedelta
    how: Literal["max", "mean", "std"]

    @cached_property
    def name(self) -> str:
        """The column a formula reads.

        >>> Rolled("reserve_usd", timedelta(hours=1), "max").name
        'reserve_usd__60min_max'
        """
        return f"{self.column}__{self.window // MINUTE}min_{self.how}"

    @property
    def look_back(self) -> timedelta:
        """As far as it reaches."""
        return self.window


@dataclass(frozen=True)
class OfToken:
    """What was last told of a column of the pool's base token by t - `ago`; null if that is too old."""

    engine: ClassVar[EngineName] = "tokens"
    column: str
    ago: timedelta = NOTHING

    @cached_property
    def name(self) -> str:
        """The column a formula reads.

        >>> OfToken("n_holders", timedelta(hours=1)).name
        'token_n_holders__60min_ago'
        """
        return f"token_{self.column}" + (f"__{self.ago // MINUTE}min_ago" if self.ago else "")

    @property
    def look_back(self) -> timedelta:
        """As far as it reaches; `FeaturesSpec.token_tolerance` comes on top."""
        return self.ago


@dataclass(frozen=True)
class OfBar:
    """A field computed at the pool's latest closed bar of `minutes`; null if that one ended too long ago."""

    engine: ClassVar[EngineName] = "bars"
    field: str
    minutes: int

    @cached_property
    def name(self) -> str:
        """The column a formula reads.

        >>> OfBar("rsi", 15).name
        'rsi__of_15min_bars'
        """
        return f"{self.field}__of_{self.minutes}min_bars"

    @property
    def look_back(self) -> timedelta:
        """Since birth: averages of Wilder's kind never quite forget."""
        return SINCE_BIRTH


@dataclass(frozen=True)
class OfExtra:
    """A column of a pandas-ta indicator that the spec switched on, at the latest closed bar; history alone has it."""

    engine: ClassVar[EngineName] = "extra"
    column: str

    @cached_property
    def name(self) -> str:
        """The column a formula reads."""
        return f"{self.column}__of_pandas_ta"

    @property
    def look_back(self) -> timedelta:
        """Since birth."""
        return SINCE_BIRTH


@dataclass(frozen=True)
class OfIndex:
    """A field that compares the pool's five-minute bars with the rest of the market's."""

    engine: ClassVar[EngineName] = "index"
    field: str

    @cached_property
    def name(self) -> str:
        """The column a formula reads."""
        return f"{self.field}__of_index"

    @property
    def look_back(self) -> timedelta:
        """None of its own: how far its engine reaches depends on the spec."""
        return NOTHING


@dataclass(frozen=True)
class OfTrades:
    """A field over the pool's trades as far as they are known at t; null where too few of them are."""

    engine: ClassVar[EngineName] = "trades"
    field: str

    @cached_property
    def name(self) -> str:
        """The column a formula reads."""
        return f"{self.field}__of_trades"

    @property
    def look_back(self) -> timedelta:
        """Since birth: who is smart is told by what was earned before."""
        return SINCE_BIRTH


@dataclass(frozen=True)
class Untold:
    """A value that no source tells yet: null everywhere, until one does."""

    engine: ClassVar[EngineName] = "snapshots"
    column: str

    @cached_property
    def name(self) -> str:
        """The column a formula reads."""
        return f"{self.column}__untold"

    @property
    def look_back(self) -> timedelta:
        """None at all."""
        return NOTHING


class Columns:
    """The inputs of a formula as Polars columns."""

    def __getitem__(self, wanted: Input | str) -> Value:
        """The column of an input, or of a snapshot's column by its name."""
        return pl.col(wanted if isinstance(wanted, str) else wanted.name)


class Values:
    """The inputs of a formula as single values."""

    __slots__ = ("row",)

    def __init__(self, row: Mapping[str, float | bool | None]) -> None:
        self.row = row

    def __getitem__(self, wanted: Input | str) -> Value:
        """The value of an input, or of a snapshot's column by its name."""
        return Known(self.row[wanted if isinstance(wanted, str) else wanted.name])


type Row = Columns | Values


def now(*columns: str) -> tuple[Now, ...]:
    """Inputs that are columns of the snapshot itself."""
    return tuple(Now(column) for column in columns)


def dtype_of(read: Input) -> pl.DataType | type[pl.DataType]:
    """The dtype of an input's column."""
    if isinstance(read, Now | Lagged):
        return SNAPSHOTS.column(read.column).dtype
    if isinstance(read, OfToken):
        return TOKENS.column(read.column).dtype
    return pl.Int64() if isinstance(read, Age) else pl.Float64()
