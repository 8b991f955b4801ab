"""What a bar's market features need of the bars before it, over history.

Belongs here: earlier closes, the volume profile, and spread and volatility from open, high, low and close.
Stays out: which bars there are (`bars`), the same bar by bar (`online_market_bars`), units (`market`).

Windows are of time: a bar lies in the last hour or day if it ended in (end - window, end], `end` being the end of the
bar at which the field is computed. Bars that do not exist are not invented: a gap makes fewer terms. A term that needs
two bars exists only where they are adjacent in time and belongs to the bar at which it ends, so nothing is said of the
move across a gap. Prices must be above zero for a logarithm: what needs one and has none is no term. A mean is unknown
where fewer than `spec.min_returns` terms of a day, or LEAST_IN_AN_HOUR of an hour, are known.

Numbers: terms are squares and so of one sign; sums are put together by adding alone (`window_sums`). The same as bar by
bar to 1e-12 of its value.
"""

from datetime import timedelta
from typing import Final

import numpy as np
import polars as pl

from pipeline.calendars import MINUTE
from pipeline.features.engine import POOL_RUN, BarCalculator
from pipeline.features.engines.market_terms import (
    CLOSES,
    FIELDS,
    HORIZONS,
    LEAST_IN_AN_HOUR,
    PROFILE,
    SPREAD,
    VOLATILITIES,
    squared_terms,
)
from pipeline.features.engines.online_market_bars import OnlineMarketBars
from pipeline.features.engines.window_sums import Flags, Ints, Reals, first_of_run, latest_by, window_means, window_sums
from pipeline.features.spec import FeaturesSpec

_MICROSECOND: Final = timedelta(microseconds=1)
_ROWS_AT_ONCE: Final = 16_384
"""Rows of the volume profile that fit into a processor's cache together."""


def _over_history(bars: pl.DataFrame, minutes: int, spec: FeaturesSpec) -> pl.DataFrame:
    """The bars with FIELDS beside them; see `BarCalculator`. A field that is unknown is null."""
    run = bars[POOL_RUN].cast(pl.Int64).to_numpy()
    start = bars["event_time"].dt.epoch("us").to_numpy()
    opened, high, low, close, volume = (
        bars[name].cast(pl.Float64).fill_null(float("nan")).to_numpy()
        for name in ("open", "high", "low", "close", "volume")
    )
    found = _closes_before(run, start, close)
    n = {name: _n_in(run, start, HORIZONS[name]) for name in ("1h", "24h")}
    found[PROFILE] = _share_near(high, low, close, volume, n["24h"], spec.profile_band_pct / 100)
    is_adjacent = np.diff(start, prepend=0) == minutes * MINUTE // _MICROSECOND
    is_adjacent &= np.arange(len(run)) > first_of_run(run)
    before = np.array([_shifted(price, is_adjacent) for price in (high, low, close)])
    terms = squared_terms(np.array([opened, high, low, close]), before)
    for window, least in (("1h", LEAST_IN_AN_HOUR), ("24h", spec.min_returns)):
        for name, term in zip(VOLATILITIES, terms[:3], strict=True):
            found[f"{name}_{window}"] = np.sqrt(window_means(term, n[window], least))
    found[SPREAD] = window_means(terms[3], n["24h"], spec.min_returns)
    return bars.with_columns(pl.Series(name, found[name]).fill_nan(None) for name in FIELDS)


def _shifted(price: Reals, is_adjacent: Flags) -> Reals:
    """Each bar's predecessor's price; NaN where the bar before it in time does not exist."""
    before = np.full(len(price), np.nan)
    before[1:] = price[:-1]
    return np.where(is_adjacent, before, np.nan)


def _n_in(run: Ints, start: Ints, window: timedelta) -> Ints:
    """How many bars, the bar itself included, ended in the window that ends with each bar."""
    before = latest_by(run, start, np.arange(len(run)), start - window // _MICROSECOND)
    place: Ints = np.arange(len(run)) - np.maximum(before, first_of_run(run) - 1)
    return place


def _closes_before(run: Ints, start: Ints, close: Reals) -> dict[str, Reals]:
    """For each horizon the close of the latest bar that ended by `end - horizon`; NaN if more than half of it before.

    Bars are of one length, so ends and starts are apart by the same.
    """
    found: dict[str, Reals] = {}
    for name, (_, horizon) in zip(CLOSES, HORIZONS.items(), strict=True):
        ago = horizon // _MICROSECOND
        at = latest_by(run, start, np.arange(len(run)), start - ago)
        is_fresh = (at >= 0) & (start[at] >= start - ago - ago // 2)
        found[name] = np.where(is_fresh, close[at], np.nan)
    return found


def _share_near(high: Reals, low: Reals, close: Reals, volume: Reals, n: Ints, band: float) -> Reals:
    """The share of the last `n[i]` bars' volume whose typical price lies within `band` of bar i's close.

    NaN where a volume among them is unknown, or all are zero. Which bars are near changes with every close, so there
    is no sum to carry on: each of the window's bars is looked at, block of rows by block of rows.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        typical, reach = (high + low + close) / 3, band * close
        near = np.zeros(len(close))
        for start in range(0, len(close), _ROWS_AT_ONCE):
            stop = min(start + _ROWS_AT_ONCE, len(close))
            for k in range(int(n[start:stop].max())):
                here, there = slice(max(start, k), stop), slice(max(start, k) - k, stop - k)
                is_near = np.abs(typical[there] - close[here]) <= reach[here]
                near[here] += np.where(is_near & (n[here] > k), volume[there], 0.0)
        total = window_sums(volume, n)
        share: Reals = np.divide(near, total, out=np.full(len(close), np.nan), where=total > 0)
    return share


CALCULATOR: Final = BarCalculator(FIELDS, _over_history, OnlineMarketBars)
