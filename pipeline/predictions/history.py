"""What was said, with what became of it beside.

Belongs here: choosing and joining rows to look at. Stays out: how they are shown (`cli`).
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

import polars as pl

from pipeline.calendars import END_OF_TIME, EPOCH, Span, require_utc
from pipeline.errors import UsageError
from pipeline.lake import Lake
from pipeline.tables import OUTCOMES, PREDICTION_OUTCOMES, PREDICTIONS

SHOWN: Final = (
    "event_time", "known_at", "network", "pool", "model_name", "model_version", "role", "horizon_hours", "says",
    "p_says", "p_RUG", "end", "p_outcome", "log_loss", "return_end_pct", "is_evidence",
)  # fmt: skip
"""Columns of a history: what was most probable (`says`), and how it ended (`end`: an outcome, a reason, pending)."""
_MOST: Final = 2**32 - 1
"""Rows that a frame can hold; whoever asks for more means all."""


@dataclass(frozen=True)
class Wanted:
    """Which predictions; None: all. `since` and `until` are of the snapshot, the latter left out.

    Raises:
        UsageError: a limit below one, a version that no registry counts to, or a stretch that ends before it begins.
    """

    pool: str | None = None
    model_name: str | None = None
    version: int | None = None
    since: datetime | None = None
    until: datetime | None = None
    limit: int = 50

    def __post_init__(self) -> None:
        if self.limit < 1:
            raise UsageError(f"asked for {self.limit!r} predictions: ask for one or more")
        if self.version is not None and not 1 <= self.version < 2**63:
            raise UsageError(f"asked for predictions of version {self.version!r}: versions count from 1")
        Span(self.since or EPOCH, self.until or END_OF_TIME)

    @property
    def span(self) -> Span:
        """The stretch of snapshots."""
        return Span(require_utc(self.since or EPOCH), require_utc(self.until or END_OF_TIME))


def history(lake: Lake, wanted: Wanted) -> pl.DataFrame:
    """The newest predictions that were asked for, newest first, with their outcomes: columns `SHOWN`."""
    named = {"pool": wanted.pool, "model_name": wanted.model_name, "model_version": wanted.version}
    chosen = [pl.col(name) == value for name, value in named.items() if value is not None]
    newest_first = ["event_time", "pool", "network", "source", "model_name", "model_version", "horizon_hours"]
    said = (
        lake.scan(PREDICTIONS, wanted.span)
        .filter(*chosen)
        .drop("inputs")
        .sort(newest_first, descending=[True, *[False] * (len(newest_first) - 1)])
        .head(min(wanted.limit, _MOST))
        .collect()
    )
    key = list(PREDICTION_OUTCOMES.key)
    told = ("status", "censor_reason", "outcome", "p_outcome", "log_loss", "return_end_pct", "is_evidence")
    ended = lake.scan(PREDICTION_OUTCOMES, wanted.span).filter(*chosen).select(*key, *told).collect()
    probabilities = pl.concat_list(f"p_{outcome}" for outcome in OUTCOMES)
    return (
        said.join(ended, on=key, how="left", maintain_order="left")
        .with_columns(
            probabilities.list.arg_max()
            .replace_strict(dict(enumerate(OUTCOMES)), return_dtype=pl.String)
            .alias("says"),
            probabilities.list.max().alias("p_says"),
            pl.coalesce("outcome", "censor_reason", "status", pl.lit("pending")).alias("end"),
        )
        .select(SHOWN)
    )
