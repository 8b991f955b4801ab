"""What the watch over drift looks at, and when it speaks, in numbers.

Belongs here: windows, sizes, levels, hysteresis and cool-down. Stays out: how two samples are compared (`spec`), which
ages and horizon a model has, which the graph passes on.
"""

from dataclasses import dataclass, field
from datetime import timedelta

from pipeline.calendars import HOUR
from pipeline.errors import UsageError
from pipeline.monitoring.drift.spec import DriftSpec


@dataclass(frozen=True)
class WatchSpec:
    """The rule of the watch.

    Attributes:
        window_hours: pools whose first hours ended within this time are looked at.
        last_age_hours: the first hours of a pool: decisions at older ages are left out. Every hour of age is an hour of
            delay, as a pool is looked at once it has had the time to reach all of them.
        max_reference_pools: pools kept as the reference, drawn with a seed that the model's hash gives.
        min_pools: with fewer on either side nothing is concluded.
        min_day_pools: a day of the reference counts as one with at least so many pools.
        min_days: fewest such days that say how much days differ anyhow.
        max_days: days of the reference that the classifier is asked about, as each costs a fit.
        alpha: level of the shares of labels and of the classifier; that of the features is in `drift`.
        min_auc: the classifier must tell old from new at least so well.
        harm_alpha: level of the loss's increase.
        min_increase: smallest increase of the loss that counts as harm, nats.
        n_resamples: permutations and bootstrap draws of a loss.
        n_confirmed: the alarm stands after so many reports in a row that saw a shift with harm, and falls after so many
            that did not.
        apart_hours: reports whose windows end less than this after the last one counted do not count.
        cooldown_hours: an alarm that still stands asks again only after this.
        adwin_delta: of ADWIN, the chance that a cut is none.
        loss_cap: losses above this count as this much in ADWIN, nats; its guarantee needs a bound.
        drift: how two samples are compared.

    Raises:
        UsageError: a number lies outside its range.
    """

    window_hours: int = 24
    last_age_hours: int = 4
    max_reference_pools: int = 2_000
    min_pools: int = 25
    min_day_pools: int = 10
    min_days: int = 4
    max_days: int = 5
    alpha: float = 0.05
    min_auc: float = 0.6
    harm_alpha: float = 0.01
    min_increase: float = 0.05
    n_resamples: int = 1_999
    n_confirmed: int = 2
    apart_hours: int = 6
    cooldown_hours: int = 72
    adwin_delta: float = 0.002
    loss_cap: float = 4.0
    drift: DriftSpec = field(default_factory=DriftSpec)

    def __post_init__(self) -> None:
        counts = (
            self.window_hours, self.last_age_hours, self.max_reference_pools, self.min_pools, self.min_day_pools,
            self.min_days, self.n_resamples, self.n_confirmed, self.apart_hours,
        )  # fmt: skip
        levels = (self.alpha, self.harm_alpha, self.adwin_delta)
        if min(counts) < 1 or min(self.max_days, self.cooldown_hours, self.min_increase) < 0:
            raise UsageError(f"no watch can be kept under {self!r}: counts and hours must be at least 1")
        if not all(0 < level < 1 for level in levels) or not self.loss_cap > 0 or not 0.5 <= self.min_auc < 1:
            raise UsageError(f"no watch can be kept under {self!r}: levels lie in (0, 1), min_auc in [0.5, 1)")
        if self.n_resamples < 1 / self.harm_alpha:
            raise UsageError(
                f"{self.n_resamples!r} resamples can never prove harm at {self.harm_alpha!r}: draw at least"
                f" {int(1 / self.harm_alpha)}"
            )

    @property
    def window(self) -> timedelta:
        """How long pools are gathered."""
        return self.window_hours * HOUR

    @property
    def apart(self) -> timedelta:
        """How far the windows of two reports must lie apart for both to count."""
        return self.apart_hours * HOUR

    @property
    def cooldown(self) -> timedelta:
        """How long an alarm that asked is silent."""
        return self.cooldown_hours * HOUR
