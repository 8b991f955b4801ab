"""The first minute and the first hour of one pool, as its swaps are learned.

Belongs here: the fields of `births`, swap by swap. Stays out: sliding windows (`online_trades`).
"""

from collections import Counter
from collections.abc import Sequence
from datetime import datetime

from pipeline.features.engine import Scalar, micros
from pipeline.features.engines.births import FOLLOWED_US, HOUR_US, LATE_US, MINUTE_US
from pipeline.features.engines.swaps import PER_USD, SWAPS_AN_ANSWER, Swap


class FirstHour:
    """What was bought in a pool's first minute and hour, once that is known whole.

    A pool is born once: the first birth that is told holds. Until then swaps are kept, and after the first day none.
    """

    def __init__(self) -> None:
        self._born_us: int | None = None
        self._waiting: list[tuple[Sequence[Swap], int]] = []
        self._bought: list[Swap] = []
        self._told: Counter[str] = Counter()
        self._minute_at: int | None = None
        self._hour_at: int | None = None
        self._is_over = False
        self._n_buyers: int | None = None
        self._usd: tuple[int, int] | None = None

    def born(self, created_at: datetime | None) -> None:
        """Learn when the pool was born."""
        if self._born_us is None and created_at is not None:
            self._born_us = micros(created_at)
            for swaps, now_us in self._waiting:
                self._take(swaps, now_us, self._born_us)
            self._waiting = []

    def enter(self, swaps: Sequence[Swap], now_us: int) -> None:
        """Take what was learned at one moment."""
        if self._is_over or not swaps:
            return
        if self._born_us is None:
            self._waiting.append((swaps, now_us))
        else:
            self._take(swaps, now_us, self._born_us)

    def _take(self, swaps: Sequence[Swap], now_us: int, born_us: int) -> None:
        since = [swap for swap in swaps if swap.event_us >= born_us]
        self._told.update(swap.answer_id for swap in since)
        is_full = any(self._told[swap.answer_id] >= SWAPS_AN_ANSWER for swap in since)
        self._is_over = self._is_over or is_full or now_us >= born_us + LATE_US
        if self._is_over or not since:
            self._let_go_if_over()
            return
        self._bought += [swap for swap in since if swap.is_buy and swap.event_us < born_us + HOUR_US]
        if self._minute_at is None and now_us >= born_us + MINUTE_US:
            self._minute_at, self._n_buyers = now_us, self._count(born_us)
        if now_us >= born_us + HOUR_US:
            self._hour_at, self._usd, self._is_over = now_us, self._sum(born_us), True
        self._let_go_if_over()

    def _let_go_if_over(self) -> None:
        if self._is_over:
            self._bought, self._told = [], Counter()

    def _count(self, born_us: int) -> int | None:
        wallets = [swap.trader for swap in self._bought if swap.event_us < born_us + MINUTE_US]
        return None if None in wallets else len(set(wallets))

    def _sum(self, born_us: int) -> tuple[int, int] | None:
        in_hour = [swap.usd for swap in self._bought if swap.usd is not None]
        in_minute = [s.usd for s in self._bought if s.usd is not None and s.event_us < born_us + MINUTE_US]
        return (sum(in_minute), sum(in_hour)) if len(in_hour) == len(self._bought) else None

    def fields(self, at_us: int) -> dict[str, Scalar]:
        """The fields as of `at_us`."""
        is_followed = self._born_us is not None and at_us < self._born_us + FOLLOWED_US
        minute, hour = (usd / PER_USD for usd in self._usd) if self._usd and is_followed else (None, None)
        return {
            "first_minute_buyers": self._n_buyers if is_followed else None,
            "first_minute_usd": minute,
            "first_hour_usd": hour,
        }
