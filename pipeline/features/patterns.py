"""The pattern family: flags for what a trader would call a spike, a pump, a dump.

Belongs here: yes-or-no statements with a threshold in the spec. Stays out: the quantities they are made from.
A flag is null as soon as one of its inputs is: three-valued logic would answer "no" where one half is unknown.
"""

from datetime import UTC, datetime, timedelta

import polars as pl

from pipeline.calendars import HOUR
from pipeline.features.feature import Example, feature, now
from pipeline.features.momentum import mean_5m_volume
from pipeline.features.spec import FeaturesSpec

_NOON = datetime(2020, 9, 8, 12, tzinfo=UTC)
_RULE = "one of its inputs is unknown"
_TRADING = ("price_change_m5_pct", "n_buys_m5", "n_sells_m5")


def flag_where_known(flag: pl.Expr, *columns: str) -> pl.Expr:
    """`flag`, or null where one of the columns is."""
    return pl.when(pl.all_horizontal(pl.col(columns).is_not_null())).then(flag)


@feature(
    "has_volume_spike",
    family="patterns",
    inputs=now("volume_m5_usd", "volume_h1_usd", "event_time", "created_at"),
    look_back=timedelta(0),
    null_rule=_RULE,
    example=Example(
        {"volume_m5_usd": 30.0, "volume_h1_usd": 120.0, "event_time": _NOON, "created_at": _NOON - 7 * HOUR}, True
    ),
)
def has_volume_spike(spec: FeaturesSpec) -> pl.Expr:
    """v(t - 5 min, t] >= spike_ratio times the mean 5 min of the last hour (its lived part), and something traded."""
    last = pl.col("volume_m5_usd")
    spike = (last > 0) & (last >= spec.spike_ratio * mean_5m_volume())
    return flag_where_known(spike, "volume_m5_usd", "volume_h1_usd", "event_time", "created_at")


@feature(
    "is_pumping",
    family="patterns",
    inputs=now(*_TRADING),
    look_back=timedelta(0),
    null_rule=_RULE,
    example=Example({"price_change_m5_pct": 10.5, "n_buys_m5": 2, "n_sells_m5": 1}, True),
)
def is_pumping(spec: FeaturesSpec) -> pl.Expr:
    """price_change_5m_pct > pump_change_pct, and n_buys > majority * n_trades in (t - 5 min, t]."""
    n_trades = pl.col("n_buys_m5") + pl.col("n_sells_m5")
    rising = pl.col("price_change_m5_pct") > spec.pump_change_pct
    return flag_where_known(rising & (pl.col("n_buys_m5") > spec.majority * n_trades), *_TRADING)


@feature(
    "is_dumping",
    family="patterns",
    inputs=now(*_TRADING),
    look_back=timedelta(0),
    null_rule=_RULE,
    example=Example({"price_change_m5_pct": -40.0, "n_buys_m5": 1, "n_sells_m5": 1}, False),
)
def is_dumping(spec: FeaturesSpec) -> pl.Expr:
    """price_change_5m_pct < -pump_change_pct, and n_sells > majority * n_trades in (t - 5 min, t]."""
    n_trades = pl.col("n_buys_m5") + pl.col("n_sells_m5")
    falling = pl.col("price_change_m5_pct") < -spec.pump_change_pct
    return flag_where_known(falling & (pl.col("n_sells_m5") > spec.majority * n_trades), *_TRADING)
