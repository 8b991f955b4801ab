"""Is the calendar what QLib takes it for: times, strictly increasing, on the grid?

Belongs here: reading calendars/FREQ.txt and what is wrong with it. Stays out: what the places stand for elsewhere.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import polars as pl

from pipeline.bins.health.spec import Finding, about
from pipeline.bins.health.text import lines_of, read_text
from pipeline.calendars import EPOCH

_MINUTES: Final = re.compile(r"([1-9][0-9]{0,4})min")
_FORMATS: Final = ("%Y-%m-%d", "%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M", "%Y/%m/%d", "%Y%m%d")
_NEVER: Final = np.iinfo(np.int64).min
_MICROSECOND: Final = timedelta(microseconds=1)
_EARLIEST: Final = (datetime(1, 1, 1, tzinfo=UTC) - EPOCH) // _MICROSECOND
_END: Final = (datetime(9999, 12, 31, tzinfo=UTC) - EPOCH) // _MICROSECOND


@dataclass(frozen=True, eq=False)
class Calendar:
    """A calendar as it lies there: microseconds since 1970 by place, `_NEVER` where a line is no time."""

    microseconds: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return self.microseconds.size

    @property
    def is_increasing(self) -> bool:
        """Whether every line is a time after the one above it."""
        us = self.microseconds
        return bool((us != _NEVER).all() and (np.diff(us) > 0).all())

    def time(self, place: int) -> datetime | None:
        """The bar at a place; None outside the calendar and where its line is no time."""
        if not 0 <= place < len(self) or self.microseconds[place] == _NEVER:
            return None
        return as_time(int(self.microseconds[place]))

    def places(self, first: npt.NDArray[np.int64], last: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Of ranges of times (microseconds), the first and the last bar inside, as two rows of places."""
        us = self.microseconds
        return np.stack([np.searchsorted(us, first, "left"), np.searchsorted(us, last, "right") - 1]).astype(np.int64)


def as_time(microseconds: int) -> datetime:
    """A time from microseconds since 1970."""
    return EPOCH + timedelta(microseconds=microseconds)


def step_of(freq: str) -> timedelta | None:
    """The step of a freq of minutes; None for days and longer, which have weekends and holidays.

    >>> step_of("60min"), step_of("day")
    (datetime.timedelta(seconds=3600), None)
    """
    found = _MINUTES.fullmatch(freq)
    return timedelta(minutes=int(found[1])) if found else None


def parse_times(texts: list[str]) -> npt.NDArray[np.int64]:
    """Times as microseconds since 1970 (UTC), `_NEVER` for what is none in any of the usual forms.

    A year before 1, and what lies after 9999-12-30, is none either: Python, and so QLib, can hardly count with it.
    """
    given = pl.Series(texts, dtype=pl.String).to_frame("text")
    forms = [pl.col("text").str.to_datetime(form, strict=False, time_unit="us") for form in _FORMATS]
    found = given.select(pl.coalesce(forms).dt.epoch("us").fill_null(_NEVER)).to_series().to_numpy().astype(np.int64)
    return np.where((found >= _EARLIEST) & (found < _END), found, _NEVER)


def is_time(microseconds: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
    """Which of what `parse_times` gave are times."""
    known: npt.NDArray[np.bool_] = microseconds != _NEVER
    return known


def read_calendar(directory: Path, freq: str) -> tuple[Calendar, list[Finding]]:
    """The calendar of a freq, and what is wrong with it; an empty one if there is none.

    A line that is empty takes no place, as in QLib.
    """
    path = directory / "calendars" / f"{freq}.txt"
    try:
        raw = read_text(path)
    except OSError as error:
        found = about("calendar_missing", f"cannot read calendars/{freq}.txt: {error.strerror}")
        return Calendar(np.empty(0, np.int64)), [found]
    lines = [line.strip() for line in lines_of(raw) if line.strip()]
    calendar = Calendar(parse_times(lines))
    if not lines:
        return calendar, [about("calendar_empty", f"calendars/{freq}.txt holds no time")]
    return calendar, list(_judged(calendar, lines, step_of(freq)))


def _judged(calendar: Calendar, lines: list[str], step: timedelta | None) -> Iterator[Finding]:
    us = calendar.microseconds
    bad = np.flatnonzero(~is_time(us))
    if bad.size:
        yield about("calendar_unreadable", f"line {bad[0] + 1} is {lines[bad[0]][:64]!r}", n=bad.size)
    us = us[is_time(us)]
    after = np.diff(us)
    for problem, places in (
        ("calendar_unordered", np.flatnonzero(after < 0)),
        ("calendar_duplicate", np.flatnonzero(after == 0)),
    ):
        if places.size:
            before, here = as_time(int(us[places[0]])), as_time(int(us[places[0] + 1]))
            yield about(problem, f"{here:%Y-%m-%d %H:%M:%S} after {before:%Y-%m-%d %H:%M:%S}", time=here, n=places.size)
    if step is not None:
        yield from _off_the_grid(us, step // timedelta(microseconds=1))


def _off_the_grid(us: npt.NDArray[np.int64], step: int) -> Iterator[Finding]:
    off = np.flatnonzero(us % step)
    if off.size:
        time = as_time(int(us[off[0]]))
        yield about("calendar_off_grid", f"{time:%Y-%m-%d %H:%M:%S} is the first", time=time, n=off.size)
    after = np.diff(us)
    gaps = np.flatnonzero(after > step)
    if gaps.size:
        n = int((np.ceil(after[gaps] / step) - 1).sum())
        longest = int(np.ceil(after[gaps].max() / step)) - 1
        first = as_time(int(us[gaps[0]]) + step)
        yield about("calendar_gap", f"{gaps.size} gaps, the longest of {longest} bars", time=first, n=n, value=longest)
