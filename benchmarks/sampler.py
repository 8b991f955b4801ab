"""What the sampler sees of a market with 30 calls a minute, beside simpler ways to spend them.

    python benchmarks/sampler.py [--rates 10 30 60] [--hours 4] [--json]

A simulation, no HTTP: calls are answered at once, every two seconds, and never fail. All policies start from the same
warm state: a week of pools, each last seen at a random moment of the time that taking all in turn needs for one round.
The first hour is not counted; it brings all tiers but the slowest to a policy's own pace.
"""

import argparse
import json
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import numpy as np
import polars as pl
from rich.console import Console
from rich.table import Table
from sampler_market import GRID, GROUPS, SAMPLER, SHARES, Ints, Lists, Market, Reals, State

from pipeline.calendars import EPOCH
from pipeline.pools.answer import POOLS_A_CALL, POOLS_A_PAGE
from pipeline.pools.collecting_spec import CollectionSpec
from pipeline.pools.discovery import Feed, after_visit, expected_calls, next_feeds, wants_next_page
from pipeline.pools.sampler import plan_visits

CALLS_A_MINUTE = 30
CALLS_A_CYCLE = CALLS_A_MINUTE * GRID
WARM_UP = 60.0
START = EPOCH + timedelta(days=20_000)
COLLECTION = CollectionSpec()
NAMES = [f"n{k}" for k in range(SHARES.size)]


def moment(minutes: float) -> datetime:
    return START + timedelta(minutes=minutes)


class ByNeed:
    """Reads the lists of new pools when `discovery` says so, as the collector does."""

    def __init__(self, state: State) -> None:
        self._state, self._lists = state, Lists(state.market)
        self._feeds: dict[str | None, Feed] = {}
        self._complete = dict.fromkeys(NAMES, 0.0)
        self._visit: tuple[str | None, float, list[Ints]] | None = None

    @property
    def is_reading(self) -> bool:
        """Whether a list is read in part."""
        return self._visit is not None

    def set_aside(self) -> int:
        """Calls of a cycle that are kept for new pools."""
        expected = expected_calls(self._feeds.values(), NAMES, GRID, COLLECTION) if self._feeds else CALLS_A_CYCLE
        return min(int(COLLECTION.discovery_share * CALLS_A_CYCLE), math.ceil(1.1 * expected))

    def next_page(self, now: float) -> Ints | None:
        """The next page of the list that is being read, or of the most urgent one; None: none is due."""
        if self._visit is None:
            due = next_feeds(self._feeds.values(), NAMES, moment(now), 1, COLLECTION)
            if not due:
                return None
            self._visit = (due[0], now, [])
        network, started, pages = self._visit
        pools = self._lists.page(-1 if network is None else NAMES.index(network), len(pages) + 1, now)
        pages.append(pools)
        covered = NAMES if network is None else [network]
        back_to = moment(min(self._complete[n] for n in covered) - COLLECTION.listed_late_s / 60)
        births = self._births(pools)
        if not wants_next_page(len(pages), len(births), births, back_to):
            self._visit = None
            self._complete |= dict.fromkeys(covered, started)
            feed, told = self._feeds.get(network, Feed(network)), [self._births(page) for page in pages]
            overlapped = min(births) <= back_to or pools.size < POOLS_A_PAGE
            self._feeds[network] = after_visit(feed, moment(started), told, 0, overlapped, COLLECTION)
        return pools[self._state.market.network[pools] >= 0]

    def _births(self, pools: Ints) -> list[datetime]:
        return [moment(birth) for birth in self._state.market.born[pools].tolist()]


class FirstPages:
    """Reads the first page of each network in turn, each once a minute."""

    is_reading = False

    def __init__(self, state: State) -> None:
        self._lists, self._turn = Lists(state.market), 0

    def set_aside(self) -> int:
        return len(NAMES) * GRID

    def next_page(self, now: float) -> Ints | None:
        self._turn = (self._turn + 1) % len(NAMES)
        return self._lists.page(self._turn, 1, now)


def adaptive(state: State, watched: Ints, n_calls: int, slot: float) -> list[Ints]:
    """The plan under test."""
    due = watched[state.due[watched] <= slot]
    due_us = (state.due[due] * 60e6).astype(np.int64) + int(START.timestamp() * 1e6)
    frame = pl.DataFrame(
        {
            "network": pl.Series(state.market.network[due]).cast(pl.String),
            # Numbers where the API has addresses: a million texts a cycle would only measure their sorting.
            "pool": due,
            "due_at": pl.Series(due_us).cast(pl.Datetime("us", "UTC")),
            "interval_minutes": state.interval[due],
            "reserve_usd": state.reserve_usd(due),
            "is_lifted": np.zeros(due.size, bool),
            "boost": np.ones(due.size),
        }
    )
    return [np.array(pools) for _, pools in plan_visits(frame, n_calls, moment(slot), SAMPLER, seed=1).calls]


def due_first(state: State, watched: Ints, n_calls: int, slot: float) -> list[Ints]:
    """The longest overdue first, whatever they are worth; the fullest calls that these make."""
    due = watched[state.due[watched] <= slot]
    urgent = due[np.argsort(state.due[due], kind="stable")[: n_calls * POOLS_A_CALL]]
    among = [urgent[state.market.network[urgent] == k] for k in range(SHARES.size)]
    calls = [pools[i : i + POOLS_A_CALL] for pools in among for i in range(0, pools.size, POOLS_A_CALL)]
    return sorted(calls, key=lambda call: -call.size)[:n_calls]


class InTurn:
    """All watched pools in turn, network by network, due or not."""

    def __init__(self) -> None:
        self._last = -1

    def __call__(self, state: State, watched: Ints, n_calls: int, _slot: float) -> list[Ints]:
        order = watched[np.argsort(state.market.network[watched], kind="stable")]
        turn = np.roll(order, -1 - int(np.argmax(order == self._last)))[: n_calls * POOLS_A_CALL]
        cuts = np.flatnonzero(np.diff(state.market.network[turn])) + 1
        parts = np.split(turn, cuts)
        calls = [part[i : i + POOLS_A_CALL] for part in parts for i in range(0, part.size, POOLS_A_CALL)][:n_calls]
        self._last = int(calls[-1][-1])
        return calls


Reader = ByNeed | FirstPages
Choice = Callable[[State, Ints, int, float], list[Ints]]
POLICIES: dict[str, tuple[Callable[[State], Reader], Callable[[], Choice]]] = {
    "poolcast": (ByNeed, lambda: adaptive),
    "due first": (ByNeed, lambda: due_first),
    "in turn": (FirstPages, InTurn),
}


@dataclass
class Sent:
    """The calls of one cycle and what they told."""

    n_calls: int = 0
    n_pages: int = 0
    n_found: int = 0
    n_records: int = 0
    seen: list[Ints] = field(default_factory=list)

    def add(self, pools: Ints, state: State, now: float, *, is_page: bool) -> None:
        self.n_calls += 1
        self.n_pages += is_page
        self.n_found += int(np.isnan(state.first_seen[pools]).sum())
        self.n_records += pools.size
        self.seen.append(pools)
        state.observe(pools, now)


def send(reader: Reader, state: State, visits: list[Ints], begin: float, n_set_aside: int) -> Sent:
    """A cycle's calls: pages of new pools as they fall due and within their part of the budget, visits in between."""
    sent, waiting = Sent(), list(visits)
    for i in range(CALLS_A_CYCLE):
        now = begin + (i + 0.5) * GRID / CALLS_A_CYCLE
        # The part is spread over the cycle; a list that was begun is read to its end, or it would run away meanwhile.
        may_read = not waiting or reader.is_reading or sent.n_pages <= n_set_aside * i / CALLS_A_CYCLE
        page = reader.next_page(now) if may_read else None
        if page is not None:
            sent.add(page, state, now, is_page=True)
        elif waiting:
            sent.add(waiting.pop(), state, now, is_page=False)
    return sent


def run(market: Market, rate: float, minutes: float, policy: str) -> dict[str, float]:
    """Simulate one policy, cycle by cycle, and say what it saw."""
    # Above some 400 births a minute no policy can have known all pools of the last week.
    state = State.warm(market, min(1.0, 400 / rate), pools_a_minute=CALLS_A_MINUTE * POOLS_A_CALL / 2, seed=2)
    make_reader, make_choice = POLICIES[policy]
    reader, choose, tallies = make_reader(state), make_choice(), Tallies()
    for cycle in range(int(minutes / GRID)):
        begin, slot = float(cycle * GRID), float((cycle + 1) * GRID)
        watched = state.watched(slot)
        due, interval, group = state.due[watched], state.interval[watched], state.group[watched]
        n_set_aside = reader.set_aside()
        visits = choose(state, watched, CALLS_A_CYCLE - n_set_aside, slot)
        sent = send(reader, state, visits, begin, n_set_aside)
        if begin >= WARM_UP:
            is_served = state.slot[watched] == slot
            tallies.add(sent, due - slot, interval, group, is_served)
    return tallies.summary(state, minutes)


@dataclass
class Tallies:
    """What is counted, cycle by cycle; visits by group of pools."""

    sent: list[tuple[int, int, int, int, int]] = field(default_factory=list)
    n_waiting: list[tuple[int, int]] = field(default_factory=list)
    made: Reals = field(default_factory=lambda: np.zeros(len(GROUPS)))
    missed: Reals = field(default_factory=lambda: np.zeros(len(GROUPS)))
    lateness: list[list[Reals]] = field(default_factory=lambda: [[] for _ in GROUPS])

    def add(self, sent: Sent, due: Reals, interval: Ints, group: Ints, is_served: np.ndarray) -> None:
        """Count a cycle. `due` is relative to its grid point; the arrays have an entry a watched pool."""
        n_seen = np.unique(np.concatenate(sent.seen)).size if sent.seen else 0
        self.sent.append((sent.n_calls, sent.n_pages, sent.n_found, sent.n_records, n_seen))
        is_due = due <= 0
        self.n_waiting.append((int(is_due.sum()), due.size))
        self.made += np.bincount(group[is_due & is_served], minlength=len(GROUPS))
        # A visit is missed when it was not made and the next one falls due at the following grid point.
        is_over = is_due & ~is_served & ((GRID - due) % interval == 0)
        self.missed += np.bincount(group[is_over], minlength=len(GROUPS))
        late = np.where(is_due & ~is_served, (GRID - due) / interval, 0.0)
        for g in range(len(GROUPS)):
            self.lateness[g].append(late[group == g])

    def summary(self, state: State, minutes: float) -> dict[str, float]:
        market = state.market
        is_counted = (market.born >= WARM_UP) & (market.born < minutes - 15) & (market.network >= 0)
        waited = (state.first_seen - market.born)[is_counted]
        calls, pages, found, records, seen = (np.mean(column) / GRID for column in zip(*self.sent, strict=True))
        told = {
            "seen_in_2_min_pct": 100 * float((waited <= 2).mean()),
            "seen_ever_pct": 100 * float((~np.isnan(waited)).mean()),
            "found_a_minute": found,
            "records_a_minute": records,
            "snapshots_a_minute": seen,
            "pages_a_minute": pages,
            "budget_used_pct": 100 * calls / CALLS_A_MINUTE,
            "n_due": float(np.mean([due for due, _ in self.n_waiting])),
            "n_watched": float(np.mean([watched for _, watched in self.n_waiting])),
        }
        for g, group in enumerate(GROUPS):
            late = np.concatenate(self.lateness[g])
            n_visits = self.made[g] + self.missed[g]
            told[f"{group} in_time_pct"] = float(100 * self.made[g] / n_visits) if n_visits else math.nan
            for name, share in (("median", 0.5), ("p90", 0.9)):
                told[f"{group} late_{name}"] = float(np.quantile(late, share)) if late.size else math.nan
        return told


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--rates", type=float, nargs="+", default=[10, 30, 60, 120, 300, 600])
    arguments.add_argument("--hours", type=float, default=4, help="counted hours, after one to warm up")
    arguments.add_argument("--policies", nargs="+", choices=POLICIES, default=list(POLICIES))
    arguments.add_argument("--seed", type=int, default=1)
    arguments.add_argument("--json", action="store_true")
    given = arguments.parse_args()
    minutes = WARM_UP + 60 * given.hours
    results: list[dict[str, float | str]] = []
    for rate in given.rates:
        market = Market.make(rate, minutes, given.seed)
        for policy in given.policies:
            started = time.perf_counter()
            told = run(market, rate, minutes, policy)
            took = time.perf_counter() - started
            results.append({"births_a_minute": rate, "policy": policy, **told, "took_s": took})
    if given.json:
        print(json.dumps(results, indent=1))
    else:
        show(results)


FOUND = {
    "seen in 2 min %": "seen_in_2_min_pct", "seen ever %": "seen_ever_pct", "found/min": "found_a_minute",
    "records/min": "records_a_minute", "snapshots/min": "snapshots_a_minute", "pages/min": "pages_a_minute",
    "budget %": "budget_used_pct", "watched": "n_watched", "due a cycle": "n_due", "took s": "took_s",
}  # fmt: skip


def show(results: list[dict[str, float | str]]) -> None:
    found = Table("births/min", "policy", *FOUND, title=f"{CALLS_A_MINUTE} calls a minute")
    fresh = Table("births/min", "policy", *GROUPS, title="visits made in time %, lateness in intervals (median / 90 %)")
    for row in results:
        names = (f"{row['births_a_minute']:g}", str(row["policy"]))
        found.add_row(*names, *(f"{row[column]:,.1f}".removesuffix(".0") for column in FOUND.values()))
        told = [[row[f"{g} {what}"] for what in ("in_time_pct", "late_median", "late_p90")] for g in GROUPS]
        fresh.add_row(*names, *(f"{share:.0f} ({median:.1f} / {p90:.1f})" for share, median, p90 in told))
    for table in (found, fresh):
        Console(width=180).print(table)


if __name__ == "__main__":
    main()
