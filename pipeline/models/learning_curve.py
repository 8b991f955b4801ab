"""What more data would bring: the loss on the same test rows over the size of the training set.

Belongs here: which rows each size has, and the table. Stays out: fitting (an argument), drawing (`pictures`).
"""

from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np
import polars as pl

from pipeline.errors import InputError
from pipeline.models.intervals import FigureRules, drawn_units, draws_of, interval
from pipeline.models.metrics import Floats, Ints
from pipeline.models.splits import Rows

SHARES: Final = (0.1, 0.2, 0.4, 0.7, 1.0)
CURVE: Final = pl.Schema(
    {
        "n_train_pools": pl.Int64(),
        "n_train_rows": pl.Int64(),
        "value": pl.Float64(),
        "low": pl.Float64(),
        "high": pl.Float64(),
    }
)
"""One size: pools and rows learned from, mean loss on the test rows (nats), its interval over test pools."""

type FitAndScore = Callable[[Rows], Floats]
"""Positions of training rows -> the loss of each test row, always the same ones in the same order."""


def sizes(pool: Ints, born: Sequence[Any] | Floats | Ints, shares: Sequence[float] = SHARES) -> list[Rows]:
    """The rows of each size, smallest first: those of the newest pools.

    The newest, since what lies between the training rows and the test rows then stays the same: a curve over the oldest
    pools would show age as much as size.

    Args:
        pool: (n,) the pool of each training row. born: (n,) its birth, anything that sorts.

    Raises:
        InputError: there are no rows.
    """
    if not len(pool):
        raise InputError("cannot draw a learning curve of no training rows")
    names, first, at = np.unique(pool, return_index=True, return_inverse=True)
    newest_first = np.lexsort((names, np.asarray(born)[first]))[::-1]
    rank = np.empty(len(names), np.int64)
    rank[newest_first] = np.arange(len(names))
    counts = sorted({max(1, round(share * len(names))) for share in shares})
    return [np.flatnonzero(rank[at] < n).astype(np.int64) for n in counts]


def learning_curve(
    pool: Ints,
    born: Sequence[Any] | Floats | Ints,
    test_pool: Ints,
    fit_and_score: FitAndScore,
    rules: FigureRules,
    shares: Sequence[float] = SHARES,
) -> pl.DataFrame:
    """The mean loss on the test rows at each size, in the shape of `CURVE`; all sizes meet the same resamples.

    Args:
        pool: (n,) the pool of each training row. born: its birth.
        test_pool: the pool of each test row.
        fit_and_score: fits on the rows given and gives the loss of each test row.
    """
    rng = np.random.default_rng(rules.seed)
    unit = drawn_units(np.unique(test_pool, return_inverse=True)[1], rng)
    n_units = int(unit.max()) + 1
    counts = np.hstack(list(draws_of(n_units, rules.n_resamples, rng))) if rules.n_resamples else np.ones((n_units, 0))
    mass = np.bincount(unit).astype(np.float64)
    rows = []
    for chosen in sizes(pool, born, shares):
        loss = fit_and_score(chosen)
        drawn = (np.bincount(unit, weights=loss) @ counts) / (mass @ counts)
        low, high = interval(drawn, float(loss.mean()), n_units, rules.confidence)
        extent = {"n_train_pools": len(np.unique(pool[chosen])), "n_train_rows": len(chosen)}
        rows.append(extent | {"value": float(loss.mean()), "low": low, "high": high})
    return pl.DataFrame(rows, schema=CURVE)
