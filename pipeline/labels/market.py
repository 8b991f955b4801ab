"""Where a network's market went after each hour: its regime over 12 h, rotation between base asset and pools over 6.

Belongs here: the windows' names and what can be known of them at `now`. Stays out: what pools and quote tokens did over
a window (`market_index`), and single pools (`outcomes`).
"""

from bisect import bisect_left
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final

import numpy as np
import polars as pl

from pipeline.calendars import Span, require_utc
from pipeline.labels.direction import sureness
from pipeline.labels.market_index import (
    LABEL,
    MARKET,
    bar_counts,
    base_tokens,
    midmean,
    pool_prices,
    pool_returns,
    quote_prices,
    quote_returns,
)
from pipeline.labels.market_spec import MarketSpec
from pipeline.labels.range_extrema import Floats
from pipeline.tables import MARKET_LABELS, POOL_KEY, UTC

_NO_SPREAD: Final = 1e-9
"""Log returns: pools that differ by less differ by their rounding."""


def label_market(
    candles: pl.DataFrame,
    snapshots: pl.DataFrame,
    pools: pl.DataFrame,
    span: Span,
    now: datetime,
    spec: MarketSpec,
) -> pl.DataFrame:
    """Label the market of each network at each hour of the span with what it did after it.

    *Regime*, over 12 h: bull or bear where the market rose or fell by more than `regime_pct`, else sideways. The market
    is the trimmed mean over pools of their own log returns over the whole window, in quote tokens
    (`market_index.pool_returns`).

    *Rotation*, over 6 h: `into_base` where the base asset, the quote token of most pools, gained more than
    `rotation_pct` on the pools, `into_pools` where it lost as much, else `none`; both in USD, so a pool's return is
    that in quote tokens and its quote token's own. Where nobody observed the base asset's USD price, or it is a stated
    constant, nothing can be said.

    `confidence` is how surely the trimmed mean differs from nothing over the pools of the window: one less the p-value
    of its Student's t (Tukey & McLaughlin 1963; Yuen 1974), with as many degrees of freedom as pools were kept, less
    one. Each pool counts once, so it does not matter how its returns follow each other in time; it is assumed that
    pools err independently about the move they have in common, which is what is measured.

    Args:
        candles: CANDLES rows from `spec.back` before the span to `spec.ahead` after it; known after `now`: not used.
        snapshots: SNAPSHOTS rows of the same stretch.
        pools: all POOLS, whenever they were born; a pool not among them does not count.
        span: the hours asked for.
        now: the moment of labelling, UTC.
        spec: horizons and thresholds.

    Returns:
        MARKET_LABELS, two rows for each network and hour since its first pool was born, sorted by key. Where all pools
        are vouched for, a label is known at the horizon; else what is missing may come until `patience_hours` after it,
        and that nothing came is not known before.

    Raises:
        UsageError: `now` is not UTC.
    """
    require_utc(now)
    bars, seen = (frame.filter(pl.col("known_at") <= now) for frame in (candles, snapshots))
    prices, worth = pool_prices(bars, spec), quote_prices(seen, pools)
    prices = prices.join(pools, on=["source", "network", "pool"], how="semi")
    hours = _hours(pools, span)
    regime = midmean(pool_returns(prices, hours, pools, spec.regime_hours, spec), spec)
    base = base_tokens(seen, pools, spec.rotation_hours)
    rotation = _rotation(prices, worth, base, hours, pools, spec)
    named = (
        _named(
            _windows(regime, prices, hours, spec.regime_hours).with_columns(unseen=pl.lit(None, pl.String)),
            "regime", ("bull", "bear", "sideways"), spec.regime_pct, now, spec,
        ),
        _named(rotation, "rotation", ("into_base", "into_pools", "none"), spec.rotation_pct, now, spec),
    )  # fmt: skip
    return pl.concat([MARKET_LABELS.empty(), *named]).sort(MARKET_LABELS.key)


def born_by(pools: pl.DataFrame) -> Callable[[datetime], str]:
    """For any moment, a hash of what the market labels need to know of the pools born before it.

    Args:
        pools: POOLS rows in any order.
    """
    told = pools.select(*POOL_KEY, "created_at", "quote_token", "watched_until").sort("created_at")
    born = told["created_at"].to_list()
    sums = np.concatenate([[0], np.cumsum(told.hash_rows(seed=1).to_numpy(), dtype=np.uint64)])
    return lambda moment: str(sums[bisect_left(born, moment)])


def _hours(pools: pl.DataFrame, span: Span) -> pl.DataFrame:
    """The hours of the span, of each network from the hour of its first pool's birth on."""
    born = pools.group_by(MARKET).agg(pl.col("created_at").min().dt.truncate("1h").alias("born"))
    every = pl.DataFrame({"event_time": [*span.hours()]}, {"event_time": UTC})
    return born.join(every, how="cross").filter(pl.col("event_time") >= pl.col("born")).drop("born")


def _windows(means: pl.DataFrame, prices: pl.DataFrame, hours: pl.DataFrame, length: int) -> pl.DataFrame:
    """Every hour with its mean (`midmean`), if it has one, and how many bars its window holds."""
    return (
        hours.join(means, on=LABEL, how="left")
        .join(bar_counts(prices, length), on=LABEL, how="left")
        .with_columns(pl.col("n_pools", "n_kept", "n_bars").fill_null(0), horizon_hours=pl.lit(length, pl.Int32))
    )


def _rotation(
    prices: pl.DataFrame,
    worth: pl.DataFrame,
    base: pl.DataFrame,
    hours: pl.DataFrame,
    pools: pl.DataFrame,
    spec: MarketSpec,
) -> pl.DataFrame:
    """The base asset against the pools, both in USD, over each hour's window."""
    length = spec.rotation_hours
    usd = quote_returns(worth, hours, length, spec)
    of_base = usd.join(base, left_on=[*LABEL, "quote_token"], right_on=[*LABEL, "base_token"], how="semi")
    against = (
        pool_returns(prices, hours, pools, length, spec)
        .join(usd.drop("is_constant"), on=[*LABEL, "quote_token"], how="inner")
        .join(of_base.select(*LABEL, base_move="usd_move", base_known_at="usd_known_at"), on=LABEL, how="inner")
        .with_columns(
            # Said in this order, a pool quoted in the base asset is the reverse of its own return to the last digit.
            move=(pl.col("base_move") - pl.col("usd_move")) - pl.col("move"),
            known_at=pl.max_horizontal("known_at", "usd_known_at", "base_known_at"),
        )
    )
    told = of_base.select(*LABEL, "is_constant")
    return (
        _windows(midmean(against, spec), prices, hours, length)
        .join(told, on=LABEL, how="left")
        .with_columns(
            unseen=pl.when(pl.col("is_constant").is_null())
            .then(pl.lit("base_price_not_observed"))
            .when("is_constant")
            .then(pl.lit("base_price_constant"))
        )
    )


def _confidence(windows: pl.DataFrame) -> Floats:
    """One less the p-value of the trimmed mean's t; NaN where fewer than two pools were kept or they do not differ."""
    kept, n, spread = (windows[c].fill_null(0).cast(pl.Float64).to_numpy() for c in ("n_kept", "n_pools", "spread"))
    mean = windows["move"].fill_null(np.nan).to_numpy()
    with np.errstate(all="ignore"):
        t = np.abs(mean) * kept / (spread * np.sqrt(n))
        found = sureness(t, kept - 1)
    return np.where((kept > 1) & (spread > _NO_SPREAD) & np.isfinite(found), np.clip(found, 0.0, 1.0), np.nan)


def _named(
    windows: pl.DataFrame, kind: str, names: tuple[str, str, str], limit_pct: float, now: datetime, spec: MarketSpec
) -> pl.DataFrame:
    """Rows of MARKET_LABELS; `names` of a rise beyond the limit, a fall beyond it, and neither."""
    end = pl.col("event_time") + pl.duration(hours="horizon_hours")
    least = pl.col("horizon_hours") * 60 * spec.least_bars_share / spec.bar_minutes
    is_bars, is_pools = pl.col("n_bars") >= least, pl.col("n_pools") >= spec.least_pools
    is_enough = is_bars & is_pools & pl.col("unseen").is_null()
    # Only a source that vouches says that nothing happened; elsewhere the day's bars may still be on their way.
    is_final = is_enough & pl.col("is_vouched").fill_null(value=False)
    settled_at = pl.when(is_final).then(end).otherwise(end + timedelta(hours=spec.patience_hours))
    change = (pl.col("move").exp() - 1) * 100
    told = windows.with_columns(
        confidence=pl.Series(_confidence(windows), nan_to_null=True, dtype=pl.Float64),
        status=pl.when(pl.lit(now, UTC) < settled_at).then(pl.lit("pending"))
        .when(is_enough).then(pl.lit("labelled")).otherwise(pl.lit("censored")),
        censor_reason=pl.coalesce(
            "unseen", pl.when(is_bars).then(pl.lit("too_few_pools")).otherwise(pl.lit("too_few_bars"))
        ),
        value=pl.when(change > limit_pct).then(pl.lit(names[0])).when(change < -limit_pct).then(pl.lit(names[1]))
        .otherwise(pl.lit(names[2])),
        return_pct=change,
        label_known_at=pl.max_horizontal(settled_at, "known_at"),
        kind=pl.lit(kind),
    )  # fmt: skip
    labelled = pl.col("status") == "labelled"
    return (
        told.with_columns(
            pl.when(labelled).then(pl.col("value", "return_pct", "confidence", "label_known_at")).name.keep(),
            censor_reason=pl.when(pl.col("status") == "censored").then("censor_reason"),
        )
        .select(MARKET_LABELS.schema.names())
        .cast(MARKET_LABELS.schema)
    )
