"""Figures with intervals: a bootstrap over pools.

Belongs here: resampling and the long table of figures. Stays out: the formulas (`metrics`).
A pool's rows are not independent, so whole pools are drawn with replacement (Efron & Tibshirani 1993, ch. 8).
"""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import polars as pl

from pipeline.models.metrics import Floats, Ints, figures

FIGURES: Final = pl.Schema(
    {
        "predictor": pl.String(),
        "block": pl.String(),
        "decision_age_hours": pl.Int32(),
        "metric": pl.String(),
        "outcome": pl.String(),
        "value": pl.Float64(),
        "low": pl.Float64(),
        "high": pl.Float64(),
        "n_rows": pl.Int64(),
        "n_pools": pl.Int64(),
    }
)
"""One figure: whose, on which block, at which decision age (null: all ages), its value and interval."""


@dataclass(frozen=True)
class Figure:
    """One number with its interval; null where it is not defined."""

    value: float | None
    low: float | None
    high: float | None
    n_rows: int
    n_pools: int


MIN_DEFINED_SHARE: Final = 0.95
"""An interval is given only if the figure is defined in at least this share of the resamples."""
BATCH_CELLS: Final = 500_000
"""Rows x resamples weighted at once: bounds memory and stays near the cache."""


def with_intervals(
    y: Ints,
    p: Floats,
    pool: Ints,
    *,
    n_resamples: int,
    confidence: float,
    n_bins: int,
    seed: int,
    **context: Any,
) -> pl.DataFrame:
    """Every figure with its bias-corrected percentile interval, one row a figure, in the shape of `FIGURES`.

    Args:
        y: (n,) outcomes. p: (n, 7) probabilities. pool: (n,) any integer per pool.
        n_resamples: 0 leaves the intervals null.
        context: `predictor`, `block` and `decision_age_hours` of the rows.
    """
    point = figures(y, p, np.ones((1, len(y))), n_bins=n_bins)
    draws = resampled(y, p, pool, n_resamples=n_resamples, n_bins=n_bins, seed=seed)
    rows = []
    for (metric, outcome), value in point.items():
        low, high = interval(draws.get((metric, outcome), np.zeros(0)), value[0], confidence)
        rows.append(context | {"metric": metric, "outcome": outcome, "value": value[0], "low": low, "high": high})
    extent = {"n_rows": len(y), "n_pools": len(np.unique(pool))}
    frame = pl.DataFrame([row | extent for row in rows], schema=FIGURES)
    return frame.with_columns(pl.col("value", "low", "high").fill_nan(None))


def resampled(
    y: Ints, p: Floats, pool: Ints, *, n_resamples: int, n_bins: int, seed: int
) -> dict[tuple[str, str], Floats]:
    """Every figure on `n_resamples` draws of pools with replacement; each (n_resamples,)."""
    if not n_resamples:
        return {}
    _, at = np.unique(pool, return_inverse=True)
    n_pools = int(at.max()) + 1
    rng = np.random.default_rng(seed)
    size = max(1, BATCH_CELLS // len(y))
    batches: list[dict[tuple[str, str], Floats]] = []
    for start in range(0, n_resamples, size):
        n = min(size, n_resamples - start)
        counts = rng.multinomial(n_pools, np.full(n_pools, 1 / n_pools), size=n)
        batches.append(figures(y, p, counts[:, at].astype(np.float64), n_bins=n_bins))
    return {key: np.concatenate([batch[key] for batch in batches]) for key in batches[0]}


def interval(draws: Floats, point: float, confidence: float) -> tuple[float | None, float | None]:
    """The bias-corrected percentile interval of a figure: its draws, shifted so that their mean is the figure.

    Drawing pools again adds noise that some figures (ECE, the reliability part of Brier) count as error, so their draws
    lie above the figure, often all of them; the shift takes that bias out (Efron & Tibshirani 1993, ch. 10). It
    leaves the others where they are. A figure that cannot be negative keeps an interval that is not.
    """
    defined = draws[np.isfinite(draws)]
    if not len(draws) or len(defined) < MIN_DEFINED_SHARE * len(draws):
        return None, None
    bias = float(defined.mean()) - point
    low, high = np.quantile(defined, [(1 - confidence) / 2, (1 + confidence) / 2]) - bias
    floor = 0.0 if min(point, float(defined.min())) >= 0 else -np.inf
    return max(float(low), floor), max(float(high), floor)
