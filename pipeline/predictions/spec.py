"""When a model may speak, and when what it said counts.

Belongs here: the conditions under which a snapshot is due, is scored, and is evidence. Stays out: how they are applied
(`due`, `scoring`, `outcomes`), and which ages a model was trained on, which the graph passes on.
"""

from dataclasses import dataclass
from datetime import timedelta

from pipeline.calendars import HOUR, MINUTE
from pipeline.errors import UsageError


@dataclass(frozen=True)
class PredictionSpec:
    """The conditions of scoring.

    Attributes:
        min_age_hours: youngest pool the model was trained on; younger ones are not scored.
        max_age_hours: oldest pool the model was trained on; older ones are not scored.
        needed_share: what such a share of the rows had that a model learned from, it needs. Of a quiet pool half of the
            features are null; what nine rows in ten had, a row must have most of.
        min_completeness: smallest share of the features the model needs that must not be null.
        sum_tolerance: how far a row's probabilities may be from summing to one.
        every_minutes: how often a model in service looks at the pools; a replay looks as often.
        due_hours: a snapshot older than this is not due any more, scored or not.
        prompt_share: what was said later than this share of the horizon after its snapshot is no evidence. By then a
            pool may have become a rug, and only those that did not would be left to be judged.

    Raises:
        UsageError: a number lies outside its range.
    """

    min_age_hours: float
    max_age_hours: float
    needed_share: float = 0.9
    min_completeness: float = 0.8
    sum_tolerance: float = 1e-6
    every_minutes: int = 15
    due_hours: int = 48
    prompt_share: float = 0.1

    def __post_init__(self) -> None:
        shares = (self.needed_share, self.min_completeness)
        if not (0 <= self.min_age_hours <= self.max_age_hours and 0 <= min(shares) <= max(shares) <= 1):
            raise UsageError(f"nothing can be scored under {self!r}: 0 <= min age <= max age, shares in [0, 1]")
        if self.every_minutes < 1 or self.due_hours < 1 or not 0 < self.prompt_share <= 1:
            raise UsageError(f"nothing is ever due under {self!r}: times are above 0, the share in (0, 1]")

    @property
    def every(self) -> timedelta:
        """How often a model looks."""
        return self.every_minutes * MINUTE

    @property
    def due(self) -> timedelta:
        """How long a snapshot is due."""
        return self.due_hours * HOUR
