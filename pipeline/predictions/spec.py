"""When a model may speak.

Belongs here: the conditions under which a features row is scored. Stays out: the scoring (`scoring`), and which ages a
model was trained on, which the graph passes on from its training set.
"""

from dataclasses import dataclass

from pipeline.errors import UsageError


@dataclass(frozen=True)
class PredictionSpec:
    """The conditions of scoring.

    Attributes:
        min_age_hours: youngest pool the model was trained on; younger ones are not scored.
        max_age_hours: oldest pool the model was trained on; older ones are not scored.
        min_completeness: smallest share of the model's features that must not be null.
        sum_tolerance: how far a row's probabilities may be from summing to one.
        is_hindsight_allowed: score rows whose horizon is over as well, as a replay of an ended recording does. Their
            `known_at` gives them away: written when the outcome could be known, they are evidence of nothing.

    Raises:
        UsageError: a number lies outside its range.
    """

    min_age_hours: float
    max_age_hours: float
    min_completeness: float = 0.8
    sum_tolerance: float = 1e-6
    is_hindsight_allowed: bool = False

    def __post_init__(self) -> None:
        if not (0 <= self.min_age_hours <= self.max_age_hours and 0 <= self.min_completeness <= 1):
            raise UsageError(f"nothing can be scored under {self!r}: 0 <= min age <= max age, completeness in [0, 1]")
