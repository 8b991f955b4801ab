"""What a frame must be before it is written: exactly what its table's spec says.

Belongs here: the checks whose failure would damage the table (columns, dtypes, nulls, NaN, keys) and the order in
which rows lie in a file. Stays out: whether values are plausible (the expectation suites say that, after the fact).
"""

from datetime import date, timedelta
from typing import Final

import polars as pl

from pipeline.calendars import Span
from pipeline.errors import InputError, UsageError
from pipeline.tables import Table

DAY: Final = "day"
"""The partition column that the lake derives from a table's `time`; readers never see it."""
SOURCE: Final = "source"
"""The column that says who told a row, where a table has it."""
_NULL_FOLDER: Final = "__HIVE_DEFAULT_PARTITION__"
# Every byte may become three (%C3), and 255 is the longest name that common file systems take.
_LONGEST_FOLDER_BYTES: Final = 80
_UNFIT: Final = f"are empty, {_NULL_FOLDER!r} or longer than {_LONGEST_FOLDER_BYTES} bytes"


def conform(table: Table, frame: pl.DataFrame, *, collapse: bool = False) -> pl.DataFrame:
    """The frame in the table's own columns, dtypes and row order.

    Args:
        table: the spec.
        frame: the rows; neither column order nor row order matters.
        collapse: rows that are equal in every column count once, instead of being refused.

    Raises:
        InputError: a column is missing, unknown, of another dtype, or holds a null, NaN or infinity it may not hold;
            a partition column holds a text that cannot name a folder; two rows share a key.
    """
    _check_names(table, frame)
    rows = frame.select(_cast(table, frame[name], dtype) for name, dtype in table.schema.items())
    _check_values(table, rows)
    # Comparing whole rows costs more than all other checks together: only where keys say that it may matter.
    if collapse and rows.select(table.key).is_duplicated().any():
        rows = rows.unique()
    _check_key(table, rows)
    return sorted_rows(table, rows)


def sorted_rows(table: Table, rows: pl.DataFrame) -> pl.DataFrame:
    """The rows in the order in which they lie in a file.

    By place and time, so that a pool's rows share row groups; then by the key, so that the order follows from the rows.
    """
    layout = [name for name in ("network", "pool", table.time) if name in table.schema]
    return rows.sort(list(dict.fromkeys([*layout, *table.key])))


def require_time(table: Table) -> str:
    """The column the table is laid out by.

    Raises:
        UsageError: the table does not follow time.
    """
    if table.time is None:
        raise UsageError(f"table {table.name!r} does not follow time: leave the span away, or upsert by key")
    return table.time


def within(table: Table, span: Span) -> pl.Expr:
    """Whether a stored row's time lies in [start, end); names the day too, so that whole files are skipped.

    Raises:
        UsageError: the table does not follow time.
    """
    inside = pl.col(require_time(table)).is_between(pl.lit(span.start), pl.lit(span.end), closed="left")
    if DAY not in table.partition_by:
        return inside
    first, last = days(span)
    return inside & pl.col(DAY).is_between(pl.lit(first), pl.lit(last))


def days(span: Span) -> tuple[date, date]:
    """The days of the span's first and last moment.

    >>> from datetime import UTC, datetime
    >>> days(Span(datetime(2020, 9, 8, tzinfo=UTC), datetime(2020, 9, 9, tzinfo=UTC)))
    (datetime.date(2020, 9, 8), datetime.date(2020, 9, 8))
    """
    return span.start.date(), max(span.start, span.end - timedelta(microseconds=1)).date()


def stored_schema(table: Table) -> pl.Schema:
    """The columns as they lie on the disk: the spec's, and the derived day."""
    return pl.Schema({**table.schema, DAY: pl.Date()}) if DAY in table.partition_by else table.schema


def with_day(table: Table, rows: pl.DataFrame) -> pl.DataFrame:
    """The rows with the derived day, where the table is laid out by it."""
    if DAY not in table.partition_by:
        return rows
    return rows.with_columns(pl.col(require_time(table)).dt.date().alias(DAY))


def _check_names(table: Table, frame: pl.DataFrame) -> None:
    missing = [name for name in table.schema if name not in frame.columns]
    unknown = [name for name in frame.columns if name not in table.schema]
    if missing or unknown:
        raise InputError(
            f"cannot write to {table.name!r}: {len(missing)} columns are missing {missing!r}, {len(unknown)} are "
            f"unknown {unknown!r}; give the frame exactly the columns of the table's spec"
        )


def _cast(table: Table, values: pl.Series, wanted: pl.DataType) -> pl.Series:
    """The values in the wanted dtype, if that loses nothing."""
    found = values.dtype
    if found == wanted:
        return values
    if not _may_cast(found, wanted):
        raise InputError(
            f"cannot write to {table.name!r}: column {values.name!r} is {found!r} where {wanted!r} belongs "
            f"({len(values)} rows, e.g. {_shown(values)}); convert it where it is made"
        )
    cast = values.cast(wanted, strict=False)
    # A cast that overflowed gave a null, one that rounded does not come back as it was.
    lossy = values.filter(cast.cast(found, strict=False).ne_missing(values))
    if len(lossy):
        raise InputError(
            f"cannot write to {table.name!r}: column {values.name!r} is {found!r} and {len(lossy)} of its values do "
            f"not fit into {wanted!r}, e.g. {_shown(lossy)}; convert it where it is made"
        )
    return cast


def _may_cast(found: pl.DataType, wanted: pl.DataType) -> bool:
    if isinstance(wanted, pl.Datetime):
        return found == pl.Null or (isinstance(found, pl.Datetime) and found.time_zone == wanted.time_zone)
    if wanted == pl.String:
        return found in (pl.Null, pl.Categorical, pl.Enum)
    if wanted.is_float():
        return found == pl.Null or found.is_float() or found.is_integer()
    return found == pl.Null or (wanted.is_integer() and found.is_integer())


def _check_values(table: Table, rows: pl.DataFrame) -> None:
    for column in table.columns:
        values = rows[column.name]
        if not column.nullable or column.name in table.key:
            _refuse(table, rows, values.is_null(), f"column {column.name!r}", "are null where none may be")
        if column.dtype.is_float():
            _refuse(table, rows, ~values.is_finite(), f"column {column.name!r}", "are NaN or infinite, not null")
        if column.name in table.partition_by and column.dtype == pl.String:
            _refuse(table, rows, _unfit_for_a_folder(values), f"partition column {column.name!r}", _UNFIT)


def _unfit_for_a_folder(values: pl.Series) -> pl.Series:
    """Which texts would come back as null, or make a folder's name longer than a file system takes."""
    return values.is_in(["", _NULL_FOLDER]) | (values.str.len_bytes() > _LONGEST_FOLDER_BYTES)


def _check_key(table: Table, rows: pl.DataFrame) -> None:
    doubled = rows.select(table.key).is_duplicated()
    _refuse(table, rows, doubled, f"key {table.key!r}", "share their key with another row")


def _refuse(table: Table, rows: pl.DataFrame, bad: pl.Series, where: str, what: str) -> None:
    n_bad = bad.sum()
    if n_bad:
        example = rows.filter(bad).select(table.key).row(0, named=True)
        raise InputError(
            f"cannot write to {table.name!r}: in {where} {n_bad} of {len(rows)} rows {what}, e.g. the row with key "
            f"{_cut(repr(example))}; nothing was written, correct the frame where it is made"
        )


def _shown(values: pl.Series) -> str:
    return _cut(repr(values.drop_nulls().first()))


def _cut(text: str) -> str:
    return text if len(text) <= 300 else text[:300] + "..."
