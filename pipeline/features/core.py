"""The core family: what a pool is worth, how old it is, and how price and traded value changed.

Belongs here: state and simple change. Stays out: rates (`momentum`), longer paths (`trends`), flags (`patterns`).
"""

from datetime import UTC, datetime, timedelta

import polars as pl

from pipeline.calendars import DAY, HOUR
from pipeline.features.feature import Example, Lagged, Now, change_pct, feature, now, ratio
from pipeline.features.spec import FeaturesSpec

NOTHING = timedelta(0)
_HOUR_US = HOUR // timedelta(microseconds=1)
_NOON = datetime(2020, 9, 8, 12, tzinfo=UTC)
_VOLUME_1H_BEFORE = Lagged("volume_h1_usd", HOUR)
_VOLUME_24H_BEFORE = Lagged("volume_h24_usd", DAY)


@feature(
    "reserve_usd",
    family="core",
    inputs=now("reserve_usd"),
    look_back=NOTHING,
    null_rule="the reserve or the quote token's price is unknown",
    example=Example({"reserve_usd": 7_500.0}, 7_500.0),
)
def reserve_usd(_: FeaturesSpec) -> pl.Expr:
    """reserve_usd(t), USD."""
    return pl.col("reserve_usd")


@feature(
    "age_hours",
    family="core",
    inputs=now("event_time", "created_at"),
    look_back=NOTHING,
    null_rule="the birth is unknown or lies after the snapshot",
    example=Example({"event_time": _NOON, "created_at": _NOON - 90 * (HOUR / 60)}, 1.5),
)
def age_hours(_: FeaturesSpec) -> pl.Expr:
    """(t - created_at) in hours, t being the snapshot's event_time."""
    return age_in_hours()


def age_in_hours() -> pl.Expr:
    """Hours since birth, as a real number, exact at whole hours; null before birth.

    No division by a constant: Polars multiplies a long column by the reciprocal but divides a single row, so the last
    bit would depend on how many rows are computed at once.
    """
    age = (pl.col("event_time") - pl.col("created_at")).dt.total_microseconds()
    return pl.when(age >= 0).then(age // _HOUR_US + (age % _HOUR_US) * (1 / _HOUR_US))


@feature(
    "price_change_5m_pct",
    family="core",
    inputs=now("price_change_m5_pct"),
    look_back=NOTHING,
    null_rule="either price is unknown, or the earlier one is zero",
    example=Example({"price_change_m5_pct": -3.5}, -3.5),
)
def price_change_5m_pct(_: FeaturesSpec) -> pl.Expr:
    """100 (p(t) / p(t - 5 min) - 1), as the snapshot's window says; since birth if that is later."""
    return pl.col("price_change_m5_pct")


@feature(
    "price_change_1h_pct",
    family="core",
    inputs=now("price_change_h1_pct"),
    look_back=NOTHING,
    null_rule="either price is unknown, or the earlier one is zero",
    example=Example({"price_change_h1_pct": 12.0}, 12.0),
)
def price_change_1h_pct(_: FeaturesSpec) -> pl.Expr:
    """100 (p(t) / p(t - 1 h) - 1), as the snapshot's window says; since birth if that is later."""
    return pl.col("price_change_h1_pct")


@feature(
    "price_change_24h_pct",
    family="core",
    inputs=now("price_change_h24_pct"),
    look_back=NOTHING,
    null_rule="either price is unknown, or the earlier one is zero",
    example=Example({"price_change_h24_pct": 866_223.0}, 866_223.0),
)
def price_change_24h_pct(_: FeaturesSpec) -> pl.Expr:
    """100 (p(t) / p(t - 24 h) - 1), as the snapshot's window says; since birth if that is later."""
    return pl.col("price_change_h24_pct")


@feature(
    "volume_change_1h_pct",
    family="core",
    inputs=(Now("volume_h1_usd"), _VOLUME_1H_BEFORE),
    look_back=HOUR,
    null_rule="the pool has no snapshot about an hour earlier, or nothing was traded in the hour before",
    example=Example({"volume_h1_usd": 300.0, _VOLUME_1H_BEFORE.name: 200.0}, 50.0),
)
def volume_change_1h_pct(_: FeaturesSpec) -> pl.Expr:
    """100 (v(t - 1 h, t] / v(t - 2 h, t - 1 h] - 1); the hour before as the snapshot at t - 1 h told it."""
    return change_pct(pl.col("volume_h1_usd"), _VOLUME_1H_BEFORE.expr)


@feature(
    "volume_change_24h_pct",
    family="core",
    inputs=(Now("volume_h24_usd"), _VOLUME_24H_BEFORE),
    look_back=DAY,
    null_rule="the pool has no snapshot about a day earlier, or nothing was traded in the day before",
    example=Example({"volume_h24_usd": 0.0, _VOLUME_24H_BEFORE.name: 10.0}, -100.0),
)
def volume_change_24h_pct(_: FeaturesSpec) -> pl.Expr:
    """100 (v(t - 24 h, t] / v(t - 48 h, t - 24 h] - 1); the day before as the snapshot at t - 24 h told it."""
    return change_pct(pl.col("volume_h24_usd"), _VOLUME_24H_BEFORE.expr)


@feature(
    "buy_pressure_1h",
    family="core",
    inputs=now("n_buys_h1", "n_sells_h1"),
    look_back=NOTHING,
    null_rule="the counts are unknown, or nobody traded in the last hour",
    example=Example({"n_buys_h1": 3, "n_sells_h1": 1}, 0.75),
)
def buy_pressure_1h(_: FeaturesSpec) -> pl.Expr:
    """Purchases / (purchases + sales) in (t - 1 h, t]."""
    return ratio(pl.col("n_buys_h1"), pl.col("n_buys_h1") + pl.col("n_sells_h1"))
