"""Frames as Dagster metadata: counts, spans, shares of nulls, a small preview.

Cells are plain text in Dagster's own table view, cleaned and cut: what came from a chain is shown, never interpreted.
Stays out: any computation a model or a decision depends on.
"""

from collections.abc import Sequence
from typing import Any

import dagster as dg
import polars as pl

from assets.lineage import lineage_of
from pipeline.features.lineage import Place
from pipeline.lake import Lake
from pipeline.tables import UTC, Column, Table
from pipeline.text import LONGEST, seen

PREVIEW_ROWS = 5
MOST_SOURCES_NAMED = 4
TYPE_NAMES = {str(UTC): "timestamp", "Float64": "float", "Int64": "int", "Int32": "int"}
MAX_CELL = LONGEST


class Seen:
    """What passed by while a table was computed piece by piece: counts, span, nulls, the last rows."""

    def __init__(self, target: Table) -> None:
        self.target = target
        self.n_rows = 0
        self.n_nulls = dict.fromkeys(target.schema, 0)
        self.first: Any = None
        self.last: Any = None
        self.tail: pl.DataFrame = target.empty()

    def add(self, rows: pl.DataFrame) -> None:
        """Take note of one piece."""
        if rows.is_empty():
            return
        self.n_rows += rows.height
        for name, count in rows.null_count().row(0, named=True).items():
            self.n_nulls[name] += count
        if self.target.time:
            low, high = rows[self.target.time].min(), rows[self.target.time].max()
            self.first = low if self.first is None else min(self.first, low)
            self.last = high if self.last is None else max(self.last, high)
        self.tail = rows.tail(PREVIEW_ROWS)

    def metadata(self) -> dict[str, Any]:
        """Rows, span, null shares of the columns that have any, and a preview; empty when nothing passed by."""
        if not self.n_rows:
            return {}
        nulls = {name: count / self.n_rows for name, count in self.n_nulls.items() if count}
        span = (
            {}
            if self.first is None
            else {"first": f"{self.first:%Y-%m-%d %H:%M:%S} UTC", "last": f"{self.last:%Y-%m-%d %H:%M:%S} UTC"}
        )
        return {
            "rows_computed": self.n_rows,
            **span,
            "null_shares": table_value(
                pl.DataFrame({"column": list(nulls), "null_share": [f"{v:.2%}" for v in nulls.values()]})
            ),
            "preview": table_value(self.tail),
        }


def frame_metadata(target: Table, rows: pl.DataFrame, n_stored: int) -> dict[str, Any]:
    """The metadata of a table that was written in one piece, and now holds `n_stored` rows."""
    seen = Seen(target)
    seen.add(rows)
    return {"dagster/row_count": n_stored, "rows_written": rows.height, **seen.metadata()}


def n_rows(lake: Lake, target: Table) -> int:
    """How many rows a table holds."""
    return int(lake.scan(target).select(pl.len()).collect().item())


def table_value(frame: pl.DataFrame, max_cell: int = MAX_CELL) -> dg.TableMetadataValue:
    """A frame as Dagster's table value, all cells as clean text of at most `max_cell` characters."""
    names = frame.columns
    return dg.MetadataValue.table(
        records=[
            dg.TableRecord({name: _cell(value, max_cell) for name, value in row.items()})
            for row in frame.iter_rows(named=True)
        ],
        schema=dg.TableSchema(columns=[dg.TableColumn(name=name, type="string") for name in names]),
    )


def column_schema(target: Table) -> dg.TableSchema:
    """A table's columns with dtype, unit, meaning, range and what they are made of, for Dagster's column view."""
    made = lineage_of(target.name)
    return dg.TableSchema(
        columns=[
            dg.TableColumn(
                name=c.name,
                type=TYPE_NAMES.get(str(c.dtype), str(c.dtype).lower()),
                description=c.meaning + (f" [{c.unit}]" if c.unit else "") + _sources_in_words(made.get(c.name, ())),
                constraints=dg.TableColumnConstraints(
                    nullable=c.nullable, unique=target.key == (c.name,), other=_range_in_words(c)
                ),
            )
            for c in target.columns
        ]
    )


def _range_in_words(column: Column) -> list[str]:
    """What a column may hold: its bounds, in its own unit, or the values there are."""
    told = f"one of {', '.join(column.values)}" if column.values else column.bounds
    return [told] if told else []


def _sources_in_words(places: Sequence[Place]) -> str:
    """What a column is made of; of many columns only how many, the lineage names them all."""
    if not places:
        return ""
    if len(places) <= MOST_SOURCES_NAMED:
        return "; made of " + ", ".join(f"{table}.{column}" for table, column in places)
    tables = dict.fromkeys(table for table, _ in places)
    return f"; made of {len(places)} columns of {', '.join(tables)}"


def _cell(value: Any, max_cell: int) -> str:
    text = "" if value is None else f"{value:.6g}" if isinstance(value, float) else str(value)
    return seen(text, max_cell)
