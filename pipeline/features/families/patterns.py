"""The pattern family: yes or no.

Belongs here: flags with a threshold of the spec. Stays out: the quantities they are made from.
A flag is null as soon as one of its inputs is: three-valued logic would answer "no" where one half is unknown.
"""

from typing import Final

from pipeline.features.algebra import Value, is_known, where
from pipeline.features.families.core import AGE, HOUR_US
from pipeline.features.families.trends import mean_5m_volume
from pipeline.features.feature import Example, feature
from pipeline.features.inputs import Row, now
from pipeline.features.spec import FeaturesSpec

_RULE: Final = "one of its inputs is unknown"
_TRADING: Final = now("price_change_m5_pct", "n_buys_m5", "n_sells_m5")


@feature(
    "has_volume_spike",
    family="patterns",
    inputs=(*now("volume_m5_usd", "volume_h1_usd"), AGE),
    null_rule=_RULE,
    example=Example({"volume_m5_usd": 30.0, "volume_h1_usd": 120.0, AGE.name: 7 * HOUR_US}, True),
)
def has_volume_spike(x: Row, spec: FeaturesSpec) -> Value:
    """v(t - 5 min, t] >= spike_ratio times the mean 5 min of the last hour (its lived part), and something traded."""
    last = x["volume_m5_usd"]
    spike = (last > 0) & (last >= mean_5m_volume(x) * spec.spike_ratio)
    return where(is_known(last, x["volume_h1_usd"], x[AGE]), spike)


@feature(
    "is_pumping",
    family="patterns",
    inputs=_TRADING,
    null_rule=_RULE,
    example=Example({"price_change_m5_pct": 10.5, "n_buys_m5": 2, "n_sells_m5": 1}, True),
)
def is_pumping(x: Row, spec: FeaturesSpec) -> Value:
    """price_change_5m_pct > pump_change_pct, and n_buys > majority * n_trades in (t - 5 min, t]."""
    change, buys, sells = (x[read] for read in _TRADING)
    return where(
        is_known(change, buys, sells), (change > spec.pump_change_pct) & (buys > (buys + sells) * spec.majority)
    )


@feature(
    "is_dumping",
    family="patterns",
    inputs=_TRADING,
    null_rule=_RULE,
    example=Example({"price_change_m5_pct": -40.0, "n_buys_m5": 1, "n_sells_m5": 1}, False),
)
def is_dumping(x: Row, spec: FeaturesSpec) -> Value:
    """price_change_5m_pct < -pump_change_pct, and n_sells > majority * n_trades in (t - 5 min, t]."""
    change, buys, sells = (x[read] for read in _TRADING)
    return where(
        is_known(change, buys, sells), (change < -spec.pump_change_pct) & (sells > (buys + sells) * spec.majority)
    )
