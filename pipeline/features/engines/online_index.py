"""Inputs that compare one pool's five-minute bars with the rest of the market's, event by event.

Belongs here: keeping the last day's returns of the pool, of its network's index and of its quote token, and comparing
them anew at every snapshot. Nothing is summed on, so nothing can drift, and there are as many as fit into a day, so the
cost stays the same. Stays out: making the index and what pairs and windows are (`market_index`, `from_index`).
"""

import math
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any, Final

import numpy as np

from pipeline.calendars import DAY
from pipeline.features.engine import Event, Online, Scalar, micros, plausible
from pipeline.features.engines.from_index import DEAD, FIELDS, OF_INDEX, OF_NEIGHBOURS, OF_QUOTE, SHARE
from pipeline.features.engines.market_index import MOST, STEP
from pipeline.features.engines.window_sums import Ints, Reals
from pipeline.features.inputs import OfIndex
from pipeline.features.spec import FeaturesSpec
from pipeline.tables import CANDLES

_STEP_US: Final = STEP // timedelta(microseconds=1)
_DAY: Final = DAY // STEP
_NOTHING: Final = float("nan")


class _Recent:
    """Values of the most recent five-minute bars, by the number of the bar since 1970."""

    def __init__(self, n_values: int, room: int) -> None:
        self._room = room
        self._numbers = np.full(room, -1, np.int64)
        self._values = np.full((n_values, room), _NOTHING)
        self.last = -1

    def put(self, number: int, *values: float) -> None:
        at = number % self._room
        self._numbers[at] = number
        self._values[:, at] = values
        self.last = max(self.last, number)

    def at(self, numbers: Ints, which: int = 0) -> Reals:
        """One of the values at each of these bars; NaN where there is none."""
        places = numbers % self._room
        return np.where(self._numbers[places] == numbers, self._values[which, places], _NOTHING)


class OnlineIndex(Online):
    """One pool beside its market.

    Candles must be the pool's, `index` rows its network's, and `quote` rows its quote token's, as `index_bars` and
    `quote_returns` of `market_index` make them.
    """

    def __init__(self, inputs: Sequence[OfIndex], spec: FeaturesSpec) -> None:
        self._inputs = tuple(inputs)
        self._wanted = {read.field for read in inputs}
        self._least = spec.min_returns
        self._stale_us = spec.stale_bars * _STEP_US
        self._grace_us = spec.bar_grace // timedelta(microseconds=1)
        # A day before the last pair, which may be stale, and a bar either way.
        self._n_looked_at = _DAY + spec.stale_bars + 2
        room = 2 * self._n_looked_at
        self._own = _Recent(2, room)
        self._index = _Recent(3, room)
        self._quote = _Recent(1, room)
        self._last_start_us = -1
        self._last_close = _NOTHING

    def observe(self, event: Event) -> None:
        """Take note of a bar of the pool, of the index, or of the quote token."""
        row = event.row
        if event.table == "candles":
            self._observe_bar(row)
        elif event.table == "index":
            share = row["share_rising"]
            values = (row["return_sum"], row["n_returns"], _NOTHING if share is None else share)
            self._index.put(micros(row["event_time"]) // _STEP_US, *values)
        elif event.table == "quote":
            self._quote.put(micros(row["event_time"]) // _STEP_US, row["log_return"])

    def _observe_bar(self, row: Mapping[str, Any]) -> None:
        high, low, close = (plausible(row[name], CANDLES.column(name)) for name in ("high", "low", "close"))
        start = micros(row["event_time"])
        # As in `five_minute_bars`: what is no bar, or came after a later one, is none for features.
        if high is None or low is None or close is None or start <= self._last_start_us:
            return
        is_adjacent = start - self._last_start_us == _STEP_US and self._last_close > 0 and close > 0
        growth = close / self._last_close if is_adjacent else _NOTHING
        move = math.log(growth) if 0 < growth < math.inf else _NOTHING
        is_timely = micros(row["known_at"]) <= start + _STEP_US + self._grace_us
        self._own.put(start // _STEP_US, move, min(max(move, -MOST), MOST) if is_timely else _NOTHING)
        self._last_start_us, self._last_close = start, close

    def values(self, _snapshot: Mapping[str, Any], at_us: int, /) -> Mapping[str, Scalar]:
        """Every input, as of a snapshot at `at_us`."""
        found: dict[str, Scalar] = dict.fromkeys(FIELDS)
        found[SHARE] = self._share(at_us)
        if self._wanted - {SHARE}:
            bars = np.arange(self._own.last - self._n_looked_at, self._own.last + 2)
            own, others = self._own.at(bars), self._others(bars)
            found |= self._compared(OF_QUOTE, bars, own, self._quote.at(bars), at_us)
            found |= self._compared(OF_INDEX, bars, own, others, at_us)
            found |= self._neighbours(bars, own, others, at_us)
        return {read.name: found[read.field] for read in self._inputs}

    def _share(self, at_us: int) -> float | None:
        last = self._index.last
        share = float(self._index.at(np.array([last]), 2)[0])
        is_fresh = at_us - (last + 1) * _STEP_US <= self._stale_us
        return share if is_fresh and share == share else None  # noqa: PLR0124 - NaN is not itself

    def _others(self, bars: Ints) -> Reals:
        """The mean return of the index's other pools at each bar; NaN where there is none."""
        counted = self._own.at(bars, 1)
        is_in = ~np.isnan(counted)
        total = self._index.at(bars) - np.where(is_in, counted, 0.0)
        n = self._index.at(bars, 1) - is_in
        others: Reals = np.divide(total, n, out=np.full(len(bars), _NOTHING), where=n > 0)
        return others

    def _neighbours(self, bars: Ints, own: Reals, others: Reals, at_us: int) -> dict[str, Scalar]:
        """As in `from_index`: over the returns that have both a bar of the others before and one after."""
        before, after = others[:-2], others[2:]
        both = np.where(np.isnan(before) | np.isnan(after), _NOTHING, own[1:-1])
        sides = (self._compared(("correlation",), bars[1:-1], both, side, at_us) for side in (after, before))
        return {name: side["correlation"] for name, side in zip(OF_NEIGHBOURS, sides, strict=True)}

    def _compared(self, names: Sequence[str], bars: Ints, own: Reals, side: Reals, at_us: int) -> dict[str, Scalar]:
        """Correlation, and slope if a name for it is given, over the last day of the last pair."""
        found: dict[str, Scalar] = dict.fromkeys(names)
        paired = np.flatnonzero(~(np.isnan(own) | np.isnan(side)))
        if not len(paired) or at_us - (int(bars[paired[-1]]) + 1) * _STEP_US > self._stale_us:
            return found
        paired = paired[bars[paired] > bars[paired[-1]] - _DAY]
        if len(paired) < self._least:
            return found
        x, y = own[paired] - own[paired].mean(), side[paired] - side[paired].mean()
        own_square, side_square, both = float(x @ x), float(y @ y), float(x @ y)
        if min(own_square, side_square) > len(paired) * DEAD**2:
            found |= zip(
                names, (both / (math.sqrt(own_square) * math.sqrt(side_square)), both / side_square), strict=False
            )
        return found
