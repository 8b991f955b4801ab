"""What the high signal is worth: how many of its calls paid, and whether calling by lot would not do as well.

Belongs here: the share of calls that paid, and the test beside it. Stays out: the threshold and its guarantee
(`conformal`). The guarantee bounds false positives whatever the model knows, so a model that knows nothing calls too.

*The test.* Were the score blind to what pays, each pool's scores could as well be another's. So they are exchanged
among pools with equally many decisions, the threshold is certified anew, and the share of calls that paid, less that
of all decisions, is compared with what was found: a permutation test with the pool as the unit (Pesarin & Salmaso
2010), exact also where few pools pay, where a bootstrap is not.

Only decisions whose position is known count, on both sides: a score that likes pools of which more is known would look
good at what is not known.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np

from pipeline.models.conformal import certify
from pipeline.models.intervals import MIN_CLASS_POOLS, Figure, interval
from pipeline.models.learner import Classes, Floats
from pipeline.models.splits import Mask

_N_PERMUTATIONS: Final = 2_000
_N_RESAMPLES: Final = 1_000


@dataclass(frozen=True)
class Worth:
    """What a block's signals came to.

    Attributes:
        paid: the share of the signals that paid, with a 95 % interval over pools where enough pools paid to tell one.
        n_pools_paid: how many pools the signals that paid are of.
        base_rate: the share of all decisions that paid.
        unknown: the share of the signals of whose position nobody knows what it came to; they count nowhere else.
        p_value: how often calling by lot does as well.
    """

    paid: Figure
    n_pools_paid: int
    base_rate: Figure
    unknown: float
    p_value: float


def worth(
    score: Floats,
    paid: Mask,
    known: Mask,
    pool: Classes,
    max_rate: float,
    *,
    seed: int,
    confidence: float = 0.95,
) -> Worth | None:
    """What signals above the certified threshold came to.

    Args:
        score: (n,) signal scores. paid: (n,) which decisions a signal is right about. known: (n,) of which decisions
            it is known what the position came to. pool: (n,) any number per pool. max_rate: as of `certify`.

    Returns:
        None where the model abstains, or no signal's position is known.
    """
    said = _called(score, paid, pool, max_rate)
    counted = said & known
    if not counted.any():
        return None
    found = _gain(counted, paid, known)
    rng = np.random.default_rng(seed)
    by_lot = [_gain(_called(s, paid, pool, max_rate) & known, paid, known) for s in _exchanged(score, pool, rng)]
    n_as_good = sum(gain >= found - 1e-12 for gain in by_lot)
    hits = pool[counted & paid]
    base = Figure(float(paid[known].mean()), None, None, int(known.sum()), len(np.unique(pool[known])))
    return Worth(
        _share(paid[counted], pool[counted], len(np.unique(hits)), confidence, rng),
        len(np.unique(hits)),
        base,
        float(1 - known[said].mean()),
        (1 + n_as_good) / (1 + len(by_lot)),
    )


def _called(score: Floats, paid: Mask, pool: Classes, max_rate: float) -> Mask:
    threshold = certify(score, paid, pool, max_rate).threshold
    return np.zeros(len(score), bool) if threshold is None else np.asarray(score > threshold)


def _gain(counted: Mask, paid: Mask, known: Mask) -> float:
    """The share of the calls that paid, less that of all decisions; nothing where nothing is called."""
    return float(paid[counted].mean() - paid[known].mean()) if counted.any() else 0.0


def _exchanged(score: Floats, pool: Classes, rng: np.random.Generator) -> Iterator[Floats]:
    """The scores, pools exchanged with others of equally many rows; a pool's own rows keep their order."""
    order = np.argsort(pool, kind="stable")
    _, first, sizes = np.unique(pool[order], return_index=True, return_counts=True)
    places = [order[first[sizes == size, None] + np.arange(size)] for size in np.unique(sizes)]
    for _ in range(_N_PERMUTATIONS):
        drawn = np.empty_like(score)
        for rows in places:
            drawn[rows] = score[rng.permutation(rows)]
        yield drawn


def _share(paid: Mask, pool: Classes, n_pools_paid: int, confidence: float, rng: np.random.Generator) -> Figure:
    """The share of the calls that paid; its interval draws the pools that were called."""
    _, at = np.unique(pool, return_inverse=True)
    n_pools, value = int(at.max()) + 1, float(paid.mean())
    ends: tuple[float | None, float | None] = (None, None)
    if n_pools_paid >= MIN_CLASS_POOLS:
        counts = rng.multinomial(n_pools, np.full(n_pools, 1 / n_pools), size=_N_RESAMPLES)
        drawn = (counts @ np.bincount(at, weights=paid)) / (counts @ np.bincount(at))
        ends = interval(drawn, value, n_pools, confidence, 1.0)
    return Figure(value, *ends, len(paid), n_pools)
