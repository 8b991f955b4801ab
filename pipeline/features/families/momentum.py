"""The momentum family: how price and traded value changed over the windows of the snapshot.

Belongs here: simple change and the balance of buying and selling. Stays out: rates and longer paths (`trends`).
"""

from pipeline.calendars import DAY, HOUR
from pipeline.features.algebra import Value, change_pct, ratio
from pipeline.features.feature import Example, feature
from pipeline.features.inputs import Lagged, Now, Row, now
from pipeline.features.spec import FeaturesSpec

_VOLUME_1H_BEFORE = Lagged("volume_h1_usd", HOUR)
_VOLUME_24H_BEFORE = Lagged("volume_h24_usd", DAY)
_PRICE_RULE = "either price is unknown, or the earlier one is zero"


@feature(
    "price_change_5m_pct",
    family="momentum",
    inputs=now("price_change_m5_pct"),
    null_rule=_PRICE_RULE,
    example=Example({"price_change_m5_pct": -3.5}, -3.5),
)
def price_change_5m_pct(x: Row, _: FeaturesSpec) -> Value:
    """100 (p(t) / p(t - 5 min) - 1), as the snapshot's window says; since birth if that is later."""
    return x["price_change_m5_pct"]


@feature(
    "price_change_1h_pct",
    family="momentum",
    inputs=now("price_change_h1_pct"),
    null_rule=_PRICE_RULE,
    example=Example({"price_change_h1_pct": 12.0}, 12.0),
)
def price_change_1h_pct(x: Row, _: FeaturesSpec) -> Value:
    """100 (p(t) / p(t - 1 h) - 1), as the snapshot's window says; since birth if that is later."""
    return x["price_change_h1_pct"]


@feature(
    "price_change_24h_pct",
    family="momentum",
    inputs=now("price_change_h24_pct"),
    null_rule=_PRICE_RULE,
    example=Example({"price_change_h24_pct": 866_223.0}, 866_223.0),
)
def price_change_24h_pct(x: Row, _: FeaturesSpec) -> Value:
    """100 (p(t) / p(t - 24 h) - 1), as the snapshot's window says; since birth if that is later."""
    return x["price_change_h24_pct"]


@feature(
    "volume_change_1h_pct",
    family="momentum",
    inputs=(Now("volume_h1_usd"), _VOLUME_1H_BEFORE),
    null_rule="the pool has no snapshot about an hour earlier, or nothing was traded in the hour before",
    example=Example({"volume_h1_usd": 300.0, _VOLUME_1H_BEFORE.name: 200.0}, 50.0),
)
def volume_change_1h_pct(x: Row, _: FeaturesSpec) -> Value:
    """100 (v(t - 1 h, t] / v(t - 2 h, t - 1 h] - 1); the hour before as the snapshot at t - 1 h told it."""
    return change_pct(x["volume_h1_usd"], x[_VOLUME_1H_BEFORE])


@feature(
    "volume_change_24h_pct",
    family="momentum",
    inputs=(Now("volume_h24_usd"), _VOLUME_24H_BEFORE),
    null_rule="the pool has no snapshot about a day earlier, or nothing was traded in the day before",
    example=Example({"volume_h24_usd": 0.0, _VOLUME_24H_BEFORE.name: 10.0}, -100.0),
)
def volume_change_24h_pct(x: Row, _: FeaturesSpec) -> Value:
    """100 (v(t - 24 h, t] / v(t - 48 h, t - 24 h] - 1); the day before as the snapshot at t - 24 h told it."""
    return change_pct(x["volume_h24_usd"], x[_VOLUME_24H_BEFORE])


@feature(
    "buy_pressure_1h",
    family="momentum",
    inputs=now("n_buys_h1", "n_sells_h1"),
    null_rule="the counts are unknown, or nobody traded in the last hour",
    example=Example({"n_buys_h1": 3, "n_sells_h1": 1}, 0.75),
)
def buy_pressure_1h(x: Row, _: FeaturesSpec) -> Value:
    """Purchases / (purchases + sales) in (t - 1 h, t]."""
    return ratio(x["n_buys_h1"], x["n_buys_h1"] + x["n_sells_h1"])
