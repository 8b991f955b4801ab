"""Where a network's market went after each hour: its regime over 12 h, rotation between base asset and pools over 6.

Belongs here: windows over the market's series, their names and what can be known of them at `now`. Stays out: how the
series are made (`market_index`), and single pools (`outcomes`).
"""

from datetime import datetime, timedelta
from typing import Final

import polars as pl

from pipeline.calendars import HOUR, Span, require_utc
from pipeline.labels.direction import confidence_of
from pipeline.labels.market_index import MARKET, base_tokens, pool_index, pool_returns, quote_returns
from pipeline.labels.market_spec import MarketSpec
from pipeline.tables import MARKET_LABELS, UTC

_LABEL: Final = (*MARKET, "event_time")


def label_market(
    candles: pl.DataFrame,
    snapshots: pl.DataFrame,
    pools: pl.DataFrame,
    span: Span,
    now: datetime,
    spec: MarketSpec,
) -> pl.DataFrame:
    """Label the market of each network at each hour of the span with what it did after it.

    *Regime*, over 12 h: bull or bear where the index of pools rose or fell by more than `regime_pct`, else sideways.
    The index adds up, bar by bar, the trimmed mean over pools of log returns between adjacent bars, in quote tokens.

    *Rotation*, over 6 h: `into_base` where the base asset, the quote token of most pools, gained more than
    `rotation_pct` on the index of pools, `into_pools` where it lost as much, else `none`; both in USD, so that a pool's
    return is that in quote tokens and its quote token's own. Where nobody observed the base asset's USD price, or it is
    a stated constant, nothing can be said.

    Only what happens after the hour enters: the first return is from the bar that begins with it to the next one.
    `confidence` is how surely the window's mean bar return differs from nothing (`direction.confidence_of`).

    Args:
        candles: CANDLES rows that start in the span or up to `spec.ahead` after it; known after `now`: not used.
        snapshots: SNAPSHOTS rows of the same stretch.
        pools: POOLS rows of these pools; one not among them does not count.
        span: the hours asked for.
        now: the moment of labelling, UTC.
        spec: horizons and thresholds.

    Returns:
        MARKET_LABELS, two rows an hour and network of `pools`, sorted by key. What is missing may come until
        `patience_hours` after the horizon; until then the label is pending.

    Raises:
        UsageError: `now` is not UTC.
    """
    require_utc(now)
    bars, seen = (frame.filter(pl.col("known_at") <= now) for frame in (candles, snapshots))
    moves = pool_returns(bars, pools, spec)
    worth = quote_returns(seen, pools, spec)
    hours = (
        pools.select(MARKET)
        .unique()
        .join(pl.DataFrame({"event_time": [*span.hours()]}, {"event_time": UTC}), how="cross")
    )
    regime = _windowed(pool_index(moves, spec), hours, spec.regime_hours, spec)
    base = base_tokens(seen, pools, spec.rotation_hours)
    rotation = _rotation(moves, worth, base, hours, spec)
    named = (
        _named(regime, "regime", ("bull", "bear", "sideways"), spec.regime_pct, now, spec),
        _named(rotation, "rotation", ("into_base", "into_pools", "none"), spec.rotation_pct, now, spec),
    )
    return pl.concat([MARKET_LABELS.empty(), *named]).sort(MARKET_LABELS.key)


def _windowed(series: pl.DataFrame, hours: pl.DataFrame, length: int, spec: MarketSpec) -> pl.DataFrame:
    """What a series (`slot, move, n_pools, known_at`) did over the `length` hours after each hour.

    A return that ends with bar `slot` began with the bar before it, so it is after every hour up to that bar's start.
    """
    newest = (pl.col("slot") - spec.bar).dt.truncate("1h")
    windows = (
        series.join(pl.DataFrame({"back": range(length + 1)}), how="cross")
        .with_columns(event_time=newest - pl.duration(hours="back"))
        .filter(pl.col("slot") < pl.col("event_time") + timedelta(hours=length))
    )
    enough = pl.col("n_pools") >= spec.least_pools
    sums = (
        windows.sort(*MARKET, "event_time", "slot")
        .group_by(_LABEL, maintain_order=True)
        .agg(
            pl.len().alias("n_any"),
            enough.sum().alias("n_bars"),
            pl.col("move").filter(enough).sum().alias("total"),
            (pl.col("move").filter(enough) ** 2).sum().alias("squares"),
            pl.col("known_at").filter(enough).max(),
        )
    )
    return hours.join(sums, on=_LABEL, how="left").with_columns(
        pl.col("n_any", "n_bars").fill_null(0), horizon_hours=pl.lit(length, pl.Int32), unseen=pl.lit(None, pl.String)
    )


def _rotation(
    moves: pl.DataFrame, worth: pl.DataFrame, base: pl.DataFrame, hours: pl.DataFrame, spec: MarketSpec
) -> pl.DataFrame:
    """The base asset against the index of pools, both in USD, over each hour's window."""
    quoted = (*MARKET, "quote_token", "slot")
    in_usd = moves.join(worth.filter(pl.col("usd_move").is_not_null()), on=quoted, how="inner").with_columns(
        move=pl.col("move") + pl.col("usd_move"), known_at=pl.max_horizontal("known_at", "usd_known_at")
    )
    index = pool_index(in_usd, spec)
    tokens = worth.join(
        base.select(*MARKET, pl.col("base_token").alias("quote_token")).unique(), on=[*MARKET, "quote_token"]
    )
    against = tokens.join(index, on=[*MARKET, "slot"], how="inner").with_columns(
        move=pl.col("usd_move") - pl.col("move"), known_at=pl.max_horizontal("known_at", "usd_known_at")
    )
    found = [
        _windowed(
            against.filter(pl.col("quote_token") == token, pl.col("move").is_not_null()),
            hours.join(base.filter(pl.col("base_token") == token), on=_LABEL, how="semi"),
            spec.rotation_hours,
            spec,
        )
        for token in base["base_token"].unique().sort()
    ]
    nothing = hours.join(base, on=_LABEL, how="anti")
    rows = pl.concat([*found, _windowed(against.clear(), nothing, spec.rotation_hours, spec)])
    return rows.join(_prices(worth, base, spec), on=_LABEL, how="left").with_columns(
        unseen=pl.when(pl.col("n_prices").fill_null(0) == 0)
        .then(pl.lit("base_price_not_observed"))
        .when(pl.col("n_prices") == 1)
        .then(pl.lit("base_price_constant"))
    )


def _prices(worth: pl.DataFrame, base: pl.DataFrame, spec: MarketSpec) -> pl.DataFrame:
    """How many different USD prices of its base asset each hour's window saw."""
    length = spec.rotation_hours
    ends = pl.col("slot") + spec.bar
    return (
        worth.with_columns(hour=(ends - timedelta(microseconds=1)).dt.truncate("1h"))
        .join(pl.DataFrame({"back": range(length)}), how="cross")
        .with_columns(event_time=pl.col("hour") - pl.duration(hours="back"))
        .join(base.rename({"base_token": "quote_token"}), on=[*_LABEL, "quote_token"], how="semi")
        .group_by(_LABEL)
        # A stated constant comes back as a quotient: its last digits are no price.
        .agg(pl.col("usd").round_sig_figs(9).n_unique().alias("n_prices"))
    )


def _named(
    windows: pl.DataFrame, kind: str, names: tuple[str, str, str], limit_pct: float, now: datetime, spec: MarketSpec
) -> pl.DataFrame:
    """Rows of MARKET_LABELS; `names` of a rise beyond the limit, a fall beyond it, and neither."""
    end = pl.col("event_time") + pl.duration(hours="horizon_hours")
    least = pl.col("horizon_hours").first() * HOUR.seconds * spec.least_bars_share / spec.bar.seconds
    is_enough = (pl.col("n_bars") >= least) & pl.col("unseen").is_null()
    is_open = (pl.lit(now, UTC) < end) | (~is_enough & (pl.lit(now, UTC) <= end + timedelta(hours=spec.patience_hours)))
    change = (pl.col("total").exp() - 1) * 100
    n, total, squares = (windows[name].fill_null(0).to_numpy() for name in ("n_bars", "total", "squares"))
    told = windows.with_columns(
        confidence=pl.Series(confidence_of(n, total, squares, 2), nan_to_null=True),
        status=pl.when(is_open).then(pl.lit("pending")).when(is_enough).then(pl.lit("labelled")).otherwise(pl.lit("censored")),
        censor_reason=pl.coalesce(
            "unseen", pl.when(pl.col("n_any") >= least).then(pl.lit("too_few_pools")).otherwise(pl.lit("too_few_bars"))
        ),
        value=pl.when(change > limit_pct).then(pl.lit(names[0])).when(change < -limit_pct).then(pl.lit(names[1]))
        .otherwise(pl.lit(names[2])),
        return_pct=change,
        label_known_at=pl.max_horizontal(end, "known_at"),
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
