"""What the features' science is: thresholds and tolerances.

Belongs here: every number in a feature that somebody might want to move. Stays out: windows that are part of a
feature's name (an hour, a day).
"""

from dataclasses import dataclass, field
from datetime import timedelta

from pipeline.calendars import HOUR, MINUTE
from pipeline.errors import UsageError
from pipeline.tables import BAR_MINUTES


@dataclass(frozen=True)
class RiskPoints:
    """What each risk adds to `risk_score`, and from where on it holds.

    Raises:
        UsageError: points are negative or there are none.
    """

    small_reserve: float = 25.0
    small_reserve_usd: float = 1_000.0
    few_holders: float = 10.0
    few_holders_n: int = 100
    concentrated: float = 20.0
    concentrated_pct: float = 50.0
    mintable: float = 20.0
    freezable: float = 10.0
    unlocked: float = 15.0
    unlocked_pct: float = 50.0
    no_socials: float = 5.0
    young: float = 10.0
    young_hours: float = 1.0

    def __post_init__(self) -> None:
        points = (
            self.small_reserve, self.few_holders, self.concentrated, self.mintable, self.freezable, self.unlocked,
            self.no_socials, self.young,
        )  # fmt: skip
        if min(points) < 0 or sum(points) <= 0:
            raise UsageError(f"risk points must not be negative nor all zero, found {points!r}: correct the spec")


@dataclass(frozen=True)
class FeaturesSpec:
    """Thresholds of the features.

    Attributes:
        lag_tolerance_minutes: a value from before is taken from the latest snapshot at or before that time, unless
            it is older than this; then the value is null. Wide enough for the second tier's interval.
        spike_ratio: the last 5 min against the mean 5 min of the last hour, from which on it is a spike.
        pump_change_pct: price change over 5 min beyond which (up: pump, down: dump) a flag can be raised.
        majority: share of the trades of the last 5 min that must be exceeded by the flag's side.
        token_tolerance_hours: what was told of a token longer ago than this is not known any more.
        bar_grace_minutes: how long after its end a longer bar waits for its last part, where no later part came.
        stale_bars: an indicator is null if its bar ended longer ago than so many bars.
        profile_band_pct: how near to the price of now counts as near, for the volume profile.
        min_returns: pairs of returns that a correlation or slope needs.
        trades_coverage: share of the trades a snapshot counts that must be known before anything is said of them.
        smart_trades: closed trades that a wallet's record needs before it can be smart.
        smart_win_share: share of them that must have gained.
        extra_indicators: further pandas-ta indicators by name, on the bars of `extra_minutes`.
        risk: the points of `risk_score`.

    Raises:
        UsageError: a threshold has no meaning.
    """

    lag_tolerance_minutes: int = 15
    spike_ratio: float = 3.0
    pump_change_pct: float = 10.0
    majority: float = 0.5
    token_tolerance_hours: int = 24
    bar_grace_minutes: int = 10
    stale_bars: int = 12
    profile_band_pct: float = 5.0
    min_returns: int = 12
    trades_coverage: float = 0.9
    smart_trades: int = 3
    smart_win_share: float = 0.6
    extra_indicators: tuple[str, ...] = ()
    extra_minutes: tuple[int, ...] = BAR_MINUTES
    risk: RiskPoints = field(default_factory=RiskPoints)

    def __post_init__(self) -> None:
        if self.lag_tolerance_minutes < 0 or self.spike_ratio <= 0 or self.pump_change_pct <= 0:
            raise UsageError(f"tolerance, ratio and change must be positive, found {self!r}: correct the spec")
        if not 0 <= self.majority < 1:
            raise UsageError(f"majority is a share in [0, 1), found {self.majority!r}: correct the spec")
        lengths = (self.token_tolerance_hours, self.bar_grace_minutes, self.stale_bars, self.profile_band_pct)
        if min(lengths) <= 0 or self.min_returns < 3 or self.smart_trades < 1:
            raise UsageError(f"tolerances, bands and counts must be positive, found {self!r}: correct the spec")
        if not 0 < self.trades_coverage <= 1 or not 0 < self.smart_win_share <= 1:
            raise UsageError(f"coverage and win share lie in (0, 1], found {self!r}: correct the spec")

    @property
    def lag_tolerance(self) -> timedelta:
        """How much older than asked for a value from before may be."""
        return self.lag_tolerance_minutes * MINUTE

    @property
    def token_tolerance(self) -> timedelta:
        """How long what was told of a token is taken to hold."""
        return self.token_tolerance_hours * HOUR

    @property
    def bar_grace(self) -> timedelta:
        """How long after its end a longer bar waits for its last part."""
        return self.bar_grace_minutes * MINUTE
