"""Rows that an earlier version of the code wrote, in the columns of now.

Belongs here: telling from a version's columns which shape of the table's spec it was written in, and the one mapping
from there to the spec, by which old versions are read and the newest is rewritten.
Stays out: which changes there are (`pipeline.tables.changes`), rewriting (`migrate`).
"""

import polars as pl

from pipeline.errors import StorageError
from pipeline.lake.rows import stored_schema
from pipeline.tables import Table
from pipeline.tables.changes import Added, Change, Dropped, Renamed, Retyped, earlier


def shape_of(table: Table, told: pl.Schema, partitions: tuple[str, ...], *, is_old: bool) -> Table:
    """The spec by which a stored version was written: that of now, or the one that an earlier version of the code had.

    Args:
        table: the spec of now.
        told: the version's columns, in any order.
        partitions: those of them that name its folders.
        is_old: whether an earlier spec will do; the newest version has to be of now.

    Raises:
        StorageError: it will not, or the version was written by none of them.
    """
    if told == stored_schema(table) and partitions == table.partition_by:
        return table
    shapes = (table, *earlier(table))
    written_by = next((shape for shape in shapes if dict(stored_schema(shape)) == dict(told)), None)
    if written_by is None or partitions != table.partition_by:
        raise StorageError(_strange(table, told, partitions))
    if written_by is not table and not is_old:
        raise StorageError(
            f"could not work on {table.name!r}: an older version of the code wrote it, and its columns changed since; "
            "run `poolcast migrate`"
        )
    return written_by


def _strange(table: Table, told: pl.Schema, partitions: tuple[str, ...]) -> str:
    known, found = stored_schema(table).items(), told.items()
    return (
        f"could not read {table.name!r}: neither this version of the code nor an older one wrote it. Only it has "
        f"{dict(found - known)!r}, only the spec has {dict(known - found)!r}; its folders are by {partitions!r}, the "
        f"spec's by {table.partition_by!r}. Go back to the version of the code that wrote it, or restore a backup that "
        "`poolcast migrate` made; where the spec was changed by hand, declare the change in it"
    )


def pending(table: Table, shape: Table) -> tuple[Change, ...]:
    """The changes that rows of a shape have before them."""
    return table.changes[len(shape.changes) :]


def converted(rows: pl.LazyFrame, table: Table, shape: Table) -> pl.LazyFrame:
    """Rows of a shape as rows of the spec; other columns than the spec's are carried along.

    A value that its column's new type cannot hold raises when the rows are collected.
    """
    steps = [*reversed(earlier(table)), table][len(shape.changes) + 1 :]
    for change, after in zip(pending(table, shape), steps, strict=True):
        rows = _stepped(rows, change, after.schema)
    return rows


def _stepped(rows: pl.LazyFrame, change: Change, schema: pl.Schema) -> pl.LazyFrame:
    match change:
        case Added(name, filled):
            return rows.with_columns((pl.lit(None) if filled is None else filled).cast(schema[name]).alias(name))
        case Renamed(before, after):
            return rows.rename({before: after})
        case Retyped(name):
            return rows.with_columns(_retyped(name, schema[name]))
        case Dropped(name):
            return rows.drop(name)


def _retyped(name: str, wanted: pl.DataType) -> pl.Expr:
    """The column in another type, if every value comes back from it as it was."""

    def cast(values: pl.Series) -> pl.Series:
        attempted = f"cannot turn column {name!r} from {values.dtype!r} into {wanted!r}"
        try:
            made = values.cast(wanted, strict=False)
            lossy = values.filter(made.cast(values.dtype, strict=False).ne_missing(values))
        except pl.exceptions.InvalidOperationError as error:
            raise StorageError(f"{attempted}: no value has one of the other kind; add a column instead") from error
        if len(lossy):
            example = str(lossy[0])[:80]
            raise StorageError(f"{attempted}: {len(lossy)} of {len(values)} values would change, e.g. {example!r}")
        return made

    return pl.col(name).map_batches(cast, return_dtype=wanted, is_elementwise=True)
