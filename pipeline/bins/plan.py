"""Which instruments the next export holds, how far they may reach, and which of them must be opened.

Belongs here: what follows from ranges alone. Stays out: values and files (`merge`).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import polars as pl

from pipeline.bins.incoming import Incoming
from pipeline.bins.manifest import ROWS, Manifest
from pipeline.bins.series import Places
from pipeline.bins.spec import BinsSpec
from pipeline.calendars import EPOCH
from pipeline.errors import InputError

Mode = Literal["all", "update", "fix"]

CHUNK_FLOATS: Final = 2**25
"""Values held in memory at once (128 MiB), and as many of the export in force beside them."""


@dataclass(frozen=True, eq=False)
class Task:
    """What is to be merged: `held` is this bar length of the export at `root`, None if there is none.

    `origin` says whose bars these are. `within` are the spans in which the given bars are all there are. New files go
    below `stage`.
    """

    mode: Mode
    given: Incoming
    held: Manifest | None
    root: Path
    stage: Path
    spec: BinsSpec
    within: Sequence[Places] = ()
    origin: str = ""


def plan_of(task: Task) -> pl.DataFrame:
    """One row an instrument, sorted by name.

    Returns:
        name, first and last (the widest range it may have), held_first, held_length and sha256 (null: no file of the
        export in force matters), is_given, is_cut (a span of `within` touches it), is_open (its files may change).
    """
    held = (task.held.rows if task.held else ROWS.to_frame()).rename({"first": "held_first", "length": "held_length"})
    given = task.given.spans.with_columns(is_given=True)
    held_last = pl.col("held_first") + pl.col("held_length") - 1
    if task.mode == "all":
        # Nothing is taken over, but files of the same range may turn out to be the same.
        is_same = (pl.col("first") == pl.col("held_first")) & (pl.col("last") == held_last)
        return given.join(held, on="name", how="left", maintain_order="left").with_columns(
            pl.when(is_same).then(pl.col("held_first")), is_cut=False, is_open=True
        )
    plan = given.join(held, on="name", how="full", coalesce=True).with_columns(
        pl.min_horizontal("first", "held_first").alias("first"),
        pl.max_horizontal("last", held_last).alias("last"),
        pl.col("is_given").fill_null(value=False),
    )
    touched = [(pl.col("first") < end) & (pl.col("last") >= begin) for begin, end in task.within]
    plan = plan.with_columns(is_cut=pl.any_horizontal(pl.lit(value=False), *touched))
    return plan.with_columns(is_open=pl.col("is_given") | pl.col("is_cut")).sort("name")


def calendar_start(task: Task, rows: pl.DataFrame) -> int:
    """The place where the calendar starts: where it was asked to, else at the first bar of `rows`."""
    asked = task.spec.calendar_start
    return (asked - EPOCH) // task.spec.step if asked else int(rows.select(pl.col("first").min()).item())


def refuse_long(task: Task, plan: pl.DataFrame, start: int) -> None:
    """See that a bin can state every place of the calendar, counted before `within` takes anything away.

    Raises:
        InputError: it cannot.
    """
    n, step = int(plan.select(pl.col("last").max()).item()) - start, task.spec.step
    if n > task.spec.largest_index:
        raise InputError(
            f"bars from {EPOCH + start * step!r} to {EPOCH + (start + n) * step!r} need {n} places of {step}, a bin can"
            f" number {task.spec.largest_index}: look for a wrong time among them; nothing was written"
        )


def chunks(task: Task, opened: pl.DataFrame) -> Iterator[pl.DataFrame]:
    """The instruments to open, a few at a time: `CHUNK_FLOATS` values, or one instrument more."""
    floats = (pl.col("last") - pl.col("first") + 2) * len(task.given.fields)
    chunk = opened.select((floats.cum_sum() - floats) // CHUNK_FLOATS).to_series()
    yield from opened.with_columns(chunk.alias("chunk")).partition_by("chunk", maintain_order=True, include_key=False)
