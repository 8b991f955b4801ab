"""What a bar's market features need of the bars before it, bar by bar.

Belongs here: keeping one pool's bars of the last day and a half and computing each field anew at every bar. Nothing is
summed on from bar to bar, so nothing can drift; there are at most as many bars as fit into the time, so the cost stays
the same. Stays out: the estimators (`market_terms`) and the same for many pools at once (`market_bars`).
"""

from collections.abc import Mapping
from datetime import timedelta
from typing import Final

import numpy as np

from pipeline.calendars import MINUTE
from pipeline.features.engine import Bar, Scalar
from pipeline.features.engines.market_terms import (
    CLOSES,
    HORIZONS,
    LEAST_IN_AN_HOUR,
    PROFILE,
    SPREAD,
    VOLATILITIES,
    squared_terms,
)
from pipeline.features.engines.window_sums import Reals
from pipeline.features.spec import FeaturesSpec

_MICROSECOND: Final = timedelta(microseconds=1)
_US: Final = {name: horizon // _MICROSECOND for name, horizon in HORIZONS.items()}
_KEPT_US: Final = max(_US.values()) * 3 // 2
"""How far back the oldest close may lie: the longest horizon and the half of it that it may be late."""

_HIGH, _LOW, _CLOSE, _VOLUME, _TYPICAL, _TERMS = 0, 1, 2, 3, 4, 5
_N_KEPT: Final = _TERMS + len(VOLATILITIES) + 1


class OnlineMarketBars:
    """One pool's `BarStream` of the market fields; bars come in the order of their starts."""

    def __init__(self, minutes: int, spec: FeaturesSpec) -> None:
        self._step = minutes * MINUTE // _MICROSECOND
        self._least = spec.min_returns
        self._band = spec.profile_band_pct / 100
        # Twice the bars that can lie in the time kept, so that they are moved to the front only once in a while.
        self._room = _KEPT_US // self._step + 2
        self._starts = np.zeros(2 * self._room, np.int64)
        self._kept = np.zeros((_N_KEPT, 2 * self._room))
        self._first = self._stop = 0

    def push(self, bar: Bar) -> Mapping[str, Scalar]:
        """Every field as of this bar."""
        with np.errstate(all="ignore"):
            self._keep(bar)
            found = self._closes_before(bar.start_us)
            found |= self._means(bar.start_us)
            found[PROFILE] = self._share_near(bar)
        return {name: value if np.isfinite(value) else None for name, value in found.items()}

    def _keep(self, bar: Bar) -> None:
        if self._stop == 2 * self._room:
            n = self._stop - self._first
            self._starts[:n] = self._starts[self._first :]
            self._kept[:, :n] = self._kept[:, self._first :]
            self._first, self._stop = 0, n
        nan = float("nan")
        is_adjacent = self._stop > self._first and self._starts[self._stop - 1] == bar.start_us - self._step
        before = self._kept[:3, self._stop - 1] if is_adjacent else np.full(3, nan)
        prices = np.array([nan if bar.open is None else bar.open, bar.high, bar.low, bar.close])
        self._starts[self._stop] = bar.start_us
        column = self._kept[:, self._stop]
        column[_TERMS:] = squared_terms(prices, before)
        column[_HIGH], column[_LOW], column[_CLOSE] = bar.high, bar.low, bar.close
        column[_VOLUME] = nan if bar.volume is None else bar.volume
        column[_TYPICAL] = (bar.high + bar.low + bar.close) / 3
        self._stop += 1
        self._first = self._place_after(bar.start_us - _KEPT_US - 1)

    def _place_after(self, moment_us: int) -> int:
        """The place of the first kept bar that starts after the moment."""
        kept = self._starts[self._first : self._stop]
        return self._first + int(np.searchsorted(kept, moment_us, side="right"))

    def _closes_before(self, start_us: int) -> dict[str, float]:
        found: dict[str, float] = {}
        for name, ago in zip(CLOSES, _US.values(), strict=True):
            at = self._place_after(start_us - ago) - 1
            is_fresh = at >= self._first and self._starts[at] >= start_us - ago - ago // 2
            found[name] = float(self._kept[_CLOSE, at]) if is_fresh else float("nan")
        return found

    def _means(self, start_us: int) -> dict[str, float]:
        found: dict[str, float] = {}
        for window, least in (("1h", LEAST_IN_AN_HOUR), ("24h", self._least)):
            terms = self._kept[_TERMS:, self._place_after(start_us - _US[window]) : self._stop]
            *means, spread = _means_of_known(terms, least)
            found |= {f"{name}_{window}": float(np.sqrt(mean)) for name, mean in zip(VOLATILITIES, means, strict=True)}
        found[SPREAD] = float(spread)
        return found

    def _share_near(self, bar: Bar) -> float:
        window = slice(self._place_after(bar.start_us - _US["24h"]), self._stop)
        volume, typical = self._kept[_VOLUME, window], self._kept[_TYPICAL, window]
        total = volume.sum()
        if not total > 0:
            return float("nan")
        is_near = np.abs(typical - bar.close) <= self._band * bar.close
        return float(volume[is_near].sum() / total)


def _means_of_known(terms: Reals, least: int) -> Reals:
    """Each row's mean over its known terms; NaN of fewer than `least`."""
    is_known = np.isfinite(terms)
    n = is_known.sum(axis=1)
    means: Reals = np.where(n >= max(least, 1), np.where(is_known, terms, 0.0).sum(axis=1) / n, np.nan)
    return means
