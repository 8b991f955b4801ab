"""What a report on drift is made from, gathered by the graph.

Belongs here: which rows there are, and what the reports before saw. Stays out: choosing the rows (`windows`,
`reference`), and what is made of them (`report`), which is slow to import.
"""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

import polars as pl

from pipeline.monitoring.drift.alarm import ASKS, SEEN, Look
from pipeline.monitoring.drift.reference import Learned, Reference
from pipeline.monitoring.drift.windows import Births
from pipeline.tables import OUTCOMES

PROBABILITIES: Final = tuple(f"p_{outcome}" for outcome in OUTCOMES)


@dataclass(frozen=True)
class Evidence:
    """What a report is made from. Every frame has `network`, `pool`, `event_time` and, but for `errors`, `born`.

    Attributes:
        source: whose pools they are.
        learned: the champion.
        reference: what it learned from: features, and `outcome`.
        evaluated: what it said of its own last block: `p_OUTCOME`, `label`.
        current: features of the pools born in `lately`.
        said: what it said of them: `p_OUTCOME`.
        labelled: `outcome` of the pools born in `matured`, whatever was said of them.
        judged: what it said of those, with what came: `p_OUTCOME`, `label`; evidence only.
        errors: `matured_at` and `loss` of all its evidence since it took charge.
        lately: pools that had the time to reach every age.
        matured: pools that had the time to get their labels as well.
    """

    source: str
    learned: Learned
    reference: Reference
    evaluated: pl.DataFrame = field(repr=False)
    current: pl.DataFrame = field(repr=False)
    said: pl.DataFrame = field(repr=False)
    labelled: pl.DataFrame = field(repr=False)
    judged: pl.DataFrame = field(repr=False)
    errors: pl.DataFrame = field(repr=False)
    lately: Births
    matured: Births


def looks_of(reports: pl.DataFrame) -> list[Look]:
    """What the reports on one version saw and did, oldest first.

    Args:
        reports: rows of `tables.DRIFT_REPORTS` of one version.
    """
    told = reports.filter(pl.col("kind") == "alarm").sort("known_at")
    looks = []
    for (known_at,), rows in told.group_by("known_at", maintain_order=True):
        said = dict(rows.select("subject", "is_drifted").iter_rows())
        assert isinstance(known_at, datetime)  # noqa: S101  # the column holds times
        looks.append(Look(known_at, rows["window_end"][0], said.get(SEEN), said.get(ASKS) is True))
    return looks
