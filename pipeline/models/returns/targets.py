"""What is forecast: the forward return, and its rank among the pools of the hour.

Belongs here: returns over gaps and the score made of them. Stays out: features.

A pool's price is set by trades alone, so where nobody traded it is what the last trade made it. A pool that stops
trading keeps its last price and a return of 0 from then on: it does not vanish, as it would from a label expression,
which is NaN over a gap. What it cannot see: liquidity that was taken out leaves the price behind.
"""

from datetime import datetime, timedelta
from typing import Any

import numpy as np
import polars as pl

from pipeline.errors import InputError
from pipeline.models.returns.spec import ReturnsSpec

type Floats = np.ndarray[Any, np.dtype[np.float64]]

KEYS = ("instrument", "network", "pool", "base_token", "created_at", "event_time")


def return_name(horizon: int) -> str:
    """The column of a horizon's forward return (a share: 0.1 is +10 %)."""
    return f"return_{horizon}h"


def label_end_name(horizon: int) -> str:
    """The column that says since when a horizon's return is known (UTC)."""
    return f"label_end_{horizon}h"


def with_returns(decisions: pl.DataFrame, closes: pl.DataFrame, spec: ReturnsSpec, until: datetime) -> pl.DataFrame:
    """The decisions with `return_{h}h` and `label_end_{h}h` for each horizon.

    r = close(entry + h) / close(entry) - 1, both as of the last trade, the entry at the end of the bar that is
    `entry_lag_bars` after the decision's.

    Args:
        decisions: `instrument`, `event_time` (end of the decision's bar, UTC).
        closes: `instrument`, `known_at` (end of a traded bar, UTC), `close`; the last price until then.
        until: end of the calendar. A return that ends later is null: pending.
    """
    traded = closes.select("instrument", "known_at", "close").sort("known_at")
    lag = spec.entry_lag_bars * spec.step
    entry = _as_of(decisions, traded, lag)
    columns: list[pl.Series] = []
    for horizon in spec.horizons_hours:
        over = lag + timedelta(hours=horizon)
        ends = decisions["event_time"] + over
        change = (_as_of(decisions, traded, over) / entry - 1).alias(return_name(horizon))
        is_over = (ends <= until).alias("is_over")
        columns.append(pl.select(pl.when(is_over).then(change).alias(change.name))[change.name])
        columns.append(ends.alias(label_end_name(horizon)))
    return decisions.with_columns(columns)


def scored(returns: pl.DataFrame, horizon: int, spec: ReturnsSpec) -> pl.DataFrame:
    """The rows of an hour with enough known returns, with `target`: the return's rank among them as a normal score.

    target: `normal_scores` among all pools of the hour. What trains and what is judged is ranked again among the
    rows of its side of a split (`segments.block_targets`).

    Args:
        returns: `event_time`, `return_{h}h`, `label_end_{h}h` and any other column.

    Returns:
        those rows, in their order, with `target` (Float64), `forward_return` and `label_end`.
    """
    known = returns.filter(pl.col(return_name(horizon)).is_finite())
    known = known.filter(pl.len().over("event_time") >= spec.min_hour_pools).with_columns(
        pl.col(return_name(horizon)).alias("forward_return"), pl.col(label_end_name(horizon)).alias("label_end")
    )
    return known.with_columns(pl.Series("target", normal_scores(known), dtype=pl.Float64))


def normal_scores(returns: pl.DataFrame) -> Floats:
    """(n,) the score of each row's `forward_return` among the rows of its `event_time`; mean 0 in each hour.

    Inverse normal distribution of (rank - 1/2) / n, tied returns at their mean rank, minus the hour's mean (van der
    Waerden 1952).
    """
    from scipy.special import ndtri  # type: ignore[import-untyped]  # noqa: PLC0415  only here

    hour = "event_time"
    place = (pl.col("forward_return").rank("average").over(hour) - 0.5) / pl.len().over(hour)
    places = returns.select(hour, place=place)
    scores = places.with_columns(pl.Series("score", ndtri(places["place"].to_numpy()), dtype=pl.Float64))
    return scores.select(pl.col("score") - pl.col("score").mean().over(hour)).to_series().to_numpy()


def censored(rows: pl.DataFrame, unwatched: pl.DataFrame, spec: ReturnsSpec) -> pl.DataFrame:
    """The rows with every return null whose window meets an hour in which nobody watched its network.

    The window runs from the start of the decision's bar to the return's end. Where nobody watched, a price that
    stands still is no trade that did not happen: the return is not known, and not 0.

    Args:
        rows: `network`, `event_time`, and each horizon's return and label end.
        unwatched: `network`, `hour` (UTC, the start of each such hour).

    Raises:
        InputError: columns are missing or the hours are not in UTC.
    """
    if {"network", "hour"} - set(unwatched.columns) or unwatched.schema["hour"] != pl.Datetime("us", "UTC"):
        raise InputError(f"expected network and hour (UTC) of unwatched hours, found {dict(unwatched.schema)!r}")
    bar = (pl.col("event_time") - spec.step).alias("bar")
    asked = rows.select("network", bar).with_row_index("row").sort("bar")
    gaps = unwatched.select("network", "hour").drop_nulls().unique().sort("hour")
    met = asked.join_asof(
        gaps, left_on="bar", right_on="hour", by="network", strategy="forward", check_sortedness=False
    ).sort("row")["hour"]
    seen = []
    for horizon in spec.horizons_hours:
        is_met = (pl.lit(met) < pl.col(label_end_name(horizon))).fill_null(value=False)
        seen.append(pl.when(~is_met).then(pl.col(return_name(horizon))).alias(return_name(horizon)))
    return rows.with_columns(seen)


def _as_of(decisions: pl.DataFrame, traded: pl.DataFrame, after: timedelta) -> pl.Series:
    """The price in force `after` each decision, in the order of the decisions."""
    asked = decisions.select("instrument", (pl.col("event_time") + after).alias("known_at")).with_row_index("row")
    found = asked.sort("known_at").join_asof(
        traded, on="known_at", by="instrument", strategy="backward", check_sortedness=False
    )
    return found.sort("row")["close"].cast(pl.Float64)


def feature_columns(rows: pl.DataFrame, spec: ReturnsSpec) -> tuple[str, ...]:
    """The columns of rows that are features, in their order."""
    others = {*KEYS, *(name for h in spec.horizons_hours for name in (return_name(h), label_end_name(h)))}
    return tuple(name for name in rows.columns if name not in others)
