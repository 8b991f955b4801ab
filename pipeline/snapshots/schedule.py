"""When the sampler looks at each pool.

Belongs here: the recursion from one snapshot to the next. Stays out: what a snapshot says.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from pipeline.snapshots.spec import SnapshotsSpec
from pipeline.snapshots.ticks import Flags, History, Ints, Reals


@dataclass(frozen=True)
class Lives:
    """From when to when each pool can be seen, in ticks, and what its quote token is worth (NaN: unknown).

    `born` is the first grid point at or after its birth, `grown` the first that is no longer in its first hour, `end`
    the first at which it is seen no more.
    """

    born: Ints
    grown: Ints
    end: Ints
    quote_price_usd: Reals


@dataclass(frozen=True)
class Visits:
    """One entry a snapshot, sorted by pool and time; `position` is where its state lies in the history."""

    pool: Ints
    tick: Ints
    position: Ints
    interval_minutes: Ints


def interval_of(reserve_usd: Reals, is_newborn: Flags, spec: SnapshotsSpec) -> Ints:
    """Minutes to the next snapshot that each state asks for; NaN reserves ask for the longest.

    >>> interval_of(np.array([2e5, 1e5, 1e4, 999.0, np.nan, 5.0]), np.arange(6) == 5, SnapshotsSpec()).tolist()
    [5, 15, 15, 240, 240, 5]
    """
    bounds = [(reserve_usd > t.reserve_usd) if t.is_exclusive else (reserve_usd >= t.reserve_usd) for t in spec.tiers]
    minutes = [t.interval_minutes for t in spec.tiers]
    return np.select([is_newborn, *bounds], [spec.grid_minutes, *minutes], spec.idle_minutes).astype(np.int64)


def interval_when_grown(spec: SnapshotsSpec) -> Callable[[Reals], Ints]:
    """The same for pools that are no longer newborn, by their reserves alone.

    >>> interval_when_grown(SnapshotsSpec())(np.array([2e5, 5.0])).tolist()
    [5, 240]
    """
    return lambda reserve_usd: interval_of(reserve_usd, np.zeros(len(reserve_usd), dtype=bool), spec)


def _beats(lives: Lives, history: History, start: int, beat: int) -> tuple[Ints, Ints, Ints]:
    """Every (pool, heartbeat) that holds a snapshot: the pool, its first tick there, the tick that ends it."""
    first = np.maximum(lives.born, history.first_tick)
    pools = np.flatnonzero((first < lives.end) & (lives.end > start))
    opening = np.maximum(first[pools], start) // beat
    count = -(-lives.end[pools] // beat) - opening
    pool = np.repeat(pools, count)
    within = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count)
    beats = np.repeat(opening, count) + within
    return pool, np.maximum(beats * beat, first[pool]), np.minimum((beats + 1) * beat, lives.end[pool])


def plan_visits(history: History, lives: Lives, start: int, spec: SnapshotsSpec) -> Visits:
    """Every snapshot at or after tick `start` and before each pool's end.

    From a snapshot at t the next is at the next multiple of the interval that the state as of t asks for; the first
    is the first grid point from birth at which a state has been seen. Since every multiple of the heartbeat is a
    snapshot, all heartbeats of all pools are walked at once: the loop runs at most once for each tick of a heartbeat.
    """
    pool, tick, stop = _beats(lives, history, start, spec.idle_minutes // spec.grid_minutes)
    found: list[tuple[Ints, Ints, Ints, Ints]] = []
    while len(tick):
        position = history.position(pool, tick)
        with np.errstate(over="ignore"):
            reserve_usd = 2 * history.quote[position] * lives.quote_price_usd[pool]
        minutes = interval_of(reserve_usd, tick < lives.grown[pool], spec)
        found.append((pool, tick, position, minutes))
        step = minutes // spec.grid_minutes
        tick = (tick // step + 1) * step
        alive = tick < stop
        pool, tick, stop = pool[alive], tick[alive], stop[alive]
    none = np.empty(0, np.int64)
    columns = [np.concatenate(column) for column in zip(*found, strict=True)] if found else [none] * 4
    order = np.lexsort((columns[1], columns[0]))
    order = order[columns[1][order] >= start]
    return Visits(*(column[order] for column in columns))
