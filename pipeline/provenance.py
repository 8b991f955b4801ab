"""What each hour of each table was computed from, so that unchanged hours are not computed again.

An hour's *fingerprint* covers the code and the spec that computed it and the content of every input hour it could
have read. Where the fingerprint on record equals the one that would be written now, computing again could only
give the same rows. Killed half way, the next run finds the finished pieces on record and carries on after them.

Stays out: what is computed (the stages) and in which order (the asset graph).
"""

import hashlib
import json
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from pipeline.calendars import DAY, HOUR, Span, ceil, floor, spans_of
from pipeline.lake import Lake
from pipeline.tables import PARTITIONS, Table, table

ZERO = timedelta(0)
EVER = timedelta(days=3650)
"""A look-back that reaches everything: for tables of things that stay, like pools."""
NUMERIC = ("deltalake", "numpy", "polars", "scikit-learn", "xgboost", "xgboost-cpu")
PIECE = 30 * DAY
"""How much of a long range is computed and committed at once: bounds memory, and what a kill can cost."""


@dataclass(frozen=True)
class Input:
    """A table an hour is computed from, and how far around that hour the computation may look."""

    table: str
    back: timedelta = ZERO
    ahead: timedelta = ZERO


@dataclass(frozen=True)
class Recipe:
    """How one table is made: its inputs, the hash of code and spec, and what else an hour depends on."""

    table: str
    inputs: tuple[Input, ...]
    code: str
    depends_on: Callable[[datetime], str] = lambda _hour: ""


@dataclass(frozen=True)
class Refreshed:
    """What a refresh did: hours computed and left alone, and the rows that now lie in the asked span."""

    n_hours_computed: int
    n_hours_unchanged: int
    n_rows: int


def code_of(stage: str, *specs: Any) -> str:
    """SHA-256 over a stage's source files, the vocabulary, the Polars version and its specs' values.

    Args:
        stage: name of the stage's package under `pipeline`.
        specs: frozen dataclasses whose fields are plain values.
    """
    root = Path(__file__).parent
    digest = hashlib.sha256(repr(_versions()).encode())
    vocabulary = sorted((root / "tables").glob("*.py"))
    for path in [*vocabulary, root / "calendars.py", *sorted((root / stage).glob("**/*.py"))]:
        digest.update(path.relative_to(root).as_posix().encode() + b"\0" + path.read_bytes())
    for spec in specs:
        digest.update(json.dumps(asdict(spec), sort_keys=True, default=str).encode())
    return digest.hexdigest()


@cache
def _versions() -> list[tuple[str, str]]:
    """The libraries that numbers come from, as far as they are installed."""
    found = []
    for name in NUMERIC:
        with suppress(PackageNotFoundError):
            found.append((name, version(name)))
    return found


def content_by_hour(frame: pl.DataFrame, time: str) -> pl.DataFrame:
    """Rows and content hash of each hour that holds rows: `hour`, `content` (u64), `n_rows`.

    The hash of an hour is the wrapping sum of its rows' hashes, so the order of rows does not matter.
    """
    return (
        frame.select(pl.col(time).dt.truncate("1h").alias("hour"), frame.hash_rows(seed=1).alias("content"))
        .group_by("hour")
        .agg(pl.col("content").sum(), pl.len().cast(pl.Int64).alias("n_rows"))
        .sort("hour")
    )


def refresh(
    lake: Lake,
    recipe: Recipe,
    span: Span,
    compute: Callable[[Span], pl.DataFrame],
    *,
    progress: Callable[[Span, pl.DataFrame], None] = lambda _span, _rows: None,
) -> Refreshed:
    """Bring the hours of `span` up to date: compute the stale ones, replace them atomically, put them on record.

    Args:
        compute: gives all rows of the recipe's table in a span of whole hours.
        progress: shown each piece after it is durable, with its rows.
    """
    target = table(recipe.table)
    wanted = fingerprints(lake, recipe, span)
    stale = _stale(wanted, _recorded(lake, recipe.table, span))
    for run in spans_of(stale):
        for piece in run.pieces(PIECE):
            rows = compute(piece)
            lake.replace(target, rows, piece)
            record(lake, target, rows, {hour: wanted[hour] for hour in piece.hours()})
            progress(piece, rows)
    rows_now = sum(n_rows for _, n_rows in _recorded(lake, recipe.table, span).values())
    return Refreshed(len(stale), len(wanted) - len(stale), rows_now)


def rows_on_record(lake: Lake, name: str) -> int:
    """All rows of a table that is replaced by hour, without reading it."""
    hours = lake.scan(PARTITIONS).filter(pl.col("table_name") == name)
    return int(hours.select(pl.col("n_rows").sum()).collect().item())


def stale_hours(lake: Lake, recipe: Recipe, span: Span) -> list[datetime]:
    """The hours of `span` that a refresh would compute."""
    return _stale(fingerprints(lake, recipe, span), _recorded(lake, recipe.table, span))


def _stale(wanted: dict[datetime, str], recorded: dict[datetime, tuple[str, int]]) -> list[datetime]:
    return [hour for hour, print_ in wanted.items() if recorded.get(hour, ("", 0))[0] != print_]


def fingerprints(lake: Lake, recipe: Recipe, span: Span) -> dict[datetime, str]:
    """For each hour of `span`, the hash of everything its rows would be computed from."""
    hours = list(span.hours())
    sums = [_input_sums(lake, source, hours) for source in recipe.inputs]
    prints = {}
    for i, hour in enumerate(hours):
        parts = [
            recipe.code,
            recipe.depends_on(hour),
            *(f"{s.table}={int(v[i])}" for s, v in zip(recipe.inputs, sums, strict=True)),
        ]
        prints[hour] = hashlib.sha256("|".join(parts).encode()).hexdigest()
    return prints


def record(lake: Lake, target: Table, rows: pl.DataFrame, prints: dict[datetime, str]) -> None:
    """Put on record what the given hours of `target` hold and what they were computed from."""
    time = _time_of(target)
    frame = (
        pl.DataFrame(
            {"hour": list(prints), "fingerprint": list(prints.values())},
            schema_overrides={"hour": PARTITIONS.schema["hour"]},
        )
        .join(content_by_hour(rows, time), on="hour", how="left")
        .select(
            pl.lit(target.name).alias("table_name"),
            "hour",
            "fingerprint",
            pl.col("content").fill_null(0).cast(pl.String).alias("content_hash"),
            pl.col("n_rows").fill_null(0),
        )
    )
    lake.upsert(PARTITIONS, frame)


def void(lake: Lake, name: str, span: Span) -> None:
    """Take the hours of `span` off the record: their rows are not sound, the next refresh computes them again."""
    rows = lake.scan(PARTITIONS, span).filter(pl.col("table_name") == name).collect()
    lake.upsert(PARTITIONS, rows.with_columns(pl.lit("void").alias("fingerprint")))


def record_all(lake: Lake, target: Table) -> None:
    """Put a whole table on record by hour, for tables that are not replaced by hour."""
    rows = lake.scan(target).collect()
    hours = content_by_hour(rows, _time_of(target))["hour"].to_list()
    record(lake, target, rows, dict.fromkeys(hours, ""))


def _time_of(target: Table) -> str:
    """The column that says which hour a row belongs to; a dimension table is filed by when its rows began."""
    return target.time or ("created_at" if "created_at" in target.schema else target.as_of)


def _recorded(lake: Lake, name: str, span: Span) -> dict[datetime, tuple[str, int]]:
    """Fingerprint and rows on record by hour, of the hours that still hold as many rows as the record says.

    An hour whose rows somebody deleted, or brought back from an older copy, is not on record.
    """
    target = table(name)
    if lake.version(target) is None:
        return {}
    rows = lake.scan(PARTITIONS, span).filter(pl.col("table_name") == name).collect()
    hour = pl.col(_time_of(target)).dt.truncate("1h").alias("hour")
    there = dict(lake.scan(target, span).group_by(hour).len().collect().iter_rows())
    told = rows.select("hour", "fingerprint", "n_rows").iter_rows()
    return {at: (print_, n) for at, print_, n in told if there.get(at, 0) == n}


def _input_sums(lake: Lake, source: Input, hours: Sequence[datetime]) -> np.ndarray[Any, np.dtype[np.uint64]]:
    """For each hour, the wrapping sum of the input's content over [hour - back, hour + 1 h + ahead)."""
    if not hours:
        return np.zeros(0, np.uint64)
    start, end = floor(hours[0] - source.back, HOUR), ceil(hours[-1] + HOUR + source.ahead, HOUR)
    rows = lake.scan(PARTITIONS, Span(start, end)).filter(pl.col("table_name") == source.table).collect()
    grid = np.zeros((end - start) // HOUR + 1, np.uint64)
    at = ((rows["hour"] - start).dt.total_hours() + 1).to_numpy()
    grid[at] = rows["content_hash"].cast(pl.UInt64).to_numpy()
    until = np.cumsum(grid, dtype=np.uint64)
    first = np.array([(floor(h - source.back, HOUR) - start) // HOUR for h in hours])
    last = np.array([(ceil(h + HOUR + source.ahead, HOUR) - start) // HOUR for h in hours])
    sums: np.ndarray[Any, np.dtype[np.uint64]] = until[last] - until[first]
    return sums
