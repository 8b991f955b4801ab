"""What makes a known pool worth more of the budget: a sudden event, or an outcome that is seldom seen.

Belongs here: the rules over states as they were observed. Stays out: what the budget is then spent on (`sampler`), and
the outcome that a model learns (the labels stage, which sees the whole path).
"""

from collections.abc import Mapping
from typing import Final, Protocol

import polars as pl

from pipeline.errors import InputError, UsageError
from pipeline.pools.collecting_spec import SamplerSpec
from pipeline.tables import OUTCOMES

REASONS: Final = ("reserve_jump", "volume_spike", "whale")
_M5_AN_HOUR: Final = 12


class Bands(Protocol):
    """The thresholds of the outcome rule, in per cent; the labels stage's spec has them."""

    @property
    def rug_price_pct(self) -> float: ...  # noqa: D102 - named as in the labels' spec
    @property
    def rug_reserve_pct(self) -> float: ...  # noqa: D102
    @property
    def rug_reserve_price_pct(self) -> float: ...  # noqa: D102
    @property
    def moon_pct(self) -> float: ...  # noqa: D102
    @property
    def pump_pct(self) -> float: ...  # noqa: D102
    @property
    def stable_pct(self) -> float: ...  # noqa: D102
    @property
    def decline_pct(self) -> float: ...  # noqa: D102


def interesting(before: pl.DataFrame, now: pl.DataFrame, spec: SamplerSpec) -> pl.Series:
    """Why each pool deserves to be lifted, or null; the first of REASONS that holds.

    `reserve_jump`: the reserve changed by `reserve_jump_pct` or more. `volume_spike`: the volume of the last five
    minutes is `volume_spike_ratio` times the hour's mean of five minutes, or more. `whale`: their mean trade moved
    `whale_share` of the reserve, or more. What is missing or not positive is never interesting.

    A pool younger than an hour spreads its few minutes over the whole hour and so spikes easily; it is seen at every
    grid point anyway and need not be asked about.

    Args:
        before: reserve_usd of the observation before, row by row the same pools as `now`.
        now: reserve_usd, volume_m5_usd, volume_h1_usd, n_buys_m5, n_sells_m5.
        spec: the thresholds.

    Raises:
        InputError: the frames differ in length.
    """
    if before.height != now.height:
        raise InputError(f"cannot compare {now.height!r} observations with {before.height!r}: give both for each pool")
    reserve, volume, hour = (_positive(c) for c in ("reserve_usd", "volume_m5_usd", "volume_h1_usd"))
    earlier = _positive("reserve_before")
    # A reserve that fell to 0 is the largest jump there is, so 0 counts as a reserve here.
    change_pct = (pl.when(pl.col("reserve_usd").is_finite()).then(pl.col("reserve_usd")) / earlier - 1).abs() * 100
    n_trades = pl.col("n_buys_m5") + pl.col("n_sells_m5")
    rules = (
        change_pct >= spec.reserve_jump_pct,
        volume >= spec.volume_spike_ratio * hour / _M5_AN_HOUR,
        pl.when(n_trades > 0).then(volume / n_trades) >= spec.whale_share * reserve,
    )
    reason = pl.coalesce(
        pl.when(rule.fill_null(False)).then(pl.lit(name)) for rule, name in zip(rules, REASONS, strict=True)
    )
    rows = now.with_columns(before["reserve_usd"].alias("reserve_before"))
    return rows.select(reason.cast(pl.String).alias("lift_reason")).to_series()


def running_outcome(price_ratio: pl.Expr, reserve_ratio: pl.Expr, bands: Bands) -> pl.Expr:
    """What a pool would count as if its story ended now, one of OUTCOMES; null without a price.

    A rough rule, for balancing the sample: both ratios are the last observation's against the first one's, so a crash
    from which the price recovered between two visits is not seen, and the bands are those of the labels without their
    slack. RUG: the price fell by more than `rug_price_pct`, or the reserve by more than `rug_reserve_pct` with the
    price by more than `rug_reserve_price_pct`. The other outcomes go by the price alone.
    """
    price_pct, reserve_pct = (ratio * 100 - 100 for ratio in (price_ratio, reserve_ratio))
    drained = (reserve_pct < bands.rug_reserve_pct) & (price_pct < bands.rug_reserve_price_pct)
    return (
        pl.when(price_pct.is_null() | price_pct.is_nan())
        .then(pl.lit(None, pl.String))
        .when((price_pct < bands.rug_price_pct) | drained.fill_null(False))
        .then(pl.lit("RUG"))
        .when(price_pct > bands.moon_pct)
        .then(pl.lit("MOON"))
        .when(price_pct > bands.pump_pct)
        .then(pl.lit("PUMP"))
        .when(price_pct < bands.decline_pct)
        .then(pl.lit("DECLINE"))
        .when(price_pct > bands.stable_pct)
        .then(pl.lit("RISE"))
        .when(price_pct < -bands.stable_pct)
        .then(pl.lit("DIP"))
        .otherwise(pl.lit("STABLE"))
    )


def boosts(outcome_counts: Mapping[str, int], spec: SamplerSpec) -> dict[str, float]:
    """The weight factor for pools of each outcome: how far it falls short of an equal share, 1 to `max_boost`.

    An outcome that is not counted has 0 pools. None is weighed down: what there is plenty of keeps its 1.

    Raises:
        UsageError: a count is negative or its outcome unknown.

    >>> seen = {"RUG": 60, "DECLINE": 20, "STABLE": 10, "DIP": 10, "RISE": 10, "PUMP": 5, "MOON": 4}
    >>> given = boosts(seen, SamplerSpec())
    >>> given["RUG"], given["STABLE"], given["MOON"]
    (1.0, 1.7, 4.0)
    """
    wrong = {outcome: n for outcome, n in outcome_counts.items() if outcome not in OUTCOMES or n < 0}
    if wrong:
        raise UsageError(f"cannot balance outcomes by {wrong!r}: counts are 0 or more and outcomes one of {OUTCOMES!r}")
    equal_share = sum(outcome_counts.values()) / len(OUTCOMES)
    if not equal_share:
        return dict.fromkeys(OUTCOMES, 1.0)
    fewest = equal_share / spec.max_boost
    return {o: min(spec.max_boost, max(1.0, equal_share / max(outcome_counts.get(o, 0), fewest))) for o in OUTCOMES}


def _positive(column: str) -> pl.Expr:
    told = pl.col(column)
    return pl.when(told.is_finite() & (told > 0)).then(told)
