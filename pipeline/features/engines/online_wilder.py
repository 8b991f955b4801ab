"""What Wilder gave us, bar by bar: relative strength, average true range, average directional index.

Belongs here: indicators whose averages never quite forget, as states that take the next bar in constant time. Stays
out: indicators over fixed windows (`online_indicators`).

Source: J. Welles Wilder, New Concepts in Technical Trading Systems (1978). Each average starts at the plain mean of its
first 14 values, and sums are taken in TA-Lib's order (see `online_indicators`).
"""

from typing import Final

from pipeline.features.engines.indicator_terms import WILDER

FLAT: Final = 1e-14
"""A difference below this share of what was subtracted is rounding."""


def is_flat(difference: float, scale: float) -> bool:
    """Whether a difference of two numbers is no more than the rounding of their sum of magnitudes, `scale`."""
    return abs(difference) <= FLAT * scale


class Rsi:
    """Relative strength: 100 gain / (gain + loss), both averaged in Wilder's way."""

    def __init__(self) -> None:
        self.before: float | None = None
        self.n = 0
        self.gain = self.loss = 0.0

    def push(self, close: float) -> float | None:
        """The index as of this close; None for the first WILDER bars; 0 where the price never moved."""
        if self.before is None:
            self.before = close
            return None
        change = close - self.before
        self.before = close
        self.n += 1
        if self.n > WILDER:
            self.gain *= WILDER - 1
            self.loss *= WILDER - 1
        gain = max(change, 0.0)
        self.gain += gain
        self.loss += gain - change
        if self.n < WILDER:
            return None
        self.gain *= 1 / WILDER
        self.loss *= 1 / WILDER
        both = self.gain + self.loss
        return 100.0 * (self.gain / both) if both > 0 else 0.0


def true_range(high: float, low: float, close_before: float) -> float:
    """The largest of high - low and the distances of high and low from the close before (Wilder 1978)."""
    return max(high - low, abs(close_before - high), abs(close_before - low))


class Atr:
    """Average true range, Wilder's way."""

    def __init__(self) -> None:
        self.n = 0
        self.average = 0.0

    def push(self, moved: float) -> float | None:
        """The average with this true range; None for the first WILDER - 1 of them."""
        self.n += 1
        if self.n > WILDER:
            self.average += (moved - self.average) * (1 / WILDER)
            return self.average
        self.average += moved
        if self.n < WILDER:
            return None
        self.average = self.average / WILDER
        return self.average


class Adx:
    """Average directional index (Wilder 1978)."""

    def __init__(self) -> None:
        self.n = 0
        self.up = self.down = self.moved = 0.0
        self.index = 0.0

    def push(self, rise: float, fall: float, moved: float) -> float | None:
        """The index, given high - high before, low before - low and the true range; None until 2 WILDER - 1 of them."""
        self.n += 1
        if self.n >= WILDER:
            self.up -= self.up * (1 / WILDER)
            self.down -= self.down * (1 / WILDER)
            self.moved -= self.moved * (1 / WILDER)
        self.up += rise if rise > fall and rise > 0 else 0.0
        self.down += fall if fall > rise and fall > 0 else 0.0
        self.moved += moved
        if self.n < WILDER:
            return None
        directed = self._directed()
        if self.n < 2 * WILDER - 1:
            self.index += directed or 0.0
            return None
        if self.n == 2 * WILDER - 1:
            self.index = (self.index + (directed or 0.0)) / WILDER
        elif directed is not None:
            self.index = self.index - (self.index - directed) * (1 / WILDER)
        return self.index

    def _directed(self) -> float | None:
        """100 |+DI - -DI| / (+DI + -DI); None where nothing moved."""
        if self.moved <= 0:
            return None
        plus, minus = 100.0 * (self.up / self.moved), 100.0 * (self.down / self.moved)
        both = plus + minus
        return 100.0 * (abs(minus - plus) / both) if both >= FLAT else None
