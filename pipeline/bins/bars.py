"""From five-minute candles to the hourly bars that QLib is given.

Belongs here: the arithmetic of a bar. Stays out: names, calendars and files (the other modules of this stage).

A bar says what was traded. Five-minute bars in which nobody bought or sold (liquidity was only added or
removed) take no part in it, and an hour without any trade has no bar: a gap stays a gap.
"""

from typing import Final

import polars as pl

from pipeline.bins.spec import BinsSpec

BAR_KEY: Final = ("source", "network", "pool", "event_time")
BAR_VALUES: Final = ("open", "high", "low", "close", "volume", "vwap")


def hourly_bars(candles: pl.LazyFrame | pl.DataFrame, spec: BinsSpec | None = None) -> pl.DataFrame:
    """The hourly bars of every pool, made of the five-minute bars that hold a trade.

    Args:
        candles: rows of the candles table, in any order; other timeframes than the spec's are passed over.
        spec: the grid; the standard one if none is given.

    Returns:
        source, network, pool, event_time (the bar's start, UTC), open, high, low, close, vwap (quote tokens per base
        token) and volume (quote tokens), sorted by pool and time. `vwap` weighs each five-minute bar's typical
        price, (high + low + close) / 3, by its volume, because the volume in base tokens is not recorded; it is
        null where the trades moved no quote token at all.
    """
    spec = spec or BinsSpec()
    every = f"{spec.bar_minutes}m"
    typical = (pl.col("high") + pl.col("low") + pl.col("close")) / 3
    volume = pl.col("volume_quote")
    return (
        candles.lazy()
        .filter(pl.col("timeframe") == spec.timeframe, pl.col("n_buys") + pl.col("n_sells") > 0)
        .sort(*BAR_KEY)
        .group_by("source", "network", "pool", pl.col("event_time").dt.truncate(every), maintain_order=True)
        .agg(
            pl.col("open").first(),
            pl.col("high").max(),
            pl.col("low").min(),
            pl.col("close").last(),
            volume.sum().alias("volume"),
            pl.when(volume.sum() > 0).then((typical * volume).sum() / volume.sum()).alias("vwap"),
        )
        # A mean lies between the extremes; with the tiniest volumes the division loses its digits and does not.
        .with_columns(pl.col("vwap").clip("low", "high"))
        .collect()
    )
