"""What an hour of a table is made from, as a fingerprint; and so which hours are stale.

Belongs here: recipes, fingerprints, and comparing these with what is on record. Stays out: reading and writing the
record (`on_record`), computing what is stale (`refreshing`).
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import polars as pl

from pipeline.calendars import HOUR, Span, ceil, floor
from pipeline.lake import Lake
from pipeline.provenance.code import judging
from pipeline.provenance.on_record import EXPIRED, hours_on_record, record_work, recorded
from pipeline.tables import RELEASES

ZERO = timedelta(0)


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
            judging(),
            recipe.depends_on(hour),
            *released.get(hour, ()),
            *(f"{s.table}={int(v[i])}" for s, v in zip(recipe.inputs, sums, strict=True)),
        ]
        prints[hour] = hashlib.sha256("|".join(parts).encode()).hexdigest()
    return prints


def stale_hours(lake: Lake, recipe: Recipe, span: Span) -> list[datetime]:
    """The hours of `span` that a refresh would compute."""
    return stale_among(lake, recipe, span, fingerprints(lake, recipe, span))


def stale_among(lake: Lake, recipe: Recipe, span: Span, wanted: dict[datetime, str]) -> list[datetime]:
    """The hours that are not on record as they are wanted, and may be computed again."""
    found = recorded(lake, recipe.table, span)
    stale = [hour for hour, print_ in wanted.items() if found.get(hour, ("", 0))[0] != print_]
    frozen = _frozen(lake, recipe, stale)
    return [hour for hour in stale if hour not in frozen]


def hours_behind(lake: Lake, recipe: Recipe, span: Span) -> list[datetime]:
    """The hours of `span` in which an input holds something that the recipe's table was not computed from.

    Hours of which nothing was ever told are not behind, whatever was or was not computed.
    """
    told = set().union(*(_told_hours(lake, source, span) for source in recipe.inputs))
    return [hour for hour in stale_hours(lake, recipe, span) if hour in told] if told else []


def mark(lake: Lake, recipe: Recipe, span: Span) -> None:
    """Put on record that the hours of `span` were worked on as they are now, for work that leaves no hours of a table.

    `recipe.table` names the work and is no table's name.
    """
    record_work(lake, recipe.table, fingerprints(lake, recipe, span))


def unmarked(lake: Lake, recipe: Recipe, span: Span) -> list[datetime]:
    """The hours of `span` that were not marked as they are now, of those in which an input holds something."""
    told = set().union(*(_told_hours(lake, source, span) for source in recipe.inputs))
    marked = hours_on_record(lake, recipe.table, span)
    done = dict(zip(marked["hour"], marked["fingerprint"], strict=True))
    wanted = fingerprints(lake, recipe, span)
    hours = [hour for hour in told if done.get(hour) != wanted[hour]]
    frozen = _frozen(lake, recipe, sorted(hours))
    return [hour for hour in sorted(hours) if hour not in frozen]


def _told_hours(lake: Lake, source: Input, span: Span) -> set[datetime]:
    rows = hours_on_record(lake, source.table, span)
    return set(rows.filter(pl.col("n_rows") > 0)["hour"])


def _frozen(lake: Lake, recipe: Recipe, hours: Sequence[datetime]) -> set[datetime]:
    """Those of the hours that are expired themselves, or that could have read an expired hour of an input."""
    found: set[datetime] = set()
    for source in (Input(recipe.table), *recipe.inputs) if hours else ():
        rows = hours_on_record(lake, source.table, _reach(source, hours)).filter(pl.col("fingerprint") == EXPIRED)
        n_expired = _window_sums(rows["hour"], pl.repeat(1, len(rows), dtype=pl.UInt64, eager=True), source, hours)
        found |= {hour for hour, n in zip(hours, n_expired, strict=True) if n}
    return found


def _released(lake: Lake, name: str, span: Span) -> dict[datetime, list[str]]:
    """The records that a person let into the table, by hour, in an order that does not depend on who came first."""
    inside = pl.col("event_time").is_between(span.start, span.end, closed="left")
    rows = lake.scan(RELEASES).filter(pl.col("table_name") == name, inside)
    by_hour = rows.group_by(pl.col("event_time").dt.truncate("1h")).agg(pl.col("record_id").sort())
    return dict(by_hour.collect().iter_rows())


def _input_sums(lake: Lake, source: Input, hours: Sequence[datetime]) -> np.ndarray[Any, np.dtype[np.uint64]]:
    """For each hour, the wrapping sum of the input's content over [hour - back, hour + 1 h + ahead)."""
    rows = hours_on_record(lake, source.table, _reach(source, hours))
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
