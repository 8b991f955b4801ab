"""What the market around a pool did: its network's pool index, and the price of the token it is quoted in.

Belongs here: one row a network (or a quote token) and five minutes, made of all pools, as known at its own moment.
Stays out: comparing a pool with them (`from_index` over history, `online_index` for one pool).

The index is a mean of log returns in which each return counts for at most `MOST` either way. Pools that were just born
multiply and vanish (one in ten recorded five-minute moves exceeds 0.2, the largest are over 40), and one of them must
not be the market. Of the robust means this one is a sum over pools, so any pool can be taken out of it exactly; a
median or a mean cut at quantiles would need all the others' returns again.
"""

from datetime import timedelta
from typing import Final

import numpy as np
import polars as pl

from pipeline.calendars import DAY, HOUR, MINUTE
from pipeline.features.engine import POOL_RUN
from pipeline.features.engines.window_sums import Ints, first_of_run, latest_by
from pipeline.features.spec import FeaturesSpec
from pipeline.tables import POOL_KEY, POOL_TIME_KEY, UTC

STEP: Final = 5 * MINUTE
MOST: Final = 0.2
"""The largest log return of five minutes that counts in full; about the 9th decile of the recorded ones' size."""

MARKET_KEY: Final = ("source", "network")
QUOTE_KEY: Final = (*MARKET_KEY, "quote_token")

_INDEX: Final = {
    "source": pl.String(),
    "network": pl.String(),
    "event_time": UTC,
    "known_at": UTC,
    "return_sum": pl.Float64(),
    "n_returns": pl.Int64(),
    "share_rising": pl.Float64(),
}
_STEP_US: Final = STEP // timedelta(microseconds=1)
_HOUR: Final = HOUR // STEP
_DAY: Final = DAY // STEP
_BARS_AT_ONCE: Final = 2**18
"""Bars whose hours are laid out at once: a bar of a quiet pool stands for twelve, which must not fill the memory."""


def pool_returns(bars: pl.DataFrame, spec: FeaturesSpec) -> pl.DataFrame:
    """Bars with their log returns, and with what each adds to the index.

    Args:
        bars: POOL_RUN, `event_time`, `closed_at`, `close`, sorted by POOL_RUN and `event_time`.
        spec: how long the index waits for a bar.

    Returns:
        The bars and `log_return` ln(close / close of the bar adjacent before it), null where there is none or a price
        is zero; `is_timely`, whether it was known when the index was made; `counted`, its return as the index counts
        it, null where it does not.
    """
    run, start = pl.col(POOL_RUN), pl.col("event_time")
    is_adjacent = (run == run.shift(1)) & (start - start.shift(1) == STEP)
    growth = pl.col("close") / pl.col("close").shift(1)
    return bars.with_columns(
        pl.when(is_adjacent & growth.is_finite() & (growth > 0)).then(growth.log()).alias("log_return"),
        (pl.col("closed_at") <= start + STEP + spec.bar_grace).alias("is_timely"),
    ).with_columns(counted=pl.when("is_timely").then(pl.col("log_return").clip(-MOST, MOST)))


def index_bars(returns: pl.DataFrame, spec: FeaturesSpec) -> pl.DataFrame:
    """The index of each network: a row for every five minutes at whose end a pool's bar is less than an hour over.

    A bar counts if it was known by `spec.bar_grace` after its end. The row is known at that moment, and nothing that
    is learned later changes it.

    Args:
        returns: as `pool_returns` gives them, with MARKET_KEY; of all pools of each network.
        spec: the grace.

    Returns:
        MARKET_KEY, `event_time` (the start), `known_at`, `return_sum` and `n_returns` (of the counted returns of that
        bar), `share_rising` (null where nothing can be compared), sorted.

    A pool takes part in `share_rising` while it has a bar that ended in the last hour, which is in twelve rows from
    that bar's own on. Its close then is compared with its close an hour before: that of its latest bar that ended by
    then and in the last day. Where it has none, with its first close since; where that is its only one, it stays out.
    """
    timely = returns.filter("is_timely")
    if timely.is_empty():
        return pl.DataFrame(schema=_INDEX)
    markets = timely.select(MARKET_KEY).unique().sort(MARKET_KEY)
    coded = timely.join(markets.with_row_index("market"), on=list(MARKET_KEY), how="left", maintain_order="left")
    bar = _grid(timely)
    first, width = int(bar.min()), int(bar.max() - bar.min()) + _HOUR
    # One place for each market and five minutes, filled by counting: the sums are taken in the order of the rows.
    place = coded["market"].cast(pl.Int64).to_numpy() * width + bar - first
    size = markets.height * width
    is_counted = timely["counted"].is_not_null().to_numpy()
    moves = timely["counted"].to_numpy()[is_counted]
    n_active, n_compared, n_rising = _breadth(timely, place, size)
    at = np.flatnonzero(n_active)
    return markets[at // width].with_columns(
        pl.Series("event_time", (at % width + first) * _STEP_US).cast(_INDEX["event_time"]),
        pl.Series("return_sum", np.bincount(place[is_counted], moves, size)[at]),
        pl.Series("n_returns", np.bincount(place[is_counted], minlength=size)[at]),
        # Without a pool to compare it is 0 / 0, and null.
        pl.Series("share_rising", n_rising[at]) / pl.Series(n_compared[at]),
    ).select(
        *MARKET_KEY, "event_time", (pl.col("event_time") + STEP + spec.bar_grace).alias("known_at"), "return_sum",
        "n_returns", pl.col("share_rising").fill_nan(None),
    )  # fmt: skip


def _grid(frame: pl.DataFrame) -> Ints:
    """The number of each row's five minutes since 1970."""
    numbers: Ints = frame["event_time"].dt.epoch("us").to_numpy() // _STEP_US
    return numbers


def _breadth(timely: pl.DataFrame, place: Ints, size: int) -> tuple[Ints, Ints, Ints]:
    """At each place: the pools with a bar in the last hour, those that can be compared, those that rose."""
    run, bar, close = timely[POOL_RUN].cast(pl.Int64).to_numpy(), _grid(timely), timely["close"].to_numpy()
    after = np.append(np.where(run[1:] == run[:-1], bar[1:], bar[:-1] + _HOUR), bar[-1] + _HOUR)
    n_rows = np.minimum(after - bar, _HOUR)
    first = first_of_run(run)
    n_active, n_compared, n_rising = (np.zeros(size, np.int64) for _ in range(3))
    for start in range(0, len(run), _BARS_AT_ONCE):
        own = np.arange(start, min(start + _BARS_AT_ONCE, len(run)))
        of = np.repeat(own, n_rows[own])
        later = np.arange(len(of)) - np.repeat(np.cumsum(n_rows[own]) - n_rows[own], n_rows[own])
        hour_before = bar[of] + later - _HOUR
        found = latest_by(run, bar, of, hour_before)
        is_in_a_day = (found >= 0) & (bar[found] > hour_before + _HOUR - _DAY)
        # What begins right after the hour before is the first since; without anything before, the pool's first.
        than = np.where(is_in_a_day, found, np.maximum(found + 1, first[of]))
        is_compared, is_rising = than != of, close[of] > close[than]
        n_active += np.bincount(place[of] + later, minlength=size)
        n_compared += np.bincount((place[of] + later)[is_compared], minlength=size)
        n_rising += np.bincount((place[of] + later)[is_compared & is_rising], minlength=size)
    return n_active, n_compared, n_rising


def quote_returns(snapshots: pl.DataFrame | pl.LazyFrame, pools: pl.DataFrame) -> pl.DataFrame:
    """The log return of each quote token's USD price over five minutes, as its pools' snapshots imply it.

    A snapshot's `price_usd / price_quote` is what it takes a quote token to be worth. The price at a grid point is the
    median over the snapshots of that moment that were known by then; it has a return where the grid point before it
    has a price too. A constant leaves the rounding of its quotients; who compares must take that for no move.

    Args:
        snapshots: POOL_KEY, `event_time`, `known_at`, `price_usd`, `price_quote` of all pools, in any order.
        pools: POOL_KEY and `quote_token`, one row a pool.

    Returns:
        QUOTE_KEY, `event_time` (the start of the five minutes), `known_at` (their end), `log_return`, sorted.
    """
    price = pl.col("price_usd") / pl.col("price_quote")
    time, move = pl.col("event_time"), (pl.col("price") / pl.col("price").shift(1)).log()
    prices = (
        snapshots.lazy()
        .filter(pl.col("known_at") <= time, time.dt.truncate(STEP) == time)
        .select(*POOL_TIME_KEY, price.alias("price"))
        .filter(pl.col("price").is_finite(), pl.col("price") > 0)
        .unique(POOL_TIME_KEY)
        .join(pools.lazy().select(*POOL_KEY, "quote_token"), on=list(POOL_KEY), how="inner")
        .group_by(*QUOTE_KEY, "event_time")
        .agg(pl.col("price").median())
        .sort(*QUOTE_KEY, "event_time")
    )
    is_next = (pl.struct(QUOTE_KEY) == pl.struct(QUOTE_KEY).shift(1)) & (time - time.shift(1) == STEP)
    return (
        prices.with_columns(log_return=pl.when(is_next).then(move))
        .filter(pl.col("log_return").is_finite())
        .select(*QUOTE_KEY, time - STEP, time.alias("known_at"), "log_return")
        .collect()
    )
