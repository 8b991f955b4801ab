"""A table's data files: what the log says of each, reading some of them, writing one.

Belongs here: the listing with its statistics, by which a verb touches only the files that can matter, and what a file
we write says of itself. Stays out: which files a verb touches (`plans`), committing them (`store`).
"""

import json
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any, Final
from urllib.parse import quote, unquote

import polars as pl
from deltalake import DeltaTable
from deltalake.transaction import AddAction, RemoveAction

from pipeline.calendars import Span
from pipeline.lake import shapes
from pipeline.lake.place import Place
from pipeline.lake.rows import DAY, SOURCE, days, require_time, stored_schema
from pipeline.tables import UTC, Table

STATISTICS_BLUR: Final = timedelta(milliseconds=1)
"""Delta lets a writer cut the times in its statistics to milliseconds: a file's latest row may be this much later."""
# Row groups small enough that one pool, or one hour, is a small part of a large file.
_ROW_GROUP: Final = 100_000
_LONGEST_STATISTIC: Final = 64


@dataclass(frozen=True)
class Stored:
    """One version of a table, opened: a listing of its files, and their rows on request.

    The rows come in the columns of `table`, the spec of now; `shape` is the spec they were written by.
    `files` holds one row a file: `path` relative to `place`, `n_bytes`, `n_rows`, `first` and `last` moment of
    `table.time`, first and last `source` in the alphabet, and the partition columns. What the log does not say is null.
    """

    table: Table
    place: Place
    files: pl.DataFrame
    shape: Table

    def meeting(self, span: Span) -> pl.DataFrame:
        """The files that may hold rows of the span; never too few."""
        require_time(self.table)
        latest = pl.col("last") + STATISTICS_BLUR
        may_meet = (pl.col("first") < span.end).fill_null(value=True) & (latest >= span.start).fill_null(value=True)
        return self.on_days(span).filter(may_meet)

    def on_days(self, span: Span) -> pl.DataFrame:
        """The files in the folders of the span's days; all files of a table that is not laid out by day."""
        if DAY not in self.table.partition_by:
            return self.files
        first, last = days(span)
        return self.files.filter(pl.col(DAY).is_between(pl.lit(first), pl.lit(last)))

    def rows(self, files: pl.DataFrame | None = None) -> pl.LazyFrame:
        """The rows of some files (None: all), in the order of the disk, the lake's own `day` column included."""
        schema = stored_schema(self.shape)
        chosen = self.files if files is None else files
        if chosen.is_empty():
            return pl.LazyFrame(schema=stored_schema(self.table))
        parts = self.table.partition_by
        found = self.place.scan(
            chosen["path"],
            schema={name: dtype for name, dtype in schema.items() if name not in parts},
            hive_partitioning=bool(parts),
            hive_schema={name: schema[name] for name in parts} if parts else None,
            extra_columns="ignore",
        ).select(schema.names())
        if self.shape is self.table:
            return found
        return shapes.converted(found, self.table, self.shape).select(stored_schema(self.table).names())

    def check(self, files: pl.DataFrame | None = None) -> None:
        """Look whether the files (None: all) are there and as long as the log says.

        Raises:
            StorageError: a file is missing or has another size.
        """
        self.place.check((self.files if files is None else files).select("path", "n_bytes").iter_rows())


def stored(table: Table, place: Place, found: DeltaTable, shape: Table) -> Stored:
    """The listing of an opened version's files, which were written by the spec `shape`."""
    actions = pl.DataFrame(found.get_add_actions())
    low, high = (_fields(actions, name) for name in ("min", "max"))
    times, sources = shape.time or "", SOURCE if SOURCE in shape.schema else ""
    listing = actions.select(
        pl.col("path").map_elements(unquote, pl.String).alias("path"),
        pl.col("size_bytes").alias("n_bytes"),
        (pl.col("num_records") if "num_records" in actions.columns else pl.lit(None)).cast(pl.Int64).alias("n_rows"),
        _statistic(low, times, UTC).alias("first"),
        _statistic(high, times, UTC).alias("last"),
        _statistic(low, sources, pl.String()).alias("first_source"),
        _statistic(high, sources, pl.String()).alias("last_source"),
        *(pl.col("partition").struct.field(name) for name in table.partition_by),
    )
    return Stored(table, place, listing.sort("path"), shape)


def may_hold(sources: list[str]) -> pl.Expr:
    """Whether a file of a listing may hold rows of one of the sources."""
    within = [
        (pl.col("first_source") <= source).fill_null(value=True)
        & (pl.col("last_source") >= source).fill_null(value=True)
        for source in sources
    ]
    return pl.any_horizontal(within) if within else pl.lit(value=False)


def _fields(actions: pl.DataFrame, name: str) -> dict[str, pl.Series]:
    if name not in actions.columns or not isinstance(actions.schema[name], pl.Struct):
        return {}
    return actions[name].struct.unnest().to_dict()


def _statistic(fields: dict[str, pl.Series], name: str, dtype: pl.DataType) -> pl.Expr:
    return pl.lit(fields[name].cast(dtype)) if name in fields else pl.lit(None, dtype)


def write(table: Table, place: Place, rows: pl.DataFrame, name: str, *, is_new: bool) -> list[AddAction]:
    """Write rows as one file a partition and say so in the log's words; nothing is valid before it is committed.

    Args:
        table: the spec.
        place: its folder.
        rows: in the order in which they shall lie, with the derived day.
        name: of the files, which nobody else gives to one of theirs.
        is_new: whether the rows are new to the table, or only moved within it.
    """
    parts = list(table.partition_by)
    frames = rows.partition_by(parts, maintain_order=True, as_dict=True) if parts else {(): rows}
    return [
        _write_one(table, place, frame.drop(parts), dict(zip(parts, values, strict=True)), name, is_new=is_new)
        for values, frame in frames.items()
    ]


def _write_one(
    table: Table, place: Place, rows: pl.DataFrame, values: dict[str, Any], name: str, *, is_new: bool
) -> AddAction:
    texts = {column: _text(value) for column, value in values.items()}
    # Quoted twice by design: the log quotes the folder's name, which is itself a quoted value.
    relative = "/".join([*(f"{column}={quote(text, safe='')}" for column, text in texts.items()), name])
    lying = place.write(relative, rows, compression="zstd", compression_level=1, row_group_size=_ROW_GROUP)
    return AddAction(relative, lying.n_bytes, texts, lying.written_ns // 1_000_000, is_new, _statistics(table, rows))


def removal(file: dict[str, Any], table: Table, at_ms: int, *, is_gone: bool) -> RemoveAction:
    """What the log says of a file of a listing that is let go; `is_gone`: with its rows, not only moved."""
    values: dict[str, str | None] = {name: _text(file[name]) for name in table.partition_by}
    return RemoveAction(file["path"], is_gone, at_ms, file["n_bytes"], values)


def _text(value: Any) -> str:
    return value.isoformat() if isinstance(value, date) else str(value)


def _statistics(table: Table, rows: pl.DataFrame) -> str:
    """Counts, and the range of the columns a reader chooses files by: the key and the times.

    All other columns have theirs in the file itself; in the log they would be most of it.
    """
    wanted = dict.fromkeys([*table.key, table.time, table.as_of, SOURCE])
    low: dict[str, Any] = {}
    high: dict[str, Any] = {}
    for name in wanted:
        if name not in rows.columns or rows[name].null_count():
            continue
        ends = [_json(value) for value in (rows[name].min(), rows[name].max())]
        if None not in ends:
            low[name], high[name] = ends
    said = {"numRecords": rows.height, "minValues": low, "maxValues": high, "nullCount": dict.fromkeys(low, 0)}
    return json.dumps(said)


def _json(value: Any) -> Any:
    """The value as Delta's statistics write it; None for what they had better leave out."""
    if isinstance(value, datetime):
        return value.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    if isinstance(value, str):
        return value if len(value) <= _LONGEST_STATISTIC else None
    return value if isinstance(value, int) and not isinstance(value, bool) else None
