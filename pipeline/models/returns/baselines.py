"""What a model has to beat: no forecast at all, and two one-feature rules.

Belongs here: the rules. Stays out: figures.
"""

from collections.abc import Mapping
from typing import Final

import numpy as np

from pipeline.models.returns.calibration import slope
from pipeline.models.returns.dataset import Bench, Floats
from pipeline.models.returns.expressions import MOMENTUM_FEATURE, REVERSAL_FEATURE
from pipeline.models.splits import Rows

_RULES: Final[Mapping[str, tuple[str, float]]] = {
    "reversal": (REVERSAL_FEATURE, -1.0),
    "momentum": (MOMENTUM_FEATURE, 1.0),
}


def baseline_forecasts(bench: Bench, rows: Rows) -> dict[str, Floats]:
    """Forecasts of each baseline for `rows`, its slope fitted on all training rows of the bench.

    `no_forecast`: 0. `reversal`: what fell in the last hour rises (Lehmann 1990). `momentum`: what rose over a day goes
    on (Jegadeesh & Titman 1993). Both take the scaled feature; a rule whose sign the training rows contradict says 0.
    """
    train, table, scaled = bench.split.train, bench.table, bench.scaled
    said: dict[str, Floats] = {"no_forecast": np.zeros(len(rows))}
    for name, (feature, sign) in _RULES.items():
        raw = sign * scaled[:, table.names.index(feature)].astype(np.float64)
        said[name] = slope(raw[train], bench.y[train], table.pools(train)) * raw[rows]
    return said
