"""What each pool, and each quote token, did over a window: log returns, and their trimmed mean over pools.

Belongs here: prices before and at the end of a window, the midmean with how sure it is, and which token is the base
asset. Stays out: the windows' names and what can be known of them at a moment (`market`).
"""

from datetime import timedelta
from typing import Final

import polars as pl

from pipeline.labels.market_spec import MarketSpec
from pipeline.labels.observations import quote_usd
from pipeline.tables import POOL_KEY

MARKET: Final = ("source", "network")
LABEL: Final = (*MARKET, "event_time")


def pool_prices(candles: pl.DataFrame, spec: MarketSpec) -> pl.DataFrame:
    """Each bar's last price at the moment the bar ends: `source, network, pool, at, price, known_at`."""
    told = (pl.col("timeframe") == f"{spec.bar_minutes}min") & pl.col("close").is_finite() & (pl.col("close") > 0)
    return candles.filter(told).select(
        *POOL_KEY, (pl.col("event_time") + spec.bar).alias("at"), price="close", known_at="known_at"
    )


def pool_returns(
    prices: pl.DataFrame, hours: pl.DataFrame, pools: pl.DataFrame, length: int, spec: MarketSpec
) -> pl.DataFrame:
    """Each pool's own log return over the `length` hours after each hour: from its last price before to its last.

    A pool counts if a bar of it began in the `look_back_hours` before the hour and ended by then: that is settled
    before the window begins, so what happens in it chooses nobody. The last price holds until the next trade, at the
    beginning as at the end; a pool in which nobody traded has not moved. Summing the moves between neighbouring bars
    instead would leave out what happened between bars that are further apart, and call the rest the market.

    Args:
        prices: as `pool_prices` gives them. hours: `source, network, event_time`.
        pools: POOLS; a pool whose source vouches for its record, but not to the end of the window, does not count.

    Returns:
        `source, network, event_time, pool, quote_token, move, known_at, is_vouched`.
    """
    before = _before(prices.rename({"price": "price_before", "known_at": "known_before"}), hours, POOL_KEY, spec)
    end = pl.col("event_time") + timedelta(hours=length)
    vouched = pl.col("watched_until").is_not_null()
    return (
        before.join(pools.select(*POOL_KEY, "quote_token", "watched_until"), on=POOL_KEY, how="inner")
        .filter(~vouched | (pl.col("watched_until") >= end))
        .with_columns(end=end, is_vouched=vouched)
        .sort("end")
        .join_asof(prices.sort("at"), left_on="end", right_on="at", by=list(POOL_KEY), check_sortedness=False)
        .select(
            *LABEL,
            "pool",
            "quote_token",
            "is_vouched",
            move=(pl.col("price") / pl.col("price_before")).log(),
            known_at=pl.max_horizontal("known_before", "known_at"),
        )
        .filter(pl.col("move").is_finite())
    )


def quote_prices(snapshots: pl.DataFrame, pools: pl.DataFrame) -> pl.DataFrame:
    """The USD price of each quote token at each moment: `source, network, quote_token, at, price, known_at`.

    The price is the median of what the pools' snapshots at that moment imply (`price_usd / price_quote`).
    """
    return (
        snapshots.with_columns(usd=quote_usd())
        .filter(pl.col("usd").is_not_null())
        .join(pools.select(*POOL_KEY, "quote_token"), on=POOL_KEY, how="inner")
        .group_by(*MARKET, "quote_token", pl.col("event_time").alias("at"))
        .agg(pl.col("usd").median().alias("price"), pl.col("known_at").max())
    )


def quote_returns(prices: pl.DataFrame, hours: pl.DataFrame, length: int, spec: MarketSpec) -> pl.DataFrame:
    """Each quote token's log return in USD over the `length` hours after each hour.

    Returns:
        `source, network, event_time, quote_token, usd_move, usd_known_at, is_constant` (one and the same price all the
        time), where a price was told in the look-back and another moment's in the window.
    """
    token = (*MARKET, "quote_token")
    before = _before(prices.rename({"price": "price_before", "known_at": "known_before"}), hours, token, spec)
    return (
        before.join(_within(prices, length), on=[*LABEL, "quote_token"], how="inner")
        # A stated constant comes back as a quotient: its last digits are no price.
        .with_columns(pl.col("lowest", "highest", "price_before").round_sig_figs(9).name.suffix("_rounded"))
        .select(
            *LABEL,
            "quote_token",
            usd_move=(pl.col("price") / pl.col("price_before")).log(),
            usd_known_at=pl.max_horizontal("known_before", "known_at"),
            is_constant=(pl.col("lowest_rounded") == pl.col("highest_rounded"))
            & (pl.col("lowest_rounded") == pl.col("price_before_rounded")),
        )
    )


def midmean(moves: pl.DataFrame, spec: MarketSpec) -> pl.DataFrame:
    """The equally weighted trimmed mean of `move` over the pools of each window, and what its spread is made of.

    Returns:
        `source, network, event_time, move, n_pools, n_kept, spread, known_at, is_vouched` (all of them), one row a
        window in which any pool counts. `spread` is the standard deviation over pools with those that were left out
        at the nearest that was not (winsorized: Tukey & McLaughlin 1963).
    """
    place = (pl.col("move").rank("ordinal").over(LABEL) - 0.5) / pl.len().over(LABEL)
    is_kept = place.is_between(spec.trim_share, 1 - spec.trim_share) | (pl.len().over(LABEL) == 1)
    kept = pl.col("move").filter("is_kept")
    # Sorted, so that a sum does not depend on the order in which rows came.
    return (
        moves.sort(*LABEL, "move", "pool")
        .with_columns(is_kept=is_kept)
        .with_columns(drawn_in=pl.col("move").clip(kept.min().over(LABEL), kept.max().over(LABEL)))
        .group_by(LABEL, maintain_order=True)
        .agg(
            kept.mean(),
            pl.len().alias("n_pools"),
            pl.col("is_kept").sum().alias("n_kept"),
            pl.col("drawn_in").std().alias("spread"),
            pl.col("known_at").max(),
            pl.col("is_vouched").all(),
        )
    )


def base_tokens(snapshots: pl.DataFrame, pools: pl.DataFrame, hours: int) -> pl.DataFrame:
    """For each hour, the quote token most pools were seen with in the hours after it; of equals, the first by name.

    Returns:
        `source, network, event_time` (the hour), `base_token`.
    """
    seen = (
        snapshots.join(pools.select(*POOL_KEY, "quote_token"), on=POOL_KEY, how="inner")
        .with_columns(at="event_time")
        .with_columns(hour=_hour_ended())
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


def bar_counts(prices: pl.DataFrame, length: int) -> pl.DataFrame:
    """At how many places on the bar grid any pool has a bar in each hour's window.

    Returns:
        `source, network, event_time, n_bars`.
    """
    slots = prices.select(*MARKET, "at").unique().with_columns(hour=_hour_ended())
    return (
        slots.group_by(*MARKET, "hour")
        .agg(pl.len().alias("n_bars"))
        .join(pl.DataFrame({"back": range(length)}), how="cross")
        .with_columns(event_time=pl.col("hour") - pl.duration(hours="back"))
        .group_by(LABEL)
        .agg(pl.col("n_bars").sum())
    )


def _hour_ended() -> pl.Expr:
    """The hour that `at` belongs to as (hour, hour + 1 h]: what was told on the hour belongs to the one before."""
    return (pl.col("at") - timedelta(microseconds=1)).dt.truncate("1h")


def _before(prices: pl.DataFrame, hours: pl.DataFrame, by: tuple[str, ...], spec: MarketSpec) -> pl.DataFrame:
    """The last price up to each hour, of those told since a whole bar after the look-back's beginning."""
    ends = pl.col("hour") + pl.duration(hours="wait")
    told = (
        prices.select(*by, _hour_ended().alias("hour"))
        .unique()
        .join(pl.DataFrame({"wait": range(1, spec.look_back_hours + 1)}), how="cross")
        .select(*by, event_time=ends)
        .unique()
        .join(hours, on=LABEL, how="semi")
    )
    return (
        told.sort("event_time")
        .join_asof(
            prices.sort("at"),
            left_on="event_time",
            right_on="at",
            by=list(by),
            tolerance=spec.back - spec.bar,
            check_sortedness=False,
        )
        .filter(pl.col("price_before").is_not_null())
        .drop("at")
    )


def _within(prices: pl.DataFrame, length: int) -> pl.DataFrame:
    """Last, lowest and highest price of each hour's window, of those in which any was told."""
    token = (*MARKET, "quote_token")
    hourly = (
        prices.sort(*token, "at")
        .with_columns(hour=_hour_ended())
        .group_by(*token, "hour", maintain_order=True)
        .agg(
            pl.col("price", "known_at").last(),
            pl.col("price").min().alias("lowest"),
            pl.col("price").max().alias("highest"),
        )
    )
    return (
        hourly.join(pl.DataFrame({"back": range(length)}), how="cross")
        .with_columns(event_time=pl.col("hour") - pl.duration(hours="back"))
        .sort(*LABEL, "quote_token", "hour")
        .group_by(*LABEL, "quote_token", maintain_order=True)
        .agg(pl.col("price", "known_at").last(), pl.col("lowest").min(), pl.col("highest").max())
    )
