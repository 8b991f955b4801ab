"""Features of a plain file.

Belongs here: which features a file can tell, and computing them part by part. Stays out: reading and writing files
(`plain`), and formulas.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl

from pipeline.cli.plain import Written, as_told, parquet_writer, parts_of, read_plain, span_of
from pipeline.errors import UsageError
from pipeline.features.compute import compute_columns
from pipeline.features.engine import POOL_RUN
from pipeline.features.engines.extra_indicators import attach_extra
from pipeline.features.feature import Feature
from pipeline.features.inputs import OfBar, OfIndex, Untold
from pipeline.features.registry import FAMILIES, features_of
from pipeline.features.sources import Sources
from pipeline.features.spec import FeaturesSpec
from pipeline.tables import BAR_MINUTES, POOL_KEY, POOL_TIME_KEY


def available(families: Sequence[str], minutes: int | None) -> list[Feature]:
    """The features of the families that a file of snapshots (None) or of bars of some minutes can tell.

    Raises:
        UsageError: a family that was asked for needs more than the file holds, or there is no such family.
    """
    chosen = [one for one in features_of(*(families or FAMILIES)) if _is_told(one, minutes)]
    for family in families:
        if not any(one.family == family for one in chosen):
            what = "snapshots" if minutes is None else f"bars of {minutes} min"
            raise UsageError(f"family {family!r} cannot be computed from {what} alone: leave it out")
    return chosen


def _is_told(one: Feature, minutes: int | None) -> bool:
    def has(read: Any) -> bool:
        if minutes is None:
            return read.engine == "snapshots" and not isinstance(read, Untold)
        if isinstance(read, OfBar):
            return read.minutes >= minutes and read.minutes % minutes == 0
        return isinstance(read, OfIndex) and not read.field.startswith("quote") and minutes == 5

    return all(map(has, one.inputs)) if one.needs_all else any(map(has, one.inputs))


def features_of_file(
    source: Path,
    target: Path,
    families: Sequence[str],
    indicators: tuple[str, ...],
    progress: Callable[[int, int], None],
    bar_minutes: int | None = None,
) -> Written:
    """Compute what the file can tell and write it to another, part by part.

    Raises:
        InputError: the file cannot be used. UsageError: a family or an indicator cannot be computed from it.
    """
    told = read_plain(source, bar_minutes)
    if indicators and told.bar_minutes is None:
        raise UsageError(f"indicators {indicators!r} need bars, and {str(source)!r} holds snapshots")
    lengths = tuple(m for m in BAR_MINUTES if m % (told.bar_minutes or m) == 0)
    spec = replace(FeaturesSpec(), extra_indicators=indicators, extra_minutes=lengths)
    chosen = available(families, told.bar_minutes)
    n_rows = n_columns = 0
    parts = list(parts_of(told.snapshots))
    total = sum(n for _, n in parts)
    with parquet_writer(source, target) as write:
        for pools, _ in parts:
            snapshots = told.snapshots.join(pools.lazy(), on=list(POOL_KEY), how="semi")
            span = span_of(snapshots)
            frame = compute_columns(Sources(snapshots, candles=told.candles), span, spec, chosen)
            if indicators:
                rows = frame.with_columns(pl.struct(POOL_KEY).rle_id().alias(POOL_RUN))
                frame = attach_extra(rows, Sources(snapshots, candles=told.candles), span, spec).drop(POOL_RUN)
            frame = as_told(frame, told.bar_minutes)
            n_columns = frame.width - (3 if told.bar_minutes else len(POOL_TIME_KEY) + 1)
            write(frame)
            n_rows += frame.height
            progress(n_rows, total)
    return Written(n_rows, sum(pools.height for pools, _ in parts), n_columns)
