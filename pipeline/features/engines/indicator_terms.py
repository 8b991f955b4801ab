"""The lengths and constants of the technical indicators, the same over history and online.

Belongs here: numbers that are part of an indicator's name. Stays out: thresholds that somebody may move (the spec).
"""

from typing import Final

WILDER: Final = 14
"""Bars of Wilder's averages, and of every window that his book gives as 14."""
FAST: Final = 12
SLOW: Final = 26
SIGNAL: Final = 9
BANDS: Final = 20
DEVIATIONS: Final = 2.0
SMOOTHING: Final = 3
STILL: Final = 1e-9
"""A range below this share of the price is rounding: the price stands still, and nothing is measured in such a unit."""
THIRD: Final = 1 / 3
"""A factor and no division: Polars divides a long column otherwise than a short one, in the last bit."""
