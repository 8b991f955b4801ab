"""How far apart two distributions are, and which of many p-values stand.

Belongs here: formulas over shares. Stays out: where the shares come from (`bins`), what chance gives (`permutation`).
"""

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

type Floats = NDArray[np.float64]

LEAST_SHARE: Final = 1e-4
"""A bin that only one side fills counts as this much of the other in the PSI, which would be infinite."""


_TINY: Final = 1e-300
"""Makes 0 log 0 a 0, and changes no other share."""


def js_divergence(p: Floats, q: Floats) -> Any:
    """Jensen-Shannon divergence in bits, 0 to 1, over the last axis (Lin 1991).

    >>> float(js_divergence(np.array([1.0, 0.0]), np.array([0.0, 1.0])))
    1.0
    """
    middle = (p + q) / 2
    bits = (_x_log_x(p) + _x_log_x(q)).sum(axis=-1) / 2 - _x_log_x(middle).sum(axis=-1)
    return np.clip(bits, 0.0, 1.0)


def psi(reference: Floats, current: Floats) -> float:
    """Population stability index: sum of (current - reference) ln(current / reference).

    The industry reads below 0.1 as the same, above 0.2 (or 0.25) as another world, whatever the sample size.

    >>> round(psi(np.array([0.5, 0.5]), np.array([0.25, 0.75])), 4)
    0.2747
    """
    is_filled = (reference > 0) | (current > 0)
    p, q = (np.maximum(shares[is_filled], LEAST_SHARE) for shares in (reference, current))
    return float(((q - p) * np.log(q / p)).sum())


def benjamini_hochberg(p_values: Floats) -> Floats:
    """The least false discovery rate at which each would stand (Benjamini & Hochberg 1995).

    >>> benjamini_hochberg(np.array([0.01, 0.5, 0.02])).round(3).tolist()
    [0.03, 0.5, 0.03]
    """
    order = np.argsort(p_values, kind="stable")[::-1]
    n = len(p_values)
    raised = p_values[order] * n / np.arange(n, 0, -1)
    q_values = np.empty(n)
    q_values[order] = np.minimum(np.minimum.accumulate(raised), 1.0)
    return q_values


def _x_log_x(x: Floats) -> Floats:
    bits: Floats = x * np.log2(x + _TINY)
    return bits
