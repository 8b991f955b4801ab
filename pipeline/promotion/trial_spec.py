"""The rule of a trial and of what comes after it, in numbers.

Belongs here: how long a challenger runs in the champion's shadow, when its verdict counts, and when a champion goes.
Stays out: the offline rule (`spec`), and how the numbers are applied (`trial`, `guards`).
"""

from dataclasses import dataclass, field
from typing import Final

from pipeline.errors import UsageError


@dataclass(frozen=True)
class GuardSpec:
    """When a guard speaks; each compares the champion with the one before it on the same snapshots.

    Attributes:
        window_hours: how far back a guard looks.
        days_before: how far before it took charge the two are looked at in health.
        min_pools: pools both were asked about in the window; with fewer no guard speaks.
        max_failed_share: by how much the share of snapshots that it alone could not answer may exceed that in health; a
            mean over pools.
        latency_ratio: how many times the other's time a row it may take, by medians; of one that was slower in health
            already, how many times that.
        min_latency_ms: below this nobody is slow.
        rate_jump: how far a class's mean probability may move away from the other's, against their distance before.
        rate_errors: how many standard errors (over pools) the jump must exceed that by.
    """

    window_hours: float = 6.0
    days_before: float = 28.0
    min_pools: int = 20
    max_failed_share: float = 0.1
    latency_ratio: float = 10.0
    min_latency_ms: float = 5.0
    rate_jump: float = 0.2
    rate_errors: float = 4.0


@dataclass(frozen=True)
class TrialSpec:
    """The rule of a trial.

    Attributes:
        min_hours: shortest trial.
        min_predictions: fewest matured predictions.
        min_coverage: smallest share of the champion's predictions that the challenger made as well.
        margin: by how many nats the challenger's loss must be lower for a bet on it to be fair.
        max_pools: with these seen and nothing proven, the trial is over.
        max_days: the same for time.
        harm_alpha: the chance that a champion that is no worse than the one before it is ever thrown out; also that a
            challenger is rejected for one of its further horizons, in which it is no worse.
        cooldown_hours: after a champion was thrown out, nobody takes charge for this long.
        guards: when a champion goes at once.

    Raises:
        UsageError: a number lies outside its range.
    """

    min_hours: float = 24.0
    min_predictions: int = 100
    min_coverage: float = 0.95
    margin: float = 0.0
    max_pools: int = 50_000
    max_days: float = 28.0
    harm_alpha: float = 0.01
    cooldown_hours: float = 72.0
    guards: GuardSpec = field(default_factory=GuardSpec)

    def __post_init__(self) -> None:
        if not (0 <= self.margin < 1 and 0 < self.min_coverage <= 1 and 0 < self.harm_alpha < 1 and self.max_pools > 0):
            raise UsageError(
                f"no trial can be held under {self!r}: it needs 0 <= margin < 1, coverage in (0, 1], alpha in (0, 1)"
            )


TRIAL: Final = TrialSpec()
