"""The last decisions of a pool before each decision, for kinds that read sequences.

Belongs here: which rows make a sequence. Stays out: the network (`transformer`).
"""

import numpy as np
import polars as pl

from pipeline.models.returns.processors import Matrix


def sequences(x: Matrix, keys: pl.DataFrame, n_bars: int) -> Matrix:
    """For each row, the rows of its pool up to and with it, newest last, zeros where there are fewer.

    Args:
        x: (n, n_features) scaled features, in which 0 is the centre. keys: `instrument`, `event_time`, row for row.

    Returns:
        (n, n_bars, n_features) float32.

    >>> keys = pl.DataFrame({"instrument": ["a", "b", "a"], "event_time": [1, 1, 2]})
    >>> sequences(np.array([[1.0], [2.0], [3.0]], np.float32), keys, 2)[:, :, 0].tolist()
    [[0.0, 1.0], [0.0, 2.0], [1.0, 3.0]]
    """
    if not len(x):
        return np.zeros((0, n_bars, x.shape[1]), np.float32)
    order = keys.select(pl.arg_sort_by("instrument", "event_time")).to_series().to_numpy().astype(np.int64)
    names = keys["instrument"].rank("dense").to_numpy()[order]
    place = np.arange(len(order))
    begins = np.maximum.accumulate(np.where(np.r_[True, names[1:] != names[:-1]], place, 0))
    padded = np.vstack([x[order], np.zeros((1, x.shape[1]), np.float32)])
    back = place[:, None] - np.arange(n_bars - 1, -1, -1)
    gathered = padded[np.where(back >= begins[:, None], back, len(order))]
    out: Matrix = np.empty_like(gathered)
    out[order] = gathered
    return out
