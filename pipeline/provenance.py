"""What each hour of each table was computed from, so that unchanged hours are not computed again.

An hour's *fingerprint* covers the code and the spec that computed it and the content of every input hour it could
have read. Where the fingerprint on record equals the one that would be written now, computing again could only
give the same rows. Killed half way, the next run finds the finished pieces on record and carries on after them.

An hour whose rows were let go for their age is *expired*. What it was remains on record, so that nothing that was made
from it becomes stale by its going; and what could have read it is never computed again, whatever else changes, for that
would put less in the place of more.

Stays out: what is computed (the stages) and in which order (the asset graph).
"""

import hashlib
import json
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
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
from pipeline.errors import UsageError
from pipeline.lake import Lake
from pipeline.tables import PARTITIONS, RELEASES, Table, table

ZERO = timedelta(0)
EVER = timedelta(days=3650)
"""A look-back that reaches everything: for tables of things that stay, like pools."""
NUMERIC = (
    "deltalake", "lightgbm", "numpy", "optuna", "pandas", "pandas-ta", "polars", "polars-talib", "scikit-learn",
    "scipy", "ta-lib", "xgboost", "xgboost-cpu",
)  # fmt: skip
JUDGING = (
    "aside", "bands", "keys", "meaning", "of_derived", "of_observed", "of_served", "rule", "tolerance", "triage",
)  # fmt: skip
"""Modules of the expectations that decide which rows are written."""
EXPIRED = "expired"
"""What stands in the place of a fingerprint for an hour whose rows were let go for their age."""
VOID = "void"
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


def code_of(stage: str, *specs: Any, without: Collection[str] = ()) -> str:
    """SHA-256 over a stage's source files, the vocabulary, the Polars version and its specs' values.

    Args:
        stage: name of the stage's package under `pipeline`.
        specs: frozen dataclasses whose fields are plain values.
        without: modules of the package that no row depends on.

    Raises:
        UsageError: the package has no such module, so leaving it out would mean nothing.
    """
    root = Path(__file__).parent
    digest = hashlib.sha256(repr(_versions()).encode())
    vocabulary = sorted((root / "tables").glob("*.py"))
    modules = sorted((root / stage).glob("**/*.py"))
    if strange := set(without) - {path.stem for path in modules}:
        raise UsageError(f"cannot leave {sorted(strange)!r} out of the code of {stage!r}: it has no such modules")
    own = [path for path in modules if path.stem not in without]
    for path in [*vocabulary, root / "calendars.py", *own]:
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
    piece: timedelta | None = None,
    stopped: Callable[[Span], Collection[datetime]] = lambda _span: (),
) -> Refreshed:
    """Bring the hours of `span` up to date: compute the stale ones, replace them atomically, put them on record.

    Hours that are expired, or that were computed from an hour that is, stay as they are.

    Args:
        compute: gives all rows of the recipe's table in a span of whole hours.
        progress: shown each piece after it is durable, with its rows.
        piece: how much is computed and committed at once; `PIECE` unless given.
        stopped: asked after a piece was computed, the hours of it of which nothing may be written: they stay stale.
    """
    target = table(recipe.table)
    # Of two at once, one could put old rows under the record of the other's new ones.
    with lake.locked(f"{target.name}.refresh"):
        wanted = fingerprints(lake, recipe, span)
        stale = _stale(lake, recipe, span, wanted)
        for run in spans_of(stale):
            for part in run.pieces(piece or PIECE):
                rows = compute(part)
                lake.replace(target, rows, part)
                unsound = set(stopped(part))
                record(lake, target, rows, {hour: VOID if hour in unsound else wanted[hour] for hour in part.hours()})
                progress(part, rows)
    rows_now = sum(n_rows for _, n_rows in _recorded(lake, recipe.table, span).values())
    return Refreshed(len(stale), len(wanted) - len(stale), rows_now)


def mark(lake: Lake, recipe: Recipe, span: Span) -> None:
    """Put on record that the hours of `span` were worked on as they are now, for work that leaves no hours of a table.

    `recipe.table` names the work and is no table's name.
    """
    prints = fingerprints(lake, recipe, span)
    rows = [(recipe.table, hour, print_, "0", 0) for hour, print_ in prints.items()]
    lake.upsert(PARTITIONS, pl.DataFrame(rows, schema=PARTITIONS.schema, orient="row"))


def unmarked(lake: Lake, recipe: Recipe, span: Span) -> list[datetime]:
    """The hours of `span` that were not marked as they are now, of those in which an input holds something."""
    told = set().union(*(_told_hours(lake, source, span) for source in recipe.inputs))
    marked = _hours_on_record(lake, recipe.table, span)
    done = dict(zip(marked["hour"], marked["fingerprint"], strict=True))
    wanted = fingerprints(lake, recipe, span)
    hours = [hour for hour in told if done.get(hour) != wanted[hour]]
    frozen = _frozen(lake, recipe, sorted(hours))
    return [hour for hour in sorted(hours) if hour not in frozen]


def hours_behind(lake: Lake, recipe: Recipe, span: Span) -> list[datetime]:
    """The hours of `span` in which an input holds something that the recipe's table was not computed from.

    Hours of which nothing was ever told are not behind, whatever was or was not computed.
    """
    told = set().union(*(_told_hours(lake, source, span) for source in recipe.inputs))
    return [hour for hour in stale_hours(lake, recipe, span) if hour in told] if told else []


def _told_hours(lake: Lake, source: Input, span: Span) -> set[datetime]:
    rows = _hours_on_record(lake, source.table, span)
    return set(rows.filter(pl.col("n_rows") > 0)["hour"])


def rows_on_record(lake: Lake, name: str) -> int:
    """All rows of a table that is replaced by hour, without reading it."""
    hours = lake.scan(PARTITIONS).filter(pl.col("table_name") == name)
    return int(hours.select(pl.col("n_rows").sum()).collect().item())


def stale_hours(lake: Lake, recipe: Recipe, span: Span) -> list[datetime]:
    """The hours of `span` that a refresh would compute."""
    return _stale(lake, recipe, span, fingerprints(lake, recipe, span))


def _stale(lake: Lake, recipe: Recipe, span: Span, wanted: dict[datetime, str]) -> list[datetime]:
    recorded = _recorded(lake, recipe.table, span)
    stale = [hour for hour, print_ in wanted.items() if recorded.get(hour, ("", 0))[0] != print_]
    frozen = _frozen(lake, recipe, stale)
    return [hour for hour in stale if hour not in frozen]


def _frozen(lake: Lake, recipe: Recipe, hours: Sequence[datetime]) -> set[datetime]:
    """Those of the hours that are expired themselves, or that could have read an expired hour of an input."""
    found: set[datetime] = set()
    for source in (Input(recipe.table), *recipe.inputs) if hours else ():
        rows = _hours_on_record(lake, source.table, _reach(source, hours)).filter(pl.col("fingerprint") == EXPIRED)
        n_expired = _window_sums(rows["hour"], pl.repeat(1, len(rows), dtype=pl.UInt64, eager=True), source, hours)
        found |= {hour for hour, n in zip(hours, n_expired, strict=True) if n}
    return found


def fingerprints(lake: Lake, recipe: Recipe, span: Span) -> dict[datetime, str]:
    """For each hour of `span`, the hash of everything its rows would be computed from and judged by.

    What a person lets out of the quarantine makes its hour stale, and no other.
    """
    hours = list(span.hours())
    released = _released(lake, recipe.table, span)
    sums = [_input_sums(lake, source, hours) for source in recipe.inputs] if hours else []
    prints = {}
    for i, hour in enumerate(hours):
        parts = [
            recipe.code,
            _judging(),
            recipe.depends_on(hour),
            *released.get(hour, ()),
            *(f"{s.table}={int(v[i])}" for s, v in zip(recipe.inputs, sums, strict=True)),
        ]
        prints[hour] = hashlib.sha256("|".join(parts).encode()).hexdigest()
    return prints


@cache
def _judging() -> str:
    """SHA-256 over what parts sound rows from broken ones before they are written."""
    folder = Path(__file__).parent / "expectations"
    told = [(folder / f"{name}.py").read_bytes() for name in JUDGING]
    return hashlib.sha256(b"\0".join(told)).hexdigest()


def _released(lake: Lake, name: str, span: Span) -> dict[datetime, list[str]]:
    """The records that a person let into the table, by hour, in an order that does not depend on who came first."""
    inside = pl.col("event_time").is_between(span.start, span.end, closed="left")
    rows = lake.scan(RELEASES).filter(pl.col("table_name") == name, inside)
    by_hour = rows.group_by(pl.col("event_time").dt.truncate("1h")).agg(pl.col("record_id").sort())
    return dict(by_hour.collect().iter_rows())


def record(lake: Lake, target: Table, rows: pl.DataFrame, prints: Mapping[datetime, str]) -> None:
    """Put on record what the given hours of `target` hold and what they were computed from."""
    found = content_by_hour(rows, _time_of(target))
    frame = _of_hours(target, prints, list(prints.values())).join(found, on="hour", how="left")
    lake.upsert(
        PARTITIONS,
        frame.select(
            "table_name",
            "hour",
            "fingerprint",
            pl.col("content").fill_null(0).cast(pl.String).alias("content_hash"),
            pl.col("n_rows").fill_null(0),
        ),
    )


def record_hours(lake: Lake, target: Table, hours: Iterable[datetime], columns: Collection[str] | None = None) -> None:
    """Put on record what the given hours of a table hold that is filled by appends, not replaced by hour.

    Expired hours stay as they are on record.

    Args:
        hours: starts of hours; those that hold no row are on record as empty.
        columns: the columns whose content counts, the time among them; None: all. As a stored row is never changed,
            those that settle the others are enough.
    """
    time = _time_of(target)
    wanted = list(target.schema if columns is None else dict.fromkeys([time, *columns]))
    for run in spans_of(hours):
        expired = set(_hours_on_record(lake, target.name, run).filter(pl.col("fingerprint") == EXPIRED)["hour"])
        rows = lake.scan(target, run).select(wanted).collect()
        record(lake, target, rows, {hour: "" for hour in run.hours() if hour not in expired})


def expire(lake: Lake, target: Table, n_rows: Mapping[datetime, int]) -> None:
    """Mark hours of `target` as expired, before their rows are let go; `n_rows` says how many will be left in each.

    What the hours held stays on record: for what was made from them, nothing changes.
    """
    if not n_rows:
        return
    span = Span(min(n_rows), max(n_rows) + HOUR)
    told = _hours_on_record(lake, target.name, span).select("hour", "content_hash")
    frame = _of_hours(target, n_rows, EXPIRED).with_columns(n_rows=pl.Series(list(n_rows.values()), dtype=pl.Int64))
    marked = frame.join(told, on="hour", how="left").with_columns(pl.col("content_hash").fill_null("0"))
    lake.upsert(PARTITIONS, marked)


def void(lake: Lake, name: str, span: Span) -> None:
    """Take the hours of `span` off the record: their rows are not sound, the next refresh computes them again.

    Expired hours stay marked: what they were made from is gone.
    """
    rows = _hours_on_record(lake, name, span).filter(pl.col("fingerprint") != EXPIRED)
    lake.upsert(PARTITIONS, rows.with_columns(pl.lit(VOID).alias("fingerprint")))


def _of_hours(target: Table, hours: Iterable[datetime], prints: list[str] | str) -> pl.DataFrame:
    at = pl.Series("hour", list(hours), PARTITIONS.schema["hour"])
    printed = pl.lit(prints) if isinstance(prints, str) else pl.Series(prints, dtype=pl.String)
    return pl.DataFrame({"hour": at}).with_columns(table_name=pl.lit(target.name), fingerprint=printed)


def _hours_on_record(lake: Lake, name: str, span: Span) -> pl.DataFrame:
    return lake.scan(PARTITIONS, span).filter(pl.col("table_name") == name).collect()


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
    rows = _hours_on_record(lake, name, span)
    hour = pl.col(_time_of(target)).dt.truncate("1h").alias("hour")
    there = dict(lake.scan(target, span).group_by(hour).len().collect().iter_rows())
    told = rows.select("hour", "fingerprint", "n_rows").iter_rows()
    return {at: (print_, n) for at, print_, n in told if there.get(at, 0) == n}


def _input_sums(lake: Lake, source: Input, hours: Sequence[datetime]) -> np.ndarray[Any, np.dtype[np.uint64]]:
    """For each hour, the wrapping sum of the input's content over [hour - back, hour + 1 h + ahead)."""
    rows = _hours_on_record(lake, source.table, _reach(source, hours))
    return _window_sums(rows["hour"], rows["content_hash"].cast(pl.UInt64), source, hours)


def _reach(source: Input, hours: Sequence[datetime]) -> Span:
    """All hours of an input that could have been read for one of the hours."""
    return Span(floor(min(hours) - source.back, HOUR), ceil(max(hours) + HOUR + source.ahead, HOUR))


def _window_sums(
    at: pl.Series, values: pl.Series, source: Input, hours: Sequence[datetime]
) -> np.ndarray[Any, np.dtype[np.uint64]]:
    """For each of the hours, the wrapping sum of the values whose moment (`at`) the input's window holds."""
    reach = _reach(source, hours)
    grid = np.zeros((reach.end - reach.start) // HOUR + 1, np.uint64)
    grid[((at - reach.start).dt.total_hours() + 1).to_numpy()] = values.to_numpy()
    until = np.cumsum(grid, dtype=np.uint64)
    first = np.array([(floor(h - source.back, HOUR) - reach.start) // HOUR for h in hours])
    last = np.array([(ceil(h + HOUR + source.ahead, HOUR) - reach.start) // HOUR for h in hours])
    sums: np.ndarray[Any, np.dtype[np.uint64]] = until[last] - until[first]
    return sums
