"""Which market features a bar has, and what one bar says of volatility and spread.

Belongs here: the fields' names, their windows, and the estimators as arithmetic on prices, shared by both ways of
running them. Stays out: windows over many bars (`market_bars` over history, `online_market_bars` bar by bar).
"""

from typing import Final

import numpy as np

from pipeline.calendars import DAY, HOUR, MINUTE
from pipeline.features.engines.window_sums import Reals

LEAST_IN_AN_HOUR: Final = 3
"""Terms that a volatility over an hour needs, of the twelve there can be."""

HORIZONS: Final = {"15m": 15 * MINUTE, "1h": HOUR, "6h": 6 * HOUR, "24h": DAY}
VOLATILITIES: Final = ("parkinson", "garman_klass", "realised")
CLOSES: Final = tuple(f"close_{name}_before" for name in HORIZONS)
PROFILE: Final = "volume_share_near_24h"
SPREAD: Final = "spread_corwin_schultz_24h"
FIELDS: Final = (*CLOSES, PROFILE, *(f"{name}_{window}" for window in ("1h", "24h") for name in VOLATILITIES), SPREAD)

_CORWIN_SCHULTZ: Final = 3 - 2 * np.sqrt(2)
_ROUNDING: Final = 1e-9
"""An `a` this small beside the ranges is rounding: of a bar that stood still within another's range it is zero."""


def squared_terms(prices: Reals, before: Reals) -> Reals:
    """The terms whose means are variances and the spread, one row each: VOLATILITIES in order, then the spread.

    Args:
        prices: open, high, low, close, one row each, of each bar; NaN where unknown.
        before: high, low, close of the bar adjacent before it; NaN where there is none.

    Returns:
        four rows; NaN where a bar tells no such term.

    - Parkinson (1980), "The Extreme Value Method for Estimating the Variance of the Rate of Return":
      ln(H/L)^2 / (4 ln 2).
    - Garman & Klass (1980), "On the Estimation of Security Price Volatilities from Historical Data", their practical
      form: ln(H/L)^2 / 2 - (2 ln 2 - 1) ln(C/O)^2. Where O and C lie between L and H it is never below zero; a bar
      where they do not contradicts itself, and is no term if that makes it negative.
    - Realised (Andersen & Bollerslev 1998): ln(C / C before)^2.
    - Corwin & Schultz (2012), "A Simple Way to Estimate Bid-Ask Spreads from Daily High and Low Prices", over two bars:
      b = ln(H/L)^2 + ln(H before/L before)^2, g = ln(highest of both / lowest of both)^2,
      a = (sqrt(2 b) - sqrt(b)) / (3 - 2 sqrt 2) - sqrt(g / (3 - 2 sqrt 2)), S = 2 (e^a - 1) / (1 + e^a), zero where
      that is negative, as the paper does. Its correction for nights is not needed: the market never closes.

    All but the last suppose, as the papers do, that a bar's mean return is nothing beside its spread.
    """
    opened, high, low, close = np.where(prices > 0, prices, np.nan)
    high_before, low_before, close_before = np.where(before > 0, before, np.nan)
    with np.errstate(all="ignore"):
        wide, body, step = np.log(high / low), np.log(close / opened), np.log(close / close_before)
        wide_before = np.log(high_before / low_before)
        both = np.log(np.maximum(high, high_before) / np.minimum(low, low_before))
        b = wide * wide + wide_before * wide_before
        a = (np.sqrt(2 * b) - np.sqrt(b)) / _CORWIN_SCHULTZ - np.abs(both) / np.sqrt(_CORWIN_SCHULTZ)
        inner = wide * wide / 2 - (2 * np.log(2) - 1) * body * body
        return np.array(
            [
                wide * wide / (4 * np.log(2)),
                np.where(inner >= 0, inner, np.nan),
                step * step,
                # 2 (e^a - 1) / (1 + e^a), without the loss of digits near zero.
                np.where(a <= _ROUNDING * np.sqrt(b), 0.0, 2 * np.tanh(a / 2)),
            ]
        )
