"""The thresholds that an outcome and its return must agree on.

Belongs here: the thresholds as an argument of the meaning, for stages and expectations never import one another: who
knows the labels' spec hands it in. Stays out: how an outcome is found (`pipeline.labels`).
"""

from dataclasses import dataclass, fields
from typing import Any, Final


@dataclass(frozen=True)
class OutcomeBands:
    """The fields of `pipeline.labels.spec.LabelsSpec` that a label's row can be held to; all changes in percent.

    The defaults are the spec's own; a test holds the two together.
    """

    rug_price_pct: float = -80.0
    rug_reserve_price_pct: float = -50.0
    rug_drained_pct: float | None = None
    moon_pct: float = 100.0
    pump_pct: float = 30.0
    stable_pct: float = 5.0
    decline_pct: float = -30.0
    barrier_upper_pct: float = 30.0
    barrier_lower_pct: float = -30.0

    @classmethod
    def of(cls, spec: Any) -> "OutcomeBands":
        """The bands of a spec that has all of these fields."""
        return cls(**{field.name: getattr(spec, field.name) for field in fields(cls)})


BANDS: Final = OutcomeBands()
NEAR: Final = 1e-6
"""Percentage points: a return is a quotient made twice, and on the very edge the two differ in their last digits."""
