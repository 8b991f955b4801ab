"""Features put on one scale, by what the training rows say.

Belongs here: the scale, as numbers that travel with a model, and as a QLib processor. Stays out: the rows (`dataset`).

Robust z-scores (median and 1.4826 x median absolute deviation), cut at `clip`, what is missing at 0, the centre: QLib's
RobustZScoreNorm and Fillna, but fitted on rows, since a purged training segment is no stretch of time.
"""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np

type Matrix = np.ndarray[Any, np.dtype[np.float32]]

_MAD_TO_SIGMA: Final = 1.4826
_EPSILON: Final = 1e-12
"""QLib's EPS: what keeps a constant feature from a division by 0."""


@dataclass(frozen=True, eq=False)
class Scale:
    """(n_features,) centres and widths, float32, and the cut."""

    centre: Matrix
    width: Matrix
    clip: float

    def __call__(self, x: Matrix) -> Matrix:
        """(n, n_features) features on the scale, nothing missing; a new array."""
        with np.errstate(over="ignore", invalid="ignore"):
            scaled = (x.astype(np.float32) - self.centre) / self.width
        return np.nan_to_num(np.clip(scaled, -self.clip, self.clip), copy=False, nan=0.0)


def fit_scale(x: Matrix, clip: float) -> Scale:
    """The scale of (n, n_features) training rows; a feature that is never there or never moves becomes 0 or a cut.

    >>> import numpy as np
    >>> fit_scale(np.array([[1.0], [2.0], [3.0], [np.nan]], np.float32), 3.0)(np.array([[2.0], [np.nan]], np.float32))
    array([[0.],
           [0.]], dtype=float32)
    """
    held = np.isfinite(x).any(axis=0)
    inside = np.where(held, x, np.float32(0)).astype(np.float64)
    centre = np.nanmedian(inside, axis=0)
    width = (np.nanmedian(np.abs(inside - centre), axis=0) + _EPSILON) * _MAD_TO_SIGMA
    return Scale(centre.astype(np.float32), width.astype(np.float32), clip)
