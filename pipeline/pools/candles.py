"""Candles: what a recording's reserve updates say about a pool's price, five minutes at a time.

Belongs here: the bars, and what kind of event an update was. Stays out: bars in which nothing happened (none is
invented), anything that looks further back than the update before, and bars of what the API told (`told_candles`).
"""

from datetime import timedelta

import polars as pl

from pipeline.pools.spec import PoolsSpec
from pipeline.tables import CANDLES

_CHAIN_ORDER = ("network", "block", "tx_index", "log_index")
_BAR = ("source", "network", "pool", "bar")


def trade_columns() -> tuple[pl.Expr, pl.Expr]:
    """What an update was and how many quote tokens were traded, from the reserves before and after it.

    `kind`: `buy` (quote up, base down), `sell` (quote down, base up), `add` (both up), `remove` (both down), else null:
    the pool's first update, and updates in which a reserve did not move (a rebase, a donation, a bare sync).
    `traded_quote`: quote tokens that changed hands, null unless it was a trade.

    >>> columns = ("base_reserve_before", "quote_reserve_before", "base_reserve", "quote_reserve")
    >>> updates = [(None, None, 100.0, 10.0), (100.0, 10.0, 80.0, 12.5), (80.0, 12.5, 40.0, 6.25)]
    >>> pl.DataFrame(updates, schema=columns, orient="row").select(trade_columns()).rows()
    [(None, None), ('buy', 2.5), ('remove', None)]
    """
    base = pl.col("base_reserve") - pl.col("base_reserve_before")
    quote = pl.col("quote_reserve") - pl.col("quote_reserve_before")
    is_buy, is_sell = (quote > 0) & (base < 0), (quote < 0) & (base > 0)
    kind = (
        pl.when(is_buy)
        .then(pl.lit("buy"))
        .when(is_sell)
        .then(pl.lit("sell"))
        .when((quote > 0) & (base > 0))
        .then(pl.lit("add"))
        .when((quote < 0) & (base < 0))
        .then(pl.lit("remove"))
    )
    return kind.alias("kind"), pl.when(is_buy | is_sell).then(quote.abs()).alias("traded_quote")


def candles(updates: pl.DataFrame, pools: pl.DataFrame, spec: PoolsSpec) -> pl.DataFrame:
    """Rows of CANDLES for every bar of `updates` in which a pool had at least one update, ordered by bar and pool.

    `updates` are rows of RESERVES over whole hours, in any order; `pools` rows of POOLS. The price after an update is
    quote_reserve / base_reserve; open, high, low and close are over these prices, so the open is the bar's first
    price and not the close before. A bar is known when it ends. `volume_usd` is null where the quote token has no
    USD price.
    """
    length = timedelta(minutes=spec.candle_minutes)
    kind, traded = trade_columns()
    price, bar = pl.col("price"), pl.col("event_time").dt.truncate(length).alias("bar")
    bars = (
        updates.lazy()
        .sort(_CHAIN_ORDER)
        .select(*_BAR[:3], bar, "quote_reserve", (pl.col("quote_reserve") / pl.col("base_reserve")).alias("price"),
                kind.cast(pl.Enum(["buy", "sell", "add", "remove"])), traded)
        .group_by(_BAR)
        .agg(
            price.first().alias("open"), price.max().alias("high"), price.min().alias("low"),
            price.last().alias("close"), pl.col("traded_quote").sum().alias("volume_quote"),
            (pl.col("kind") == "buy").sum().alias("n_buys"), (pl.col("kind") == "sell").sum().alias("n_sells"),
            pl.col("quote_reserve").min().alias("quote_reserve_low"),
            pl.col("quote_reserve").last().alias("quote_reserve_close"),
        )
    )  # fmt: skip
    worth = pools.lazy().select(*_BAR[:3], "quote_price_usd")
    return (
        bars.join(worth, on=_BAR[:3], how="left")
        .with_columns(
            pl.lit(f"{spec.candle_minutes}min").alias("timeframe"),
            pl.lit("reserves").alias("built_from"),
            pl.lit(value=False).alias("is_backfilled"),
            pl.col("bar").alias("event_time"),
            (pl.col("bar") + length).alias("known_at"),
            (pl.col("volume_quote") * pl.col("quote_price_usd")).alias("volume_usd"),
        )
        .select(CANDLES.schema.names())
        .cast(CANDLES.schema)
        .sort("event_time", "source", "network", "pool")
        # The streaming engine adds a group's parts in the order its threads finish: the last bit would change per run.
        .collect(engine="in-memory")
    )
