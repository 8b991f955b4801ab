"""What an engine is: the one place that computes a kind of input, over history and online.

Belongs here: the two interfaces, and the words they share. Stays out: the engines themselves.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from math import isfinite
from typing import Any, Final, Literal, Protocol

import polars as pl

from pipeline.calendars import EPOCH, Span
from pipeline.features.sources import Sources
from pipeline.features.spec import FeaturesSpec
from pipeline.tables import Column

POOL_RUN: Final = "pool_run"
"""Numbers the pools of a frame that is sorted by pool, from 0."""

type Scalar = float | bool | None
_MICROSECOND: Final = timedelta(microseconds=1)


class OverHistory(Protocol):
    """Adds inputs to every snapshot at once."""

    def __call__(
        self, rows: pl.DataFrame, inputs: Sequence[Any], sources: Sources, span: Span, spec: FeaturesSpec
    ) -> pl.DataFrame:
        """The rows in the same order, with one column an input under its `name`.

        Args:
            rows: the snapshots of the span: POOL_TIME_KEY, POOL_RUN, `created_at` and what else was asked of them,
                sorted by POOL_TIME_KEY. A row's moment of decision is its `event_time`.
            inputs: of this engine alone, each once.
            sources: what to compute them from.
            span: the moments of `rows`.
            spec: thresholds.
        """
        ...


@dataclass(frozen=True, slots=True)
class Event:
    """One thing learned of a pool or its market, as a row of the table it belongs to.

    `index` and `quote` are rows of the frames that `from_index` makes of all pools.
    """

    table: Literal["snapshots", "tokens", "candles", "trades", "index", "quote"]
    row: Mapping[str, Any]


class Online(Protocol):
    """Keeps what one pool's inputs need, event by event, each in a time that does not grow with their number.

    Events come in the order in which they were learned (`known_at`).
    """

    def observe(self, event: Event) -> None:
        """Take note of an event; those of other tables are passed over."""
        ...

    def values(self, snapshot: Mapping[str, Any], at_us: int, /) -> Mapping[str, Scalar]:
        """Every input by its `name`, as of a snapshot that was just observed, at `at_us`."""
        ...


type MakeOnline = Callable[[Sequence[Any], FeaturesSpec], Online]


def micros(moment: datetime) -> int:
    """Microseconds since 1970.

    >>> from datetime import UTC
    >>> micros(datetime(1970, 1, 1, 0, 0, 1, tzinfo=UTC))
    1000000
    """
    return (moment - EPOCH) // _MICROSECOND


def plausible(value: Any, column: Column) -> Scalar:
    """A value of a table's column, None where it is no number or outside the column's range."""
    if value is None or isinstance(value, bool):
        return value
    number: float = value
    if not isfinite(number):
        return None
    is_low = column.minimum is not None and number < column.minimum
    is_high = column.maximum is not None and number > column.maximum
    return None if is_low or is_high else number


def plausible_column(column: Column) -> pl.Expr:
    """The same over history: the column in its dtype, null where it is no number or outside its range."""
    value, low, high = pl.col(column.name).cast(column.dtype), column.minimum, column.maximum
    rules = [value.is_finite()] if column.dtype == pl.Float64() else []
    rules += [value >= low] if low is not None else []
    rules += [value <= high] if high is not None else []
    return pl.when(pl.all_horizontal(rules)).then(value) if rules else value


@dataclass(frozen=True, slots=True)
class Bar:
    """One closed bar: start and end in microseconds, prices in quote tokens, volume in USD (None: unknown)."""

    start_us: int
    closed_us: int
    open: float | None
    high: float
    low: float
    close: float
    volume: float | None


class BarStream(Protocol):
    """Computes fields of one pool's bars as they close."""

    def push(self, bar: Bar) -> Mapping[str, Scalar]:
        """Every field, as of this bar; takes a time that does not grow with the number of bars."""
        ...


@dataclass(frozen=True)
class BarCalculator:
    """Fields that are computed at each closed bar, over history and online.

    `over_history(bars, minutes, spec)` gets the closed bars of one length sorted by POOL_RUN and start (`event_time`,
    `closed_at`, `open`, `high`, `low`, `close`, `volume`) and gives them back in that order with its fields as columns.
    `online(minutes, spec)` makes the stream that says the same bar by bar.
    """

    fields: tuple[str, ...]
    over_history: Callable[[pl.DataFrame, int, FeaturesSpec], pl.DataFrame]
    online: Callable[[int, FeaturesSpec], BarStream]
