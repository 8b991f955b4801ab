"""The trend family: how fast things move now, and where they stand against where they have been.

Belongs here: rates, and comparisons with the pool's own earlier snapshots. Stays out: flags (`patterns`).

A pool younger than an hour has lived only part of it; the part before its birth was not quiet, it did not exist. So
rates divide by the lived part. Dividing by the full hour would show every birth as a spike.
"""

from typing import Final

from pipeline.calendars import DAY, HOUR, MINUTE
from pipeline.features.algebra import Value, change_pct, clamp, ratio, where
from pipeline.features.families.core import AGE, HOUR_US, N_HOLDERS, age_in_hours
from pipeline.features.feature import Example, feature
from pipeline.features.inputs import Lagged, Now, OfToken, Rolled, Row, now
from pipeline.features.spec import FeaturesSpec

_BARS_AN_HOUR: Final = HOUR // (5 * MINUTE)
_HOLDERS_BEFORE: Final = OfToken("n_holders", HOUR)
_RESERVE_BEFORE: Final = Lagged("reserve_usd", HOUR)
_PRICE_PEAK: Final = Rolled("price_quote", DAY, "max")
_RESERVE_PEAK: Final = Rolled("reserve_usd", DAY, "max")


def lived_hours(x: Row) -> Value:
    """Length of (t - 1 h, t] that the pool has lived, in hours."""
    return clamp(age_in_hours(x), high=1.0)


def mean_5m_volume(x: Row) -> Value:
    """Mean traded value of 5 min over the lived part of the last hour, in USD; a part bar counts as a whole one."""
    return x["volume_h1_usd"] / clamp(lived_hours(x) * _BARS_AN_HOUR, low=1.0)


@feature(
    "price_velocity",
    family="trends",
    inputs=(Now("price_change_h1_pct"), AGE),
    null_rule="the price change is unknown, or the pool is younger than 5 min",
    example=Example({"price_change_h1_pct": 10.0, AGE.name: HOUR_US // 2}, 20.0),
)
def price_velocity(x: Row, _: FeaturesSpec) -> Value:
    """price_change_1h_pct / min(1 h, age), in per cent per hour."""
    return where(lived_hours(x) * _BARS_AN_HOUR >= 1, x["price_change_h1_pct"] / lived_hours(x))


@feature(
    "volume_acceleration",
    family="trends",
    inputs=(*now("volume_m5_usd", "volume_h1_usd"), AGE),
    null_rule="a volume is unknown, or nothing was traded in the last hour",
    example=Example({"volume_m5_usd": 50.0, "volume_h1_usd": 120.0, AGE.name: 7 * HOUR_US}, 5.0),
)
def volume_acceleration(x: Row, _: FeaturesSpec) -> Value:
    """v(t - 5 min, t] / (v(t - 1 h, t] / bars), bars = min(1 h, age) / 5 min, at least 1."""
    return ratio(x["volume_m5_usd"], mean_5m_volume(x))


@feature(
    "liquidity_trend",
    family="trends",
    inputs=(Now("reserve_usd"), _RESERVE_BEFORE),
    null_rule="the pool has no snapshot about an hour earlier, or its reserve was zero or unknown",
    example=Example({"reserve_usd": 50.0, _RESERVE_BEFORE.name: 200.0}, -75.0),
)
def liquidity_trend(x: Row, _: FeaturesSpec) -> Value:
    """100 (reserve_usd(t) / reserve_usd(t - 1 h) - 1), in per cent."""
    return change_pct(x["reserve_usd"], x[_RESERVE_BEFORE])


@feature(
    "holder_trend",
    family="trends",
    inputs=(N_HOLDERS, _HOLDERS_BEFORE),
    null_rule="the holders are unknown now or an hour before, or there were none",
    example=Example({N_HOLDERS.name: 150, _HOLDERS_BEFORE.name: 100}, 50.0),
)
def holder_trend(x: Row, _: FeaturesSpec) -> Value:
    """100 (n_holders(t) / n_holders(t - 1 h) - 1), each as last told by then, in per cent."""
    return change_pct(x[N_HOLDERS], x[_HOLDERS_BEFORE])


@feature(
    "price_drawdown_24h_pct",
    family="trends",
    inputs=(Now("price_quote"), _PRICE_PEAK),
    null_rule="the price is unknown, or was never above zero in the last 24 h",
    example=Example({"price_quote": 0.5, _PRICE_PEAK.name: 2.0}, -75.0),
)
def price_drawdown_24h_pct(x: Row, _: FeaturesSpec) -> Value:
    """100 (p(t) / max p over the snapshots in (t - 24 h, t] - 1), price in quote tokens."""
    return change_pct(x["price_quote"], x[_PRICE_PEAK])


@feature(
    "reserve_drawdown_24h_pct",
    family="trends",
    inputs=(Now("reserve_usd"), _RESERVE_PEAK),
    null_rule="the reserve is unknown, or was never above zero in the last 24 h",
    example=Example({"reserve_usd": 0.0, _RESERVE_PEAK.name: 2.0}, -100.0),
)
def reserve_drawdown_24h_pct(x: Row, _: FeaturesSpec) -> Value:
    """100 (reserve_usd(t) / max reserve_usd over the snapshots in (t - 24 h, t] - 1)."""
    return change_pct(x["reserve_usd"], x[_RESERVE_PEAK])
