"""The bars of one pool and what is computed at them, candle by candle.

Belongs here: the sequence of bars and the closing of longer ones, as `bars` has them over history, in constant time.
Stays out: what is computed at a bar (the calculators' streams).
"""

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from math import isfinite
from typing import Any, Final

from pipeline.calendars import MINUTE
from pipeline.features.engine import Bar, BarStream, Event, Scalar, micros
from pipeline.features.engines.bars import SHORTEST, require_minutes
from pipeline.features.engines.from_bars import calculators_of
from pipeline.features.inputs import OfBar
from pipeline.features.spec import FeaturesSpec

_MINUTE_US: Final = MINUTE // timedelta(microseconds=1)
_PART_US: Final = SHORTEST * _MINUTE_US
_REMEMBERED: Final = 64
"""So many moments of closing are kept: a snapshot may be learned after bars that its own moment did not know."""


@dataclass(frozen=True, slots=True)
class _Closed:
    """What was computed when a bar closed."""

    closed_us: int
    ended_us: int
    values: Mapping[str, Scalar]


class _Computed:
    """The fields wanted of bars of one length, as of the bars that closed last."""

    def __init__(self, inputs: Sequence[OfBar], minutes: int, spec: FeaturesSpec) -> None:
        asked = calculators_of(inputs, minutes)
        self.streams: list[tuple[BarStream, list[OfBar]]] = [
            (calculator.online(minutes, spec), wanted) for calculator, wanted in asked.items()
        ]
        self.names = [i.name for _, wanted in self.streams for i in wanted]
        self.length_us = minutes * _MINUTE_US
        self.stale_us = spec.stale_bars * self.length_us
        self.closed: deque[_Closed] = deque(maxlen=_REMEMBERED)

    def push(self, bar: Bar) -> None:
        """Compute at a bar that closed."""
        values: dict[str, Scalar] = {}
        for stream, wanted in self.streams:
            fields = stream.push(bar)
            values |= {i.name: fields[i.field] for i in wanted}
        # Of bars that closed at the same moment, only the last is ever seen.
        if self.closed and self.closed[-1].closed_us == bar.closed_us:
            self.closed.pop()
        self.closed.append(_Closed(bar.closed_us, bar.start_us + self.length_us, values))

    def values(self, at_us: int) -> Mapping[str, Scalar]:
        """The fields by their inputs' names, as of the bar that had closed last at `at_us`; None if that is stale."""
        for computed in reversed(self.closed):
            if computed.closed_us <= at_us:
                is_fresh = at_us - computed.ended_us <= self.stale_us
                return computed.values if is_fresh else dict.fromkeys(self.names)
        return dict.fromkeys(self.names)


class LongerBar:
    """Makes bars of one length of five-minute bars, in the order in which these are learned."""

    def __init__(self, minutes: int, spec: FeaturesSpec) -> None:
        self.length_us = require_minutes(minutes) * _MINUTE_US
        self.grace_us = spec.bar_grace_minutes * _MINUTE_US
        self.bar: Bar | None = None
        self.open_start: int | None = None
        self.limit_us = 0

    def push(self, part: Bar) -> list[Bar]:
        """The bars that a part closes, in order: an older one, or the one that it ends."""
        start = part.start_us - part.start_us % self.length_us
        closed = self.close_before(part.closed_us)
        if start != self.open_start:
            closed += self._close(part.closed_us)
            self.open_start = start
            self.limit_us = max(start + self.length_us + self.grace_us, part.closed_us)
            self.bar = replace(part, start_us=start)
        elif self.bar is not None:
            self.bar = _joined(self.bar, part)
        if part.start_us + _PART_US == start + self.length_us:
            closed += self._close(part.closed_us)
        return closed

    def close_by(self, at_us: int) -> list[Bar]:
        """The bar whose grace is over at `at_us`, if it is still open."""
        return self.close_before(at_us + 1)

    def close_before(self, at_us: int) -> list[Bar]:
        """The bar whose grace was over before `at_us`, if it is still open."""
        return self._close(self.limit_us) if self.limit_us < at_us else []

    def _close(self, at_us: int) -> list[Bar]:
        if self.bar is None:
            return []
        closed = replace(self.bar, closed_us=at_us)
        self.bar = None
        return [closed]


def _joined(bar: Bar, part: Bar) -> Bar:
    is_known = bar.volume is not None and part.volume is not None
    return replace(
        bar,
        high=max(bar.high, part.high),
        low=min(bar.low, part.low),
        close=part.close,
        volume=bar.volume + part.volume if is_known else None,  # type: ignore[operator]  # both are known then
    )


class OnlineBars:
    """Every `OfBar` of one pool, event by event; see `engine.Online`.

    Events come in the order of `known_at`, and where a candle and a snapshot share it, the candle first.
    """

    def __init__(self, inputs: Sequence[OfBar], spec: FeaturesSpec) -> None:
        lengths = dict.fromkeys(wanted.minutes for wanted in inputs)
        self.computed = {minutes: _Computed(inputs, minutes, spec) for minutes in lengths}
        self.longer = {minutes: LongerBar(minutes, spec) for minutes in lengths if minutes != SHORTEST}
        self.newest_start: int | None = None

    def observe(self, event: Event) -> None:
        """Take note of a candle; other events are passed over."""
        if event.table != "candles":
            return
        part = _read(event.row)
        if part is None or (self.newest_start is not None and part.start_us <= self.newest_start):
            return
        self.newest_start = part.start_us
        if SHORTEST in self.computed:
            self.computed[SHORTEST].push(part)
        for minutes, longer in self.longer.items():
            for bar in longer.push(part):
                self.computed[minutes].push(bar)

    def values(self, snapshot: Mapping[str, Any], at_us: int) -> Mapping[str, Scalar]:  # noqa: ARG002 - an `Online`
        """Every input by its name as of `at_us`; nothing of the snapshot is read."""
        for minutes, longer in self.longer.items():
            for bar in longer.close_by(at_us):
                self.computed[minutes].push(bar)
        found: dict[str, Scalar] = {}
        for computed in self.computed.values():
            found |= computed.values(at_us)
        return found


def _read(row: Mapping[str, Any]) -> Bar | None:
    """A row of CANDLES as a bar; None where a price is impossible."""
    if row.get("timeframe", f"{SHORTEST}min") != f"{SHORTEST}min":
        return None
    high, low, close = (_plausible(row[name]) for name in ("high", "low", "close"))
    if high is None or low is None or close is None:
        return None
    start = micros(row["event_time"])
    closed = max(micros(row["known_at"]), start + _PART_US)
    return Bar(start, closed, _plausible(row["open"]), high, low, close, _plausible(row["volume_usd"]))


def _plausible(value: float | None) -> float | None:
    return value if value is not None and isfinite(value) and value >= 0 else None
