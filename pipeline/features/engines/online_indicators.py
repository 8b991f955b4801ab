"""The technical indicators of one pool, bar by bar.

Belongs here: each indicator as a small state that takes the next bar in constant time. Stays out: the same over history
(`indicators`), and making bars (`online_bars`).

Each adds and divides in the order in which TA-Lib 0.8 does: its running sums round as they go, and only the same order
rounds the same way. That is what keeps a live value and a replayed one together to the last bit, for ever.
"""

from collections import deque
from collections.abc import Mapping
from math import isfinite, sqrt
from typing import Final

from pipeline.features.engine import Bar, Scalar
from pipeline.features.engines.indicator_terms import BANDS, DEVIATIONS, FAST, SIGNAL, SLOW, SMOOTHING, STILL, WILDER
from pipeline.features.engines.online_volume import Mfi, Obv, Vwap
from pipeline.features.engines.online_wilder import Adx, Atr, Rsi, is_flat, true_range
from pipeline.tables import TECHNICAL_FIELDS

_BOUNDS: Final = {name: (low, high) for name, _, _, low, high in TECHNICAL_FIELDS}


class RunningMean:
    """The mean of the last `length` values, from the `length`-th on."""

    def __init__(self, length: int) -> None:
        self.window: deque[float] = deque()
        self.length = length
        self.total = 0.0

    def push(self, value: float) -> float | None:
        """The mean with `value` as the last; None until there are enough."""
        self.window.append(value)
        self.total += value
        if len(self.window) < self.length:
            return None
        mean = self.total / self.length
        self.total -= self.window.popleft()
        return mean


class Deviation:
    """The population's standard deviation of the last BANDS values.

    Sums are taken of deviations from a shift, which moves to the window's mean whenever the sums have lost digits or
    every 32 windows, so that a rug earlier in the pool's life does not drown what comes after it.
    """

    def __init__(self) -> None:
        self.window: deque[float] = deque(maxlen=BANDS)
        self.shift = 0.0
        self.total = 0.0
        self.squares = 0.0
        self.until_fresh = 32 * BANDS

    def push(self, value: float) -> float | None:
        """The deviation with `value` as the last; None until there are enough."""
        if not self.window:
            self.shift = value
        self.window.append(value)
        self._add(value)
        if len(self.window) < BANDS:
            return None
        variance = self._variance()
        gone = self.window[0] - self.shift
        self._remove_oldest()
        self.until_fresh -= 1
        spread = self.squares * (1 / BANDS)
        if variance < 1e-6 * spread or gone * gone > 1e6 * self.squares or self.until_fresh <= 0:
            variance = self._start_afresh()
        return sqrt(variance) if variance >= 0 else None

    def _add(self, value: float) -> None:
        off = value - self.shift
        self.total += off
        self.squares += off * off

    def _remove_oldest(self) -> None:
        off = self.window[0] - self.shift
        self.total -= off
        self.squares -= off * off

    def _variance(self) -> float:
        mean = self.total * (1 / BANDS)
        return self.squares * (1 / BANDS) - mean * mean

    def _start_afresh(self) -> float:
        self.until_fresh = 32 * BANDS
        total = 0.0
        for value in self.window:
            total += value
        self.shift = total * (1 / BANDS)
        self.total = self.squares = 0.0
        for value in self.window:
            self._add(value)
        variance = self._variance()
        if variance < 1e-12 * (self.squares * (1 / BANDS)):
            variance = 0.0
        self._remove_oldest()
        return variance


class Macd:
    """Moving average convergence divergence 12/26/9 (Appel): both averages start at the mean of their last bars."""

    def __init__(self) -> None:
        self.n = 0
        self.fast = self.slow = self.signal = 0.0

    def push(self, close: float) -> tuple[float, float] | None:
        """The line and its signal; None until both are there, the SLOW + SIGNAL - 1st bar."""
        self.n += 1
        if self.n <= SLOW:
            self.slow += close
            if self.n > SLOW - FAST:
                self.fast += close
            if self.n < SLOW:
                return None
            self.slow, self.fast = self.slow / SLOW, self.fast / FAST
        else:
            self.fast = _exponential(self.fast, close, FAST)
            self.slow = _exponential(self.slow, close, SLOW)
        line = self.fast - self.slow
        n = self.n - SLOW + 1
        if n <= SIGNAL:
            self.signal += line
            if n < SIGNAL:
                return None
            self.signal = self.signal / SIGNAL
        else:
            self.signal = _exponential(self.signal, line, SIGNAL)
        return line, self.signal


def _exponential(before: float, value: float, length: int) -> float:
    weight = 1.0 - (length - 1) / (length + 1)
    return before + weight * (value - before)


class Ranges:
    """What compares the close with the range of the last WILDER bars: stochastic (Lane) and Williams %R."""

    def __init__(self) -> None:
        self.highs: deque[float] = deque(maxlen=WILDER)
        self.lows: deque[float] = deque(maxlen=WILDER)
        self.k, self.d = RunningMean(SMOOTHING), RunningMean(SMOOTHING)

    def push(self, bar: Bar) -> tuple[float | None, float | None, float | None]:
        """%K, %D and %R; the stochastic are None until %D is there."""
        self.highs.append(bar.high)
        self.lows.append(bar.low)
        if len(self.highs) < WILDER:
            return None, None, None
        high, low = max(self.highs), min(self.lows)
        width = high - low
        stands = is_flat(width, abs(high) + abs(low))
        k = self.k.push(0.0 if stands else 100 * ((bar.close - low) / width))
        d = None if k is None else self.d.push(k)
        williams = 0.0 if stands else -100 * ((high - bar.close) / width)
        return (None if d is None else k), d, williams


class Cci:
    """Commodity channel index (Lambert 1980): distance from the mean in mean deviations, over 0.015."""

    def __init__(self) -> None:
        self.ring = [0.0] * WILDER
        self.n = 0

    def push(self, typical: float) -> float | None:
        """The index; None for the first WILDER - 1 bars; 0 where the price stood still."""
        self.ring[self.n % WILDER] = typical
        self.n += 1
        if self.n < WILDER:
            return None
        mean = 0.0
        for value in self.ring:
            mean += value
        mean /= WILDER
        deviation = 0.0
        for value in self.ring:
            deviation += abs(value - mean)
        off = typical - mean
        scale = abs(typical) + abs(mean)
        if is_flat(off, scale) or is_flat(deviation, scale):
            return 0.0
        return off / (0.015 * (deviation / WILDER))


class Technical:
    """Every technical field of one pool's bars of one length, as they close."""

    def __init__(self) -> None:
        self.before: Bar | None = None
        self.rsi, self.atr, self.adx = Rsi(), Atr(), Adx()
        self.macd, self.ranges, self.cci = Macd(), Ranges(), Cci()
        self.mean, self.deviation = RunningMean(BANDS), Deviation()
        self.mfi, self.obv, self.vwap = Mfi(), Obv(), Vwap()

    def push(self, bar: Bar) -> Mapping[str, Scalar]:
        """Every field of TECHNICAL_FIELDS as of this bar, None until its window is full."""
        typical = (bar.high + bar.low + bar.close) / 3.0
        atr = adx = None
        if self.before is not None:
            moved = true_range(bar.high, bar.low, self.before.close)
            atr = self.atr.push(moved)
            adx = self.adx.push(bar.high - self.before.high, self.before.low - bar.low, moved)
        self.before = bar
        macd, signal = self.macd.push(bar.close) or (None, None)
        k, d, williams = self.ranges.push(bar)
        return {
            "open": bar.open, "high": bar.high, "low": bar.low, "close": bar.close, "volume": bar.volume,
            "vwap": bounded("vwap", self.vwap.push(bar)),
            "atr": bounded("atr", atr),
            "rsi": bounded("rsi", self.rsi.push(bar.close)),
            "macd": bounded("macd", macd),
            "macd_signal": bounded("macd_signal", signal),
            "macd_histogram": None if macd is None or signal is None else bounded("macd_histogram", macd - signal),
            **self._bands(bar.close),
            "stoch_k": bounded("stoch_k", k),
            "stoch_d": bounded("stoch_d", d),
            "williams_r": bounded("williams_r", williams),
            "cci": bounded("cci", self.cci.push(typical)),
            "adx": bounded("adx", adx),
            "obv": bounded("obv", self.obv.push(bar.close, bar.volume)),
            "mfi": bounded("mfi", self.mfi.push(typical, bar.volume)),
            "trend_strength": bounded("trend_strength", _per_range(macd, atr, bar.close)),
        }  # fmt: skip

    def _bands(self, close: float) -> dict[str, Scalar]:
        middle, deviation = self.mean.push(close), self.deviation.push(close)
        upper = lower = position = None
        if middle is not None and deviation is not None:
            upper, lower = middle + DEVIATIONS * deviation, middle - DEVIATIONS * deviation
            position = (close - lower) / (upper - lower) if upper - lower > STILL * (abs(upper) + abs(lower)) else None
        return {
            "bollinger_upper": bounded("bollinger_upper", upper),
            "bollinger_middle": bounded("bollinger_middle", middle),
            "bollinger_lower": bounded("bollinger_lower", lower),
            "bollinger_position": bounded("bollinger_position", position),
        }


def _per_range(macd: float | None, atr: float | None, close: float) -> float | None:
    """The line over the average range; None where the price stands still."""
    return None if macd is None or atr is None or atr <= STILL * close else macd / atr


def bounded(field: str, value: float | None) -> float | None:
    """The value within the field's declared range, where the last bit overshoots it; None if it is not finite.

    >>> bounded("rsi", 100.00000000000001), bounded("rsi", float("inf"))
    (100.0, None)
    """
    if value is None or not isfinite(value):
        return None
    low, high = _BOUNDS[field]
    if low is not None and value < low:
        return float(low)
    return float(high) if high is not None and value > high else value
