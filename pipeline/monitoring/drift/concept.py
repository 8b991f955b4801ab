"""Concept drift on the stream of errors: where the champion's loss changed its mean, by ADWIN.

Belongs here: the stream, one number a pool in the order in which what became of it was known, and its cuts. Stays out:
which outcomes count as evidence (the graph's business).

ADWIN (Bifet & Gavalda 2007, "Learning from time-changing data with adaptive windowing") keeps the longest stretch
whose halves do not differ by more than chance, and drops the older part where they do. Its bound needs numbers in
[0, 1], so a loss counts as at most `loss_cap` and is divided by it. A pool enters once, when its last outcome is known
and the horizon of its last decision is over: rugs are known first, and would else make every newest stretch look bad.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
import polars as pl

from pipeline.monitoring.drift.divergence import Floats
from pipeline.monitoring.drift.watch_spec import WatchSpec
from pipeline.monitoring.drift.windows import GROUP


@dataclass(frozen=True)
class Cut:
    """A change of the mean loss: when it was noticed, where it lies, its mean over pools before and after.

    Before and after reach to the changes next to it, or to the ends of the stream.
    """

    at: datetime
    changed_at: datetime
    n_before: int
    n_after: int
    before: float
    after: float

    @property
    def is_up(self) -> bool:
        """The loss went up."""
        return self.after > self.before


def stream(rows: pl.DataFrame) -> pl.DataFrame:
    """`at`, `network`, `pool`, `loss`: one row a pool, in the order in which what became of it was known.

    Args:
        rows: `network`, `pool`, `matured_at` (when the row's outcome counts), `loss`.
    """
    by_pool = rows.group_by(GROUP, maintain_order=True).agg(
        pl.col("matured_at").max().alias("at"), pl.col("loss").mean()
    )
    return by_pool.sort("at", *GROUP).select("at", *GROUP, "loss")


def cuts(losses: pl.DataFrame, spec: WatchSpec) -> list[Cut]:
    """Every change of the mean in a stream, oldest first.

    Args:
        losses: as `stream` gives it.
    """
    from river.drift import ADWIN  # noqa: PLC0415 - half a second to import, and few need it

    told = losses["loss"].clip(upper_bound=spec.loss_cap).to_numpy() / spec.loss_cap
    adwin: Any = ADWIN(delta=spec.adwin_delta)  # type: ignore[no-untyped-call]  # river ships no types
    begin = 0
    noticed: list[tuple[int, int]] = []
    for place, loss in enumerate(told.tolist()):
        adwin.update(loss)
        if adwin.drift_detected:
            noticed.append((place, begin + _split(told[begin : place + 1])))
            begin = place + 1  # ADWIN forgets what it kept as well, and begins anew
    return _cuts(losses, noticed)


def _split(told: Floats) -> int:
    """Where both sides' means differ most, for their sizes; ADWIN itself only knows whole buckets."""
    n, sums = len(told), told.cumsum()
    left = np.arange(1, n)
    apart = np.abs(sums[:-1] / left - (sums[-1] - sums[:-1]) / (n - left))
    return 1 + int(np.argmax(apart * np.sqrt(left * (n - left))))


def _cuts(losses: pl.DataFrame, noticed: list[tuple[int, int]]) -> list[Cut]:
    """Each change with the losses between it and its neighbours."""
    told, moments = losses["loss"].to_numpy(), losses["at"].to_list()
    edges = [0, *(split for _, split in noticed), len(told)]
    found = []
    for number, (place, split) in enumerate(noticed):
        old, new = told[edges[number] : split], told[split : edges[number + 2]]
        found.append(Cut(moments[place], moments[split], len(old), len(new), float(old.mean()), float(new.mean())))
    return found
