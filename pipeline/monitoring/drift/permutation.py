"""How unlike two groups of pools are, beside all the ways in which the same pools could have been dealt out.

Belongs here: the statistics that are permuted, and the p-values. Stays out: making shares (`bins`), deciding.

Whatever is compared must treat both sides alike, or the p-values are no longer exact: bins and ranks are made from
both samples together. Four statistics share one set of permutations: the Jensen-Shannon divergence (any shape), the
area between the cumulative shares (Anderson & Darling 1952), the distance of the mean ranks (a shift), and that of the
shares of missing values. Each is brought to one scale by its own permutations, the largest of them is compared with
the largest of every permutation, and p = (1 + as large) / (1 + permutations) holds in finite samples (Phipson & Smyth
2010).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from pipeline.monitoring.drift.divergence import Floats, js_divergence

_BLOCK_CELLS: Final = 500_000
"""Permutations x columns x bins at once: what they need stays near the cache."""
_FIRST: Final = 999
_SETTLED: Final = 0.1
"""Above this, nobody asks how large a p-value is."""
_TIES: Final = 1e-9
"""Statistics this close count as equal: sums in another order differ in their last digits."""


@dataclass(frozen=True)
class Dealt:
    """Pools (or groups of pools), one row each: those of the reference first.

    Attributes:
        shares: (pools, columns, bins), padded with zeros; the last bin holds what is missing.
        ranks: (pools, columns): mean normal score of a pool's values; 0 throughout where order means nothing.
        n_reference: how many of them are of the reference.
    """

    shares: Floats
    ranks: Floats
    n_reference: int


@dataclass(frozen=True)
class Chance:
    """What permutations say, one value a column: the p-value, and the divergence that chance alone gives."""

    p_values: Floats
    js_by_chance: Floats


def permutation_test(dealt: Dealt, n_permutations: int, seed: int) -> Chance:
    """Compare both sides with random ways of dealing the same pools.

    The first permutations settle every column whose p-value they find above `_SETTLED`; the others get all of them.
    That makes no p-value too small: for x up to `_SETTLED`, one that ends at or below x is one of all permutations; for
    a larger x, the first ones alone must have given one at or below x.
    """
    rng = np.random.default_rng(seed)
    n_first = min(n_permutations, _FIRST)
    first = np.concatenate(list(_statistics(dealt, n_first, rng)))
    p_values, js_by_chance = _p_values(first), first[..., 0].mean(axis=0)
    is_open = p_values <= _SETTLED
    if n_permutations > n_first and is_open.any():
        rest = Dealt(dealt.shares[:, is_open], dealt.ranks[:, is_open], dealt.n_reference)
        more = list(_statistics(rest, n_permutations - n_first, rng))
        more[0] = more[0][1:]  # what was seen is there already
        p_values[is_open] = _p_values(np.concatenate([first[:, is_open], *more]))
    return Chance(p_values, js_by_chance)


def dealings(n_reference: int, n_current: int, n: int, rng: np.random.Generator) -> Any:
    """(n, pools): random choices of the current pools, as 0 and 1; every choice is as likely.

    Floyd's way, all choices side by side (Bentley & Floyd 1987): it draws the smaller side alone.
    """
    n_pools, n_drawn = n_reference + n_current, min(n_reference, n_current)
    chosen, every = np.zeros((n, n_pools), dtype=np.uint8), np.arange(n)
    for last in range(n_pools - n_drawn, n_pools):
        drawn = rng.integers(0, last + 1, n)
        chosen[every, np.where(chosen[every, drawn] > 0, last, drawn)] = 1
    return chosen if n_drawn == n_current else 1 - chosen


def _p_values(statistics: Floats) -> Floats:
    largest = _standardised(statistics).max(axis=-1)
    as_large = (largest[1:] >= largest[0] - _TIES).sum(axis=0)
    return np.asarray((1 + as_large) / len(statistics), dtype=np.float64)


def _statistics(dealt: Dealt, n_permutations: int, rng: np.random.Generator) -> Iterator[Floats]:
    """(permutations, columns, statistics) in blocks; the first row is what was seen."""
    n_pools, n_columns, n_bins = dealt.shares.shape
    n_current = n_pools - dealt.n_reference
    flat = np.concatenate([dealt.shares.reshape(n_pools, -1), dealt.ranks - dealt.ranks.mean(axis=0)], axis=1)
    total = flat.sum(axis=0)
    block = max(16, min(_BLOCK_CELLS // (n_columns * n_bins), 10 * _BLOCK_CELLS // n_pools))
    seen = np.zeros((1, n_pools), dtype=np.uint8)
    seen[:, dealt.n_reference :] = 1
    for start in range(0, n_permutations + 1, block):
        n = min(block, n_permutations + 1 - start)
        chosen = dealings(dealt.n_reference, n_current, n - (start == 0), rng)
        chosen = np.concatenate([seen, chosen]) if start == 0 else chosen
        sums = chosen.astype(np.float64) @ flat
        yield _of_sums(sums, total, n_current, dealt.n_reference, (n_columns, n_bins))


def _of_sums(sums: Floats, total: Floats, n_current: int, n_reference: int, shape: tuple[int, int]) -> Floats:
    n_cells = shape[0] * shape[1]
    current = (sums[:, :n_cells] / n_current).reshape(-1, *shape)
    reference = ((total - sums)[:, :n_cells] / n_reference).reshape(-1, *shape).clip(0)
    whole = (total[:n_cells] / (n_current + n_reference)).reshape(shape)
    shift = sums[:, n_cells:] * (1 / n_current + 1 / n_reference)
    apart = current - reference
    missing = np.abs(apart[..., -1])
    return np.stack([js_divergence(current, reference), _area(apart, whole), np.abs(shift), missing], axis=-1)


def _area(difference: Floats, whole: Floats) -> Floats:
    """Squared differences of cumulative shares, each by the variance it would have, in the weight of its bin."""
    below = whole.cumsum(axis=-1)
    variance = below * (1 - below)
    weight = np.where(variance > _TIES, whole / np.maximum(variance, _TIES), 0.0)
    return np.asarray((difference.cumsum(axis=-1) ** 2 * weight).sum(axis=-1), dtype=np.float64)


def _standardised(statistics: Floats) -> Floats:
    """Each statistic on a scale on which all have nearly one tail (Wilson & Hilferty 1931); the least if constant."""
    roots = np.cbrt(statistics)
    roots[..., 2:] **= 2  # these are distances, the others squares of distances
    spread = roots.std(axis=0)
    return np.where(spread > _TIES, (roots - roots.mean(axis=0)) / np.maximum(spread, _TIES), -np.inf)
