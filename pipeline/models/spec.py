"""What the science of training is: horizons, ages, splits, learner parameters, tolerances.

Belongs here: every constant a fitted model or its figures depend on. Stays out: anything about one run.
"""

import json
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from typing import Final

from pipeline.errors import UsageError

MODEL_NAME: Final = "pool-outcome"
MODEL: Final = "model"
"""The trained model among the predictors of an evaluation; the others are baselines."""
BASELINES: Final = ("class_prior", "majority", "one_feature_rule")
"""What stands beside the model in every evaluation, and what a first champion must beat."""
LAST_BLOCK: Final = "last_block"
"""The block that only the final evaluation touches; the others are walk-forward folds."""


@dataclass(frozen=True)
class LearnerSpec:
    """Parameters of the gradient boosting (XGBoost `hist`), chosen on walk-forward folds before the last block.

    `n_rounds_max` is a bound; the rounds are found by early stopping on the newest `validation_share` of the pools
    of the training rows, and the model is then fitted again on all training rows with that many rounds. Where the
    purge leaves nothing to stop on (a recording of a few days), `n_rounds_unguided` is used. One thread: waiting for
    a second one costs a busy machine twenty times what it saves an idle one, and the bytes are the same.
    """

    max_depth: int = 3
    learning_rate: float = 0.07
    n_rounds_max: int = 400
    n_rounds_unguided: int = 100
    min_child_weight: float = 5.0
    subsample: float = 0.5
    colsample_bytree: float = 0.5
    reg_lambda: float = 20.0
    max_bin: int = 128
    early_stopping_rounds: int = 20
    validation_share: float = 0.2
    n_threads: int = 1


@dataclass(frozen=True)
class CanarySpec:
    """How hard the canaries listen.

    The permutation canary averages over permutations until the mean is known within the half-width of
    `auc_low`..`auc_high` (`canary_permutation.is_sure`): at most one sound training set in 200 is refused.
    `max_permutations` without reaching that means there are too few pools to tell, which does not pass either.
    """

    auc_low: float = 0.45
    auc_high: float = 0.55
    min_permutations: int = 5
    max_permutations: int = 40
    n_rounds: int = 10
    max_depth: int = 3
    learning_rate: float = 0.2
    feature_auc_bound: float = 0.97
    min_pools_per_class: int = 10


@dataclass(frozen=True)
class TrainingSpec:
    """What a training set holds and how a model is fitted and judged.

    `decision_ages_hours`: one row a pool and age, the first snapshot at or after that age and less than
    `age_tolerance_hours` later. `last_block_share`: the share of pools, newest by birth, that forms the last block;
    its edge is a moment in time. `probability_epsilon` is what the majority rule leaves to each other class.

    Raises:
        UsageError: the values contradict each other.
    """

    model_name: str = MODEL_NAME
    horizon_hours: int = 24
    decision_ages_hours: tuple[int, ...] = (1, 2, 4, 8, 16)
    age_tolerance_hours: int = 1
    headline_age_hours: int = 1
    last_block_share: float = 0.30
    n_folds: int = 4
    embargo_hours: int = 24
    learner: LearnerSpec = field(default_factory=LearnerSpec)
    canaries: CanarySpec = field(default_factory=CanarySpec)
    n_resamples: int = 1_000
    confidence: float = 0.95
    n_calibration_bins: int = 10
    n_rule_bins: int = 10
    probability_epsilon: float = 0.001
    seed: int = 20_200_908
    is_simulation_allowed: bool = False

    def __post_init__(self) -> None:
        gaps = [b - a for a, b in pairwise(self.decision_ages_hours)]
        if not self.decision_ages_hours or any(gap < self.age_tolerance_hours for gap in gaps):
            raise UsageError(
                f"decision ages must rise by at least the tolerance of {self.age_tolerance_hours!r} h, "
                f"found {self.decision_ages_hours!r}: one snapshot would stand for two ages"
            )
        if self.headline_age_hours not in self.decision_ages_hours:
            raise UsageError(f"headline age {self.headline_age_hours!r} is none of {self.decision_ages_hours!r}")
        if not 0 < self.last_block_share < 1 or self.n_folds < 1 or not 0 < self.confidence < 1:
            raise UsageError(
                "expected 0 < last_block_share < 1, n_folds >= 1 and 0 < confidence < 1, found "
                f"{self.last_block_share!r}, {self.n_folds!r}, {self.confidence!r}"
            )

    def as_json(self) -> str:
        """The spec as JSON with sorted keys: what goes into a training set's id."""
        return json.dumps(asdict(self), sort_keys=True)
