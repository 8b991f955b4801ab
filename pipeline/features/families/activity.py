"""The activity family: how much is traded.

Belongs here: amounts and counts over the trailing windows. Stays out: their change (`momentum`) and pace (`trends`).
"""

from pipeline.features.algebra import Value, ratio
from pipeline.features.feature import Example, feature
from pipeline.features.inputs import Row, now
from pipeline.features.spec import FeaturesSpec


@feature(
    "volume_1h_usd",
    family="activity",
    inputs=now("volume_h1_usd"),
    null_rule="the trades or the quote token's price are unknown",
    example=Example({"volume_h1_usd": 0.0}, 0.0),
)
def volume_1h_usd(x: Row, _: FeaturesSpec) -> Value:
    """v(t - 1 h, t], USD."""
    return x["volume_h1_usd"]


@feature(
    "volume_24h_usd",
    family="activity",
    inputs=now("volume_h24_usd"),
    null_rule="the trades or the quote token's price are unknown",
    example=Example({"volume_h24_usd": 12.5}, 12.5),
)
def volume_24h_usd(x: Row, _: FeaturesSpec) -> Value:
    """v(t - 24 h, t], USD."""
    return x["volume_h24_usd"]


@feature(
    "n_buys_1h",
    family="activity",
    inputs=now("n_buys_h1"),
    null_rule="the trades are unknown",
    example=Example({"n_buys_h1": 4}, 4),
)
def n_buys_1h(x: Row, _: FeaturesSpec) -> Value:
    """Number of purchases in (t - 1 h, t]."""
    return x["n_buys_h1"]


@feature(
    "n_sells_1h",
    family="activity",
    inputs=now("n_sells_h1"),
    null_rule="the trades are unknown",
    example=Example({"n_sells_h1": 0}, 0),
)
def n_sells_1h(x: Row, _: FeaturesSpec) -> Value:
    """Number of sales in (t - 1 h, t]."""
    return x["n_sells_h1"]


@feature(
    "n_trades_24h",
    family="activity",
    inputs=now("n_buys_h24", "n_sells_h24"),
    null_rule="the trades are unknown",
    example=Example({"n_buys_h24": 4, "n_sells_h24": 2}, 6),
)
def n_trades_24h(x: Row, _: FeaturesSpec) -> Value:
    """Purchases + sales in (t - 24 h, t]."""
    return x["n_buys_h24"] + x["n_sells_h24"]


@feature(
    "turnover_1h",
    family="activity",
    inputs=now("volume_h1_usd", "reserve_usd"),
    null_rule="the volume or the reserve is unknown, or the reserve is zero",
    example=Example({"volume_h1_usd": 50.0, "reserve_usd": 200.0}, 0.25),
)
def turnover_1h(x: Row, _: FeaturesSpec) -> Value:
    """v(t - 1 h, t] / reserve_usd(t)."""
    return ratio(x["volume_h1_usd"], x["reserve_usd"])
