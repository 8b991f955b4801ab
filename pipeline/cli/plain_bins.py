"""A plain Parquet file of bars, as the writer of the bins takes it.

Belongs here: reading `symbol`, `date` or `time`, and the fields; saying what cannot be used. Stays out: the format of
the bins and every rule about the bars themselves (the writer has them).
"""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import polars as pl

from pipeline.bins.instruments import symbol_name
from pipeline.calendars import Span
from pipeline.cli.parquet import require_parquet
from pipeline.errors import InputError
from pipeline.tables import UTC

SYMBOL: Final = "symbol"
DATE: Final = "date"
TIME: Final = "time"
"""What other commands call a bar's start; taken where there is no `date`."""
HELD_BARS: Final = 10_000_000
"""At ten fields not a gigabyte."""
_CUT: Final = ".is_cut"
_TAKEN: Final = ("instrument", "event_time")
"""What the bars themselves are told by."""
_FIELD: Final = re.compile(r"[a-z0-9_]{1,100}", re.ASCII)


@dataclass(frozen=True)
class PlainBars:
    """Bars of a file: `instrument`, `event_time` (UTC) and the fields; and the symbol each instrument is."""

    bars: pl.LazyFrame
    identities: dict[str, tuple[str, ...]]
    fields: tuple[str, ...]


def read_bars(
    path: Path, *, fields: Sequence[str] = (), span: Span | None = None, symbols: Sequence[str] = ()
) -> PlainBars:
    """Bars of a Parquet file with the columns `symbol`, `date` or `time` (start of the bar, UTC), and one a field.

    Args:
        path: the file.
        fields: the fields to take, `factor` among them also where the file has none; empty: every other column.
        span: only bars that start within it; None: all.
        symbols: only these; empty: all.

    Raises:
        InputError: it is no Parquet or damaged, lacks a column, or holds something else than moments in UTC, names and
            numbers.
    """
    with reading_file(path):
        require_parquet(path)
        told = pl.scan_parquet(path, glob=False)
        if DATE not in (columns := told.collect_schema()) and TIME in columns:
            told = told.rename({TIME: DATE})
        schema = told.collect_schema()
        chosen = _fields(schema, fields)
        bars = told.select(
            pl.col(SYMBOL).cast(pl.String),
            _moment(schema[DATE]).alias("event_time"),
            _is_cut(schema[DATE]).alias(_CUT),
            *(_number(schema, column).alias(field) for field, column in chosen.items() if column in schema),
        )
        if span is not None:
            bars = bars.filter(pl.col("event_time").is_between(span.start, span.end, closed="left"))
        if symbols:
            bars = bars.filter(pl.col(SYMBOL).is_in(list(symbols)))
        found = bars.group_by(SYMBOL).agg(pl.col(_CUT).any()).collect(engine="streaming").sort(SYMBOL)
        _require(found, symbols, path)
        instruments = [symbol_name(symbol) for symbol in found[SYMBOL]]
        names = pl.DataFrame({SYMBOL: found[SYMBOL], "instrument": instruments}).cast(pl.String)
        named = _named(bars.drop(_CUT), names)
    return PlainBars(named, {name: (symbol,) for symbol, name in names.iter_rows()}, tuple(chosen))


@contextmanager
def reading_file(path: Path) -> Iterator[None]:
    """What goes wrong while the file is read is told of the file: a large one is read again while it is written.

    Raises:
        InputError: the file is damaged, or cannot be read.
    """
    try:
        yield
    except (pl.exceptions.PolarsError, OSError) as error:
        raise InputError(f"cannot use {str(path)!r}: {error}; give a Parquet file of bars") from error


def _named(bars: pl.LazyFrame, names: pl.DataFrame) -> pl.LazyFrame:
    """The bars under the names of their instruments; read once and held, unless they are too many for that."""
    if names[SYMBOL].equals(names["instrument"]):
        named = bars.rename({SYMBOL: "instrument"})
    else:
        named = bars.join(names.lazy(), on=SYMBOL).select("instrument", pl.exclude("instrument", SYMBOL))
    n_bars = bars.select(pl.len()).collect(engine="streaming").item()
    return named.collect().lazy() if n_bars <= HELD_BARS else named


def _require(bars: pl.DataFrame, symbols: Sequence[str], path: Path) -> None:
    found = bars[SYMBOL]
    if cut := bars.filter(_CUT)[SYMBOL].to_list():
        raise InputError(
            f"{str(path)!r} holds moments of {cut[:5]!r} that are no whole microseconds, so they are on no grid:"
            " write the bar's start"
        )
    if found.null_count():
        raise InputError(f"{str(path)!r} holds bars without a symbol: name or drop them")
    if strange := sorted(set(symbols) - set(found)):
        raise InputError(f"{str(path)!r} holds no bar of {strange[:5]!r} in the asked span: check the symbols")
    if found.is_empty():
        raise InputError(f"{str(path)!r} holds no bar in the asked span: there is nothing to export")


def _fields(schema: pl.Schema, asked: Sequence[str]) -> dict[str, str]:
    """Field -> column. QLib lower-cases a field to find its file, so the field is the column's name in lower case."""
    if missing := [column for column in (SYMBOL, DATE) if column not in schema]:
        raise InputError(
            f"the bars have no column {missing!r}, found {list(schema)!r}: name the symbol {SYMBOL!r}, and the bar's "
            f"start {DATE!r} or {TIME!r}"
        )
    columns = [column for column in schema if column not in (SYMBOL, DATE)]
    by_field: dict[str, str] = {}
    for column in columns:
        taken = by_field.setdefault(column.lower(), column) if not asked or column.lower() in asked else column
        if taken != column:
            raise InputError(f"columns {taken!r} and {column!r} are one field to QLib: drop one")
    unknown = [field for field in asked if field not in by_field and field != "factor"]
    wrong = [column for field, column in by_field.items() if not _FIELD.fullmatch(field) or field in _TAKEN]
    texts = [
        column for column in by_field.values() if not (schema[column].is_numeric() or schema[column] == pl.Boolean)
    ]
    for what, found in (("fields that are not there", unknown), ("names no field can have", wrong)):
        if found:
            raise InputError(
                f"{what}: {found[:5]!r}; columns are {list(schema)!r}, a field is of a-z, 0-9 and _,"
                f" and none of {list(_TAKEN)!r}"
            )
    if texts:
        raise InputError(f"columns {texts[:5]!r} hold no numbers ({schema[texts[0]]}): choose others with --fields")
    if not by_field:
        raise InputError(f"found no field beside {SYMBOL!r} and {DATE!r}: add columns such as open, high, low, close")
    return {**by_field, **{field: field for field in asked if field not in by_field}}


def _number(schema: pl.Schema, column: str) -> pl.Expr:
    """The column as a number: yes and no are 1 and 0."""
    return pl.col(column).cast(pl.UInt8) if schema[column] == pl.Boolean else pl.col(column)


def _is_cut(dtype: pl.DataType) -> pl.Expr:
    """Whether the bar's start would lose something on the way to microseconds."""
    if not isinstance(dtype, pl.Datetime) or dtype.time_unit != "ns":
        return pl.lit(value=False)
    return (pl.col(DATE).to_physical() % 1000 != 0).fill_null(value=False)


def _moment(dtype: pl.DataType) -> pl.Expr:
    """The bar's start; a day, or a moment without a zone, is read as UTC."""
    moment = pl.col(DATE)
    if dtype == pl.Date:
        return moment.cast(pl.Datetime("us")).dt.replace_time_zone("UTC").cast(UTC)
    if not isinstance(dtype, pl.Datetime):
        raise InputError(f"column {DATE!r} holds {dtype}, not moments: write it as timestamps in UTC")
    if dtype.time_zone is None:
        return moment.dt.replace_time_zone("UTC").cast(UTC)
    if dtype.time_zone not in ("UTC", "Etc/UTC", "+00:00"):
        raise InputError(f"column {DATE!r} is told in {dtype.time_zone!r}: convert it to UTC, which the calendar is in")
    return moment.cast(UTC)
