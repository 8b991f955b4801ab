"""Inputs from what was told of a pool's base token, online.

Belongs here: the last word on each fact, now and some time ago. Stays out: the same over history (`from_tokens`).
"""

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any, Final

from pipeline.features.engine import Event, Online, Scalar, micros, plausible
from pipeline.features.inputs import OfToken
from pipeline.features.spec import FeaturesSpec
from pipeline.tables import TOKENS

_MICROSECOND: Final = timedelta(microseconds=1)


class OnlineTokens(Online):
    """What was told of one token; each fact is kept as long as the longest look-back and the tolerance need it."""

    def __init__(self, inputs: Sequence[OfToken], spec: FeaturesSpec) -> None:
        self._inputs = tuple(inputs)
        self._tolerance = spec.token_tolerance // _MICROSECOND
        reach = max((read.ago for read in inputs), default=timedelta(0))
        self._kept = self._tolerance + reach // _MICROSECOND
        self._columns = {read.column: TOKENS.column(read.column) for read in inputs}
        self._times: dict[str, list[int]] = {column: [] for column in self._columns}
        self._facts: dict[str, list[Scalar]] = {column: [] for column in self._columns}

    def observe(self, event: Event) -> None:
        """Take note of an answer about the token."""
        if event.table != "tokens":
            return
        at = micros(event.row["known_at"])
        for name, column in self._columns.items():
            value = plausible(event.row.get(name), column)
            if value is None:
                continue
            times, facts = self._times[name], self._facts[name]
            n_old = bisect_right(times, at - self._kept - 1)
            del times[:n_old], facts[:n_old]
            times.append(at)
            facts.append(value)

    def values(self, _snapshot: Mapping[str, Any], at_us: int, /) -> Mapping[str, Scalar]:
        """Every input, as of a snapshot at `at_us`."""
        found: dict[str, Scalar] = {}
        for read in self._inputs:
            then = at_us - read.ago // _MICROSECOND
            times = self._times[read.column]
            last = bisect_right(times, then) - 1
            is_fresh = last >= 0 and times[last] >= then - self._tolerance
            found[read.name] = self._facts[read.column][last] if is_fresh else None
        return found
