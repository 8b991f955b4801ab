"""Values from before a snapshot, as columns beside it.

Belongs here: everything that joins or rolls over a pool's snapshots. Stays out: formulas, which see one row only.
"""

from collections.abc import Iterable
from datetime import timedelta

import polars as pl

from pipeline.calendars import Span
from pipeline.errors import InputError
from pipeline.features.feature import Highest, Lagged, Now
from pipeline.features.spec import FeaturesSpec
from pipeline.tables import POOL_KEY, POOL_TIME_KEY, SNAPSHOTS

POOL_RUN = "pool_run"
_THEN = "then"


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
        .select(_plausible(name, is_present=name in present) for name in wanted)
        .sort(POOL_TIME_KEY)
        .collect()
    )
    return _one_row_a_key(frame).with_columns(pl.struct(POOL_KEY).rle_id().alias(POOL_RUN))


def _plausible(name: str, *, is_present: bool) -> pl.Expr:
    column = SNAPSHOTS.column(name)
    if not is_present:
        return pl.lit(None, dtype=column.dtype).alias(name)
    value, low, high = pl.col(name).cast(column.dtype), column.minimum, column.maximum
    rules = [value.is_finite()] if column.dtype == pl.Float64() else []
    rules += [value >= low] if low is not None else []
    rules += [value <= high] if high is not None else []
    return (pl.when(pl.all_horizontal(rules)).then(value) if rules else value).alias(name)


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


def look_back_columns(frame: pl.DataFrame, span: Span, inputs: Iterable[Now], spec: FeaturesSpec) -> pl.DataFrame:
    """The rows of `frame` within the span, with every `Lagged` and `Highest` input as a column beside them.

    Args:
        frame: as `read_snapshots` gives it.
        span: the moments whose rows are wanted.
        inputs: what formulas read; plain columns are passed over.
        spec: how old a lagged value may be.
    """
    wanted = list(dict.fromkeys(inputs))
    frame = frame.with_columns(
        pl.col(i.column).rolling_max_by("event_time", window_size=i.window, closed="right").over(POOL_RUN).alias(i.name)
        for i in wanted
        if isinstance(i, Highest)
    )
    time = pl.col("event_time")
    rows = frame.filter(time >= span.start, time < span.end)
    lags = [i for i in wanted if isinstance(i, Lagged)]
    for ago in dict.fromkeys(i.ago for i in lags):
        rows = _with_lag(rows, frame, [i for i in lags if i.ago == ago], ago, spec)
    return rows


def _with_lag(
    rows: pl.DataFrame, frame: pl.DataFrame, lags: list[Lagged], ago: timedelta, spec: FeaturesSpec
) -> pl.DataFrame:
    """Each row with the pool's latest snapshot at or before `ago` earlier, unless that one is older than tolerated."""
    earlier = frame.select(POOL_RUN, pl.col("event_time").alias(_THEN), *(pl.col(i.column).alias(i.name) for i in lags))
    # Both sides are sorted within each pool by `read_snapshots`; Polars cannot check that beside `by`.
    return (
        rows.with_columns((pl.col("event_time") - ago).alias(_THEN))
        .join_asof(
            earlier,
            on=_THEN,
            by=POOL_RUN,
            strategy="backward",
            tolerance=spec.lag_tolerance,
            check_sortedness=False,
        )
        .drop(_THEN)
    )
