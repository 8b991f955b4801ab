"""A market to try samplers on: births, reserves and lists of new pools, without a server.

Times are minutes, 0 is when the samplers start; births reach back a week. Nothing here is observed: the shapes are
chosen (see `Market.make`), and a pool's reserve changes once in its life, when it dies.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.pools.answer import LAST_PAGE, POOLS_A_PAGE
from pipeline.pools.collecting_spec import SamplerSpec
from pipeline.pools.sampler import intervals_of, tiers_of

Reals = NDArray[np.float64]
Ints = NDArray[np.int64]
WEEK = 7 * 24 * 60.0
GRID = 5
SHARES = np.array([0.5, 0.15, 0.12, 0.1, 0.04, 0.03, 0.02, 0.02, 0.01, 0.01])
"""How births are divided among the ten networks."""
OTHER_CHAINS = 0.2
"""Births on chains that nobody watches, as a part of the watched ones: they fill the list of all networks, too."""
FATES = np.array([0.8, 0.15, 0.04, 0.008, 0.002])
"""Dead within hours; alive below 1k, 1k to 10k, 10k to 100k, above 100k USD."""
NEWEST = LAST_PAGE * POOLS_A_PAGE
GROUPS = ("newborn", "> 100k", "10k-100k", "1k-10k", "< 1k")
SAMPLER = SamplerSpec()


@dataclass(frozen=True)
class Market:
    """Every pool that is born before the end, in the order of birth; network -1 is none of the watched ones."""

    born: Reals
    network: Ints
    reserve_young: Reals
    reserve_old: Reals
    dies: Reals

    @staticmethod
    def make(rate_per_minute: float, minutes: float, seed: int) -> "Market":
        """Poisson births, `rate_per_minute` on the watched networks together.

        Newborn reserves are lognormal around 4,800 USD, as on Solana in 2025. Four in five lose them within hours
        (exponential, mean 2 h), and one in seven keeps less than 1k; the others' reserves are log-uniform.
        """
        rng = np.random.default_rng(seed)
        n = rng.poisson(rate_per_minute * (1 + OTHER_CHAINS) * (WEEK + minutes))
        born = np.sort(rng.uniform(-WEEK, minutes, n))
        shares = np.append(SHARES, OTHER_CHAINS) / (1 + OTHER_CHAINS)
        network = rng.choice(np.append(np.arange(SHARES.size), -1), n, p=shares)
        fate = rng.choice(FATES.size, n, p=FATES)
        kept = np.array([1.0, 50.0, 1e3, 1e4, 1e5])[fate] * 10 ** rng.uniform(0, 1, n)
        young = np.where(fate < 2, rng.lognormal(np.log(4_800), 0.7, n), kept)
        dies = np.where(fate < 2, born + rng.exponential(120, n), np.inf)
        return Market(born, network.astype(np.int64), young, kept, dies)


class Lists:
    """The lists of the newest pools as the API shows them: NEWEST of them, without delay; network -1 is that of all."""

    def __init__(self, market: Market) -> None:
        self._pools = {k: np.flatnonzero(market.network == k) for k in range(SHARES.size)}
        self._pools[-1] = np.arange(market.born.size)
        self._births = {k: market.born[pools] for k, pools in self._pools.items()}

    def page(self, network: int, page: int, now: float) -> Ints:
        """The pools on a page, newest first."""
        n_born = int(np.searchsorted(self._births[network], now, side="right"))
        start, end = (max(0, n_born - POOLS_A_PAGE * p) for p in (page, page - 1))
        return self._pools[network][start:end][::-1]


@dataclass
class State:
    """What a collector knows: an entry a pool; times in minutes, nan where the pool was never seen."""

    market: Market
    first_seen: Reals
    slot: Reals
    due: Reals
    interval: Ints
    group: Ints

    @staticmethod
    def warm(market: Market, known_share: float, pools_a_minute: float, seed: int) -> "State":
        """As after a week: `known_share` of the pools known, each seen at a random moment of the last round.

        A round is what taking all pools in turn needs at `pools_a_minute`, but at least the pool's own interval.
        """
        rng = np.random.default_rng(seed)
        n = market.born.size
        state = State(market, *(np.full(n, np.nan) for _ in range(3)), np.zeros(n, np.int64), np.zeros(n, np.int64))
        known = np.flatnonzero((market.born < 0) & (market.network >= 0) & (rng.random(n) < known_share))
        state.first_seen[known] = market.born[known]
        state._note(known, np.zeros(known.size))
        a_round = np.maximum(state.interval[known], known.size / pools_a_minute)
        ago = rng.uniform(0, np.minimum(-market.born[known], a_round))
        state._note(known, np.ceil(-ago / GRID) * GRID)
        return state

    def observe(self, pools: Ints, now: float) -> None:
        """The pools are seen at `now`, for the grid point at or after it."""
        new = pools[np.isnan(self.first_seen[pools])]
        self.first_seen[new] = now
        self._note(pools, np.full(pools.size, math.ceil(now / GRID) * GRID))

    def _note(self, pools: Ints, slot: Reals) -> None:
        market, nobody = self.market, np.zeros(pools.size, bool)
        reserve = np.where(slot < market.dies[pools], market.reserve_young[pools], market.reserve_old[pools])
        age = slot - market.born[pools]
        self.slot[pools] = slot
        self.interval[pools] = intervals_of(reserve, age, nobody, SAMPLER)
        self.due[pools] = (slot // self.interval[pools] + 1) * self.interval[pools]
        self.group[pools] = np.where(age < SAMPLER.newborn_minutes, 0, tiers_of(reserve, nobody, SAMPLER) + 1)

    def reserve_usd(self, pools: Ints) -> Reals:
        """What the pools held when they were last seen."""
        market = self.market
        return np.where(self.slot[pools] < market.dies[pools], market.reserve_young[pools], market.reserve_old[pools])

    def watched(self, slot: float) -> Ints:
        """Pools that were seen before and are still followed at `slot`."""
        return np.flatnonzero((self.slot < slot) & (self.market.born > slot - WEEK))
