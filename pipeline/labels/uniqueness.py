"""How much of a label is its own: average uniqueness among the labels of its pool and horizon.

Belongs here: the count of concurrent labels, on the grid. Stays out: what weight a model gives it (models).
"""

import numpy as np

from pipeline.labels.bars import Decisions, place
from pipeline.labels.direction import stretch_sums
from pipeline.labels.observations import States
from pipeline.labels.range_extrema import Floats
from pipeline.labels.spec import LabelsSpec


def average_uniqueness(states: States, decisions: Decisions, hours: int, spec: LabelsSpec) -> Floats:
    """Mean over (t, t + hours] of 1 / (windows of that length of the same pool that hold the moment), in (0, 1].

    Lopez de Prado, Advances in Financial Machine Learning (2018), ch. 4, with a decision at every snapshot. The number
    alive changes only where a window begins or ends, so time is cut there and each window adds up its own pieces.
    Exact wherever decisions are cut into spans, if `states` holds every snapshot of less than `hours` before and after.
    """
    slots = hours * 60 // spec.bar_minutes
    starts = states.keys
    edges, steps = np.concatenate([starts, starts + slots]), np.repeat([1, -1], len(starts))
    order = np.argsort(edges, kind="stable")
    edges, alive = edges[order], np.cumsum(steps[order])
    is_last = np.append(np.diff(edges) > 0, np.ones(min(len(edges), 1), bool))
    edges, alive = edges[is_last], alive[is_last]
    length = np.diff(edges, append=edges[-1:])
    # Between two pools nobody is alive; what lies there is no time.
    pieces = np.where(alive > 0, length / np.maximum(alive, 1), 0.0)
    first = place(decisions.pool_number, decisions.time, spec.bar_minutes)
    found = stretch_sums(pieces, np.searchsorted(edges, first), np.searchsorted(edges, first + slots))
    return found / slots
