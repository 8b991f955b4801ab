"""Figures of a forecast with intervals: a bootstrap over pools, and the spread over seeds.

Belongs here: resampling and the long table. Stays out: the formulas (`metrics`).

Why pools and not days: a pool's hours are not independent, its rows overlap by up to a day, and pools are what a model
meets anew. What moves pools together over days is not covered: ranks within an hour leave it in as soon as pools
are differently exposed to it, and a last block of a few days has too few days to draw from. docs/returns.md says
how much that matters.
"""

from typing import Any, Final

import numpy as np
import polars as pl

from pipeline.models.intervals import MIN_DEFINED_SHARE
from pipeline.models.returns.dataset import Floats
from pipeline.models.returns.metrics import Panel, figures
from pipeline.models.returns.spec import ReturnsSpec

FIGURES: Final = pl.Schema(
    {
        "predictor": pl.String(),
        "kind": pl.String(),
        "seed": pl.Int64(),
        "block": pl.String(),
        "horizon_hours": pl.Int32(),
        "metric": pl.String(),
        "value": pl.Float64(),
        "low": pl.Float64(),
        "high": pl.Float64(),
        "n_rows": pl.Int64(),
        "n_pools": pl.Int64(),
    }
)
"""One figure: whose, of which kind and seed (null: the mean of the seeds' forecasts), where, and its interval.

A metric that ends in `_over_seeds` is the mean of the seeds' own figures, with Student's interval over them.
"""
OVER_SEEDS: Final = "_over_seeds"
_WITHOUT_INTERVAL: Final = frozenset({"icir", "rank_icir"})
"""A ratio of hours: pools drawn twice make hours alike, and intervals held the truth in 76 to 85 of 100 made worlds."""
_UNSIGNED: Final = frozenset({"precision_at_k", "turnover", "squared_error", "sign_agreement"})
_BATCH_CELLS: Final = 500_000


def table(panel: Panel, spec: ReturnsSpec, *, with_interval: bool, **context: Any) -> pl.DataFrame:
    """Every figure of a panel, in the shape of `FIGURES`; `context`: predictor, kind, seed, block, horizon_hours."""
    if not len(panel):
        return pl.DataFrame(schema=FIGURES)
    point = figures(panel, np.ones((1, len(panel))))
    draws = _resampled(panel, spec) if with_interval else {}
    draws = {metric: own for metric, own in draws.items() if metric not in _WITHOUT_INTERVAL}
    n_pools, rows = int(panel.pool.max()) + 1, []
    for metric, value in point.items():
        low, high = interval(draws.get(metric, np.zeros(0)), float(value[0]), n_pools, spec.confidence)
        if metric in _UNSIGNED:
            low, high = (None if end is None else max(end, 0.0) for end in (low, high))
        rows.append(context | {"metric": metric, "value": float(value[0]), "low": low, "high": high})
    extent = {"n_rows": len(panel), "n_pools": n_pools}
    return _tidy([row | extent for row in rows])


def over_seeds(of_seeds: pl.DataFrame, spec: ReturnsSpec) -> pl.DataFrame:
    """The mean of each figure over the seeds, with Student's interval: what another draw of the training would give.

    Args:
        of_seeds: figures of one kind on one block, one of each metric a seed.
    """
    from scipy.stats import t  # type: ignore[import-untyped]  # noqa: PLC0415  only here

    rows = []
    for (metric,), own in of_seeds.group_by("metric", maintain_order=True):
        values = own["value"].drop_nulls().to_numpy()
        row = own.row(0, named=True) | {"seed": None, "metric": f"{metric}{OVER_SEEDS}", "low": None, "high": None}
        row["value"] = float(values.mean()) if len(values) else None
        if len(values) > 1:
            reach = float(t.ppf((1 + spec.confidence) / 2, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values)))
            row |= {"low": row["value"] - reach, "high": row["value"] + reach}
        rows.append(row)
    return _tidy(rows)


def interval(draws: Floats, point: float, n_pools: int, confidence: float) -> tuple[float | None, float | None]:
    """The percentile interval of the draws, shifted so that their mean is the figure, and as wide as few pools ask for.

    Draws of n pools vary by sqrt((n - 1) / n) of what a mean over n pools does, and their quantiles are a normal's
    where Student's are due: both are made good by one factor (Hesterberg 2015, sec. 3.3). Null where the figure is not
    defined in nearly all draws, or there is but one pool.
    """
    from scipy.stats import norm, t  # noqa: PLC0415  only here

    defined = draws[np.isfinite(draws)]
    if n_pools < 2 or not len(draws) or len(defined) < MIN_DEFINED_SHARE * len(draws):
        return None, None
    tail = (1 + confidence) / 2
    wider = float(t.ppf(tail, n_pools - 1) / norm.ppf(tail) * np.sqrt(n_pools / (n_pools - 1)))
    low, high = point + wider * (np.quantile(defined, [1 - tail, tail]) - defined.mean())
    return float(low), float(high)


def _resampled(panel: Panel, spec: ReturnsSpec) -> dict[str, Floats]:
    """Every figure on draws of the pools with replacement (Efron & Tibshirani 1993, ch. 8); each (n_resamples,)."""
    if not spec.n_resamples:
        return {}
    n_pools = int(panel.pool.max()) + 1
    rng = np.random.default_rng(spec.seed)
    size = max(1, _BATCH_CELLS // len(panel))
    batches = []
    for start in range(0, spec.n_resamples, size):
        n = min(size, spec.n_resamples - start)
        counts = rng.multinomial(n_pools, np.full(n_pools, 1 / n_pools), size=n)
        batches.append(figures(panel, counts[:, panel.pool].astype(np.float64)))
    return {metric: np.concatenate([batch[metric] for batch in batches]) for metric in batches[0]}


def _tidy(rows: list[dict[str, Any]]) -> pl.DataFrame:
    frame = pl.DataFrame(rows, schema=FIGURES, infer_schema_length=None)
    return frame.with_columns(pl.col("value", "low", "high").fill_nan(None))
