"""What counts as sound, as numbers.

Belongs here: bounds, weights, the floor. Stays out: how they are applied.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

from pipeline.errors import UsageError
from pipeline.tables import QUALITY_PARTS

WEIGHTS: Final = MappingProxyType(
    {"completeness": 25.0, "validity": 20.0, "uniqueness": 20.0, "timeliness": 15.0, "coverage": 15.0, "balance": 5.0}
)


@dataclass(frozen=True)
class QualitySpec:
    """When a figure is a warning, what the parts of the score weigh, and when a score holds promotion.

    Attributes:
        days: how much of a table is looked at, back from now.
        weights: of the parts; those that do not apply are left out, and the others weigh the more.
        max_null_share: missing values of a column; also by how much more than usual may be missing.
        max_outlying_share: outliers of a column; also by how many more than usual there may be.
        max_robust_z: |0.6745 (x - median) / MAD| beyond which a value is an outlier.
        min_values: with fewer different values (a pool's that repeat count once) nobody can tell which lie far off.
        max_imbalance: the most frequent outcome against the least frequent one.
        min_coverage: what was seen of what was due.
        worst_share: of columns; a part of columns is judged by these, the worst ones.
        late_until: at so many times the allowed age the timeliness is 0.
        usual_days: how far back reports say what is usual.
        min_usual: as few reports say nothing of what is usual.
        forest_rows: rows the isolation forest is made from and asked about, at most.
        forest_trees: trees of that forest.
        forest_seed: of its chance, and of the choice of rows.
        min_forest_pools: with fewer pools no forest is made.
        floor: below this score promotion is held.
        warn_floor: below this score the check warns.
        confirm: so many reports in a row, of as many hours, hold promotion, and so many good ones release it.
        max_age_hours: an older report says nothing, and a longer gap between two breaks their row.

    Raises:
        UsageError: the weights are not those of the parts, or a number makes no sense.
    """

    days: int = 1
    weights: Mapping[str, float] = field(default_factory=lambda: WEIGHTS)
    max_null_share: float = 0.10
    max_outlying_share: float = 0.10
    max_robust_z: float = 3.0
    min_values: int = 20
    max_imbalance: float = 10.0
    min_coverage: float = 0.90
    worst_share: float = 0.10
    late_until: float = 4.0
    usual_days: int = 28
    min_usual: int = 3
    forest_rows: int = 5_000
    forest_trees: int = 100
    forest_seed: int = 0
    min_forest_pools: int = 20
    floor: float = 70.0
    warn_floor: float = 80.0
    confirm: int = 3
    max_age_hours: float = 26.0

    def __post_init__(self) -> None:
        if set(self.weights) != set(QUALITY_PARTS) or min(self.weights.values()) <= 0:
            raise UsageError(f"weights must be positive, one for each of {QUALITY_PARTS!r}; found {self.weights!r}")
        if not (self.confirm >= 1 and self.late_until > 1 and 0 < self.worst_share <= 1 and self.max_age_hours > 0):
            raise UsageError(
                f"no report can be judged by {self!r}: it needs confirm >= 1, late_until > 1, worst_share in "
                "(0, 1] and max_age_hours > 0"
            )


QUALITY: Final = QualitySpec()
