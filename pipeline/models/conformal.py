"""The signal's threshold, with a guarantee on how often it is wrong.

Belongs here: conformal risk control (Angelopoulos, Bates, Fisch, Lei & Schuster 2022, 2024) of the false-positive rate,
and what the rule comes to. Stays out: the score itself (`outcome_model`), which pools it is set on, and what its
calls are worth (`signal_worth`).

*What is controlled.* A decision *paid* if the pool rose to PUMP or MOON and the label's position, bought at the next
snapshot and sold at the horizon, gained after fees and impact: a price that rises in a pool that is emptied pays
nobody. Every other decision is *negative*, also where nobody knows what the position came to; it is a *false positive*
if it was called a high signal. Decisions of one pool are not independent, so the unit is the pool: its loss is the
share of its negative decisions that were called a signal, and the false-positive rate is the mean loss over pools that
have a negative decision.

*What is guaranteed.* The score is from a model that has not learned from the pools the threshold is set on. If those n
pools and a new one are exchangeable, the new pool's expected loss is at most `max_rate`, whatever the model is worth:
the threshold is the lowest at which (n * rate + 1) / (n + 1) is at most `max_rate`. With n + 1 < 1 / max_rate no
threshold can be certified, and the model abstains. Markets move, so exchangeability with tomorrow is an assumption;
what the rule came to on later pools, which it was not set on, is told beside it (`later_pools`).
"""

from dataclasses import dataclass
from typing import Final

import numpy as np

from pipeline.models.by_pool import pool_means, pool_weights
from pipeline.models.learner import Classes, Floats
from pipeline.models.splits import Mask

_N_RESAMPLES: Final = 1_000


@dataclass(frozen=True)
class Certificate:
    """A decision above `threshold` is a high signal; None: nothing is certified, the model abstains.

    Attributes:
        words: what is guaranteed, or why nothing is.
        n_pools: pools with a negative decision that it was set on.
        rate: the false-positive rate among these.
        coverage: the share of the decisions it was set on that are a signal.
        recall: the share of those that paid that were a signal; null where none paid.
    """

    threshold: float | None
    words: str
    max_rate: float
    n_pools: int
    rate: float | None = None
    coverage: float = 0.0
    recall: float | None = None


@dataclass(frozen=True)
class Realised:
    """What a threshold set on earlier pools came to on later ones: the rate with its 95 % interval, and coverage."""

    n_pools: int
    rate: float | None
    low: float | None
    high: float | None
    coverage: float | None


def certify(score: Floats, paid: Mask, pool: Classes, max_rate: float) -> Certificate:
    """The lowest threshold whose false-positive rate is at most `max_rate`, in expectation over a new pool.

    Args:
        score: (n,) signal scores. paid: (n,) which decisions a signal is right about. pool: (n,) any number per pool.
    """
    negative = ~paid
    weight, n_pools = pool_weights(pool[negative]), len(np.unique(pool[negative]))
    least = int(np.ceil(1 / max_rate - 1e-9)) - 1
    if n_pools < least:
        words = (
            f"abstains: {n_pools} pools that did not pay are on record, and below {least} no threshold has a"
            f" false-positive rate of at most {max_rate:.1%} for certain"
        )
        return Certificate(None, words, max_rate, n_pools)
    scores, at = np.unique(score[negative], return_inverse=True)
    # The rate of calling a signal whatever lies above each score: falling, and constant between two scores.
    above = np.append(np.cumsum(np.bincount(at, weights=weight)[::-1])[::-1][1:], 0.0) / n_pools
    allowed = (n_pools * above + 1) / (n_pools + 1) <= max_rate + 1e-12
    place = int(np.argmax(allowed))
    threshold = float(scores[place])
    said = score > threshold
    return Certificate(
        threshold,
        "a pool in which the label's position does not gain by a rise is called a high signal at a rate of at most"
        f" {max_rate:.1%}, in expectation over pools exchangeable with the {n_pools} it was set on",
        max_rate,
        n_pools,
        float(above[place]),
        float(said.mean()),
        float(said[paid].mean()) if paid.any() else None,
    )


def later_pools(score: Floats, paid: Mask, pool: Classes, born: Classes, max_rate: float, seed: int) -> Realised | None:
    """Set on the pools born first, looked at on those born later: a check by pools the threshold has not seen.

    Args:
        born: (n,) any number that rises with a pool's birth.

    Returns:
        None where the earlier half certifies nothing.
    """
    births = np.unique(born)
    is_later = born >= births[len(births) // 2]
    earlier = certify(score[~is_later], paid[~is_later], pool[~is_later], max_rate)
    if earlier.threshold is None:
        return None
    said = score[is_later] > earlier.threshold
    negative = ~paid[is_later]
    losses = pool_means(said[negative].astype(np.float64), pool[is_later][negative])
    coverage = float(said.mean()) if len(said) else None
    if not len(losses):
        return Realised(0, None, None, None, coverage)
    counts = np.random.default_rng(seed).multinomial(
        len(losses), np.full(len(losses), 1 / len(losses)), size=_N_RESAMPLES
    )
    low, high = np.quantile(counts @ losses / len(losses), [0.025, 0.975])
    return Realised(len(losses), float(losses.mean()), float(low), float(high), coverage)
