"""The bars of a pool as they became known: five minutes from CANDLES, longer ones made of these.

Belongs here: which bars there are for a feature, and when each closed. Stays out: what is computed at a bar
(`indicators`), and bars for labels, which may be mended by what comes later.

A sequence is append-only. A bar that is learned after one that starts later is left out, so what is computed along the
sequence never changes for what was known before. Bars in which nobody traded do not exist; none is invented.
"""

from datetime import timedelta
from typing import Final

import numpy as np
import polars as pl

from pipeline.calendars import DAY, MINUTE
from pipeline.errors import UsageError
from pipeline.features.engine import POOL_RUN
from pipeline.features.spec import FeaturesSpec
from pipeline.tables import POOL_KEY

SHORTEST: Final = 5
"""Minutes of a bar of CANDLES."""
BAR_COLUMNS: Final = ("event_time", "closed_at", "open", "high", "low", "close", "volume")

_PART: Final = SHORTEST * MINUTE
_US: Final = timedelta(microseconds=1)
_LONG: Final = "long_bar"
_A_LIFE: Final = 1 << 32
"""More bars than there are from the epoch to the year 40,000."""


def require_minutes(minutes: int) -> int:
    """`minutes`, if bars of that length can be made of five-minute bars and never cross midnight.

    Raises:
        UsageError: they cannot.
    """
    if minutes < SHORTEST or minutes % SHORTEST or DAY % (minutes * MINUTE):
        raise UsageError(
            f"no bars of {minutes!r} min can be made of {SHORTEST}-min bars: use a part of a day such as 15"
        )
    return minutes


def numbered_pools(frame: pl.DataFrame) -> pl.DataFrame:
    """The pools of a frame, sorted by POOL_KEY, each with its POOL_RUN from 0."""
    pools = frame.select(POOL_KEY).unique().sort(POOL_KEY)
    return pools.with_columns(pl.int_range(pl.len(), dtype=pl.UInt32).alias(POOL_RUN))


def five_minute_bars(candles: pl.DataFrame | pl.LazyFrame, pools: pl.DataFrame) -> pl.DataFrame:
    """The append-only sequence of five-minute bars of some pools.

    A bar closes when it is known and over. It is in the sequence if it starts after every bar of its pool that was
    learned before it; bars learned at the same moment count in the order of their starts. A high, low or close that is
    negative or not finite makes no bar; such an open or volume is null.

    Args:
        candles: rows of CANDLES in any order; rows of other pools and lengths are passed over.
        pools: POOL_KEY and POOL_RUN of the pools wanted.

    Returns:
        POOL_RUN (UInt32, sorted) and BAR_COLUMNS, sorted by POOL_RUN and `event_time`; `volume` is `volume_usd`.
    """
    rows = candles.lazy()
    if "timeframe" in rows.collect_schema().names():
        rows = rows.filter(pl.col("timeframe") == f"{SHORTEST}min")
    runs = pools.lazy().select(*POOL_KEY, pl.col(POOL_RUN).cast(pl.UInt32))
    start = pl.col("event_time")
    learned = (
        rows.select(*POOL_KEY, start, "known_at", "open", "high", "low", "close", pl.col("volume_usd").alias("volume"))
        .filter(pl.all_horizontal(_is_price(name) for name in ("high", "low", "close")))
        .join(runs, on=POOL_KEY, how="inner")
        .select(
            POOL_RUN, start, pl.max_horizontal("known_at", start + _PART).alias("closed_at"),
            pl.when(_is_price("open")).then("open").alias("open"), "high", "low", "close",
            pl.when(_is_price("volume")).then("volume").alias("volume"),
        )
        .sort(POOL_RUN, "closed_at", "event_time")
        .with_columns(pl.col(POOL_RUN).set_sorted())
    )  # fmt: skip
    newest_before = start.cum_max().shift(1).over(POOL_RUN)
    in_order = learned.filter((start > newest_before) | newest_before.is_null())
    return in_order.with_columns(pl.col(POOL_RUN).set_sorted()).collect()


def _is_price(name: str) -> pl.Expr:
    value = pl.col(name)
    return value.is_finite() & (value >= 0)


def longer_bars(bars: pl.DataFrame, minutes: int, spec: FeaturesSpec) -> pl.DataFrame:
    """Bars of `minutes`, on the grid of the epoch, made of the five-minute bars that were known when they closed.

    A bar that ends at E closes at the earliest of: when its part that ends at E is known; when the first bar after E is
    known; `bar_grace_minutes` after E, or when its first part is known if that is later still. Parts learned after that
    are left out. The volume is null if that of a part is; the open is the first part's.

    Args:
        bars: as `five_minute_bars` gives them.
        minutes: the length; 5 gives the bars back as they are.
        spec: `bar_grace_minutes`.

    Returns:
        The same columns and order.

    Raises:
        UsageError: bars of that length cannot be made.
    """
    if require_minutes(minutes) == SHORTEST:
        return bars
    length = minutes * MINUTE
    start = pl.col("event_time").dt.epoch("us") // (length // _US)
    number = (pl.col(POOL_RUN).cast(pl.Int64) * _A_LIFE + start).rle_id()
    parts = bars.with_columns(number.set_sorted().alias(_LONG))
    closings = _closings(parts, length, spec)
    parts = parts.with_columns(closings["closed_at"].gather(parts[_LONG]).alias("closes_at"))
    known = parts.filter(pl.col("closed_at") <= pl.col("closes_at")).with_columns(pl.col(_LONG).set_sorted())
    volume = pl.col("volume")
    longer = known.group_by(_LONG, maintain_order=True).agg(
        pl.col(POOL_RUN).first(),
        pl.col("event_time").first().dt.truncate(length),
        pl.col("closes_at").first().alias("closed_at"),
        pl.col("open").first(),
        pl.col("close").last(),
        pl.when(volume.null_count() == 0).then(volume.sum()),
        pl.len().alias("n_parts"),
    )
    return longer.select(
        pl.col(POOL_RUN).set_sorted(), "event_time", "closed_at", "open", *_extremes(known, longer["n_parts"]), "close",
        "volume",
    )  # fmt: skip


def _extremes(parts: pl.DataFrame, n_parts: pl.Series) -> tuple[pl.Series, pl.Series]:
    """`high` and `low` of longer bars of which each is made of so many parts, one after the other."""
    if parts.is_empty():
        return parts["high"], parts["low"]
    numbers = n_parts.cast(pl.Int64).to_numpy()
    first = np.cumsum(numbers) - numbers
    # A third of the time that a group_by takes for bars of so few parts.
    high = np.maximum.reduceat(parts["high"].to_numpy(), first)
    return pl.Series("high", high), pl.Series("low", np.minimum.reduceat(parts["low"].to_numpy(), first))


def _closings(parts: pl.DataFrame, length: timedelta, spec: FeaturesSpec) -> pl.DataFrame:
    """One row a longer bar, in order: when it closes."""
    bar = parts.group_by(_LONG, maintain_order=True).agg(
        pl.col(POOL_RUN).first(),
        (pl.col("event_time").first().dt.truncate(length) + length).alias("end"),
        pl.col("closed_at").first().alias("first_known"),
        pl.col("event_time").last().alias("last_start"),
        pl.col("closed_at").last().alias("last_known"),
    )
    is_ending = pl.col("last_start") + _PART == pl.col("end")
    return bar.select(
        pl.min_horizontal(
            pl.when(is_ending).then("last_known"),
            pl.col("first_known").shift(-1).over(POOL_RUN),
            pl.max_horizontal(pl.col("end") + spec.bar_grace, "first_known"),
        ).alias("closed_at")
    )
