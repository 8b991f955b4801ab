"""The pool is the unit: what rows come to, each pool counted once.

Belongs here: weights and means by pool. Stays out: resampling pools (`intervals`), and whatever is weighed.
"""

from typing import Any

import numpy as np

from pipeline.models.learner import Floats

type Pools = np.ndarray[Any, np.dtype[np.int64]]
"""(n,) any number per pool."""


def pool_weights(pool: Pools) -> Floats:
    """(n,) weights under which each pool counts 1, however many rows it has.

    >>> pool_weights(np.array([5, 2, 2])).tolist()
    [1.0, 0.5, 0.5]
    """
    _, at, sizes = np.unique(pool, return_inverse=True, return_counts=True)
    return np.asarray(1.0 / sizes[at])


def pool_means(values: Floats, pool: Pools) -> Floats:
    """(n_pools,) mean of each pool's rows, in the order of the pools' numbers.

    >>> pool_means(np.array([4.0, 1.0, 2.0]), np.array([5, 2, 2])).tolist()
    [1.5, 4.0]
    """
    _, at, sizes = np.unique(pool, return_inverse=True, return_counts=True)
    return np.asarray(np.bincount(at, weights=values, minlength=len(sizes)) / sizes)
