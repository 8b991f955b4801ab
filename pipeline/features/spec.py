"""What the features' science is: thresholds and tolerances.

Belongs here: every number in a feature that somebody might want to move. Stays out: windows that are part of a
feature's name (an hour, a day).
"""

from dataclasses import dataclass
from datetime import timedelta

from pipeline.calendars import MINUTE
from pipeline.errors import UsageError


@dataclass(frozen=True)
class FeaturesSpec:
    """Thresholds of the features.

    Attributes:
        lag_tolerance_minutes: a value from before is taken from the latest snapshot at or before that time, unless
            it is older than this; then the value is null. Wide enough for the second tier's interval.
        spike_ratio: the last 5 min against the mean 5 min of the last hour, from which on it is a spike.
        pump_change_pct: price change over 5 min beyond which (up: pump, down: dump) a flag can be raised.
        majority: share of the trades of the last 5 min that must be exceeded by the flag's side.

    Raises:
        UsageError: a threshold has no meaning.
    """

    lag_tolerance_minutes: int = 15
    spike_ratio: float = 3.0
    pump_change_pct: float = 10.0
    majority: float = 0.5

    def __post_init__(self) -> None:
        if self.lag_tolerance_minutes < 0 or self.spike_ratio <= 0 or self.pump_change_pct <= 0:
            raise UsageError(f"tolerance, ratio and change must be positive, found {self!r}: correct the spec")
        if not 0 <= self.majority < 1:
            raise UsageError(f"majority is a share in [0, 1), found {self.majority!r}: correct the spec")

    @property
    def lag_tolerance(self) -> timedelta:
        """How much older than asked for a value from before may be."""
        return self.lag_tolerance_minutes * MINUTE
