"""The wealth of a gambler who bets, pool after pool, that a difference is above zero on average.

Belongs here: the bets, and the exact wealth they lead to, for any number of sequences side by side. Pure NumPy.
Stays out: where differences come from, what a wealth decides (`sequential`).

If a difference is not above zero on average, whatever came before it, no bet that is set before the outcome is seen
gains on average, and the chance that 1 ever becomes 1/alpha is at most alpha (Ville 1939; for bounded means
Waudby-Smith & Ramdas 2024). The bets decide the power alone, never the error.
"""

from collections.abc import Iterator
from typing import Final

import numpy as np
from numpy.typing import NDArray

from pipeline.promotion.spec import BettingSpec

type Floats = NDArray[np.float64]

_BLOCK: Final = 128
"""Pools multiplied before the purses are rescaled. A factor is at least 0.01, so nothing underflows."""


def log_wealth(differences: Floats, *, alpha: float, reach: float, spec: BettingSpec) -> Floats:
    """(n_pools, n_sequences) logarithms of the wealth after each pool; `wealth_blocks` as a whole.

    >>> one_bet = BettingSpec(pools=(8,), shares=(1.0,), prior_square=1.0)
    >>> path = log_wealth(np.array([[1.0], [1.0], [-1.0]]), alpha=float(np.exp(-1)), reach=1.0, spec=one_bet)
    >>> np.exp(path).ravel().round(12).tolist()  # the bet is sqrt(2 * 1 / 8) = 1/2: 1.5, then 1.5 * 1.5, then * 0.5
    [1.5, 2.25, 1.125]
    """
    return np.concatenate(list(wealth_blocks(differences, alpha=alpha, reach=reach, spec=spec)))


def wealth_blocks(differences: Floats, *, alpha: float, reach: float, spec: BettingSpec) -> Iterator[Floats]:
    """Logarithms of the wealth, a block of pools at a time, so that who has seen enough can stop.

    Purse k starts with the share `spec.shares[k]` of 1 and bets lambda = min(c_k / s, max_bet / reach) on every pool:
    it becomes (1 + lambda d) times itself. c_k = sqrt(2 ln(1/alpha) / spec.pools[k]), and s^2 is the mean square of the
    differences *before* this pool, so that no bet knows its outcome. The wealth is the sum of the purses: a mean over a
    grid of bets in units of the noise.

    Why these c: a purse that always bets lambda reaches 1/alpha about when the sum of n differences passes
    ln(1/alpha) / lambda + lambda n s^2 / 2, which is least at lambda = sqrt(2 ln(1/alpha) / n) / s. No bet needs less
    evidence after `pools[k]` pools than purse k. A purse gains in the long run from any mean above c s / 2.

    Where `spec.late_share` is above 0, that part of the 1 lies aside at first. Before pool t the purses get
    kappa / ((t + kappa - 1) (t + kappa)) of it, kappa = `spec.late_pools`; over all t that is the whole. Who lost on a
    thousand pools on which there was nothing to win need not win all of it back before a change shows. Money that
    is moved by the count of pools alone is no bet, so the guarantee stands.

    Args:
        differences: (n_pools, n_sequences), each in [-reach, reach], in the order of the bets.
        alpha: 1/alpha is what the bets aim at.
        reach: the largest difference that is possible.
        spec: the bets.

    Yields:
        (at most `_BLOCK`, n_sequences) logarithms of the wealth.
    """
    n_pools, n_sequences = differences.shape
    levels = np.sqrt(2 * np.log(1 / alpha) / np.asarray(spec.pools, dtype=np.float64))
    shares = np.asarray(spec.shares, dtype=np.float64)
    noise = _noise_before(differences, spec)
    purses = np.tile((1 - spec.late_share) * shares, (n_sequences, 1))
    unit = np.zeros((n_sequences, 1))  # log of what the purses are counted in, so that none leaves the floats' range
    for start in range(0, n_pools, _BLOCK):
        told = differences[start : start + _BLOCK, :, None]
        factors = 1 + np.minimum(levels / noise[start : start + _BLOCK, :, None], spec.max_bet / reach) * told
        grown: Floats = np.cumprod(factors, axis=0)
        amounts, aside = grown * purses, np.zeros_like(told[:, :, 0])
        if spec.late_share:
            given, aside = _late_money(start, len(told), unit, spec)
            before = np.concatenate([np.ones_like(grown[:1]), grown[:-1]])
            amounts += grown * np.cumsum(given * shares / before, axis=0)
        yield unit[:, 0] + np.log(amounts.sum(axis=2) + aside)
        largest = amounts[-1].max(axis=1, keepdims=True)
        purses, unit = amounts[-1] / largest, unit + np.log(largest)


def _noise_before(differences: Floats, spec: BettingSpec) -> Floats:
    """(n_pools, n_sequences) root mean square of the differences before each pool, the prior mixed in."""
    before = np.zeros_like(differences)
    np.cumsum(np.square(differences[:-1]), axis=0, out=before[1:])
    seen = np.arange(len(differences), dtype=np.float64)[:, None]
    found: Floats = np.sqrt((spec.prior_pools * spec.prior_square + before) / (spec.prior_pools + seen))
    return found


def _late_money(start: int, n: int, unit: Floats, spec: BettingSpec) -> tuple[Floats, Floats]:
    """(n, n_sequences, 1) money handed out before each pool of a block, and (n, n_sequences) what is aside after it."""
    moment = np.arange(start + 1, start + n + 1, dtype=np.float64)[:, None]
    kappa, scale = spec.late_pools, np.exp(unit).T
    given = spec.late_share * kappa / ((moment + kappa - 1) * (moment + kappa)) / scale
    return given[..., None], spec.late_share * kappa / (moment + kappa) / scale
