"""Figures of merit of a forecast of returns, each for many weightings of the rows at once.

Belongs here: formulas. Stays out: resampling and tables (`figures`).

Every function takes weights (B, n), one row a weighting, and gives (B,) values: a point estimate is the weighting by
ones, a bootstrap over pools is a few hundred of them. A pool that is drawn twice counts as two pools with the same
forecast and the same return: ranks, portfolios and means are those of the sample with the row there twice, exactly.
What is not defined (a correlation with a constant) is NaN here and null in any table, never 0.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

import numpy as np
import polars as pl

from pipeline.errors import InputError
from pipeline.models.returns.dataset import Floats
from pipeline.models.returns.spec import ReturnsSpec
from pipeline.models.splits import Rows

_FLAT: Final = 1e-12
"""A variance below this share of the mean square is a constant's, up to rounding."""


@dataclass(frozen=True, eq=False)
class Panel:
    """Forecasts and what came, sorted by hour; one row a pool and hour.

    Attributes:
        starts: (H,) first row of each hour. hour, pool: (n,) number of a row's hour and of its pool.
        before: (n,) the row of the same pool one bar earlier, -1 without.
        follows: (H,) whether the hour before is there.
    """

    forecast: Floats
    target: Floats
    returns: Floats
    pool: Rows
    hour: Rows
    starts: Rows
    before: Rows
    follows: Any
    spec: ReturnsSpec

    @classmethod
    def of(cls, said: pl.DataFrame, spec: ReturnsSpec) -> "Panel":
        """From `network`, `pool`, `event_time`, `forecast`, `target`, `forward_return`, in any order.

        Hours with fewer than `min_hour_pools` rows do not count: they are left out.

        Raises:
            InputError: a forecast, target or return is missing or not finite.
        """
        numbers = pl.col("forecast", "target", "forward_return").is_finite().fill_null(value=False)
        wrong = said.filter(~pl.all_horizontal(numbers))
        if wrong.height:
            raise InputError(
                f"{wrong.height} of {said.height} rows to judge have a forecast, target or return that is no number,"
                f" the first of {wrong['pool'][0]!r} at {wrong['event_time'][0]!r}"
            )
        counted = said.filter(pl.len().over("event_time") >= spec.min_hour_pools)
        rows = (
            counted.sort("event_time", "network", "pool")
            .with_row_index("row")
            .with_columns(
                pl.col("row").cast(pl.Int64),
                pl.struct("network", "pool").rank("dense").cast(pl.Int64).alias("at"),
                (pl.col("event_time").rank("dense").cast(pl.Int64) - 1).alias("hour"),
                (pl.col("event_time") - spec.step).alias("earlier"),
            )
        )
        last = rows.select("at", pl.col("event_time").alias("earlier"), pl.col("row").alias("before"))
        before = rows.select("at", "earlier").join(last, on=["at", "earlier"], how="left", maintain_order="left")[
            "before"
        ]
        times = rows["event_time"].unique().sort()
        hour = rows["hour"].to_numpy()
        return cls(
            forecast=rows["forecast"].to_numpy(),
            target=rows["target"].to_numpy(),
            returns=rows["forward_return"].to_numpy(),
            pool=rows["at"].to_numpy() - 1,
            hour=hour,
            starts=np.flatnonzero(np.r_[True, hour[1:] != hour[:-1]]) if len(hour) else hour,
            before=before.fill_null(-1).to_numpy(),
            follows=(times.diff() == timedelta(hours=1)).fill_null(value=False).to_numpy(),
            spec=spec,
        )

    def __len__(self) -> int:
        return len(self.forecast)


def figures(panel: Panel, weights: Floats) -> dict[str, Floats]:
    """Every figure of a panel under each weighting; (B,) each.

    ic, rank_ic: mean over hours of Pearson's and Spearman's correlation of forecast and target (the target is a rank's
    score; on raw returns a single pool that rises fiftyfold is all there is). ic_return: Pearson's with the return.
    icir, rank_icir: mean over the standard deviation of the hours. precision_at_k: share of the `top_k` forecasts
    that end in the better half of their hour. turnover: share of those pools that were not among them an hour earlier.
    long_short: mean return of the highest `quantile` of an hour minus the lowest's; long_short_net after a round trip
    on each leg; long_net the long leg alone. squared_error, skill, sign_agreement: each pool one unit (the mean of its
    rows); skill is the reduction of the squared error against no forecast, and a forecast of 0 agrees with no sign.
    """
    f, y = panel.forecast, panel.target
    ic = correlation(panel, np.broadcast_to(f, weights.shape), y, weights)
    rank_ic = correlation(panel, midranks(panel, f, weights), midranks(panel, y, weights), weights)
    top = taken(panel, -f, weights, np.full((len(weights), len(panel.starts)), float(panel.spec.top_k)))
    wanted = panel.spec.quantile * _by_hour(panel, weights)
    long, short = (_average(panel, taken(panel, s * f, weights, wanted), panel.returns) for s in (-1, 1))
    cost = panel.spec.cost_round_trip
    spread = _mean(long - short)
    error, error_of_none = by_pool(panel, (f - y) ** 2, weights), by_pool(panel, y**2, weights)
    return {
        "ic": _mean(ic), "icir": _ratio(ic), "rank_ic": _mean(rank_ic), "rank_icir": _ratio(rank_ic),
        "ic_return": _mean(correlation(panel, np.broadcast_to(f, weights.shape), panel.returns, weights)),
        "precision_at_k": _mean(_average(panel, top, (y > 0).astype(np.float64))),
        "turnover": _turnover(panel, top),
        "long_short": spread, "long_short_net": spread - 2 * cost, "long_net": _mean(long) - cost,
        "squared_error": error, "skill": 1 - error / error_of_none,
        "sign_agreement": by_pool(panel, ((np.sign(f) == np.sign(y)) & (f != 0)).astype(np.float64), weights),
    }  # fmt: skip


def hourly_ic(panel: Panel) -> Floats:
    """(H,) rank correlation of each hour; NaN where not defined."""
    ones = np.ones((1, len(panel)))
    said, came = (midranks(panel, values, ones) for values in (panel.forecast, panel.target))
    return np.asarray(correlation(panel, said, came, ones)[0])


def correlation(panel: Panel, x: Floats, y: Floats, weights: Floats) -> Floats:
    """(B, H) weighted Pearson correlations by hour of (B, n) or (n,) values; NaN for a constant."""
    total = _by_hour(panel, weights)
    with np.errstate(divide="ignore", invalid="ignore"):
        dx = x - (_by_hour(panel, weights * x) / total)[:, panel.hour]
        dy = y - (_by_hour(panel, weights * y) / total)[:, panel.hour]
        vx, vy = _by_hour(panel, weights * dx**2), _by_hour(panel, weights * dy**2)
        flat = (vx <= _FLAT * _by_hour(panel, weights * x**2)) | (vy <= _FLAT * _by_hour(panel, weights * y**2))
        found = _by_hour(panel, weights * dx * dy) / np.sqrt(vx * vy)
    return np.where(flat | (total < 2), np.nan, found)


def midranks(panel: Panel, values: Floats, weights: Floats) -> Floats:
    """(B, n) rank of each row within its hour, ties at their mean, a row of weight w standing for w rows."""
    order, groups, below, mass = _stacked(panel, values, weights)
    ranks = np.empty_like(weights)
    ranks[:, order] = (below + (mass + 1) / 2)[:, groups]
    return ranks


def taken(panel: Panel, values: Floats, weights: Floats, wanted: Floats) -> Floats:
    """(B, n) how much of each row is taken, smallest `values` first, until (B, H) `wanted` rows of the hour are.

    Rows with the same value are taken in equal shares, so a forecast that says the same of all takes all alike.
    """
    order, groups, below, mass = _stacked(panel, values, weights)
    first = np.flatnonzero(np.r_[True, groups[1:] != groups[:-1]])
    hours = panel.hour[order][first]
    part = np.clip(wanted[:, hours] - below, 0, mass) / np.where(mass > 0, mass, 1)
    share = np.empty_like(weights)
    share[:, order] = part[:, groups]
    return np.asarray(weights * share)


def by_pool(panel: Panel, values: Floats, weights: Floats) -> Floats:
    """(B,) mean over pools of the mean over a pool's rows."""
    n_pools = int(panel.pool.max()) + 1
    sizes = np.bincount(panel.pool, minlength=n_pools)
    per_row = weights / sizes[panel.pool]
    return np.asarray((per_row @ values) / per_row.sum(axis=1))


def _turnover(panel: Panel, top: Floats) -> Floats:
    """(B,) over the hours whose hour before is there: the share of the top rows whose pool was not among it then."""
    kept = np.where(panel.before >= 0, np.minimum(top, top[:, panel.before]), 0.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        share = 1 - _by_hour(panel, kept) / _by_hour(panel, top)
    return _mean(np.where(panel.follows, share, np.nan))


def _stacked(panel: Panel, values: Floats, weights: Floats) -> tuple[Rows, Rows, Floats, Floats]:
    """Rows ordered by hour and value, (n,) their group of equal values, and (B, G) what lies below it and in it."""
    order = np.lexsort((values, panel.hour))
    hours, sorted_values = panel.hour[order], values[order]
    is_first = np.r_[True, (hours[1:] != hours[:-1]) | (sorted_values[1:] != sorted_values[:-1])]
    first = np.flatnonzero(is_first)
    mass = np.add.reduceat(weights[:, order], first, axis=1)
    until = np.cumsum(mass, axis=1)
    total_before = np.cumsum(_by_hour(panel, weights), axis=1) - _by_hour(panel, weights)
    return order, np.cumsum(is_first) - 1, until - mass - total_before[:, hours[first]], mass


def _average(panel: Panel, part: Floats, values: Floats) -> Floats:
    """(B, H) mean of `values` over what is taken of each hour."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(_by_hour(panel, part * values) / _by_hour(panel, part))


def _by_hour(panel: Panel, values: Floats) -> Floats:
    return np.asarray(np.add.reduceat(values, panel.starts, axis=1))


def _mean(hours: Floats) -> Floats:
    return _over(hours, lambda n, total, _: total / n, 1)


def _ratio(hours: Floats) -> Floats:
    """Mean over the standard deviation (n - 1) of the hours."""
    return _over(hours, lambda n, total, squares: total / n / np.sqrt((squares - total**2 / n) / (n - 1)), 2)


def _over(hours: Floats, form: Callable[[Floats, Floats, Floats], Floats], least: int) -> Floats:
    defined = np.isfinite(hours)
    n, held = defined.sum(axis=1).astype(np.float64), np.where(defined, hours, 0.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(n >= least, form(n, held.sum(axis=1), (held**2).sum(axis=1)), np.nan)
