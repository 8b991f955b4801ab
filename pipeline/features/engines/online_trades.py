"""The swaps of one pool beside its snapshots, as they are learned.

Belongs here: the fields of `from_trades`, swap by swap. Stays out: who is smart (`wallets.WalletBook`, which sees all
pools, says so under the row's key `is_smart`), formulas.

Whole numbers are added as a swap enters a window and taken back as it leaves, so nothing drifts. Memory holds a day of
swaps. What is learned at one moment is taken together, in the order of the chain.
"""

import heapq
import math
from bisect import bisect_right
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import Any, Final

from pipeline.calendars import DAY, HOUR
from pipeline.features.engine import Event, Scalar
from pipeline.features.engines.from_trades import LEAST_COVARIANCE
from pipeline.features.engines.online_first_hour import FirstHour
from pipeline.features.engines.swaps import LATE, PER_LOG, PER_TOKEN, PER_USD, US, Swap, swap_of
from pipeline.features.inputs import OfTrades
from pipeline.features.spec import FeaturesSpec

_HOUR_US: Final = HOUR // US
_LATE_US: Final = LATE // US


class OnlineTrades:
    """Every field of `OfTrades` for one pool; see `engine.Online`."""

    def __init__(self, inputs: Sequence[OfTrades], spec: FeaturesSpec) -> None:
        self._names = {read.field: read.name for read in inputs}
        self._flow, self._held, self._largest = _Flow(), _Held(), _Largest()
        self._roll, self._first = _Roll(spec), FirstHour()
        self._hour = _Window(HOUR, self._flow.add)
        self._day = _Window(DAY, self._held.add)
        self._batch: list[Swap] = []
        self._newest: tuple[int, int, int, str] | None = None

    def observe(self, event: Event) -> None:
        """Take note of a swap; of a snapshot, only when the pool was born."""
        if event.table == "snapshots":
            self._first.born(event.row["created_at"])
        if event.table != "trades":
            return
        swap = swap_of(event.row)
        self._take(before_us=swap.known_us)
        self._batch.append(swap)

    def values(self, snapshot: Mapping[str, Any], at_us: int) -> Mapping[str, Scalar]:
        """Every input by its name, as of a snapshot at `at_us`."""
        self._first.born(snapshot["created_at"])
        self._take(before_us=at_us + 1)
        self._move_to(at_us)
        found = {
            **self._flow.fields(),
            **self._held.fields(),
            **self._first.fields(at_us),
            "largest_usd_1h": self._largest.value(),
            "roll_spread_1h": self._roll.value(),
        }
        return {name: found[field] for field, name in self._names.items()}

    def _take(self, before_us: int) -> None:
        if not self._batch or self._batch[0].known_us >= before_us:
            return
        batch, self._batch = sorted(self._batch, key=lambda swap: swap.order), []
        now_us = batch[0].known_us
        self._move_to(now_us)
        fresh = [swap for swap in batch if self._day.enter(swap, now_us)]
        for swap in fresh:
            if self._hour.enter(swap, now_us):
                self._largest.enter(swap)
            is_after = self._newest is None or swap.order > self._newest
            if is_after and swap.known_us - swap.event_us <= _LATE_US:
                self._newest = swap.order
                self._roll.enter(swap)
        self._first.enter(fresh, now_us)

    def _move_to(self, now_us: int) -> None:
        for window in (self._hour, self._day):
            window.move_to(now_us)
        self._largest.move_to(now_us)
        self._roll.move_to(now_us)


class _Window:
    """The swaps of the last while, each once; says when one enters (1) and when it leaves (-1)."""

    def __init__(self, length: timedelta, add: Callable[[Swap, int], None]) -> None:
        self._length_us = length // US
        self._add = add
        self._heap: list[tuple[int, str, Swap]] = []
        self._here: set[tuple[int, str]] = set()

    def enter(self, swap: Swap, now_us: int) -> bool:
        """Take the swap in, unless it is here or too old."""
        name = (swap.event_us, swap.trade_id)
        if name in self._here or swap.event_us + self._length_us <= now_us:
            return False
        self._here.add(name)
        heapq.heappush(self._heap, (*name, swap))
        self._add(swap, 1)
        return True

    def move_to(self, now_us: int) -> None:
        """Let go of what is too old."""
        while self._heap and self._heap[0][0] + self._length_us <= now_us:
            event_us, trade_id, swap = heapq.heappop(self._heap)
            self._here.remove((event_us, trade_id))
            self._add(swap, -1)


class _Flow:
    """Sums of the hour."""

    def __init__(self) -> None:
        self.n_valued = self.bought = self.sold = self.n_unnamed_buys = self.n_named = self.smart_net = 0
        self.squares = 0
        self._bought_by: Counter[str] = Counter()

    def add(self, swap: Swap, sign: int) -> None:
        """Add a swap, or take it back."""
        usd = sign * (swap.usd or 0)
        self.n_valued += sign * (swap.usd is not None)
        self.n_named += sign * (swap.trader is not None)
        if swap.is_smart and swap.trader is not None:
            self.smart_net += sign if swap.is_buy else -sign
        if not swap.is_buy:
            self.sold += usd
            return
        self.bought += usd
        if swap.trader is None:
            self.n_unnamed_buys += sign
        elif usd:
            before = self._bought_by[swap.trader]
            self.squares += usd * (2 * before + usd)
            self._bought_by[swap.trader] += usd
            if not self._bought_by[swap.trader]:
                del self._bought_by[swap.trader]

    def fields(self) -> dict[str, Scalar]:
        """The sums in the fields' units."""
        return {
            "n_valued_1h": self.n_valued,
            "bought_usd_1h": self.bought / PER_USD,
            "sold_usd_1h": self.sold / PER_USD,
            "n_unnamed_buys_1h": self.n_unnamed_buys,
            "buyer_squares_1h": self.squares / PER_USD**2,
            "n_named_1h": self.n_named,
            "smart_net_buys_1h": self.smart_net,
        }


class _Held:
    """What wallets bought in the day and did not sell."""

    def __init__(self) -> None:
        self.n = self.held = self.smart_held = 0
        self._wallets: dict[str, tuple[int, int, int]] = {}

    def add(self, swap: Swap, sign: int) -> None:
        """Add a swap, or take it back."""
        if swap.trader is None or swap.tokens is None:
            return
        n, net, n_smart = self._wallets.pop(swap.trader, (0, 0, 0))
        self._count(net, n_smart, -1)
        n, n_smart = n + sign, n_smart + sign * bool(swap.is_smart)
        net += sign * (swap.tokens if swap.is_buy else -swap.tokens)
        self._count(net, n_smart, 1)
        self.n += sign
        if n:
            self._wallets[swap.trader] = (n, net, n_smart)

    def _count(self, net: int, n_smart: int, sign: int) -> None:
        kept = sign * max(0, net)
        self.held += kept
        self.smart_held += kept if n_smart else 0

    def fields(self) -> dict[str, Scalar]:
        """The sums in the fields' units."""
        held, smart = self.held / PER_TOKEN, self.smart_held / PER_TOKEN
        return {"n_placed_24h": self.n, "held_24h": held, "smart_held_24h": smart}


class _Largest:
    """The largest value of the hour: swaps that a later one does not equal or exceed, by time, so falling in value."""

    def __init__(self) -> None:
        self._stairs: list[tuple[int, int]] = []

    def enter(self, swap: Swap) -> None:
        """Take a swap in; one that happened before others may be among them."""
        if swap.usd is None:
            return
        at = bisect_right(self._stairs, swap.event_us, key=lambda step: step[0])
        if at < len(self._stairs) and self._stairs[at][1] >= swap.usd:
            return
        low = at
        while low and self._stairs[low - 1][1] <= swap.usd:
            low -= 1
        self._stairs[low:at] = [(swap.event_us, swap.usd)]

    def move_to(self, now_us: int) -> None:
        """Let go of what is too old."""
        n_old = bisect_right(self._stairs, now_us - _HOUR_US, key=lambda step: step[0])
        del self._stairs[:n_old]

    def value(self) -> float | None:
        """The largest, in USD."""
        return self._stairs[0][1] / PER_USD if self._stairs else None


class _Roll:
    """Roll's spread over the hour, of the swaps that come in order."""

    def __init__(self, spec: FeaturesSpec) -> None:
        self._spec = spec
        self._prices: deque[tuple[int, int]] = deque()
        self._both = 0

    def enter(self, swap: Swap) -> None:
        """Take the next price, if there is one."""
        if swap.log_price is None:
            return
        self._prices.append((swap.event_us, swap.log_price))
        if len(self._prices) > 2:
            self._both += self._pair(-3)

    def move_to(self, now_us: int) -> None:
        """Let go of what is too old."""
        while self._prices and self._prices[0][0] <= now_us - _HOUR_US:
            if len(self._prices) > 2:
                self._both -= self._pair(0)
            self._prices.popleft()

    def _pair(self, place: int) -> int:
        first, second, third = (self._prices[place + i][1] for i in range(3))
        return (second - first) * (third - second)

    def value(self) -> float | None:
        """2 sqrt(-cov), a share of the price; see `from_trades`."""
        n, log = len(self._prices) - 2, self._prices
        if n < self._spec.min_returns:
            return None
        covariance = n * self._both - (log[-2][1] - log[0][1]) * (log[-1][1] - log[1][1])
        per_pair = float(covariance) / float(n * n)
        return math.sqrt(-per_pair) * 2 / PER_LOG if per_pair < -LEAST_COVARIANCE * PER_LOG**2 else None
