"""Minimum of any stretch of an array, and where a stretch first falls to a limit, for millions of stretches at once.

Belongs here: the sparse table and its two queries. Stays out: what the numbers are (prices, reserves, times).
A maximum is the minimum of the negated array.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class RangeMinimum:
    """A sparse table: `levels[k, i]` is the minimum of `values[i : i + 2**k]`.

    Bender & Farach-Colton (2000), "The LCA problem revisited", section 3. Only as many levels are kept as the longest
    stretch that will be asked about needs: 9 for a day of 5-min bars, so 72 bytes a bar.

    >>> table = RangeMinimum.over(np.array([5.0, 3.0, 4.0, 1.0]), longest=4)
    >>> table.minimum(np.array([0, 2, 1]), np.array([3, 4, 1])).tolist()
    [3.0, 1.0, inf]
    >>> table.first_at_most(np.array([0, 0, 2]), np.array([4, 3, 3]), np.array([3.5, 2.0, 4.0])).tolist()
    [1, 3, 2]
    """

    levels: Floats

    @classmethod
    def over(cls, values: Floats, longest: int) -> "RangeMinimum":
        """The table over `values`, for stretches of at most `longest` elements."""
        depth = max(longest, 1).bit_length()
        # One infinite element past the end lets an empty stretch at the very end be asked about like any other.
        levels = np.full((depth, len(values) + 1), np.inf)
        levels[0, :-1] = values
        for k in range(1, depth):
            half = min(1 << (k - 1), levels.shape[1])
            levels[k] = levels[k - 1]
            np.minimum(levels[k - 1, :-half], levels[k - 1, half:], out=levels[k, :-half])
        return cls(levels)

    def minimum(self, start: Ints, stop: Ints) -> Floats:
        """The minimum of each stretch [start, stop); infinite where the stretch is empty."""
        length = stop - start
        # Two overlapping blocks of the largest power of two that fits cover the stretch.
        level = np.maximum(np.frexp(length.astype(np.float64))[1].astype(np.int64) - 1, 0)
        second = np.maximum(stop - (np.int64(1) << level), 0)
        found = np.minimum(self.levels[level, start], self.levels[level, second])
        return np.where(length > 0, found, np.inf)

    def first_at_most(self, start: Ints, stop: Ints, limit: Floats) -> Ints:
        """The first index in each stretch [start, stop) whose value is <= `limit`; `stop` where there is none."""
        at = start.copy()
        for k in range(len(self.levels) - 1, -1, -1):
            # Skip the largest clear block that still fits; the distance to the hit is a sum of distinct powers of two.
            is_clear = (at + (1 << k) <= stop) & (self.levels[k, at] > limit)
            at += is_clear.astype(np.int64) << k
        return at
