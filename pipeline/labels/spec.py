"""What counts as a rug, a moon or a stable pool: the constants of the outcome rule.

Belongs here: thresholds and horizons, as plain values that can be hashed into a code version.
Stays out: how they are applied (`outcomes`, `paths`).
"""

from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from pipeline.errors import UsageError
from pipeline.tables import HORIZONS_HOURS

_OF_OUTCOMES: Final = (
    "rug_price_pct", "rug_reserve_pct", "rug_reserve_price_pct", "rug_drained_pct",
    "moon_pct", "pump_pct", "stable_pct", "decline_pct",
)  # fmt: skip


@dataclass(frozen=True)
class LabelsSpec:
    """Thresholds of the outcome rule; all `_pct` are changes against the price or reserve at the decision.

    A threshold is strict: a price that fell by exactly 80 % is no rug. `slack` is the relative width within which two
    numbers count as equal, because a price is a quotient of float64 reserves and the same price reached in two ways
    differs in its last digits.

    `rug_drained_pct` makes a reserve that fell further a rug whatever the price (None: off). Whoever withdraws a pool's
    liquidity takes both tokens in proportion, so the quotient of what is left, the price, need not move at all.

    Where no source vouches for the record, `gap_share` of the horizon is how far apart two observations of the reserve
    may lie. Liquidity that was pulled seldom comes back, so a drain is seen at the next observation however far it
    is; half a horizon finds 99 % of the rugs that a complete history shows (docs/label-agreement.md), and leaves room
    for a missed visit where the sampler looks twice as often, which it must (`watched`). A pool that was not heard of
    for `silence_hours`, twice the sampler's longest interval, has stopped answering. Its bars are told once a day, so
    nothing is given up before they may have come: `patience_hours` after the horizon.

    `position_usd`, `fee_pct` and `entry_share` are of the executable return: a position of so much, bought at the
    first snapshot after the decision, which must come within that share of the horizon.

    `direction_bars` is how few bar returns say nothing about a mean.

    Raises:
        UsageError: a horizon is not a whole number of bars, the bands are not in order, or a share is outside (0, 1].

    >>> LabelsSpec().horizons_hours
    (1, 6, 24)
    """

    horizons_hours: tuple[int, ...] = HORIZONS_HOURS
    bar_minutes: int = 5
    rug_price_pct: float = -80.0
    rug_reserve_pct: float = -90.0
    rug_reserve_price_pct: float = -50.0
    rug_drained_pct: float | None = None
    moon_pct: float = 100.0
    pump_pct: float = 30.0
    stable_pct: float = 5.0
    decline_pct: float = -30.0
    barrier_upper_pct: float = 30.0
    barrier_lower_pct: float = -30.0
    observation_share: float = 0.1
    gap_share: float = 0.5
    silence_hours: int = 8
    patience_hours: int = 26
    position_usd: float = 1_000.0
    fee_pct: float = 0.3
    entry_share: float = 0.25
    direction_bars: int = 10
    slack: float = 1e-9
    decisions_at_once: int = 500_000

    def __post_init__(self) -> None:
        if not self.horizons_hours or any(h < 1 or h * 60 % self.bar_minutes for h in self.horizons_hours):
            raise UsageError(
                f"horizons must be whole hours and whole {self.bar_minutes}-min bars, found {self.horizons_hours!r}"
            )
        bands = (self.rug_price_pct, self.decline_pct, -self.stable_pct, 0, self.stable_pct, self.pump_pct)
        if list(bands) != sorted(bands) or not self.pump_pct <= self.moon_pct or self.rug_price_pct < -100:
            raise UsageError(f"the outcome bands must not overlap, found {self!r}: order the thresholds")
        shares = (self.observation_share, self.gap_share, self.entry_share)
        if not all(0 < share <= 1 for share in shares):
            raise UsageError(f"shares of a horizon lie above 0 and up to 1, found {shares!r}")
        if self.position_usd <= 0 or not 0 <= self.fee_pct < 100 or self.direction_bars < 2:
            raise UsageError(
                f"a position is above 0 USD, a fee from 0 to below 100 %, a mean of 2 bars or more, found {self!r}"
            )

    @property
    def timeframe(self) -> str:
        """The candles' name for the bar length."""
        return f"{self.bar_minutes}min"

    @property
    def outcome_rule(self) -> dict[str, float | None]:
        """The thresholds that decide which outcome a label is, by name: what a model of outcomes is asked."""
        return {name: getattr(self, name) for name in _OF_OUTCOMES}

    @property
    def look_ahead(self) -> timedelta:
        """How far past a decision its bars may start: the longest horizon and the bar that holds its end."""
        return timedelta(hours=max(self.horizons_hours), minutes=self.bar_minutes)

    @property
    def observed_back(self) -> timedelta:
        """How far before a decision other decisions' windows may overlap its own."""
        return timedelta(hours=max(self.horizons_hours))

    @property
    def observed_ahead(self) -> timedelta:
        """How far past a decision its pool's snapshots matter: the longest horizon, and patience with a silent pool.

        >>> LabelsSpec().observed_ahead
        datetime.timedelta(days=1, seconds=43500)
        """
        longest = max(self.horizons_hours)
        patience = timedelta(hours=max(longest * self.gap_share, self.silence_hours))
        return timedelta(hours=longest, minutes=self.bar_minutes) + patience

    @property
    def maturity(self) -> timedelta:
        """How long after a decision its labels may still change by waiting alone.

        A silent source that vouches is given a horizon; one that does not, `patience_hours` for its bars, and half a
        horizon or `silence_hours` for its observations.

        >>> LabelsSpec().maturity
        datetime.timedelta(days=2, seconds=7200)
        """
        longest = max(self.horizons_hours)
        return timedelta(hours=longest + max(longest, self.silence_hours, self.patience_hours))

    def beyond(self, pct: float) -> float:
        """The ratio to the reference at which a change of more than `pct` begins, `slack` included.

        >>> round(LabelsSpec(slack=0.01).beyond(30), 4), round(LabelsSpec(slack=0.01).beyond(-80), 4)
        (1.313, 0.198)
        """
        return (100 + pct) / 100 * (1 + self.slack if pct > 0 else 1 - self.slack)

    def reaching(self, pct: float) -> float:
        """The ratio to the reference at which a barrier at `pct` is met, `slack` included.

        >>> round(LabelsSpec(slack=0.01).reaching(30), 4), round(LabelsSpec(slack=0.01).reaching(-30), 4)
        (1.287, 0.707)
        """
        return (100 + pct) / 100 * (1 - self.slack if pct > 0 else 1 + self.slack)
