"""The rule of promotion in numbers.

Belongs here: every threshold of the written rule, and the seed that makes a verdict repeatable.
Stays out: how the rule is applied (`gate`), and which versions it was applied to (the ledger).
"""

from dataclasses import dataclass
from typing import Final, Literal, get_args

from pipeline.errors import UsageError

type Loss = Literal["log_loss", "squared_error"]
LOSSES: Final[tuple[Loss, ...]] = get_args(Loss.__value__)
"""What a model is judged by: of a class's probability its logarithm, of a forecast its squared error."""
type Approval = Literal["none", "required"]
APPROVALS: Final[tuple[Approval, ...]] = get_args(Approval.__value__)
"""Whether a person must approve a version before it may take charge."""


@dataclass(frozen=True)
class PromotionSpec:
    """What a challenger must show before it may take over.

    Attributes:
        min_gain: smallest relative reduction of the loss, as a share (0.05 is 5 %); must be exceeded, not met.
        confidence: coverage of the gain's percentile interval, in (0, 1).
        n_resamples: bootstrap draws over pools.
        min_pools: with fewer pools nothing passes: the bootstrap interval of a handful of pools is far too narrow.
        seed: of the bootstrap; the same losses give the same verdict.
        model_name: the registered model.
        loss: what it is judged by.
        approval: `required`: a person must approve a version before it may take charge.

    Raises:
        UsageError: a number lies outside its range.
    """

    min_gain: float = 0.05
    confidence: float = 0.95
    n_resamples: int = 2_000
    min_pools: int = 30
    seed: int = 20_200_908
    model_name: str = "pool-outcome"
    loss: Loss = "log_loss"
    approval: Approval = "none"

    def __post_init__(self) -> None:
        if not (0 <= self.min_gain < 1 and 0 < self.confidence < 1 and self.n_resamples >= 100 and self.min_pools >= 2):
            raise UsageError(
                f"no verdict can be reached under {self!r}: it needs gain in [0, 1), confidence in (0, 1), at least"
                " 100 draws and 2 pools"
            )
        if self.loss not in LOSSES or self.approval not in APPROVALS:
            raise UsageError(
                f"no verdict can be reached under {self!r}: a loss is one of {LOSSES!r}, an approval of {APPROVALS!r}"
            )


OUTCOME: Final = PromotionSpec()
"""Who may take charge of `pool-outcome`."""
RETURN: Final = PromotionSpec(model_name="pool-return", loss="squared_error", min_gain=0.01)
"""Who may take charge of `pool-return`. A forecast of ranks with a correlation of 0.1 to what comes explains 1 % of it,
and that is a good one: 5 % are not of this world."""


@dataclass(frozen=True)
class BettingSpec:
    """How the sequential gate bets (`betting`). Any values are valid tests; they decide how soon the truth shows.

    Attributes:
        pools: numbers of pools, one a purse: after so many it needs the least evidence of all bets.
        shares: the part of the money that each purse gets; they add up to 1.
        late_share: the part that lies aside at first and is bet later on, in [0, 1).
        late_pools: after so many pools half of that has been handed out.
        prior_square: the mean square of differences that is assumed before any was seen.
        prior_pools: how many pools that assumption weighs.
        max_bet: the largest part of a purse that one pool can lose, in (0, 0.99].

    Raises:
        UsageError: a number lies outside its range.
    """

    pools: tuple[int, ...]
    shares: tuple[float, ...]
    late_share: float = 0.0
    late_pools: int = 500
    prior_square: float = 0.4
    prior_pools: float = 10.0
    max_bet: float = 0.9

    def __post_init__(self) -> None:
        is_shared = (
            len(self.pools) == len(self.shares) > 0 and min(self.shares) > 0 and abs(sum(self.shares) - 1) < 1e-9
        )
        is_sound = min(self.prior_square, self.prior_pools) > 0 and 0 < self.max_bet <= 0.99
        if not (is_shared and is_sound and min(self.pools) > 0 and 0 <= self.late_share < 1 and self.late_pools > 0):
            raise UsageError(
                f"cannot bet by {self!r}: it needs one share above 0 for each number of pools, together 1, a late share"
                " in [0, 1), positive priors and a largest bet in (0, 0.99]"
            )


BETTER: Final = BettingSpec(pools=(475, 3_000), shares=(0.97, 0.03))
"""Is the challenger better? Ten points of accuracy should show after a few hundred pools, almost surely after 1,000.
The second purse is there so that one or two points show at all, after thousands."""
HARM: Final = BettingSpec(pools=(95, 2_000), shares=(0.92, 0.08), late_share=0.08)
"""Is the model in charge worse than the one before it? A break should show after dozens of pools, late in a reign
too."""


@dataclass(frozen=True)
class AlphaSpec:
    """How a year's budget of error is shared among its challengers (`alpha`).

    Attributes:
        yearly: the chance of one false promotion or more in a calendar year, in (0, 1).
        n_expected: so many challengers a year get equal shares.
        tail_share: the part of the budget that is left for all that come after them, in (0, 0.5]: no share is then
            larger than one before it.

    Raises:
        UsageError: a number lies outside its range.
    """

    yearly: float = 0.10
    n_expected: int = 52
    tail_share: float = 0.10

    def __post_init__(self) -> None:
        if not (0 < self.yearly < 1 and self.n_expected >= 1 and 0 < self.tail_share <= 0.5):
            raise UsageError(
                f"cannot share a budget by {self!r}: it needs a budget in (0, 1), a tail in (0, 0.5], one challenger"
                " or more"
            )


YEARLY: Final = AlphaSpec()
"""What a year's challengers share."""
