"""Inputs that compare a pool's five-minute bars with the rest of the market's, over history.

Belongs here: pairs of a pool's returns with the index's and the quote token's, and how they go together over a day.
Stays out: the index itself (`market_index`), one pool's events (`online_index`), and formulas.

The pool is taken out of the index it is compared with: in a small network it would otherwise be compared with itself.
A pair is of the same five minutes and known when both its sides are: the index's side `spec.bar_grace` after the bar's
end, the pool's when its bar is. So pairs are learned in the order of their bars, and what is computed at one never
changes. The last day of a pair is made of the pairs whose bars ended in (end - 24 h, end], `end` being its own bar's.
Nothing is said where there are fewer than `spec.min_returns`, where a side does not move (`DEAD`), or when the last
pair's bar ended more than `spec.stale_bars` of its length before the snapshot.

Numbers: the same as online to 1e-9 for correlations, and for slopes to 1e-9 of the ratio of the two sides' spreads.
"""

from collections.abc import Sequence
from datetime import timedelta
from typing import Final

import numpy as np
import polars as pl

from pipeline.calendars import DAY, Span
from pipeline.features.engine import POOL_RUN
from pipeline.features.engines.bars import five_minute_bars, numbered_pools
from pipeline.features.engines.market_index import MARKET_KEY, QUOTE_KEY, STEP, index_bars, pool_returns, quote_returns
from pipeline.features.engines.window_sums import Reals, latest_by, window_moments
from pipeline.features.inputs import OfIndex
from pipeline.features.sources import Sources
from pipeline.features.spec import FeaturesSpec
from pipeline.tables import POOL_KEY, SNAPSHOTS

DEAD: Final = 1e-7
"""Log returns with a standard deviation up to this do not move: it is the rounding of prices, or a peg that holds."""

OF_QUOTE: Final = ("quote_correlation", "quote_beta")
OF_INDEX: Final = ("index_correlation", "index_beta")
OF_NEIGHBOURS: Final = ("lead_correlation", "lag_correlation")
SHARE: Final = "share_rising"
FIELDS: Final = (*OF_QUOTE, *OF_INDEX, *OF_NEIGHBOURS, SHARE)

_RUN: Final = "run_of_bars"
_KNOWN: Final = "pair_known_at"
_MICROSECOND: Final = timedelta(microseconds=1)


def reach(spec: FeaturesSpec) -> timedelta:
    """How far before a snapshot all pools' candles and snapshots must be given: a stale pair, its day, its returns."""
    return DAY + spec.stale_bars * STEP + 3 * STEP


def attach(
    rows: pl.DataFrame, inputs: Sequence[OfIndex], sources: Sources, span: Span, spec: FeaturesSpec
) -> pl.DataFrame:
    """Each row with how its pool went along with the market, as known at `event_time`; see `OverHistory`.

    Args:
        rows: the snapshots of the span.
        inputs: their fields are of FIELDS.
        sources: candles and snapshots of all pools of the rows' networks, over the span and `reach` before it.
        span: the moments of `rows`.
        spec: grace, staleness, and how many returns are enough.
    """
    fields = [read.field for read in inputs]
    here = rows.lazy().select(MARKET_KEY).unique()
    returns = _returns(sources.candles.join(here, on=list(MARKET_KEY), how="semi"), span, spec)
    own = returns.join(rows.select(POOL_KEY).unique(), on=list(POOL_KEY), how="semi", maintain_order="left")
    runs = own.select(*POOL_KEY, pl.col(POOL_RUN).alias(_RUN)).unique()
    found = rows.join(runs, on=list(POOL_KEY), how="left", maintain_order="left")
    if set(fields) - set(OF_QUOTE):
        index = index_bars(returns, spec)
        pairs = _beside_index(own, index, spec)
        found = _as_known(found, _compared(pairs, "others", OF_INDEX, spec), OF_INDEX, spec)
        found = _as_known(found, _neighbours(pairs, spec), OF_NEIGHBOURS, spec)
        found = _with_share(found, index, spec)
    if set(fields) & set(OF_QUOTE):
        pairs = _beside_quote(own, sources, span, spec)
        found = _as_known(found, _compared(pairs, "quote", OF_QUOTE, spec), OF_QUOTE, spec)
    return found.select(*rows.columns, *(pl.col(read.field).alias(read.name) for read in inputs))


def market_rows(sources: Sources, span: Span, spec: FeaturesSpec) -> tuple[pl.DataFrame, pl.DataFrame]:
    """What an online state is told of the market: rows of the index and of the quote tokens' returns.

    Args:
        sources: candles, snapshots and pools of whole networks, over the span and `reach` before it.
        span: the moments of decision that the rows are for.
        spec: the grace.

    Returns:
        rows for `index` events and rows for `quote` events, of all networks; see `index_bars` and `quote_returns`.
    """
    pools = sources.pools.select(*POOL_KEY, "quote_token").unique(POOL_KEY).collect()
    return index_bars(_returns(sources.candles, span, spec), spec), _quotes(sources, pools, span, spec)


def _returns(candles: pl.LazyFrame, span: Span, spec: FeaturesSpec) -> pl.DataFrame:
    """The bars of all pools with their returns, POOL_KEY beside them, as far as the span's decisions need them."""
    within = candles.filter(pl.col("event_time") >= span.start - reach(spec), pl.col("known_at") < span.end).collect()
    pools = numbered_pools(within)
    returns = pool_returns(five_minute_bars(within, pools), spec)
    return returns.join(pools, on=POOL_RUN, how="left", maintain_order="left")


def _quotes(sources: Sources, pools: pl.DataFrame, span: Span, spec: FeaturesSpec) -> pl.DataFrame:
    """The quote tokens' returns; a column that the snapshots do not have is null throughout."""
    present = sources.snapshots.collect_schema().names()
    told = (
        pl.col(name) if name in present else pl.lit(None, SNAPSHOTS.schema[name]).alias(name)
        for name in (*POOL_KEY, "event_time", "known_at", "price_usd", "price_quote")
    )
    time = pl.col("event_time")
    within = sources.snapshots.select(told).filter(time >= span.start - reach(spec), time < span.end)
    return quote_returns(within, pools)


def _beside_index(own: pl.DataFrame, index: pl.DataFrame, spec: FeaturesSpec) -> pl.DataFrame:
    """Returns with `others`, `others_before`, `others_after`: the index without the pool, then and a bar either way."""
    time, counted = pl.col("event_time"), pl.col("counted")
    # Every neighbouring row is looked up by its own time: the index, too, may have gaps.
    for name, shift in (("", timedelta(0)), ("_before", -STEP), ("_after", STEP)):
        moved = index.select(
            *MARKET_KEY, time - shift, pl.col("return_sum").alias(f"sum{name}"), pl.col("n_returns").alias(f"n{name}")
        )
        own = own.join(moved, on=[*MARKET_KEY, "event_time"], how="left", maintain_order="left")
    # A bar after a gap, or a pool's first, has no return: beside a return, the next row's is of the bar adjacent to it.
    its = {"": counted, "_before": counted.shift(1), "_after": counted.shift(-1)}
    own = own.with_columns(_without(name, it) for name, it in its.items())
    return own.with_columns((time + STEP + spec.bar_grace).alias("index_known_at")).drop_nulls("log_return")


def _without(name: str, its: pl.Expr) -> pl.Expr:
    """The mean return of the index's other pools; null where there is none."""
    n = pl.col(f"n{name}") - its.is_not_null().cast(pl.Int64)
    return pl.when(n > 0).then((pl.col(f"sum{name}") - its.fill_null(0.0)) / n).alias(f"others{name}")


def _beside_quote(own: pl.DataFrame, sources: Sources, span: Span, spec: FeaturesSpec) -> pl.DataFrame:
    """Returns with `quote`: that of the quote token's USD price in the same five minutes."""
    pools = sources.pools.select(*POOL_KEY, "quote_token").unique(POOL_KEY).collect()
    quotes = _quotes(sources, pools, span, spec)
    quotes = quotes.select(*QUOTE_KEY, "event_time", pl.col("log_return").alias("quote"))
    return (
        own.drop_nulls("log_return")
        .join(pools, on=list(POOL_KEY), how="left", maintain_order="left")
        .join(quotes, on=[*QUOTE_KEY, "event_time"], how="left", maintain_order="left")
        .with_columns((pl.col("event_time") + STEP).alias("index_known_at"))
    )


def _compared(pairs: pl.DataFrame, side: str, names: Sequence[str], spec: FeaturesSpec) -> pl.DataFrame:
    """At each pair: correlation and slope of the pool's returns on the other side's, over the pair's last day."""
    pairs = pairs.drop_nulls(side).with_columns(pl.max_horizontal("closed_at", "index_known_at").alias(_KNOWN))
    correlation, slope = _together(pairs, side, spec)
    return pairs.select(
        POOL_RUN, "event_time", _KNOWN,
        pl.Series(names[0], correlation).fill_nan(None), pl.Series(names[1], slope).fill_nan(None),
    )  # fmt: skip


def _neighbours(pairs: pl.DataFrame, spec: FeaturesSpec) -> pl.DataFrame:
    """The same for the others' next and last return, over the same returns of the pool: those that have both."""
    known = pl.max_horizontal("closed_at", pl.col("index_known_at") + STEP)
    pairs = pairs.drop_nulls(["others_before", "others_after"]).with_columns(known.alias(_KNOWN))
    sides = (_together(pairs, side, spec)[0] for side in ("others_after", "others_before"))
    return pairs.select(
        POOL_RUN, "event_time", _KNOWN,
        *(pl.Series(name, side).fill_nan(None) for name, side in zip(OF_NEIGHBOURS, sides, strict=True)),
    )  # fmt: skip


def _together(pairs: pl.DataFrame, side: str, spec: FeaturesSpec) -> tuple[Reals, Reals]:
    """Correlation with a side, and slope on it, over each pair's last day; NaN where there is none to speak of."""
    run, time = pairs[POOL_RUN].cast(pl.Int64).to_numpy(), pairs["event_time"].dt.epoch("us").to_numpy()
    here = np.arange(len(run))
    first = np.searchsorted(run, run)
    n = here - np.maximum(latest_by(run, time, here, time - DAY // _MICROSECOND), first - 1)
    own, other, both = window_moments(pairs["log_return"].to_numpy(), pairs[side].to_numpy(), n)
    is_alive = (n >= spec.min_returns) & (np.minimum(own, other) > n * DEAD**2)
    nothing = np.full(len(run), np.nan)
    correlation: Reals = np.divide(both, np.sqrt(own) * np.sqrt(other), out=nothing.copy(), where=is_alive)
    slope: Reals = np.divide(both, other, out=nothing, where=is_alive)
    return correlation, slope


def _as_known(rows: pl.DataFrame, values: pl.DataFrame, names: Sequence[str], spec: FeaturesSpec) -> pl.DataFrame:
    """The rows with the values of the pool's latest pair that was known at `event_time`, unless it is stale."""
    pairs = values.select(pl.col(POOL_RUN).alias(_RUN), _KNOWN, (pl.col("event_time") + STEP).alias("pair_end"), *names)
    # Both sides are sorted by time within each pool; Polars cannot check that beside `by`.
    found = rows.join_asof(
        pairs, left_on="event_time", right_on=_KNOWN, by=_RUN, strategy="backward", check_sortedness=False
    )
    is_fresh = pl.col("event_time") - pl.col("pair_end") <= spec.stale_bars * STEP
    return found.with_columns(pl.when(is_fresh).then(name).alias(name) for name in names).drop(
        "pair_end", _KNOWN, strict=False
    )


def _with_share(rows: pl.DataFrame, index: pl.DataFrame, spec: FeaturesSpec) -> pl.DataFrame:
    """The rows with the share of rising pools of the network's latest index bar known at `event_time`."""
    bars = index.select(*MARKET_KEY, "known_at", (pl.col("event_time") + STEP).alias("bar_end"), SHARE)
    found = (
        rows.with_row_index("place")
        .sort("event_time")
        .join_asof(
            bars.rename({"known_at": _KNOWN}).sort(_KNOWN), left_on="event_time", right_on=_KNOWN,
            by=list(MARKET_KEY), strategy="backward", check_sortedness=False,
        )
        .sort("place")
    )  # fmt: skip
    is_fresh = pl.col("event_time") - pl.col("bar_end") <= spec.stale_bars * STEP
    return found.with_columns(pl.when(is_fresh).then(SHARE).alias(SHARE)).drop("place", "bar_end", _KNOWN, strict=False)
