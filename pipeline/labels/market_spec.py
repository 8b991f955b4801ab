"""When a market is called bull or bear, and when capital is said to have moved: the constants of the market labels.

Belongs here: horizons, thresholds and how little is too little. Stays out: how they are applied (`market`).
"""

from dataclasses import dataclass
from datetime import timedelta

from pipeline.errors import UsageError


@dataclass(frozen=True)
class MarketSpec:
    """Changes of more than `regime_pct` of the index make a bull or a bear, of more than `rotation_pct` a rotation.

    `trim_share` of the pools on either side of a window's mean is left out of it (0.25: the midmean, Tukey 1977), so
    that no single pool moves the market. A pool counts that traded in the `look_back_hours` before the hour. A window
    needs `least_pools` of them, and bars of any in `least_bars_share` of its places. Bars of collected pools are told
    once a day, so what may still come is waited for `patience_hours`.

    Raises:
        UsageError: a share outside its range, or a horizon that is no whole hour.

    >>> MarketSpec().ahead, MarketSpec().back
    (datetime.timedelta(seconds=43500), datetime.timedelta(days=1))
    """

    regime_hours: int = 12
    regime_pct: float = 10.0
    rotation_hours: int = 6
    rotation_pct: float = 5.0
    bar_minutes: int = 5
    look_back_hours: int = 24
    trim_share: float = 0.25
    least_pools: int = 3
    least_bars_share: float = 0.25
    patience_hours: int = 26

    def __post_init__(self) -> None:
        if not (0 <= self.trim_share < 0.5 and 0 < self.least_bars_share <= 1):
            raise UsageError(f"expected trim_share in [0, 0.5) and least_bars_share in (0, 1], found {self!r}")
        whole = (self.regime_hours, self.rotation_hours, self.look_back_hours, self.least_pools)
        if min(whole) < 1 or self.regime_pct <= 0:
            raise UsageError(f"horizons are whole hours and thresholds above zero, found {self!r}")

    @property
    def bar(self) -> timedelta:
        """How long a bar is."""
        return timedelta(minutes=self.bar_minutes)

    @property
    def ahead(self) -> timedelta:
        """How far past an hour its candles and snapshots matter."""
        return timedelta(hours=max(self.regime_hours, self.rotation_hours)) + self.bar

    @property
    def back(self) -> timedelta:
        """How far before an hour the prices at its beginning may have been told."""
        return timedelta(hours=self.look_back_hours)

    @property
    def maturity(self) -> timedelta:
        """How long after an hour its labels may still change by waiting alone."""
        return timedelta(hours=max(self.regime_hours, self.rotation_hours) + self.patience_hours)
