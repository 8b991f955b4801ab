"""Inputs from a pool's own snapshots, online.

Belongs here: what must be remembered of past snapshots. Stays out: formulas; the same over history (`from_snapshots`).
"""

import math
from collections import deque
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any, Final

from pipeline.features.engine import Event, Online, Scalar, micros, plausible
from pipeline.features.inputs import Age, Lagged, Now, Rolled, Untold
from pipeline.features.spec import FeaturesSpec
from pipeline.tables import SNAPSHOTS, Column

_MICROSECOND: Final = timedelta(microseconds=1)
type _Moment = tuple[int, float]


class _Before:
    """The latest snapshot at or before t - `ago`, in constant time: moments only ever grow."""

    def __init__(self, ago: timedelta, tolerance: timedelta) -> None:
        self._ago, self._tolerance = ago // _MICROSECOND, tolerance // _MICROSECOND
        self._coming: deque[tuple[int, dict[str, Scalar]]] = deque()
        self._latest: tuple[int, dict[str, Scalar]] | None = None

    def add(self, at: int, told: dict[str, Scalar]) -> None:
        """Remember a snapshot, and forget what is older than will be asked for."""
        self._coming.append((at, told))
        while self._coming and self._coming[0][0] <= at - self._ago:
            self._latest = self._coming.popleft()

    def at(self, now: int) -> Mapping[str, Scalar]:
        """Its values; none where it is too old."""
        if self._latest is None or self._latest[0] < now - self._ago - self._tolerance:
            return {}
        return self._latest[1]


class _Window:
    """The known values of a column over (t - `window`, t]; a maximum needs only those that may yet be one."""

    def __init__(self, read: Rolled) -> None:
        self._how, self._length = read.how, read.window // _MICROSECOND
        self._values: deque[_Moment] = deque()

    def add(self, at: int, value: Scalar) -> None:
        """Remember a value, and forget those that left."""
        if value is not None:
            while self._how == "max" and self._values and self._values[-1][1] <= value:
                self._values.pop()
            self._values.append((at, float(value)))
        while self._values and self._values[0][0] <= at - self._length:
            self._values.popleft()

    def statistic(self) -> Scalar:
        """What is asked for; None of too few values."""
        n = len(self._values)
        if n == 0 or (self._how == "std" and n == 1):
            return None
        if self._how == "max":
            return self._values[0][1]
        try:
            mean = math.fsum(value for _, value in self._values) / n
            if self._how == "mean":
                return mean
            return math.sqrt(math.fsum((value - mean) * (value - mean) for _, value in self._values) / (n - 1))
        except OverflowError:
            return None


class OnlineSnapshots(Online):
    """One pool's snapshots as they come; a second one of the same moment says nothing new and is passed over."""

    def __init__(self, inputs: Sequence[Any], spec: FeaturesSpec) -> None:
        self._now = [read.column for read in inputs if isinstance(read, Now)]
        self._ages = [read.name for read in inputs if isinstance(read, Age)]
        self._untold: dict[str, Scalar] = {read.name: None for read in inputs if isinstance(read, Untold)}
        self._lags = [(read, read.column) for read in inputs if isinstance(read, Lagged)]
        self._before = {read.ago: _Before(read.ago, spec.lag_tolerance) for read, _ in self._lags}
        self._windows = [(read, _Window(read)) for read in inputs if isinstance(read, Rolled)]
        remembered = {column for _, column in self._lags} | {read.column for read, _ in self._windows}
        self._columns: dict[str, Column] = {name: SNAPSHOTS.column(name) for name in {*self._now, *remembered}}
        self._told: dict[str, Scalar] = {}
        self._at = -1

    def observe(self, event: Event) -> None:
        """Take note of a snapshot."""
        if event.table != "snapshots":
            return
        at = micros(event.row["event_time"])
        if at <= self._at:
            return
        self._at = at
        self._told = {name: plausible(event.row.get(name), column) for name, column in self._columns.items()}
        for before in self._before.values():
            before.add(at, self._told)
        for read, window in self._windows:
            window.add(at, self._told[read.column])

    def values(self, snapshot: Mapping[str, Any], at_us: int, /) -> Mapping[str, Scalar]:
        """Every input, as of the snapshot observed last."""
        found: dict[str, Scalar] = {name: self._told[name] for name in self._now} | self._untold
        if self._ages:
            born = snapshot.get("created_at")
            age = None if born is None else at_us - micros(born)
            found |= dict.fromkeys(self._ages, None if age is None or age < 0 else age)
        found |= {read.name: self._before[read.ago].at(at_us).get(column) for read, column in self._lags}
        found |= {read.name: window.statistic() for read, window in self._windows}
        return found
