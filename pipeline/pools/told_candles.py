"""Candles of pools that the API told of: its own bars, its swaps, and the reserves it was seen to hold.

Belongs here: which of the tellings a bar is made of, and when it was known. Stays out: reading answers (`parse`) and
bars of recordings (`candles`). Bars in which nothing was told to have happened do not exist; none is invented.
"""

from datetime import timedelta
from hashlib import sha256
from typing import Final, NamedTuple

import polars as pl

from pipeline.calendars import Span
from pipeline.pools.spec import PoolsSpec
from pipeline.tables import CANDLES, POOL_KEY, QUARANTINE

SWAPS_AN_ANSWER: Final = 300
"""An answer holds the last so many swaps of a pool; one that holds fewer holds all of the last day."""

_PRICES: Final = ("open", "high", "low", "close")
_BAR: Final = (*POOL_KEY, "bar")
_PLACE_IN_BLOCK: Final = r"_(\d+)_\d+$"
"""A swap's name ends in its place in the block and a time; where it does not, the name itself settles the order."""


class ToldCandles(NamedTuple):
    """Rows of CANDLES, and rows of QUARANTINE for told bars that contradict themselves."""

    candles: pl.DataFrame
    quarantine: pl.DataFrame


def told_candles(
    raw_candles: pl.DataFrame,
    trades: pl.DataFrame,
    records: pl.DataFrame,
    span: Span,
    spec: PoolsSpec,
    late: timedelta,
) -> ToldCandles:
    """Every bar that starts in the span, as far as the API told of it.

    A bar told in quote tokens gives the prices as told (`built_from` is `ohlcv`). Where none was told, the swaps give
    them, in the order of the chain (`trades`). Volume and counts come from the swaps alone.

    The swaps of a bar are used only if all of it was told; part of them makes no bar and no volume. All was told by an
    answer after the bar's end that also told of an older swap, or, where the pool was born in the bar, by answers none
    of which was full. Prices are of the swaps that have one; a volume is null unless every swap tells its amount.

    The reserve is that of the observations within the bar, null where there was none. A told bar whose close lies
    outside its high and low is not repaired: it counts as not told, and lies in the quarantine. An open outside them
    is null.

    Args:
        raw_candles: RAW_CANDLES rows of the span.
        trades: TRADES rows from a day before the span to its end; with those of the hours after it, if answers that
            were full since a pool's birth are to be told from others.
        records: RAW_POOLS rows of the span.
        span: the moments asked for, on the grid of the bars.
        spec: how long a bar is.
        late: a bar known later than this after its end is `is_backfilled`.

    Returns:
        CANDLES rows, sorted by bar and pool; a bar is known when it is over and all that it is made of was learned.
    """
    length = timedelta(minutes=spec.candle_minutes)
    told, quarantine = _told_bars(raw_candles, span, spec)
    traded = _traded_bars(trades, records, span, length)
    seen = _reserves(records, length)
    bars = told.join(traded, on=_BAR, how="full", coalesce=True).join(seen, on=_BAR, how="left")
    is_told, end = pl.col("close").is_not_null(), pl.col("bar") + length
    candles = (
        bars.with_columns(
            *(pl.when(is_told).then(name).otherwise(f"traded_{name}").alias(name) for name in _PRICES),
            pl.when(is_told).then(pl.lit("ohlcv")).otherwise(pl.lit("trades")).alias("built_from"),
            pl.max_horizontal(end, "told_at", "traded_at", "seen_at").alias("known_at"),
        )
        .filter(pl.col("close").is_not_null())
        .with_columns(
            pl.lit(f"{spec.candle_minutes}min").alias("timeframe"),
            pl.col("bar").alias("event_time"),
            (pl.col("known_at") > end + late).alias("is_backfilled"),
        )
        .select(CANDLES.schema.names())
        .cast(CANDLES.schema)
        .sort("event_time", *POOL_KEY)
    )
    return ToldCandles(candles, quarantine)


def _told_bars(raw_candles: pl.DataFrame, span: Span, spec: PoolsSpec) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The bars told in quote tokens (`bar`, prices, `told_at`), and those that contradict themselves, quarantined."""
    low, high = pl.col("low"), pl.col("high")
    reason = (
        pl.when(low > high)
        .then(pl.lit("high_below_low"))
        .when(~pl.col("close").is_between(low, high))
        .then(pl.lit("close_outside_bar"))
    )
    in_quote = (
        raw_candles.filter(
            pl.col("timeframe") == f"{spec.candle_minutes}min", pl.col("currency") == "quote", _lies_in(span)
        )
        .sort("known_at", "answer_id")
        .unique((*POOL_KEY, "event_time"), keep="first", maintain_order=True)
        .with_columns(reason=reason)
    )
    # Where the API opens a bar with the close before it, a bar in which the price jumped opens outside itself. Such an
    # open is no price of this bar; the bar is kept, or the very bars that matter most would go.
    opened = pl.when(pl.col("open").is_between(low, high)).then(pl.col("open")).alias("open")
    sound = in_quote.filter(pl.col("reason").is_null()).with_columns(opened)
    bars = sound.select(*POOL_KEY, pl.col("event_time").alias("bar"), *_PRICES, pl.col("known_at").alias("told_at"))
    return bars, _quarantined(in_quote.filter(pl.col("reason").is_not_null()))


def _quarantined(refused: pl.DataFrame) -> pl.DataFrame:
    """Refused bars as rows of QUARANTINE; the same bar is the same row whenever it is refused."""
    if refused.is_empty():
        return QUARANTINE.empty()
    as_told = refused.drop("reason").with_columns(pl.col(pl.Float64, pl.Datetime).cast(pl.String))
    records = as_told.select(pl.struct(pl.all()).struct.json_encode().alias("record"))["record"]
    ids = [sha256(f"candles\n{record}".encode()).hexdigest() for record in records]
    return (
        refused.with_columns(
            pl.lit("candles").alias("table_name"),
            pl.format("open {}, high {}, low {}, close {}", *_PRICES).alias("detail"),
            records,
            pl.Series("record_id", ids, pl.String),
        )
        .select(QUARANTINE.schema.names())
        .cast(QUARANTINE.schema)
        .sort("event_time", *POOL_KEY)
    )


def _traded_bars(trades: pl.DataFrame, records: pl.DataFrame, span: Span, length: timedelta) -> pl.DataFrame:
    """Bars of which every swap was told: `bar`, `traded_*` prices (null: no swap has one), sums, `traded_at`."""
    base, quote, price = pl.col("base_amount"), pl.col("quote_amount"), pl.col("price")
    quotient = quote / base
    place = pl.col("trade_id").str.extract(_PLACE_IN_BLOCK).cast(pl.Int64, strict=False)
    bars = (
        trades.filter(_lies_in(span))
        .with_columns(
            bar=pl.col("event_time").dt.truncate(length),
            price=pl.when((base > 0) & (quote > 0) & quotient.is_finite() & (quotient > 0)).then(quotient),
            place=place,
        )
        .sort(*POOL_KEY, "block", "place", "trade_id")
        .group_by(_BAR, maintain_order=True)
        .agg(
            price.drop_nulls().first().alias("traded_open"),
            price.max().alias("traded_high"),
            price.min().alias("traded_low"),
            price.drop_nulls().last().alias("traded_close"),
            _whole_sum("quote_amount").alias("volume_quote"),
            _whole_sum("volume_usd").alias("volume_usd"),
            (pl.col("kind") == "buy").sum().alias("n_buys"),
            (pl.col("kind") == "sell").sum().alias("n_sells"),
            pl.col("known_at").max().alias("last_told_at"),
        )
    )
    covered = _covered(bars.select(_BAR), trades, records, length)
    return bars.join(covered, on=_BAR, how="inner").select(
        pl.all().exclude("last_told_at", "covered_at"),
        pl.max_horizontal("last_told_at", "covered_at").alias("traded_at"),
    )


def _covered(bars: pl.DataFrame, trades: pl.DataFrame, records: pl.DataFrame, length: timedelta) -> pl.DataFrame:
    """The bars of which every swap was told, and since when that is certain (`covered_at`).

    Only what an answer was the first to tell is seen of it here, so it may reach further back than it seems to.
    """
    answers = trades.group_by(*POOL_KEY, "answer_id").agg(
        pl.col("event_time").min().alias("oldest"), pl.col("known_at").min().alias("at"), pl.len().alias("n_swaps")
    )
    births = (
        records.sort("event_time", "answer_id", "place")
        .unique(POOL_KEY, keep="first", maintain_order=True)
        .select(*POOL_KEY, "created_at")
    )
    start, end = pl.col("bar"), pl.col("bar") + length
    is_full = pl.col("n_swaps") >= SWAPS_AN_ANSWER
    is_birth = pl.col("created_at").is_between(start, end, closed="left").fill_null(value=False)
    was_cut = is_birth & is_full & (pl.col("oldest") < end)
    is_after = pl.col("at") >= end
    reaches_back = is_after & (pl.col("oldest") < start)
    told_all_since_birth = is_after & is_birth & ~is_full & ~was_cut.any().over(_BAR)
    return (
        bars.join(answers, on=list(POOL_KEY), how="inner")
        .join(births, on=list(POOL_KEY), how="left")
        .filter(reaches_back | told_all_since_birth)
        .group_by(_BAR)
        .agg(pl.col("at").min().alias("covered_at"))
    )


def _reserves(records: pl.DataFrame, length: timedelta) -> pl.DataFrame:
    """The least and the last quote reserve observed within each bar, and when the last observation was learned."""
    reserve = pl.col("quote_reserve")
    return (
        records.filter(reserve.is_not_null())
        .with_columns(bar=pl.col("event_time").dt.truncate(length))
        .sort(*POOL_KEY, "event_time", "answer_id", "place")
        .group_by(_BAR, maintain_order=True)
        .agg(
            reserve.min().alias("quote_reserve_low"),
            reserve.last().alias("quote_reserve_close"),
            pl.col("known_at").max().alias("seen_at"),
        )
    )


def _lies_in(span: Span) -> pl.Expr:
    return pl.col("event_time").is_between(span.start, span.end, closed="left")


def _whole_sum(column: str) -> pl.Expr:
    """The sum, null where any part of it is missing or where it is no number."""
    total = pl.col(column).sum()
    return pl.when(pl.col(column).is_not_null().all() & total.is_finite()).then(total)
