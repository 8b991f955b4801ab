"""From the reserve updates of a recorded pool to its snapshots.

Belongs here: putting schedule, state and windows together as the `snapshots` table.
Stays out: reading and writing the lake, and which hours are computed.
"""

from datetime import timedelta

import polars as pl

from pipeline.calendars import EPOCH, Span, ceil
from pipeline.snapshots.schedule import Lives, Visits, plan_visits
from pipeline.snapshots.spec import SnapshotsSpec
from pipeline.snapshots.ticks import (
    POOL_INDEX,
    History,
    Ints,
    Reals,
    build_history,
    first_tick_at_or_after,
    states,
    trades,
)
from pipeline.snapshots.windows import price_at, window_columns
from pipeline.tables import POOL_KEY, SNAPSHOTS, WINDOWS_MINUTES

_CHAIN_ORDER = ("block", "tx_index", "log_index")


def take_snapshots(
    updates: pl.DataFrame | pl.LazyFrame, pools: pl.DataFrame, span: Span, spec: SnapshotsSpec
) -> pl.DataFrame:
    """Every snapshot with `span.start` <= event_time < `span.end`, whatever else the frames hold.

    The sampler and its windows are deterministic per pool, so a span cut into pieces gives the same rows as the whole.

    Args:
        updates: RESERVES rows from `span.start - spec.look_back` to `span.end`, in any order; rows outside that,
            before their pool's birth or of unknown pools are left out.
        pools: POOLS rows.
        span: the moments asked for.
        spec: the sampler.

    Returns:
        SNAPSHOTS rows, sorted by key. `observed_at` and `known_at` are `event_time`: a replay looks at each grid point
        itself and learns each update when it happens. It takes every snapshot that is due, so it misses none.
    """
    followed = _followed(pools, span, spec)
    known = _read(updates, followed, span, spec)
    if known.is_empty():
        return SNAPSHOTS.empty()
    history = build_history(known, followed.height, spec.grid_minutes)
    lives = _lives(followed, span, spec)
    start = (ceil(span.start, spec.grid) - EPOCH) // spec.grid
    visits = plan_visits(history, lives, start, spec)
    return _as_table(_columns(history, visits, spec), followed, visits, spec)


def _followed(pools: pl.DataFrame, span: Span, spec: SnapshotsSpec) -> pl.DataFrame:
    """Pools that may have a snapshot in the span, sorted by key and numbered."""
    born, watched = pl.col("created_at"), pl.col("watched_until")
    price = pl.col("quote_price_usd")
    return (
        pools.select(*POOL_KEY, "created_at", "watched_until", "quote_price_usd")
        .filter(born < span.end, born > span.start - spec.follow, watched.is_null() | (watched >= span.start))
        .with_columns(pl.when(price.is_finite() & (price >= 0)).then(price).alias("quote_price_usd"))
        .sort(POOL_KEY)
        .with_row_index(POOL_INDEX)
    )


def _read(
    updates: pl.DataFrame | pl.LazyFrame, followed: pl.DataFrame, span: Span, spec: SnapshotsSpec
) -> pl.DataFrame:
    """The followed pools' updates in the order in which they happened, each once."""
    happened = pl.col("event_time")
    kept = (
        updates.lazy()
        .filter(happened < span.end, happened >= span.start - spec.look_back)
        .join(followed.lazy().select(*POOL_KEY, POOL_INDEX, "created_at"), on=list(POOL_KEY), how="inner")
        .filter(happened >= pl.col("created_at"), happened < pl.col("created_at") + spec.follow)
        .select(POOL_INDEX, happened.dt.epoch("us").alias("time_us"), *_CHAIN_ORDER, *states(), *trades())
        .sort(POOL_INDEX, "time_us", *_CHAIN_ORDER)
        .collect()
    )
    place = pl.struct(POOL_INDEX, *_CHAIN_ORDER)
    return kept.filter(place.ne_missing(place.shift(1))).drop(_CHAIN_ORDER)


def _lives(followed: pl.DataFrame, span: Span, spec: SnapshotsSpec) -> Lives:
    def ticks(moments: pl.Series) -> Ints:
        return first_tick_at_or_after(moments.dt.epoch("us").to_numpy(), spec.grid_minutes)

    born = followed["created_at"]
    ends = followed.select(
        # The moment `watched_until` is itself vouched for: it is still seen.
        pl.min_horizontal(
            pl.col("created_at") + spec.follow, pl.col("watched_until") + timedelta(microseconds=1), pl.lit(span.end)
        )
    ).to_series()
    return Lives(
        born=ticks(born),
        grown=ticks(born + spec.newborn),
        end=ticks(ends),
        quote_price_usd=followed["quote_price_usd"].fill_null(float("nan")).to_numpy(),
    )


def _columns(history: History, visits: Visits, spec: SnapshotsSpec) -> dict[str, Reals]:
    columns = {
        "price_quote": price_at(history, visits.position),
        "base_reserve": history.base[visits.position],
        "quote_reserve": history.quote[visits.position],
    }
    for name, minutes in WINDOWS_MINUTES.items():
        columns |= window_columns(history, visits, minutes // spec.grid_minutes, name)
    return columns


def _as_table(columns: dict[str, Reals], followed: pl.DataFrame, visits: Visits, spec: SnapshotsSpec) -> pl.DataFrame:
    """The columns in SNAPSHOTS' names, units and dtypes; what is not finite is null."""
    frame = followed[visits.pool].hstack(pl.DataFrame(columns))
    minutes = pl.lit(pl.Series(visits.tick * spec.grid_minutes))
    usd = pl.col("quote_price_usd")
    volumes = [(pl.col(f"volume_{name}") * usd).alias(f"volume_{name}_usd") for name in WINDOWS_MINUTES]
    frame = frame.with_columns(
        (EPOCH + pl.duration(minutes=minutes)).alias("event_time"),
        pl.Series("interval_minutes", visits.interval_minutes),
        (pl.col("price_quote") * usd).alias("price_usd"),
        (2 * pl.col("quote_reserve") * usd).alias("reserve_usd"),
        *volumes,
        inclusion_probability=1.0,
        lp_burned_pct=None,
        n_missed=0,
    ).with_columns(known_at="event_time", observed_at="event_time")
    real = pl.col(pl.Float64)
    frame = frame.with_columns(pl.when(real.is_finite()).then(real))
    return frame.select(pl.col(name).cast(dtype) for name, dtype in SNAPSHOTS.schema.items())
