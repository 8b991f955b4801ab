"""Inputs from a pool's own snapshots, over history.

Belongs here: reading snapshots, and everything that joins or rolls over them. Stays out: formulas, which see one row
only; other tables (`from_tokens`, `from_bars`, `from_index`, `from_trades`).
"""

from collections.abc import Iterable, Sequence
from typing import Final

import polars as pl

from pipeline.calendars import Span
from pipeline.errors import InputError
from pipeline.features.engine import POOL_RUN, plausible_column
from pipeline.features.inputs import Age, Lagged, Now, Rolled, Untold
from pipeline.features.spec import FeaturesSpec
from pipeline.tables import POOL_KEY, POOL_TIME_KEY, SNAPSHOTS

type OfSnapshots = Now | Age | Lagged | Rolled | Untold
_ALWAYS: Final = ("known_at", "created_at")
_THEN: Final = "then"


def snapshot_rows(
    snapshots: pl.LazyFrame, inputs: Sequence[OfSnapshots], span: Span, spec: FeaturesSpec
) -> pl.DataFrame:
    """The snapshots of the span with every input as a column.

    Args:
        snapshots: SNAPSHOTS rows, at least of the span and the inputs' look-back, in any order.
        inputs: of this engine alone.
        span: the moments whose rows are wanted.
        spec: how old a lagged value may be.

    Returns:
        POOL_TIME_KEY, POOL_RUN, `known_at`, `created_at`, the columns, sorted by POOL_TIME_KEY.

    Raises:
        InputError: a key column is missing, or two different snapshots have the same key.
    """
    wanted = list(dict.fromkeys(inputs))
    reach = max((read.look_back for read in wanted), default=Age().look_back)
    told = [read.column for read in wanted if isinstance(read, Now | Lagged | Rolled)]
    frame = read_snapshots(snapshots, [*_ALWAYS, *told], span.widened(back=reach + spec.lag_tolerance))
    frame = frame.with_columns(_of_the_row(read) for read in wanted if isinstance(read, Age | Untold))
    frame = frame.with_columns(_rolled(read) for read in wanted if isinstance(read, Rolled))
    time = pl.col("event_time")
    rows = frame.filter(time >= span.start, time < span.end)
    lags = [read for read in wanted if isinstance(read, Lagged)]
    for ago in dict.fromkeys(read.ago for read in lags):
        rows = _with_lag(rows, frame, [read for read in lags if read.ago == ago], spec)
    return rows


def _of_the_row(read: Age | Untold) -> pl.Expr:
    if isinstance(read, Untold):
        return pl.lit(None).alias(read.name)
    age = (pl.col("event_time") - pl.col("created_at")).dt.total_microseconds()
    return pl.when(age >= 0).then(age).alias(read.name)


def _rolled(read: Rolled) -> pl.Expr:
    rolling = {"max": pl.Expr.rolling_max_by, "mean": pl.Expr.rolling_mean_by, "std": pl.Expr.rolling_std_by}[read.how]
    value = rolling(pl.col(read.column), "event_time", window_size=read.window, closed="right")
    return value.over(POOL_RUN).alias(read.name)


def _with_lag(rows: pl.DataFrame, frame: pl.DataFrame, lags: list[Lagged], spec: FeaturesSpec) -> pl.DataFrame:
    """Each row with the pool's latest snapshot at or before `ago` earlier, unless that one is older than tolerated."""
    earlier = frame.select(
        POOL_RUN, pl.col("event_time").alias(_THEN), *(pl.col(read.column).alias(read.name) for read in lags)
    )
    # Both sides are sorted within each pool by `read_snapshots`; Polars cannot check that beside `by`.
    return (
        rows.with_columns((pl.col("event_time") - lags[0].ago).alias(_THEN))
        .join_asof(
            earlier, on=_THEN, by=POOL_RUN, strategy="backward", tolerance=spec.lag_tolerance, check_sortedness=False
        )
        .drop(_THEN)
    )


def read_snapshots(snapshots: pl.DataFrame | pl.LazyFrame, columns: Iterable[str], within: Span) -> pl.DataFrame:
    """The columns of the snapshots within a span, sorted by pool and time, one row a key, POOL_RUN numbering pools.

    A column that is absent is null throughout, and so is a value that is not finite or outside its column's range: a
    snapshot that says something impossible says nothing.

    Raises:
        InputError: a key column is missing, or two different rows have the same key.
    """
    lazy = snapshots.lazy()
    present = lazy.collect_schema().names()
    missing = [name for name in POOL_TIME_KEY if name not in present]
    if missing:
        raise InputError(
            f"computing features: the snapshots have no {missing!r}, only {present!r}; give whole snapshots"
        )
    wanted = [*POOL_TIME_KEY, *(name for name in dict.fromkeys(columns) if name not in POOL_TIME_KEY)]
    time = pl.col("event_time")
    frame = (
        lazy.filter(time >= within.start, time < within.end)
        .select(_told(name, is_present=name in present) for name in wanted)
        .sort(POOL_TIME_KEY)
        .collect()
    )
    return _one_row_a_key(frame).with_columns(pl.struct(POOL_KEY).rle_id().alias(POOL_RUN))


def _told(name: str, *, is_present: bool) -> pl.Expr:
    column = SNAPSHOTS.column(name)
    return (plausible_column(column) if is_present else pl.lit(None, dtype=column.dtype)).alias(name)


def _one_row_a_key(frame: pl.DataFrame) -> pl.DataFrame:
    """The sorted frame without repeated rows."""
    key = pl.struct(POOL_TIME_KEY)
    is_repeated = key == key.shift(1)
    if not frame.select(is_repeated.any()).item():
        return frame
    frame = frame.unique(maintain_order=True)
    twice = frame.filter(is_repeated)
    if twice.height:
        raise InputError(
            f"computing features: {twice.height} snapshots contradict another one of the same key, the first is "
            f"{twice.row(0, named=True)!r}; keep one row a key"
        )
    return frame
