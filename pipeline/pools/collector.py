"""One collection cycle: look for new pools, visit those that are due, spend what is left on their histories.

Belongs here: the order in which calls are made, and what an answer changes. Stays out: who is due (`watch`), who is
taken (`sampler`), which pages to read (`discovery`), how a call is made (`source`).
"""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import orjson
import polars as pl

from pipeline.calendars import MINUTE, ceil, floor
from pipeline.errors import RefusedError
from pipeline.lake import disk
from pipeline.pools.answer import Answer, Call, new_pools, pools_multi, tokens_recently_updated
from pipeline.pools.attention import boosts, running_outcome
from pipeline.pools.budget import Budget
from pipeline.pools.collector_setup import CollectorSetup
from pipeline.pools.cycle import Cycle, Tally, row_of
from pipeline.pools.details import next_details, put_off, settle
from pipeline.pools.discovery import Feed, after_visit, expected_calls, next_feeds, wants_next_page
from pipeline.pools.feeds import Births, Feeds
from pipeline.pools.journal import Journal
from pipeline.pools.memory import Memory
from pipeline.pools.parse import parse_ohlcv, parse_pools
from pipeline.pools.sampler import plan_visits
from pipeline.pools.source import Asked, Source
from pipeline.pools.watch import Watch, missed_since
from pipeline.tables import ANSWERS, RAW_CANDLES

Plan = Mapping[str, tuple[float, int]]
Visit = tuple[Call, Plan]
_SHORTEST_WAIT_S = 0.5
_IDLE_S = 10.0
"""How often a collector with nothing to do looks whether there is something."""
_SPARE = 1.1
"""More is set aside for new pools than is expected: births come in bursts."""
_JUST_AFTER_S = 0.001
"""What is observed at a grid point itself still belongs to it, not to the one that is being served."""
_LAST_CALL_S = 3.0
"""No call is begun so shortly before the grid point that its answer would belong to the next."""


class Collector:
    """Collects from one source into a journal; make one with `CollectorSetup.open`."""

    def __init__(self, setup: CollectorSetup, memory: Memory, budget: Budget, say: Callable[[str], None]) -> None:
        self.setup = setup
        self.timer = setup.timer
        self.collection = setup.collection
        self.networks = setup.networks
        self.budget = budget
        self.say = say
        self.journal = Journal(memory)
        self.watch = Watch(memory, setup.source, setup.sampler, setup.collection)
        self.feeds = Feeds(memory, setup.source)
        self.api = Source(
            setup.base_url,
            timer=setup.timer,
            budget=budget,
            spec=setup.client,
            seed=setup.seed,
            keep=self.journal.keep,
            api_key=setup.api_key,
            api_key_header=setup.api_key_header,
        )
        self.tally = Tally()

    def next_slot(self) -> datetime:
        """The grid point after now: where everything belongs that is observed until then."""
        return floor(self.timer.now(), self.setup.sampler.grid) + self.setup.sampler.grid

    def cycle(self, slot: datetime) -> Cycle:
        """Collect for the grid point `slot`, until it has come; what is waiting then is left for the next cycle.

        Called with a grid point that is not ahead, it makes the calls that may go out at once and does not wait.

        Raises:
            InputError: an answer's date says that our clock is wrong. Where it was wrong from the beginning, nothing
                was planned, claimed or kept by it.
        """
        if slot == self.next_slot() and slot - self.timer.now() == self.setup.sampler.grid:
            self.timer.sleep(_JUST_AFTER_S)
        started = self.timer.now()
        self.tally = Tally()
        is_ahead = slot > started
        is_vouched_for = self._hears_the_time(is_ahead=is_ahead)
        now = self.timer.now()
        if is_vouched_for:  # else a clock that is ahead would forget pools that are still followed
            self.watch.forget(now)
        visits = self._plan(slot, now)
        self.say(f"{sum(len(plan) for _, plan in visits):,} pools to visit in {len(visits)} calls for {slot:%H:%M}")
        with self.journal.plan(len(visits)):
            self._carry_out(visits, slot, self._n_details(slot, now), is_ahead=is_ahead)
        rest = slot - self.timer.now()
        if rest <= self.setup.sampler.grid:
            self.timer.sleep(max(0.0, rest.total_seconds()))
        return self._report(slot, started)

    def _hears_the_time(self, *, is_ahead: bool) -> bool:
        """Whether an answer vouches for our clock, before anything is done by it.

        It is the list of the tokens whose facts changed last: every cycle reads it, and it is about no pool of ours.
        """
        if not is_ahead and self.budget.left(self.timer.now()) == 0:
            return False
        asked = self._ask(tokens_recently_updated(), {})
        return asked.answer is not None or isinstance(asked.error, RefusedError)

    def _carry_out(self, visits: list[Visit], slot: datetime, n_details: int, *, is_ahead: bool) -> None:
        """Make calls until the grid point has come, or (not ahead) while they may go out at once."""
        while True:
            now = self.timer.now()
            is_over = (slot - now).total_seconds() <= _LAST_CALL_S
            if is_ahead and (is_over or slot - now > 2 * self.setup.sampler.grid):  # or somebody set the clock back
                return
            n_calls = self.budget.left(now)
            n_done = self._discover(now, n_calls)
            if n_done == 0 and visits and n_calls:
                n_done = self._visit(visits, min(n_calls, self.collection.workers))
            if n_done == 0 and n_calls and (n_details > 0 or not visits):
                n_done = self._detail(now, min(n_calls, self.collection.workers))
                n_details -= n_done
            if n_done == 0:
                if not is_ahead:
                    return
                self.timer.sleep(self._pause(slot, n_calls))

    # Plan

    def _plan(self, slot: datetime, now: datetime) -> list[Visit]:
        """The visits of the cycle, claimed, in random order: what does not fit in the end is left out by chance."""
        # Two who plan at once would both find everybody unclaimed.
        with disk.locked(self.setup.folder / "planning.lock"):
            due = self._weighted(self.watch.due(slot, now, self.networks))
            plan = plan_visits(due, self._n_visits(slot, now), slot, self.setup.sampler, self.setup.seed)
            rows = plan.sampled.join(due, on=["network", "pool"]).select(
                "network", "pool", "inclusion_probability", "slot", "interval_minutes"
            )
            said = {
                (network, pool): (share, missed_since(seen, interval, slot))
                for network, pool, share, seen, interval in rows.iter_rows()
            }
            self.watch.claim(said, slot)
        return [
            (pools_multi(network, pools), {pool: said[network, pool] for pool in pools})
            for network, pools in plan.calls
        ]

    def _weighted(self, due: pl.DataFrame) -> pl.DataFrame:
        """The due pools, those heavier whose story so far is one that is seldom seen."""
        weights = boosts(self.setup.outcome_counts, self.setup.sampler)
        outcome = running_outcome(
            pl.col("price_usd") / pl.col("first_price_usd"), pl.col("reserve_usd") / pl.col("first_reserve_usd"),
            self.setup.bands,
        )  # fmt: skip
        return due.with_columns(boost=outcome.replace_strict(weights, default=1.0, return_dtype=pl.Float64))

    def _n_calls(self, slot: datetime, now: datetime) -> int:
        """Calls there will be until the grid point."""
        client = self.setup.client
        ahead = max(0.0, (slot - now).total_seconds() - _LAST_CALL_S) / (client.budget_window_s + client.budget_slack_s)
        return self.budget.left(now) + int(ahead * self.setup.calls_per_minute)

    def _n_details(self, slot: datetime, now: datetime) -> int:
        return int(self._n_calls(slot, now) * self.collection.details_share)

    def _n_visits(self, slot: datetime, now: datetime) -> int:
        """Calls for visits: what is left when new pools are looked for and histories have their share."""
        n_calls = self._n_calls(slot, now)
        minutes = max(0.0, (slot - now) / MINUTE)
        wanted = _SPARE * expected_calls(self.feeds.all(), self.networks, max(minutes, 1.0), self.collection)
        n_discovery = min(wanted, self.collection.discovery_share * n_calls)
        return max(0, int(n_calls - n_discovery) - self._n_details(slot, now))

    def _pause(self, slot: datetime, n_calls: int) -> float:
        """How long to wait when there is nothing to do, or nothing may be done."""
        ahead = (slot - self.timer.now()).total_seconds() - _LAST_CALL_S
        wait = self.setup.client.budget_window_s / self.setup.calls_per_minute if n_calls == 0 else _IDLE_S
        return max(_SHORTEST_WAIT_S, min(wait, ahead))

    # Calls

    def _discover(self, now: datetime, n_calls: int) -> int:
        """Read the feeds that are due; gives the number of pages asked for."""
        n_done = 0
        for network in next_feeds(self.feeds.all(), self.networks, now, n_calls, self.collection):
            n_done += self._read_feed(network)
            if n_done >= n_calls:
                break
        return n_done

    def _read_feed(self, network: str | None) -> int:
        """Read one list of new pools back to what was seen at the last visit; gives the number of pages asked for."""
        feed = {f.network: f for f in self.feeds.all()}.get(network, Feed(network))
        covered = self.networks if network is None else (network,)
        visited_at = self.timer.now()
        self.feeds.put(replace(feed, visited_at=visited_at))
        back_to = self._back_to(covered)
        pages: list[list[datetime]] = []
        n_unknown = 0
        while True:
            asked = self._ask(new_pools(network, len(pages) + 1), {})
            answer = asked.answer
            if asked.is_absent and network is not None and not pages:
                self.tally.unknown(network)
            if answer is None:
                # Nothing is vouched for. The next visit reads on to where the last complete one ended.
                return len(pages) + 1
            page = self._take_in_page(answer)
            pages.append(page.births)
            n_unknown += page.n_unknown
            if not wants_next_page(len(pages), page.n_told, page.births, back_to):
                break
        if feed.births_until is not None and not any(pages):
            # Births were listed before. That none is now, or none that can be believed, says nothing about births.
            self.say(f"the list of new pools of {network or 'all networks'} tells of none; it is read again")
            return len(pages)
        reached = back_to is not None and min(page.births, default=visited_at) <= back_to
        is_overlapped = reached or page.n_told == 0
        self.feeds.put(after_visit(feed, visited_at, pages, n_unknown, is_overlapped, self.collection))
        self.feeds.advance(covered, pages, visited_at, is_overlapped=is_overlapped)
        return len(pages)

    def _back_to(self, networks: Sequence[str]) -> datetime | None:
        """How far back a visit must read: the last visit's moment, and as much more as a pool may be listed late.

        Not back to a pool that is known: the page it stands on may have been read in a visit that then broke off.
        None if a network was never visited: one page will do then, for nothing has been promised.
        """
        visits = [self.feeds.births_until(network) for network in networks]
        known = [visit for visit in visits if visit is not None]
        if len(known) < len(visits) or not known:
            return None
        return min(known) - timedelta(seconds=self.collection.listed_late_s)

    def _take_in_page(self, answer: Answer) -> "Page":
        """Take in a page of new pools, of our networks."""
        records = self._records(answer)
        ours = records.filter(pl.col("network").is_in(self.networks))
        keys = list(ours.select("network", "pool").unique().iter_rows())
        # One address may be a pool on two chains; whose silence it was could not be told in one word.
        alone = ours.filter(pl.col("pool").is_unique()).select("network", "pool")
        missed = self.watch.missed(list(alone.iter_rows()), answer.answered_at)
        # The list of all tells of networks that nobody watches, too: nobody would have asked for those pools.
        strangers = set(records["pool"]) - set(ours["pool"])
        said = dict.fromkeys(sorted(strangers), (0.0, 0)) | {pool: (1.0, n) for pool, n in missed.items()}
        if said:
            self.journal.note_plan(answer.answer_id, said)
        n_known = len(self.watch.known(keys))
        self.tally.brought(self.watch.take_in(ours))
        return Page(n_told(answer), records["created_at"].to_list(), len(keys) - n_known)

    def _visit(self, visits: list[Visit], n_calls: int) -> int:
        """Make the next calls of the plan, side by side; gives the number of those that were sent."""
        batch = [visits.pop() for _ in range(min(n_calls, len(visits)))]
        n_sent = 0
        for visit, asked in zip(batch, self._ask_all(batch), strict=True):
            call, plan = visit
            if asked.n_calls == 0:  # the host is resting; the visit is not lost
                visits.append(visit)
                continue
            n_sent += 1
            absent = set(plan) if isinstance(asked.error, RefusedError) else set()
            if asked.answer is not None:
                records = self._records(asked.answer).filter(pl.col("pool").is_in(list(plan)))
                self.tally.brought(self.watch.take_in(records))
                absent = set(plan) - set(records["pool"])
            if call.network is not None:
                self.watch.vanish(call.network, sorted(absent), ceil(self.timer.now(), self.setup.sampler.grid))
        return n_sent

    def _detail(self, now: datetime, n_calls: int) -> int:
        """Ask for bars, swaps and token facts that are wanted; gives the number of calls that were sent."""
        wanted = list(next_details(self.watch, now, n_calls))
        n_sent = 0
        for (column, what, _), asked in zip(wanted, self._ask_all([(call, {}) for _, _, call in wanted]), strict=True):
            n_sent += asked.n_calls > 0
            if asked.answer is not None:
                settle(self.watch, column, what, self.timer.now(), self._bars(asked.answer))
            elif isinstance(asked.error, RefusedError):
                settle(self.watch, column, what, self.timer.now(), RAW_CANDLES.empty())
            else:
                put_off(self.watch, column, what, self.timer.now() + self.setup.sampler.grid)
        return n_sent

    def _ask_all(self, visits: Sequence[Visit]) -> list[Asked]:
        if self.collection.workers == 1 or len(visits) < 2:
            return [self._ask(*visit) for visit in visits]
        with ThreadPoolExecutor(self.collection.workers) as workers:
            return list(workers.map(lambda visit: self._ask(*visit), visits))

    def _ask(self, call: Call, plan: Plan) -> Asked:
        """What became of a call: its answer is kept already; that there was none is counted and said."""
        asked = self.api.ask(call, plan)
        if asked.n_calls:  # else the host rests, and nothing was sent that could fail
            self.tally.asked(call.network, asked.n_calls, asked.error)
            if asked.error is not None:
                self.say(f"{call.path[:80]}: {asked.error}")
        return asked

    def bars(self, call: Call) -> tuple[Asked, pl.DataFrame | None]:
        """Ask for a pool's bars; the RAW_CANDLES rows that were told, or None where nothing was."""
        asked = self._ask(call, {})
        return asked, None if asked.answer is None else self._bars(asked.answer)

    def _bars(self, answer: Answer) -> pl.DataFrame:
        return parse_ohlcv(frame_of(answer), self.setup.pools).raw_candles

    def _records(self, answer: Answer) -> pl.DataFrame:
        return parse_pools(frame_of(answer), self.setup.pools).raw_pools

    def _report(self, slot: datetime, started: datetime) -> Cycle:
        ended = self.timer.now()
        waiting = self.watch.n_due(slot, ended)
        rows: list[dict[str, Any]] = []

        def row(network: str, births: Births) -> dict[str, Any]:
            counts = self.tally.of(network)
            made = row_of(
                self.setup.source, network, started, ended, self.setup.name, counts, waiting.get(network, 0), births
            )
            rows.append(made)
            return made

        self.feeds.report(self.networks, row)
        return Cycle.of(slot, rows, self.tally, self.journal.n_answers())


@dataclass(frozen=True)
class Page:
    """A page of new pools: how many it told of, when the credible ones were born, how many of ours were not known."""

    n_told: int
    births: list[datetime]
    n_unknown: int


def frame_of(answer: Answer) -> pl.DataFrame:
    """One answer as a row of ANSWERS."""
    return pl.DataFrame([answer.as_row()], schema=ANSWERS.schema)


def n_told(answer: Answer) -> int:
    """Records in a usable answer, credible or not."""
    data = orjson.loads(answer.body)["data"]
    return len(data) if isinstance(data, list) else 1
