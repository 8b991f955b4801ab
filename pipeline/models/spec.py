"""What the science of training is: horizons, ages, splits, learner parameters, tolerances.

Belongs here: every constant a fitted model or its figures depend on. Stays out: anything about one run.
"""

import json
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from typing import Final, Literal, get_args

from pipeline.errors import UsageError

MODEL_NAME: Final = "pool-outcome"
FURTHER_HORIZONS_HOURS: Final = (1, 6)
"""What a model also tells, beside the outcome at the spec's own horizon: one head each, from the same training set."""
MODEL: Final = "model"
"""The trained model among the predictors of an evaluation; the others are baselines."""
BASELINES: Final = ("class_prior", "majority", "one_feature_rule")
"""What stands beside the model in every evaluation, and what a first champion must beat."""
LAST_BLOCK: Final = "last_block"
"""The block that only the final evaluation touches; the others are walk-forward folds."""
LOT_ALPHA: Final = 0.025
"""A high signal is called better than calling by lot up to this p-value, which is one-sided."""
RISING: Final = ("PUMP", "MOON")
"""The outcomes that a high signal is to announce, where they also paid (`TrainingSet.paid`)."""


type Learner = Literal["logistic", "random_forest", "lightgbm", "xgboost"]
type Kind = Literal["logistic", "random_forest", "lightgbm", "xgboost", "voted", "stacked"]
LEARNERS: Final[tuple[Learner, ...]] = get_args(Learner.__value__)
KINDS: Final[tuple[Kind, ...]] = get_args(Kind.__value__)
"""Simplest first: each learner by itself, then all of them by soft vote, and under a stacked model."""


@dataclass(frozen=True)
class CompetitionSpec:
    """How the kind of model and its parameters are found, on walk-forward folds before the last block.

    Attributes:
        learners: which compete; with two or more, so do the ensembles of all of them.
        n_trials: settings tried a learner, the defaults among them: at most so many.
        trial_rows: what bounds them on many rows: all trials of a learner together fit about as many rows at most.
            At least two settings are tried.
        n_kept: how many features a learner may keep; the first is the default.
        powers: how far rare outcomes may be weighted up; the first is the default.
        spread_from_rows: an XGBoost fit on at least so many rows is made by all workers of a cluster together
            (`learners.xgboost_spread`), which is another model than one worker's; None: never.
    """

    learners: tuple[Learner, ...] = LEARNERS
    n_trials: int = 8
    trial_rows: int = 120_000
    n_kept: tuple[int, ...] = (80, 40, 160)
    powers: tuple[float, ...] = (0.0, 0.5)
    spread_from_rows: int | None = None

    def __post_init__(self) -> None:
        if not self.learners or set(self.learners) - set(LEARNERS) or len(set(self.learners)) != len(self.learners):
            raise UsageError(f"learners {self.learners!r}: expected different ones of {LEARNERS!r}")
        if self.n_trials < 1 or self.trial_rows < 1 or not self.n_kept or min(self.n_kept) < 1 or not self.powers:
            raise UsageError(
                "expected at least one trial, one number of features >= 1 and one power, found "
                f"{(self.n_trials, self.trial_rows, self.n_kept, self.powers)!r}"
            )

    def trials_on(self, n_rows: int) -> int:
        """How many settings of a learner are tried where one setting fits `n_rows` rows over all folds.

        >>> CompetitionSpec().trials_on(1_000), CompetitionSpec().trials_on(40_000), CompetitionSpec().trials_on(10**6)
        (8, 3, 2)
        """
        return min(self.n_trials, max(2, self.trial_rows // max(1, n_rows)))


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
    min_child_weight: float = 5.0
    feature_auc_bound: float = 0.97
    min_pools_per_class: int = 10


@dataclass(frozen=True)
class TrainingSpec:
    """What a training set holds and how a model is fitted and judged.

    `decision_ages_hours`: one row a pool and age, the first snapshot at or after that age and less than
    `age_tolerance_hours` later. `last_block_share`: the share of pools, newest by birth, that forms the last block;
    its edge is a moment in time. `max_false_positive_rate`: of the high signal, see `conformal`. `probability_epsilon`
    is what the majority rule leaves to each other class.

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
    competition: CompetitionSpec = field(default_factory=CompetitionSpec)
    max_false_positive_rate: float = 0.03
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
        if self.horizon_hours < 1 or not 0 < self.max_false_positive_rate < 1:
            raise UsageError(
                "expected a horizon of at least 1 h and 0 < max_false_positive_rate < 1, found "
                f"{self.horizon_hours!r} and {self.max_false_positive_rate!r}"
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
