"""The pools of a network as one series, and what its base asset is worth: log returns, five minutes at a time.

Belongs here: the index of pools, in quote tokens and in USD, and the base asset's USD price. Stays out: windows over
them and their names (`market`).
"""

from datetime import timedelta
from typing import Final

import polars as pl

from pipeline.labels.market_spec import MarketSpec
from pipeline.labels.observations import quote_usd
from pipeline.tables import POOL_KEY

MARKET: Final = ("source", "network")


def pool_returns(candles: pl.DataFrame, pools: pl.DataFrame, spec: MarketSpec) -> pl.DataFrame:
    """The log return from each bar to the next one of the same pool, where no bar lies between them.

    Returns:
        `source, network, pool, quote_token, slot` (the later bar's start), `move`, `known_at` (of both).
    """
    ordered = candles.filter(pl.col("timeframe") == f"{spec.bar_minutes}min").sort(*POOL_KEY, "event_time")
    before, after = pl.col("close").shift().over(POOL_KEY), pl.col("close")
    is_adjacent = pl.col("event_time").diff().over(POOL_KEY) == spec.bar
    return (
        ordered.select(
            *POOL_KEY,
            pl.col("event_time").alias("slot"),
            pl.when(is_adjacent & (before > 0) & (after > 0)).then((after / before).log()).alias("move"),
            pl.max_horizontal("known_at", pl.col("known_at").shift().over(POOL_KEY)).alias("known_at"),
        )
        .filter(pl.col("move").is_finite())
        .join(pools.select(*POOL_KEY, "quote_token"), on=POOL_KEY, how="inner")
    )


def quote_returns(snapshots: pl.DataFrame, pools: pl.DataFrame, spec: MarketSpec) -> pl.DataFrame:
    """The USD price of each quote token at each moment, and its log return over the bar that ends then.

    The price is the median of what the pools' snapshots at that moment imply (`price_usd / price_quote`).

    Returns:
        `source, network, quote_token, slot` (the bar's start), `usd`, `usd_move` (null where the price five minutes
        before is not told), `usd_known_at`.
    """
    told = (
        snapshots.with_columns(usd=quote_usd())
        .filter(pl.col("usd").is_not_null())
        .join(pools.select(*POOL_KEY, "quote_token"), on=POOL_KEY, how="inner")
        .group_by(*MARKET, "quote_token", "event_time")
        .agg(pl.col("usd").median(), pl.col("known_at").max().alias("usd_known_at"))
        .sort(*MARKET, "quote_token", "event_time")
    )
    group = (*MARKET, "quote_token")
    is_adjacent = pl.col("event_time").diff().over(group) == spec.bar
    return told.select(
        *group,
        (pl.col("event_time") - timedelta(minutes=spec.bar_minutes)).alias("slot"),
        "usd",
        pl.when(is_adjacent).then((pl.col("usd") / pl.col("usd").shift().over(group)).log()).alias("usd_move"),
        pl.max_horizontal("usd_known_at", pl.col("usd_known_at").shift().over(group)).alias("usd_known_at"),
    )


def pool_index(moves: pl.DataFrame, spec: MarketSpec) -> pl.DataFrame:
    """The index: each bar's equally weighted trimmed mean of `move` over pools.

    Returns:
        `source, network, slot, move, n_pools, known_at`, one row a bar in which any pool has a return.
    """
    bar = (*MARKET, "slot")
    place = (pl.col("move").rank("ordinal").over(bar) - 0.5) / pl.len().over(bar)
    is_kept = place.is_between(spec.trim_share, 1 - spec.trim_share) | (pl.len().over(bar) == 1)
    # Sorted, so that the sum does not depend on the order in which rows came.
    return (
        moves.sort(*bar, "move", "pool")
        .with_columns(is_kept=is_kept)
        .group_by(bar, maintain_order=True)
        .agg(
            pl.col("move").filter("is_kept").mean(),
            pl.len().alias("n_pools"),
            pl.col("known_at").max(),
        )
    )


def base_tokens(snapshots: pl.DataFrame, pools: pl.DataFrame, hours: int) -> pl.DataFrame:
    """For each hour, the quote token most pools were seen with in the hours after it; of equals, the first by name.

    Returns:
        `source, network, event_time` (the hour), `base_token`.
    """
    seen = (
        snapshots.join(pools.select(*POOL_KEY, "quote_token"), on=POOL_KEY, how="inner")
        # A snapshot on the hour belongs to the window before it.
        .with_columns(hour=(pl.col("event_time") - timedelta(microseconds=1)).dt.truncate("1h"))
        .group_by(*MARKET, "quote_token", "hour")
        .agg(pl.col("pool").n_unique())
    )
    return (
        seen.join(pl.DataFrame({"back": range(hours)}), how="cross")
        .with_columns(event_time=pl.col("hour") - pl.duration(hours="back"))
        .group_by(*MARKET, "event_time", "quote_token")
        .agg(pl.col("pool").sum())
        .sort(
            *MARKET, "event_time", pl.col("pool"), pl.col("quote_token"), descending=[False, False, False, True, False]
        )
        .group_by(*MARKET, "event_time", maintain_order=True)
        .agg(pl.col("quote_token").first().alias("base_token"))
    )
