"""The momentum family: how fast price and trading move now.

Belongs here: rates over the last hour. Stays out: paths over longer stretches (`trends`).

A pool younger than an hour has lived only part of it; the part before its birth was not quiet, it did not exist. So
rates divide by the lived part. Dividing by the full hour would show every birth as a spike.
"""

from datetime import UTC, datetime, timedelta

import polars as pl

from pipeline.calendars import HOUR, MINUTE
from pipeline.features.core import age_in_hours
from pipeline.features.feature import Example, feature, now, ratio
from pipeline.features.spec import FeaturesSpec

_BARS_AN_HOUR = HOUR // (5 * MINUTE)
_NOON = datetime(2020, 9, 8, 12, tzinfo=UTC)


def lived_hours() -> pl.Expr:
    """Length of (t - 1 h, t] that the pool has lived, in hours."""
    return age_in_hours().clip(upper_bound=1.0)


def mean_5m_volume() -> pl.Expr:
    """Mean traded value of 5 min over the lived part of the last hour, in USD; a part bar counts as a whole one."""
    bars = (lived_hours() * _BARS_AN_HOUR).clip(lower_bound=1.0)
    return pl.col("volume_h1_usd") / bars


@feature(
    "price_velocity",
    family="momentum",
    inputs=now("price_change_h1_pct", "event_time", "created_at"),
    look_back=timedelta(0),
    null_rule="the price change is unknown, or the pool is younger than 5 min",
    example=Example({"price_change_h1_pct": 10.0, "event_time": _NOON, "created_at": _NOON - 30 * MINUTE}, 20.0),
)
def price_velocity(_: FeaturesSpec) -> pl.Expr:
    """price_change_1h_pct / min(1 h, age), in per cent per hour."""
    return pl.when(lived_hours() * _BARS_AN_HOUR >= 1).then(pl.col("price_change_h1_pct") / lived_hours())


@feature(
    "volume_acceleration",
    family="momentum",
    inputs=now("volume_m5_usd", "volume_h1_usd", "event_time", "created_at"),
    look_back=timedelta(0),
    null_rule="a volume is unknown, or nothing was traded in the last hour",
    example=Example(
        {"volume_m5_usd": 50.0, "volume_h1_usd": 120.0, "event_time": _NOON, "created_at": _NOON - 7 * HOUR}, 5.0
    ),
)
def volume_acceleration(_: FeaturesSpec) -> pl.Expr:
    """v(t - 5 min, t] / (v(t - 1 h, t] / bars), bars = min(1 h, age) / 5 min, at least 1."""
    return ratio(pl.col("volume_m5_usd"), mean_5m_volume())
