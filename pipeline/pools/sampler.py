"""Which known pools to ask for: when each is due, and whom to take when there are more than there are calls.

Belongs here: tiers, intervals, and the plan of visits with its inclusion probabilities. Stays out: how new pools are
found (`discovery`), what makes a pool worth a closer look (`attention`), and sending anything.
"""

from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise

import numpy as np
import polars as pl
from numpy.typing import NDArray

from pipeline.calendars import EPOCH, MINUTE, require_utc
from pipeline.errors import InputError, UsageError
from pipeline.pools.answer import POOLS_A_CALL
from pipeline.pools.collecting_spec import SamplerSpec
from pipeline.pools.draws import Ints, Reals, draw_systematically, share_out

Flags = NDArray[np.bool_]
_POOL = ["network", "pool"]


def tiers_of(reserve_usd: Reals, is_lifted: Flags, spec: SamplerSpec) -> Ints:
    """The tier of each state, 0 the richest; NaN reserves are in the last, lifted pools in the first.

    >>> tiers_of(np.array([2e5, 1e5, 1e4, 999.0, np.nan, 5.0]), np.arange(6) == 5, SamplerSpec()).tolist()
    [0, 1, 1, 3, 3, 0]
    """
    bounds = [(reserve_usd > t.reserve_usd) if t.is_exclusive else (reserve_usd >= t.reserve_usd) for t in spec.tiers]
    tiers = list(range(len(spec.tiers)))
    return np.select([is_lifted, *bounds], [0, *tiers], tiers[-1]).astype(np.int64)


def intervals_of(reserve_usd: Reals, age_minutes: Reals, is_lifted: Flags, spec: SamplerSpec) -> Ints:
    """Minutes to the next visit that each state asks for; the age is that at the grid point of its observation.

    >>> intervals_of(np.array([5e4, np.nan]), np.array([120.0, 59.0]), np.zeros(2, bool), SamplerSpec()).tolist()
    [15, 5]
    """
    minutes = np.array([tier.interval_minutes for tier in spec.tiers])[tiers_of(reserve_usd, is_lifted, spec)]
    return np.where(age_minutes < spec.newborn_minutes, spec.grid_minutes, minutes).astype(np.int64)


def next_due(grid_point: datetime, interval_minutes: int) -> datetime:
    """The first multiple of the interval after `grid_point`, counted from midnight UTC (1970).

    >>> next_due(EPOCH + 20 * MINUTE, 15).minute, next_due(EPOCH + 30 * MINUTE, 15).minute
    (30, 45)
    """
    step = interval_minutes * MINUTE
    return EPOCH + ((require_utc(grid_point) - EPOCH) // step + 1) * step


def n_missed(due_at: datetime, slot: datetime, interval_minutes: int) -> int:
    """Visits that were due before the one at `slot` and did not happen: whole intervals since `due_at`.

    >>> n_missed(EPOCH, EPOCH + 20 * MINUTE, 15), n_missed(EPOCH, EPOCH, 15)
    (1, 0)
    """
    return max(0, (slot - due_at) // (interval_minutes * MINUTE))


@dataclass(frozen=True)
class Plan:
    """The calls of one grid point, in random order, each a network and at most POOLS_A_CALL of its pools.

    `sampled` has a row for each pool in the calls: network, pool, inclusion_probability, n_missed.
    """

    calls: tuple[tuple[str, tuple[str, ...]], ...]
    sampled: pl.DataFrame


@dataclass(frozen=True)
class Design:
    """What chance decides on. One entry a due pool, sorted by network and stratum, or (`calls`) one a network.

    A stratum is a tier, or (last) the newborn. A network gets `calls` calls on average: rounded down, and then each of
    its pools is taken with probability `if_fewer`, or rounded up, and then with `if_more`.
    """

    network: Ints
    stratum: Ints
    calls: Reals
    if_fewer: Reals
    if_more: Reals

    @property
    def probability(self) -> Reals:
        """The inclusion probability of each pool, over the rounding of the calls and over the draw."""
        chance = (self.calls % 1)[self.network]
        return (1 - chance) * self.if_fewer + chance * self.if_more

    def draw(self, rng: np.random.Generator) -> list[Ints]:
        """One outcome of chance: for each call the positions of its pools."""
        turn = rng.permutation(self.calls.size)
        n_calls = np.empty(turn.size, np.int64)
        n_calls[turn] = draw_systematically(self.calls[turn], rng.random())
        # Stratum by stratum, so that each is taken within one of its expectation; by chance within, so that any two
        # pools of a stratum can be taken together.
        order = np.lexsort((rng.random(self.stratum.size), self.stratum, self.network))
        calls: list[Ints] = []
        for network, (start, end) in enumerate(_stretches(self.network, self.calls.size)):
            if n_calls[network]:
                among = order[start:end]
                is_fewer = n_calls[network] == np.floor(self.calls[network])
                chances = (self.if_fewer if is_fewer else self.if_more)[among]
                taken = rng.permutation(among[draw_systematically(chances, rng.random()) > 0])
                calls += [taken[i : i + POOLS_A_CALL] for i in range(0, taken.size, POOLS_A_CALL)]
        return [calls[i] for i in rng.permutation(len(calls))]


def plan_visits(watched: pl.DataFrame, n_calls: int, slot: datetime, spec: SamplerSpec, seed: int) -> Plan:
    """Choose the pools to ask for at grid point `slot` with at most `n_calls` calls.

    If all due pools fit, all are taken with probability 1. Otherwise priorities share the calls out among the tiers,
    and in a tier a pool is drawn with a probability that grows with its weight, boost x (1 + overdue / interval); see
    `design_visits`. The same pools and seed give the same plan, in whatever order they come.

    Args:
        watched: a row a pool: network, pool, due_at (UTC), interval_minutes, reserve_usd (nullable), is_lifted, boost
            (a factor, 1 usually). Pools that are not yet due are left out, and so are those with a boost of 0.
        n_calls: the budget.
        slot: the grid point that is served.
        spec: tiers and priorities.
        seed: of the chance; the slot is mixed in.

    Raises:
        InputError: a pool is there twice, or its interval or boost makes no weight.
        UsageError: `n_calls` is negative, or `slot` is not UTC.
    """
    if n_calls < 0:
        raise UsageError(f"cannot plan {n_calls!r} calls: give 0 or more")
    minute = (require_utc(slot) - EPOCH) // MINUTE
    due = _due(watched, slot)
    network = due["network"].rank("dense").to_numpy().astype(np.int64) - 1
    stratum = _strata(due, spec)
    order = np.lexsort((stratum, network))
    due = due[order]
    design = design_visits(network[order], stratum[order], due["weight"].to_numpy(), n_calls, spec)
    calls = design.draw(np.random.default_rng([seed, minute]))
    taken = np.concatenate(calls) if calls else np.empty(0, np.int64)
    sampled = due.with_columns(inclusion_probability=design.probability)[taken]
    networks, pools = sampled["network"].to_list(), sampled["pool"].to_list()
    ends = np.cumsum([call.size for call in calls]).tolist()
    starts = [0, *ends[:-1]]
    return Plan(
        tuple((networks[start], tuple(pools[start:end])) for start, end in zip(starts, ends, strict=False)),
        sampled.select(*_POOL, "inclusion_probability", "n_missed"),
    )


def design_visits(network: Ints, stratum: Ints, weight: Reals, n_calls: int, spec: SamplerSpec) -> Design:
    """Share the calls out among strata, networks and pools; arrays with an entry a due pool, by network and stratum.

    Each stratum with due pools is given `floor_share` of the calls and a part of the rest by its priority, but never
    more than it can fill. Its calls are divided among the networks in proportion to the weight of its pools there. In a
    network, however many calls it then gets, each stratum has its part of the places, and its pools have theirs in
    proportion to weight. What one cannot use goes to the others at every step.

    Strata meet by priority, whatever their size: most pools are dead, and pool by pool they would outweigh all others.
    """
    n_networks, n_strata = int(network.max(initial=-1)) + 1, len(spec.priorities)
    cell = network * n_strata + stratum
    shape = (n_networks, n_strata)
    counts = np.bincount(cell, minlength=n_networks * n_strata).reshape(shape).astype(np.float64)
    weights = np.bincount(cell, weight, minlength=n_networks * n_strata).reshape(shape).astype(np.float64)
    fullest = np.ceil(counts / POOLS_A_CALL)
    most = np.ceil(counts.sum(axis=1) / POOLS_A_CALL)
    total = min(float(n_calls), float(most.sum()))
    of_stratum = share_out(total, _shares(counts.sum(axis=0) > 0, spec), fullest.sum(axis=0))
    of_cell = np.stack([share_out(of_stratum[s], weights[:, s], fullest[:, s]) for s in range(n_strata)], axis=1)
    calls = share_out(total, of_cell.sum(axis=1), most)
    fewer, more = np.zeros(cell.size), np.zeros(cell.size)
    edges = np.concatenate([[0], np.cumsum(counts.reshape(-1).astype(np.int64))])
    for k in range(n_networks):
        for chances, rounded in ((fewer, np.floor(calls[k])), (more, np.ceil(calls[k]))):
            places = min(float(rounded) * POOLS_A_CALL, float(counts[k].sum()))
            of_stratum_here = share_out(places, of_cell[k], counts[k])
            for s in np.flatnonzero(counts[k]):
                inside = slice(edges[k * n_strata + s], edges[k * n_strata + s + 1])
                chances[inside] = share_out(of_stratum_here[s], weight[inside], np.ones(int(counts[k, s])))
    return Design(network, stratum, calls, fewer, more)


def _shares(has_due: Flags, spec: SamplerSpec) -> Reals:
    """What part of the calls each stratum is given, as long as it can fill them; 0 where no pool is due."""
    floors = np.where(has_due, spec.floor_share, 0.0)
    priorities = np.where(has_due, spec.priorities, 0.0)
    return np.asarray(floors + (1 - floors.sum()) * priorities / max(float(priorities.sum()), 1e-300))


def _strata(due: pl.DataFrame, spec: SamplerSpec) -> Ints:
    """The tier of each due pool, or one more for those that are seen more often than their tier asks for."""
    tiers = tiers_of(due["reserve_usd"].to_numpy(), due["is_lifted"].to_numpy(), spec)
    usual = np.array([tier.interval_minutes for tier in spec.tiers])[tiers]
    return np.where(due["interval_minutes"].to_numpy() < usual, len(spec.tiers), tiers).astype(np.int64)


def _stretches(network: Ints, n_networks: int) -> list[tuple[int, int]]:
    edges = np.searchsorted(network, np.arange(n_networks + 1)).tolist()
    return list(pairwise(edges))


def _due(watched: pl.DataFrame, slot: datetime) -> pl.DataFrame:
    """The due pools in the order of their keys, with `weight` (boost x (1 + overdue / interval)) and `n_missed`."""
    overdue = (pl.lit(slot) - pl.col("due_at")).dt.total_seconds() / 60 / pl.col("interval_minutes")
    due = (
        watched.filter(pl.col("due_at") <= slot, pl.col("boost").ne_missing(0))
        .sort(_POOL)
        .with_columns(
            pl.col("reserve_usd").cast(pl.Float64).fill_null(float("nan")),
            pl.col("is_lifted").fill_null(False),
            n_missed=overdue.floor().cast(pl.Int64, strict=False),
            weight=pl.col("boost") * (1 + overdue),
        )
    )
    same = pl.all_horizontal([pl.col(c) == pl.col(c).shift() for c in _POOL])
    odd = ~(pl.col("weight").is_finite() & (pl.col("boost") > 0) & (pl.col("interval_minutes") > 0))
    wrong = due.filter(same.fill_null(False) | odd.fill_null(True))
    if wrong.height:
        raise InputError(
            f"cannot plan visits: {wrong.height} of {due.height} due pools are given twice or have an interval or "
            f"boost that is not positive and finite, e.g. {wrong.row(0, named=True)!r}: mend the watch list"
        )
    return due
