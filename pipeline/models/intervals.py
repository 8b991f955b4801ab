"""Figures with intervals: a bootstrap over pools.

Belongs here: resampling and the long table of figures. Stays out: the formulas (`metrics`).
A pool's rows are not independent, so whole pools are drawn with replacement (Efron & Tibshirani 1993, ch. 8).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import polars as pl

from pipeline.models.metrics import AT_MOST_ONE, BINNED, Floats, Ints, from_tally
from pipeline.models.tallies import MAX_LEVELS, tallies
from pipeline.tables import OUTCOMES

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


@dataclass(frozen=True)
class FigureRules:
    """How figures are made: resamples of the bootstrap, confidence of the intervals, calibration bins, seed."""

    n_resamples: int = 1_000
    confidence: float = 0.95
    n_bins: int = 10
    seed: int = 20_200_908


MIN_DEFINED_SHARE: Final = 0.95
"""An interval is given only if the figure is defined in at least this share of the resamples."""
MAX_DRAWN: Final = 20_000
"""More pools than this are drawn in that many random groups of equal size: independent like pools, and as telling."""
MIN_CLASS_POOLS: Final = 10
"""A class's own figures get an interval only if that many pools hold it, and as many others do not."""
MIN_CALIBRATION_POOLS: Final = 100
"""Figures over calibration bins (ECE, Murphy's parts) get an interval only with that many: see docs/evaluation.md."""
BATCH_CELLS: Final = 400_000
"""Pools x resamples weighted at once, but at least 20 resamples: what they need of the sums stays near the cache."""


def with_intervals(
    y: Ints,
    p: Floats,
    pool: Ints,
    *,
    n_resamples: int,
    confidence: float,
    n_bins: int,
    seed: int,
    classes: Sequence[str] = OUTCOMES,
    **context: Any,
) -> pl.DataFrame:
    """Every figure with its interval, one row a figure, in the shape of `FIGURES`.

    Args:
        y: (n,) positions in `classes`. p: (n, K) probabilities. pool: (n,) any integer per pool.
        n_resamples: 0 leaves the intervals null.
        context: `predictor`, `block` and `decision_age_hours` of the rows.
    """
    at = np.unique(pool, return_inverse=True)[1]
    n_pools = int(at.max(initial=-1)) + 1
    once = tallies(y, p, np.zeros(len(y), np.int64), n_bins=n_bins).weighted(np.ones((1, 1)))
    draws = resampled(y, p, at, n_resamples=n_resamples, n_bins=n_bins, seed=seed, classes=classes)
    scarce = _scarce(y, at, n_pools, classes) if n_resamples else set()
    rows = []
    for (metric, outcome), value in from_tally(once, classes).items():
        ceiling = 1.0 if metric in AT_MOST_ONE else np.inf
        is_too_few = outcome in scarce or (metric in BINNED and n_pools < MIN_CALIBRATION_POOLS)
        drawn = np.zeros(0) if is_too_few else draws.get((metric, outcome), np.zeros(0))
        low, high = interval(drawn, value[0], n_pools, confidence, ceiling)
        rows.append(context | {"metric": metric, "outcome": outcome, "value": value[0], "low": low, "high": high})
    frame = pl.DataFrame([row | {"n_rows": len(y), "n_pools": n_pools} for row in rows], schema=FIGURES)
    return frame.with_columns(pl.col("value", "low", "high").fill_nan(None))


def _scarce(y: Ints, pool: Ints, n_pools: int, classes: Sequence[str]) -> set[str]:
    """Classes that too few pools hold, or too few do not, for an interval to mean what it says."""
    holds = np.zeros((n_pools, len(classes)), bool)
    holds[pool, y] = True
    holds_other = np.zeros_like(holds)
    for k in range(len(classes)):
        holds_other[pool[y != k], k] = True
    fewest = np.minimum(holds.sum(axis=0), holds_other.sum(axis=0))
    return {name for name, n in zip(classes, fewest, strict=True) if n < MIN_CLASS_POOLS}


def resampled(
    y: Ints, p: Floats, pool: Ints, *, n_resamples: int, n_bins: int, seed: int, classes: Sequence[str] = OUTCOMES
) -> dict[tuple[str, str], Floats]:
    """Every figure on `n_resamples` draws of pools with replacement; each (n_resamples,).

    A class with more than `tallies.MAX_LEVELS` positives is ranked by that many levels: of a million rows that moves
    an interval by far less than drawing other pools would (a test holds it to a hundredth of its width).
    """
    if not n_resamples:
        return {}
    rng = np.random.default_rng(seed)
    unit = drawn_units(np.unique(pool, return_inverse=True)[1], rng)
    sums = tallies(y, p, unit, n_bins=n_bins, max_levels=MAX_LEVELS)
    batches = [from_tally(sums.weighted(counts), classes) for counts in draws_of(int(unit.max()) + 1, n_resamples, rng)]
    return {key: np.concatenate([batch[key] for batch in batches]) for key in batches[0]}


def drawn_units(pool: Ints, rng: np.random.Generator) -> Ints:
    """What is drawn as one, for each row: its pool (numbered from 0), or a random group of pools where there are many.

    The variance of a figure over 20,000 groups is known to 1 %; a thousand draws know theirs to 4 %.
    """
    n_pools = int(pool.max()) + 1
    return pool if n_pools <= MAX_DRAWN else np.asarray((rng.permutation(n_pools) % MAX_DRAWN)[pool])


def draws_of(n_units: int, n_resamples: int, rng: np.random.Generator) -> Iterator[Floats]:
    """How often each unit is drawn with replacement, (n_units, B) at a time."""
    size = min(max(20, BATCH_CELLS // n_units), 200)
    for start in range(0, n_resamples, size):
        counts = [
            np.bincount(rng.integers(0, n_units, n_units), minlength=n_units)
            for _ in range(min(size, n_resamples - start))
        ]
        yield np.stack(counts, axis=1).astype(np.float64)


def interval(
    draws: Floats, point: float, n_pools: int, confidence: float, ceiling: float = np.inf
) -> tuple[float | None, float | None]:
    """The percentile interval of a figure's draws, shifted so that their mean is the figure, and widened for few pools.

    Drawing pools again adds noise that some figures (ECE, the reliability part of Brier) count as error, so their draws
    lie above the figure, often all of them; the shift takes that bias out (Efron & Tibshirani 1993, ch. 10). Draws of n
    pools vary by sqrt((n - 1) / n) of what a mean over n pools does, and their quantiles are a normal's where
    Student's are due: one factor makes both good (Hesterberg 2015, sec. 3.3). A figure that cannot be negative, or
    above `ceiling`, keeps an interval that is not. Null where the figure is not defined in nearly all draws, where
    there is but one pool, and where a share is 0 or 1 in every draw: how far from it the truth lies, no draw can tell.
    """
    # scipy ships no types, and is slow to import: the code location loads this file.
    from scipy.special import ndtri, stdtrit  # type: ignore[import-untyped]  # noqa: PLC0415

    defined = draws[np.isfinite(draws)]
    if n_pools < 2 or not len(draws) or len(defined) < MIN_DEFINED_SHARE * len(draws):
        return None, None
    if np.isfinite(ceiling) and point in (0, ceiling) and (defined == point).all():
        return None, None
    tail = (1 + confidence) / 2
    wider = float(stdtrit(n_pools - 1, tail) / ndtri(tail) * np.sqrt(n_pools / (n_pools - 1)))
    low, high = point + wider * (np.quantile(defined, [1 - tail, tail]) - defined.mean())
    floor = 0.0 if min(point, float(defined.min())) >= 0 else -np.inf
    return float(np.clip(low, floor, ceiling)), float(np.clip(high, floor, ceiling))
