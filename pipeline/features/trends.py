"""The trend family: where reserve and price stand against where they have been.

Belongs here: comparisons with the pool's own earlier snapshots. Stays out: rates within the last hour (`momentum`).
"""

import polars as pl

from pipeline.calendars import DAY, HOUR
from pipeline.features.feature import Example, Highest, Lagged, Now, change_pct, feature
from pipeline.features.spec import FeaturesSpec

_RESERVE_BEFORE = Lagged("reserve_usd", HOUR)
_PRICE_PEAK = Highest("price_quote", DAY)
_RESERVE_PEAK = Highest("reserve_usd", DAY)


@feature(
    "liquidity_trend",
    family="trends",
    inputs=(Now("reserve_usd"), _RESERVE_BEFORE),
    look_back=HOUR,
    null_rule="the pool has no snapshot about an hour earlier, or its reserve was zero or unknown",
    example=Example({"reserve_usd": 50.0, _RESERVE_BEFORE.name: 200.0}, -75.0),
)
def liquidity_trend(_: FeaturesSpec) -> pl.Expr:
    """100 (reserve_usd(t) / reserve_usd(t - 1 h) - 1), in per cent."""
    return change_pct(pl.col("reserve_usd"), _RESERVE_BEFORE.expr)


@feature(
    "price_drawdown_24h_pct",
    family="trends",
    inputs=(Now("price_quote"), _PRICE_PEAK),
    look_back=DAY,
    null_rule="the price is unknown, or was never above zero in the last 24 h",
    example=Example({"price_quote": 0.5, _PRICE_PEAK.name: 2.0}, -75.0),
)
def price_drawdown_24h_pct(_: FeaturesSpec) -> pl.Expr:
    """100 (p(t) / max p over the snapshots in (t - 24 h, t] - 1), price in quote tokens."""
    return change_pct(pl.col("price_quote"), _PRICE_PEAK.expr)


@feature(
    "reserve_drawdown_24h_pct",
    family="trends",
    inputs=(Now("reserve_usd"), _RESERVE_PEAK),
    look_back=DAY,
    null_rule="the reserve is unknown, or was never above zero in the last 24 h",
    example=Example({"reserve_usd": 0.0, _RESERVE_PEAK.name: 2.0}, -100.0),
)
def reserve_drawdown_24h_pct(_: FeaturesSpec) -> pl.Expr:
    """100 (reserve_usd(t) / max reserve_usd over the snapshots in (t - 24 h, t] - 1)."""
    return change_pct(pl.col("reserve_usd"), _RESERVE_PEAK.expr)
