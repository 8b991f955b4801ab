"""Sampling with unequal probabilities: sharing a total among sizes, and drawing so that each share is exact.

Belongs here: the arithmetic of probability-proportional-to-size samples over plain arrays. Stays out: what is sampled
and what makes it worth more (`sampler`).
"""

import numpy as np
from numpy.typing import NDArray

Reals = NDArray[np.float64]
Ints = NDArray[np.int64]


def share_out(total: float, sizes: Reals, caps: Reals) -> Reals:
    """Divide `total` in proportion to `sizes`, giving none more than its cap: min(cap, rate * size).

    With caps of 1 these are the inclusion probabilities of a fixed-size sample of `total` drawn in proportion to size
    (Särndal, Swensson, Wretman, *Model Assisted Survey Sampling*, 1992, 3.6.2). A size of 0 is given nothing. The
    shares add up to `total`, or to the caps of all positive sizes if that is less.

    >>> share_out(2, np.array([6.0, 1.0, 1.0]), np.ones(3)).tolist()
    [1.0, 0.5, 0.5]
    """
    full = np.where(sizes > 0, caps, 0.0)
    if total >= full.sum():
        return full
    with np.errstate(divide="ignore", invalid="ignore"):
        order = np.argsort(np.where(sizes > 0, caps / sizes, np.inf), kind="stable")
        ordered_sizes, ordered_caps = sizes[order], caps[order]
        used_up = np.cumsum(ordered_caps) - ordered_caps
        left = np.cumsum(ordered_sizes[::-1])[::-1]
        rates = (total - used_up) / left
        # Entry j: the rate if exactly those before j are at their caps. The first that does not overfill j is it.
        holds = (left > 0) & (rates * ordered_sizes < ordered_caps)
    if not holds.any():
        return full
    return np.minimum(caps, max(0.0, float(rates[holds.argmax()])) * sizes)


def draw_systematically(expected: Reals, start: float) -> Ints:
    """How often each entry is drawn: its expectation rounded down or up, the total never off by one.

    Madow's systematic sampling (*Annals of Mathematical Statistics* 20, 1949): the expectations are laid end to end and
    marks set at start, start + 1, start + 2, ... With `start` uniform on [0, 1) each entry's mean is exactly its
    expectation. `expected` must add up to a whole number, but for rounding.

    >>> draw_systematically(np.array([0.5, 1.2, 0.3]), 0.4).tolist()
    [1, 1, 0]
    """
    ends = np.concatenate([[0.0], np.cumsum(expected)])
    ends[-1] = np.rint(ends[-1])
    ends = np.minimum(ends, ends[-1])
    whole = np.floor(ends)
    # Marks below each end; a subtraction of `start` would lose one where it is nearly 1.
    marks: Ints = (whole + (ends - whole > start)).astype(np.int64)
    return np.diff(marks)
