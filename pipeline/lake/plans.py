"""What each verb changes, as plain functions from the stored rows and the new ones to one commit.

Belongs here: which rows go, which come, and which files that touches. Stays out: opening and committing (`store`).
Delta's MERGE is not used: it is slower and hungrier than rewriting the few partitions that a verb meets.
"""

from dataclasses import dataclass
from typing import Any, Literal

import polars as pl

from pipeline.calendars import Span
from pipeline.errors import UsageError
from pipeline.lake.rows import DAY, days, require_time, sorted_rows, within
from pipeline.tables import Table


@dataclass(frozen=True)
class Change:
    """One commit: `rows` are added; an overwrite first removes all rows that meet the SQL `predicate` (None: all).

    `n_rows` is what the verb reports; an overwrite also carries stored rows over.
    """

    rows: pl.DataFrame
    mode: Literal["append", "overwrite"]
    n_rows: int
    predicate: str | None = None


def append(table: Table, stored: pl.LazyFrame, rows: pl.DataFrame) -> Change | None:
    """Add the rows whose key is not stored."""
    if rows.is_empty():
        return None
    alike = stored.filter(_near(table, rows)).select(table.key)
    known = alike.join(rows.lazy().select(table.key), on=table.key, how="semi").collect()
    new = rows.join(known, on=table.key, how="anti", maintain_order="left")
    return Change(new, "append", len(new)) if len(new) else None


def replace(table: Table, stored: pl.LazyFrame, rows: pl.DataFrame, span: Span) -> Change | None:
    """Put the rows in the place of all stored rows in the span."""
    inside = within(table, span)
    if rows.is_empty() and stored.filter(inside).head(1).collect().is_empty():
        return None
    kept, predicate = stored.filter(~inside), None
    if DAY in table.partition_by:
        first, last = days(span)
        # Days between the edges are replaced whole, so nothing of them is read.
        kept = kept.filter(pl.col(DAY).is_in([first, last]))
        predicate = f"day >= '{first}' AND day <= '{last}'"
    return Change(_joined(table, kept, rows), "overwrite", len(rows), predicate)


def upsert(table: Table, stored: pl.LazyFrame, rows: pl.DataFrame) -> Change | None:
    """Insert or overwrite rows by key, rewriting the partitions the rows meet."""
    touched = rows.select(table.partition_by).unique(maintain_order=True).to_dict(as_series=False)
    for name, values in touched.items():
        stored = stored.filter(pl.col(name).is_in(values))
    met = stored.select(rows.columns).collect()
    n_changed = rows.join(met, on=rows.columns, how="anti", nulls_equal=True).height
    if n_changed == 0:
        return None
    kept = met.join(rows, on=table.key, how="anti")
    return Change(_joined(table, kept.lazy(), rows), "overwrite", n_changed, _sql_among(touched))


def check_inside(table: Table, rows: pl.DataFrame, span: Span) -> None:
    """Refuse rows outside the span: replacing it again would not remove them.

    Raises:
        UsageError: a row's time is not in [start, end), or the table does not follow time.
    """
    outside = rows.filter(~pl.col(require_time(table)).is_between(span.start, span.end, closed="left"))
    if len(outside):
        raise UsageError(
            f"cannot replace {span.start.isoformat()} to {span.end.isoformat()} of {table.name!r}: {len(outside)} of "
            f"{len(rows)} rows lie outside, e.g. at {outside[require_time(table)][0].isoformat()!r}; cut the frame to "
            "the span or widen the span; nothing was written"
        )


def _near(table: Table, rows: pl.DataFrame) -> pl.Expr:
    """A cheap necessary condition for sharing a key with one of the rows: file statistics can rule files out by it."""
    bounds = [pl.col(name).is_between(pl.lit(rows[name].min()), pl.lit(rows[name].max())) for name in table.key]
    if DAY in table.partition_by and table.time in table.key:
        times = rows[table.time]
        bounds.append(pl.col(DAY).is_between(pl.lit(times.dt.date().min()), pl.lit(times.dt.date().max())))
    return pl.all_horizontal(bounds)


def _joined(table: Table, kept: pl.LazyFrame, rows: pl.DataFrame) -> pl.DataFrame:
    return sorted_rows(table, pl.concat([kept.select(rows.columns).collect(), rows]))


def _sql_among(values: dict[str, list[Any]]) -> str | None:
    """The SQL condition that each column is one of its texts; None for no columns.

    >>> _sql_among({"table_name": ["pools", "it's"]})
    "table_name IN ('pools', 'it''s')"
    """
    lists = {name: ", ".join("'" + text.replace("'", "''") + "'" for text in texts) for name, texts in values.items()}
    return " AND ".join(f"{name} IN ({texts})" for name, texts in lists.items()) or None
