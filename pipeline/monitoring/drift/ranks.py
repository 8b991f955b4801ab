"""A pool's place among all pools: the mean normal score of its values.

Belongs here: ranks of both samples together. Stays out: what is done with them (`permutation`, `classifier`).
"""

import numpy as np
from scipy.special import ndtri  # type: ignore[import-untyped]  # scipy ships no types

from pipeline.monitoring.drift.bins import Ints
from pipeline.monitoring.drift.divergence import Floats


def normal_scores(values: Floats, pools: Ints, weights: Floats, n_pools: int) -> Floats:
    """Mean over a pool's values of the normal quantile of their rank (van der Waerden 1952); 0 where all are missing.

    Rows are ranked by weight, equal values share the middle of their ranks. Only order matters.

    >>> normal_scores(np.array([1.0, 2.0, 3.0]), np.array([0, 1, 2]), np.ones(3), 3).round(2).tolist()
    [-0.97, 0.0, 0.97]
    """
    is_told = ~np.isnan(values)
    if not is_told.any():
        return np.zeros(n_pools)
    _, place = np.unique(values[is_told], return_inverse=True)
    mass = np.bincount(place, weights=weights[is_told])
    rank = (np.cumsum(mass) - mass / 2) / mass.sum()
    scores = ndtri(rank)[place]
    told = np.bincount(pools[is_told], weights=weights[is_told], minlength=n_pools)
    summed = np.bincount(pools[is_told], weights=weights[is_told] * scores, minlength=n_pools)
    return np.divide(summed, told, out=np.zeros(n_pools), where=told > 0)
