"""The indicators that weigh with volumes, bar by bar: money flow, on-balance volume, the day's average price.

Belongs here: what an unknown volume makes unknown, and for how long. Stays out: indicators of prices alone
(`online_wilder`, `online_indicators`).
"""

from collections import deque
from typing import Final

from pipeline.calendars import DAY, EPOCH
from pipeline.features.engine import Bar, micros
from pipeline.features.engines.indicator_terms import THIRD, WILDER
from pipeline.features.engines.online_wilder import is_flat

_DAY_US: Final = micros(EPOCH + DAY)


class Mfi:
    """Money flow index (Quong & Soudack 1989): the share of the flow, price x volume, that went with a rise."""

    def __init__(self) -> None:
        self.before: float | None = None
        self.flows: deque[tuple[float, float]] = deque()
        self.up = self.down = 0.0
        self.n_still = 0
        self.since_unknown = WILDER

    def push(self, typical: float, volume: float | None) -> float | None:
        """The index; None for the first WILDER bars and while one of the last WILDER volumes is unknown."""
        before, self.before = self.before, typical
        if before is None:
            return None
        self.since_unknown = self.since_unknown + 1 if volume is not None else 0
        change = typical - before
        is_still = is_flat(change, abs(typical) + abs(before))
        flow = 0.0 if is_still else typical * (volume or 0.0)
        if len(self.flows) == WILDER:
            gone_up, gone_down = self.flows.popleft()
            self.up -= gone_up
            self.down -= gone_down
        pair = (0.0, flow) if change < 0 else (flow, 0.0)
        self.flows.append(pair)
        self.up += pair[0]
        self.down += pair[1]
        self.n_still = self.n_still + 1 if flow == 0 else 0
        if self.n_still >= WILDER:
            self.up = self.down = 0.0
        if len(self.flows) < WILDER or self.since_unknown < WILDER:
            return None
        both = self.up + self.down
        return 100.0 * (min(max(self.up, 0.0), both) / both) if both > 0 else 0.0


class Obv:
    """On-balance volume (Granville 1963), which begins with the first bar's volume."""

    def __init__(self) -> None:
        self.before: float | None = None
        self.total: float | None = 0.0

    def push(self, close: float, volume: float | None) -> float | None:
        """The balance; None from the first unknown volume on."""
        before, self.before = self.before, close
        if self.total is None or volume is None:
            self.total = None
        elif before is None or close > before:
            self.total += volume
        elif close < before:
            self.total -= volume
        return self.total


class Vwap:
    """Volume-weighted average of (high + low + close) / 3 over the UTC day so far."""

    def __init__(self) -> None:
        self.day: int | None = None
        self.worth: float | None = 0.0
        self.volume = 0.0

    def push(self, bar: Bar) -> float | None:
        """The average; None while nothing was traded, and from an unknown volume to the end of its day."""
        day = bar.start_us // _DAY_US
        if day != self.day:
            self.day, self.worth, self.volume = day, 0.0, 0.0
        if self.worth is None or bar.volume is None:
            self.worth = None
            return None
        self.worth += (bar.high + bar.low + bar.close) * THIRD * bar.volume
        self.volume += bar.volume
        return self.worth / self.volume if self.volume > 0 else None
