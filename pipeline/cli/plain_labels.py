"""Labels of a plain file.

Belongs here: what a file stands for in the labels' vocabulary, and labelling it part by part. Stays out: reading and
writing files (`plain`), and the rules.
"""

from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path

import polars as pl

from pipeline.calendars import MINUTE
from pipeline.cli.plain import PlainFile, Written, as_told, parquet_writer, parts_of, read_plain
from pipeline.labels.observations import Observed
from pipeline.labels.outcomes import label_outcomes
from pipeline.labels.spec import LabelsSpec
from pipeline.snapshots.schedule import interval_when_grown
from pipeline.snapshots.spec import SnapshotsSpec
from pipeline.tables import CANDLES, LABELS, POOL_KEY, POOL_TIME_KEY, POOLS, SNAPSHOTS, UTC, Table

_NO_STANDSTILLS = pl.DataFrame(schema={"source": pl.String, "network": pl.String, "event_time": UTC})


def labels_of_file(
    source: Path,
    target: Path,
    horizons_hours: Sequence[int],
    progress: Callable[[int, int], None],
    bar_minutes: int | None = None,
) -> Written:
    """Label every snapshot of the file, or the end of every bar, with what became of it within the file.

    The present is the last moment that the file knows: a window that ends later is pending. Bars do not know reserves,
    so a rug is a fall of the price alone; and a bar that is missing is one in which nobody traded.

    Raises:
        InputError: the file cannot be used. UsageError: a horizon is no whole number of bars.
    """
    told = read_plain(source, bar_minutes)
    spec = LabelsSpec(horizons_hours=tuple(horizons_hours), bar_minutes=told.bar_minutes or LabelsSpec().bar_minutes)
    parts = list(parts_of(told.snapshots))
    total = sum(n for _, n in parts)
    now = told.snapshots.select(pl.col("known_at").max()).collect().item()
    n_rows = n_done = 0
    with parquet_writer(source, target) as write:
        for pools, n in parts:
            frame = as_told(_labelled(told, pools, now, spec), told.bar_minutes)
            write(frame)
            n_rows, n_done = n_rows + frame.height, n_done + n
            progress(n_done, total)
    return Written(n_rows, sum(pools.height for pools, _ in parts), len(LABELS.columns) - len(POOL_TIME_KEY))


def _labelled(told: PlainFile, pools: pl.DataFrame, now: datetime, spec: LabelsSpec) -> pl.DataFrame:
    snapshots, candles = (
        lazy.join(pools.lazy(), on=list(POOL_KEY), how="semi").collect() for lazy in (told.snapshots, told.candles)
    )
    seen = _rows_of(SNAPSHOTS, snapshots)
    if told.bar_minutes is None:
        bars = _bars_of_snapshots(seen, spec)
        observed = Observed(seen, interval_when_grown(SnapshotsSpec()))
        return label_outcomes(seen, bars, _pools_of(seen, vouched=False), _NO_STANDSTILLS, now, spec, observed)
    length = told.bar_minutes * MINUTE
    bars = _rows_of(CANDLES, candles).with_columns(
        timeframe=pl.lit(spec.timeframe), event_time=pl.col("known_at") - length, quote_reserve_low=pl.lit(1.0)
    )
    closes = bars.select(*POOL_KEY, pl.col("known_at").alias("event_time"), pl.col("close").alias("price_quote"))
    decided = seen.drop("price_quote").join(closes, on=list(POOL_TIME_KEY), how="left")
    # A reserve that never moves: what a bar does not know cannot make a rug, nor an executable return.
    decided = _rows_of(SNAPSHOTS, decided.with_columns(quote_reserve=pl.lit(1.0)))
    return label_outcomes(decided, bars, _pools_of(decided, vouched=True), _NO_STANDSTILLS, now, spec)


def _bars_of_snapshots(seen: pl.DataFrame, spec: LabelsSpec) -> pl.DataFrame:
    """Each priced snapshot as the bar that ends with it; nobody saw what lies between."""
    priced = seen.filter(pl.col("price_quote").is_finite() & (pl.col("price_quote") > 0))
    price = {name: pl.col("price_quote") for name in ("open", "high", "low", "close")}
    return _rows_of(
        CANDLES,
        priced.with_columns(
            **price,
            timeframe=pl.lit(spec.timeframe),
            event_time=pl.col("event_time") - spec.bar_minutes * MINUTE,
            quote_reserve_low=pl.col("quote_reserve"),
            quote_reserve_close=pl.col("quote_reserve"),
        ),
    )


def _pools_of(seen: pl.DataFrame, *, vouched: bool) -> pl.DataFrame:
    """The pools of the file; of bars, each is vouched for until its last one ends."""
    time = pl.col("event_time")
    until = time.max() if vouched else pl.lit(None, UTC)
    found = seen.group_by(POOL_KEY).agg(
        pl.coalesce(pl.col("created_at").min(), time.min()).alias("created_at"),
        time.min().alias("known_at"),
        until.alias("watched_until"),
    )
    return _rows_of(POOLS, found)


def _rows_of(table: Table, frame: pl.DataFrame) -> pl.DataFrame:
    """The frame in a table's columns; what it does not have is null."""
    return frame.select(
        (pl.col(name) if name in frame.columns else pl.lit(None)).cast(dtype).alias(name)
        for name, dtype in table.schema.items()
    )
