"""Worlds in which the truth about two models is known, and the ways of judging them, all repetitions at once.

Arrays are (n_pools, n_repetitions), or with a third axis for the snapshots of a pool.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from pipeline.promotion.betting import log_wealth
from pipeline.promotion.spec import BETTER, BettingSpec

type Floats = NDArray[np.float64]
type Loss = Literal["error", "log_loss"]

NEVER = np.inf


@dataclass(frozen=True)
class World:
    """Two models of known worth on the same pools.

    A pool ends well or badly, at even odds: y = +1 or -1. Of every snapshot a model sees y * skill + noise, and says
    the probability that this makes; so it is calibrated, and right with the probability Phi(skill). The two models'
    noise has the correlation `rho`: with 0 they err independently, which no two models of one market do. The noise of
    a pool's snapshots has the correlation 0.64.

    Attributes:
        champion, challenger: accuracies; one number, or one a pool for a model that decays.
        rho: correlation of the two models' noise.
        snapshots: rows a pool.
        challenger_says: the accuracy that the challenger believes it has, as a broken model does; None: what it has.
    """

    champion: float
    challenger: float | Floats
    rho: float = 0.4
    snapshots: int = 1
    challenger_says: float | None = None


@dataclass(frozen=True)
class Drawn:
    """(n_pools, n_repetitions, n_snapshots): whether each side was right, and its log loss."""

    right_champion: NDArray[np.bool_]
    right_challenger: NDArray[np.bool_]
    log_champion: Floats
    log_challenger: Floats

    def difference(self, loss: Loss) -> Floats:
        """(n_pools, n_repetitions) what the gate sees: the clipped difference of the pool's mean losses."""
        if loss == "error":
            gain = self.right_challenger.mean(axis=2) - self.right_champion.mean(axis=2)
        else:
            gain = self.log_champion.mean(axis=2) - self.log_challenger.mean(axis=2)
        return np.clip(gain, -1, 1)


def draw(world: World, n_pools: int, n_repetitions: int, rng: np.random.Generator) -> Drawn:
    shape = (n_pools, n_repetitions)
    y = rng.choice([-1.0, 1.0], size=(*shape, 1))
    pool = _correlated(rng, (*shape, 1), world.rho)
    row = _correlated(rng, (*shape, world.snapshots), world.rho)
    own, shared = (0.0, 1.0) if world.snapshots == 1 else (0.6, 0.8)
    told = []
    for side, (accuracy, said) in enumerate(
        ((world.champion, world.champion), (world.challenger, world.challenger_says))
    ):
        skill = stats.norm.ppf(np.broadcast_to(accuracy, n_pools))[:, None, None]
        belief = skill if said is None else stats.norm.ppf(said)
        seen = y * skill + shared * pool[side] + own * row[side]
        told.append((seen * y > 0, np.logaddexp(0, -2 * belief * seen * y)))
    return Drawn(told[0][0], told[1][0], told[0][1], told[1][1])


def _correlated(rng: np.random.Generator, shape: tuple[int, ...], rho: float) -> tuple[Floats, Floats]:
    first, other = rng.standard_normal(shape), rng.standard_normal(shape)
    return first, rho * first + np.sqrt(1 - rho**2) * other


def first_promotion(
    difference: Floats, alpha: float, spec: BettingSpec = BETTER, *, is_mirrored: bool = True
) -> Floats:
    """(n_repetitions,) pools until our gate promotes, NEVER if it does not, or rejects before."""
    better = _first(log_wealth(difference, alpha=alpha, reach=1.0, spec=spec) >= -np.log(alpha))
    if not is_mirrored:
        return better
    worse = _first(log_wealth(-difference, alpha=alpha, reach=1.0, spec=spec) >= -np.log(alpha))
    return np.where(worse < better, NEVER, better)


def first_mcnemar(drawn: Drawn, every: int) -> Floats:
    """Pools until McNemar's exact test on *rows* says p < 0.05 for the challenger, with a look every so many pools."""
    only = np.cumsum((drawn.right_challenger & ~drawn.right_champion).sum(axis=2), axis=0)[every - 1 :: every]
    other = np.cumsum((~drawn.right_challenger & drawn.right_champion).sum(axis=2), axis=0)[every - 1 :: every]
    p = np.minimum(1.0, 2 * stats.binom.cdf(np.minimum(only, other), only + other, 0.5))
    return every * _first((p < 0.05) & (only > other))


def first_below(drawn: Drawn, window: int, least: float) -> Floats:
    """Pools until the challenger's accuracy over the last `window` rows, one a pool, falls below `least`."""
    right = np.cumsum(drawn.right_challenger[:, :, 0], axis=0)
    recent = right[window:] - right[:-window]
    return window + _first(recent < least * window)


def _first(is_there: NDArray[np.bool_]) -> Floats:
    return np.where(is_there.any(axis=0), is_there.argmax(axis=0) + 1.0, NEVER)


def early_rugs(n_hours: int, an_hour: int, n_repetitions: int, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """Differences of 0/1 errors of two equally good models, in order of whole windows and of known labels.

    30 % are rugs, known 2 h after the decision on average; the others are known after the whole window, 24 h. The
    challenger is right on 20 points more of the rugs and on 8.6 points fewer of the others: in all, on as many.
    """
    born = np.repeat(np.arange(n_hours, dtype=np.float64), an_hour)[:, None]
    shape = (len(born), n_repetitions)
    is_rug = rng.random(shape) < 0.3
    champion = rng.random(shape) < np.where(is_rug, 0.5, 0.26)
    challenger = rng.random(shape) < np.where(is_rug, 0.3, 0.26 + 0.2 * 0.3 / 0.7)
    difference = champion.astype(np.float64) - challenger
    known = born + np.where(is_rug, np.minimum(24, rng.exponential(2.0, shape)), 24.0)
    return difference, np.take_along_axis(difference, np.argsort(known, axis=0, kind="stable"), axis=0)


def shared_shocks(n_hours: int, an_hour: int, share: float, n_repetitions: int, rng: np.random.Generator) -> Floats:
    """Differences of errors of two equally good models that a shock of the hour moves together.

    `share` of the variance of what decides a pool's difference is common to all pools of its hour.
    """
    common = np.repeat(rng.standard_normal((n_hours, n_repetitions)), an_hour, axis=0)
    lean = np.sqrt(share) * common + np.sqrt(1 - share) * rng.standard_normal((n_hours * an_hour, n_repetitions))
    return (lean > 0.7).astype(np.float64) - (lean < -0.7)
