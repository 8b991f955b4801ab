"""The activity family: how much is traded.

Belongs here: amounts and counts over the trailing windows. Stays out: their change (`core`) and pace (`momentum`).
"""

from datetime import timedelta

import polars as pl

from pipeline.features.feature import Example, feature, now, ratio
from pipeline.features.spec import FeaturesSpec

NOTHING = timedelta(0)


@feature(
    "volume_1h_usd",
    family="activity",
    inputs=now("volume_h1_usd"),
    look_back=NOTHING,
    null_rule="the trades or the quote token's price are unknown",
    example=Example({"volume_h1_usd": 0.0}, 0.0),
)
def volume_1h_usd(_: FeaturesSpec) -> pl.Expr:
    """v(t - 1 h, t], USD."""
    return pl.col("volume_h1_usd")


@feature(
    "volume_24h_usd",
    family="activity",
    inputs=now("volume_h24_usd"),
    look_back=NOTHING,
    null_rule="the trades or the quote token's price are unknown",
    example=Example({"volume_h24_usd": 12.5}, 12.5),
)
def volume_24h_usd(_: FeaturesSpec) -> pl.Expr:
    """v(t - 24 h, t], USD."""
    return pl.col("volume_h24_usd")


@feature(
    "n_buys_1h",
    family="activity",
    inputs=now("n_buys_h1"),
    look_back=NOTHING,
    null_rule="the trades are unknown",
    example=Example({"n_buys_h1": 4}, 4),
)
def n_buys_1h(_: FeaturesSpec) -> pl.Expr:
    """Number of purchases in (t - 1 h, t]."""
    return pl.col("n_buys_h1")


@feature(
    "n_sells_1h",
    family="activity",
    inputs=now("n_sells_h1"),
    look_back=NOTHING,
    null_rule="the trades are unknown",
    example=Example({"n_sells_h1": 0}, 0),
)
def n_sells_1h(_: FeaturesSpec) -> pl.Expr:
    """Number of sales in (t - 1 h, t]."""
    return pl.col("n_sells_h1")


@feature(
    "n_trades_24h",
    family="activity",
    inputs=now("n_buys_h24", "n_sells_h24"),
    look_back=NOTHING,
    null_rule="the trades are unknown",
    example=Example({"n_buys_h24": 4, "n_sells_h24": 2}, 6),
)
def n_trades_24h(_: FeaturesSpec) -> pl.Expr:
    """Purchases + sales in (t - 24 h, t]."""
    return pl.col("n_buys_h24") + pl.col("n_sells_h24")


@feature(
    "turnover_1h",
    family="activity",
    inputs=now("volume_h1_usd", "reserve_usd"),
    look_back=NOTHING,
    null_rule="the volume or the reserve is unknown, or the reserve is zero",
    example=Example({"volume_h1_usd": 50.0, "reserve_usd": 200.0}, 0.25),
)
def turnover_1h(_: FeaturesSpec) -> pl.Expr:
    """v(t - 1 h, t] / reserve_usd(t)."""
    return ratio(pl.col("volume_h1_usd"), pl.col("reserve_usd"))
