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

    def __post_init__(self) -> None:
        if not (0 <= self.min_gain < 1 and 0 < self.confidence < 1 and self.n_resamples >= 100 and self.min_pools >= 2):
            raise UsageError(
                f"no verdict can be reached under {self!r}: it needs gain in [0, 1), confidence in (0, 1), at least"
                " 100 draws and 2 pools"
            )
        if self.loss not in LOSSES:
            raise UsageError(f"no verdict can be reached under {self!r}: a loss is one of {LOSSES!r}")


OUTCOME: Final = PromotionSpec()
"""Who may take charge of `pool-outcome`."""
RETURN: Final = PromotionSpec(model_name="pool-return", loss="squared_error", min_gain=0.01)
"""Who may take charge of `pool-return`. A forecast of ranks with a correlation of 0.1 to what comes explains 1 % of it,
and that is a good one: 5 % are not of this world."""
