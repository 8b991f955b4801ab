"""What each verb changes, as plain functions from an opened version and the new rows to one commit.

Belongs here: which files go, which rows come, and so how much a verb reads and writes: what meets its rows, never the
whole history. Stays out: opening and committing (`store`), what the log says of a file (`files`).
Delta's MERGE is not used: it is slower and hungrier than rewriting the few files that a verb meets. Nor is its
overwrite by predicate: that puts what it carries over and what is new into one file, so that a span that is replaced
every five minutes would rewrite a growing day each time.
"""

from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

import polars as pl

from pipeline.calendars import DAY as ONE_DAY
from pipeline.calendars import Span
from pipeline.errors import UsageError
from pipeline.lake.files import STATISTICS_BLUR, Stored, may_hold
from pipeline.lake.rows import DAY, SOURCE, conform, require_time, sorted_rows, with_day, within
from pipeline.tables import Table

TARGET_BYTES: Final = 64_000_000
"""Files are merged up to this size; one of at least half of it is left alone."""
BATCH_BYTES: Final = 256_000_000
"""How much one commit of a compaction reads: bounds how long writers wait, and what a kill costs."""


@dataclass(frozen=True)
class Change:
    """One commit: the files of a listing that go, the frames that come (a file a partition each).

    `n_rows` is what the verb reports. `is_moved` says that the rows stay the same and only lie elsewhere,
    `is_reshaped` that all files go and the table's columns are those of its spec from now on.
    """

    added: Iterable[pl.DataFrame]
    n_rows: int
    removed: pl.DataFrame | None = None
    is_moved: bool = False
    is_reshaped: bool = False


def append(stored: Stored, rows: pl.DataFrame) -> Change | None:
    """Add the rows whose key is not stored."""
    if rows.is_empty():
        return None
    key = list(stored.table.key)
    stored.check(_of_the_same_days(stored, rows))
    alike = stored.rows(_may_share_a_key(stored, rows)).filter(_near(stored.table, rows)).select(key)
    known = alike.join(rows.lazy().select(key), on=key, how="semi").collect()
    new = rows.join(known, on=key, how="anti", maintain_order="left")
    return Change((with_day(stored.table, new),), len(new)) if len(new) else None


def replace(stored: Stored, rows: pl.DataFrame, span: Span) -> Change | None:
    """Put the rows in the place of all stored rows in the span.

    What else lies in the files that are met is carried over, apart from the new rows and apart by the side of the span
    it lies on: the next replacement of the same span does not meet it again.
    """
    stored.check(stored.on_days(span))
    met, kept = _cut(stored, stored.meeting(span), ~within(stored.table, span), span)
    if rows.is_empty() and met.is_empty():
        return None
    time = pl.col(require_time(stored.table))
    sides = [frame.filter(side) for frame in kept for side in (time < span.start, time >= span.end)]
    added = (*sides, with_day(stored.table, rows))
    return Change(tuple(frame for frame in added if len(frame)), len(rows), met)


def discard(stored: Stored, sources: Collection[str], span: Span) -> Change | None:
    """Take away the rows of some sources in the span."""
    doomed = within(stored.table, span) & pl.col(SOURCE).is_in(list(sources))
    files = stored.meeting(span).filter(may_hold(list(sources)))
    of_one_source = pl.col("first_source").is_in(list(sources)) & (pl.col("first_source") == pl.col("last_source"))
    met, kept = _cut(stored, files, ~doomed, span, is_doomed_if_inside=of_one_source)
    if met.is_empty():
        return None
    n_rows = int(met["n_rows"].sum()) - sum(map(len, kept))
    return Change(tuple(frame for frame in kept if len(frame)), n_rows, met)


def upsert(stored: Stored, rows: pl.DataFrame) -> Change | None:
    """Insert or overwrite rows by key, rewriting the partitions the rows meet."""
    table = stored.table
    touched = [pl.col(name).is_in(rows[name].unique().implode()) for name in table.partition_by]
    files = stored.files.filter(*touched)
    stored.check(files)
    met = stored.rows(files).select(rows.columns).collect()
    n_changed = rows.join(met, on=rows.columns, how="anti", nulls_equal=True).height
    if n_changed == 0:
        return None
    kept = met.join(rows, on=table.key, how="anti")
    return Change((with_day(table, sorted_rows(table, pl.concat([kept, rows]))),), n_changed, files)


def merge(stored: Stored, among: Collection[str]) -> Change | None:
    """Merge the first small files among those, as many as one commit may read."""
    files = stored.files.filter(pl.col("path").is_in(list(among)))
    added: list[pl.DataFrame] = []
    removed: list[pl.DataFrame] = []
    n_bytes = 0
    for group in mergeable(files, stored.table):
        n_bytes += int(group["n_bytes"].sum())
        if removed and n_bytes > BATCH_BYTES:
            break
        added.append(sorted_rows(stored.table, stored.rows(group).collect()))
        removed.append(group)
    return Change(tuple(added), 0, pl.concat(removed), is_moved=True) if removed else None


def mergeable(files: pl.DataFrame, table: Table) -> Iterator[pl.DataFrame]:
    """Groups of small files of one partition that follow each other in time and fit into one file."""
    small = files.filter(pl.col("n_bytes") < TARGET_BYTES // 2).sort("first", "path", nulls_last=True)
    parts = list(table.partition_by)
    before = (pl.col("n_bytes").cum_sum() - pl.col("n_bytes")).alias("before")
    for frame in small.partition_by(parts, maintain_order=True) if parts else [small]:
        numbered = frame.with_columns(before).with_columns(group=pl.col("before") // TARGET_BYTES)
        for group in numbered.partition_by("group", maintain_order=True):
            if len(group) > 1:
                yield group.select(files.columns)


def migrate(stored: Stored, progress: Callable[[float], None]) -> Change | None:
    """Rewrite every file in the columns of the spec, one after the other: no more than one is in memory."""
    if stored.shape is stored.table:
        return None
    stored.check()

    def rewritten() -> Iterator[pl.DataFrame]:
        for row in range(len(stored.files)):
            rows = stored.rows(stored.files[row]).select(stored.table.schema.names()).collect()
            yield with_day(stored.table, conform(stored.table, rows))
            progress((row + 1) / len(stored.files))

    return Change(rewritten(), int(stored.files["n_rows"].sum()), is_reshaped=True)


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


def _cut(
    stored: Stored, files: pl.DataFrame, keep: pl.Expr, span: Span, *, is_doomed_if_inside: pl.Expr | None = None
) -> tuple[pl.DataFrame, list[pl.DataFrame]]:
    """Of some files, those that lose a row, and what is left of each.

    A file of which the log says that it lies in the span is gone without being read.
    """
    whole = (pl.col("first") >= span.start) & (pl.col("last") + STATISTICS_BLUR < span.end)
    if is_doomed_if_inside is not None:
        whole &= is_doomed_if_inside & pl.col("n_rows").is_not_null()
    gone = files.filter(whole.fill_null(value=False))
    met, kept = [gone], []
    for row in range(len(rest := files.join(gone, on="path", how="anti", maintain_order="left"))):
        rows = stored.rows(rest[row]).collect()
        left = rows.filter(keep)
        if len(left) < len(rows):
            met.append(rest[row].with_columns(n_rows=pl.lit(len(rows), pl.Int64)))
            kept.append(left)
    return pl.concat(met), kept


def _may_share_a_key(stored: Stored, rows: pl.DataFrame) -> pl.DataFrame:
    """The files in which a key of the rows may be stored already.

    Where the key says when a row was true, these are the files of that time, however long the history is.
    """
    files, table = _of_the_same_days(stored, rows), stored.table
    in_key = [name for name in table.partition_by if name in table.key]
    files = files.filter(*(pl.col(name).is_in(rows[name].unique().implode()) for name in in_key))
    reach = _reach(table)
    if reach is None:
        return files
    lowest, highest = (getattr(rows[require_time(table)], end)() for end in ("min", "max"))
    too_late, too_early = pl.col("first") > highest + reach, pl.col("last") + STATISTICS_BLUR < lowest - reach
    return files.filter(~(too_late | too_early).fill_null(value=False))


def _of_the_same_days(stored: Stored, rows: pl.DataFrame) -> pl.DataFrame:
    """The files in the folders of the days on which a key of the rows may be stored already."""
    reach = _reach(stored.table)
    if reach is None or DAY not in stored.table.partition_by:
        return stored.files
    found = rows[require_time(stored.table)].dt.date().unique()
    around = range(-reach.days, reach.days + 1)
    return stored.files.filter(pl.col(DAY).is_in(list({day + n * ONE_DAY for day in found for n in around})))


def _reach(table: Table) -> timedelta | None:
    """How far from a row's own time the same key may be stored; None: anywhere."""
    return timedelta(0) if table.time in table.key else table.key_reach


def _near(table: Table, rows: pl.DataFrame) -> pl.Expr:
    """A cheap necessary condition for sharing a key with one of the rows: statistics can rule row groups out by it."""
    bounds = [pl.col(name).is_between(pl.lit(rows[name].min()), pl.lit(rows[name].max())) for name in table.key]
    return pl.all_horizontal(bounds)
