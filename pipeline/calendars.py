"""The UTC bar grid and the clock.

Belongs here: arithmetic on the grid that all stages share, and the one place that reads the time of day.
Stays out: which grid a stage uses (that is its spec), and anything about frames of a particular table.
"""

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Protocol

from pipeline.errors import UsageError

MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
END_OF_TIME = datetime(9999, 1, 1, tzinfo=UTC)
"""After everything that a table may hold."""


class Clock(Protocol):
    """Whatever can say what time it is, in UTC."""

    def now(self) -> datetime:
        """The present moment, timezone-aware UTC."""
        ...


class Timer(Clock, Protocol):
    """A clock that can also be waited on: the machine's, or a sandbox's, where an hour may pass in a second."""

    def sleep(self, seconds: float) -> None:
        """Come back when `seconds` have passed on this clock."""
        ...


@dataclass(frozen=True)
class SystemClock:
    """The machine's clock. Only the roof and the doors may hold one."""

    def now(self) -> datetime:
        """The machine's present moment, timezone-aware UTC."""
        return datetime.now(UTC)

    def sleep(self, seconds: float) -> None:
        """Come back when `seconds` have passed."""
        time.sleep(max(0.0, seconds))


@dataclass(frozen=True)
class FixedClock:
    """A clock that stands still: replay and tests.

    >>> FixedClock(datetime(2020, 9, 8, tzinfo=UTC)).now().isoformat()
    '2020-09-08T00:00:00+00:00'
    """

    moment: datetime

    def now(self) -> datetime:
        """The moment it was given."""
        return self.moment


def require_utc(moment: datetime) -> datetime:
    """Give `moment` back if it is timezone-aware UTC.

    Raises:
        UsageError: it is naive or in another zone, and would shift every window by hours without a word.
    """
    if moment.utcoffset() != timedelta(0):
        raise UsageError(f"expected a timezone-aware UTC time, found {moment!r}: attach or convert the zone first")
    return moment


def floor(moment: datetime, step: timedelta) -> datetime:
    """The latest grid point of `step` at or before `moment`.

    >>> floor(datetime(2020, 9, 8, 17, 49, 6, tzinfo=UTC), 5 * MINUTE).isoformat()
    '2020-09-08T17:45:00+00:00'
    """
    return EPOCH + ((require_utc(moment) - EPOCH) // step) * step


def ceil(moment: datetime, step: timedelta) -> datetime:
    """The earliest grid point of `step` at or after `moment`.

    >>> ceil(datetime(2020, 9, 8, 17, 45, tzinfo=UTC), 5 * MINUTE).isoformat()
    '2020-09-08T17:45:00+00:00'
    """
    return EPOCH - ((EPOCH - require_utc(moment)) // step) * step


@dataclass(frozen=True, order=True)
class Span:
    """A half-open stretch of time, `start` <= t < `end`, both UTC.

    Raises:
        UsageError: a bound is not UTC, or the span ends before it starts.
    """

    start: datetime
    end: datetime

    def __post_init__(self) -> None:
        require_utc(self.start)
        require_utc(self.end)
        if self.end < self.start:
            raise UsageError(f"a span must end after it starts, found {self.start!r} to {self.end!r}")

    def widened(self, *, back: timedelta = timedelta(0), ahead: timedelta = timedelta(0)) -> "Span":
        """The span with a look-back and a look-ahead added."""
        return Span(self.start - back, self.end + ahead)

    def hours(self) -> Iterator[datetime]:
        """The hours whose start lies in the span, in order."""
        hour = ceil(self.start, HOUR)
        while hour < self.end:
            yield hour
            hour += HOUR

    def pieces(self, length: timedelta) -> Iterator["Span"]:
        """The span cut into consecutive pieces of at most `length`, so that memory stays bounded."""
        start = self.start
        while start < self.end:
            end = min(start + length, self.end)
            yield Span(start, end)
            start = end


def spans_of(hours: Iterable[datetime]) -> list[Span]:
    """The maximal runs of consecutive hours, in order; duplicates are one.

    >>> day = datetime(2020, 9, 8, tzinfo=UTC)
    >>> [(s.start.hour, s.end.hour) for s in spans_of([day, day + HOUR, day + 5 * HOUR])]
    [(0, 2), (5, 6)]
    """
    spans: list[Span] = []
    for hour in sorted(set(hours)):
        if spans and spans[-1].end == hour:
            spans[-1] = Span(spans[-1].start, hour + HOUR)
        else:
            spans.append(Span(hour, hour + HOUR))
    return spans
