"""Which tables are confirmed to lie below a floor, by their scores in a row.

Belongs here: the hysteresis. One bad report is an accident, and one good report after many bad ones may be another:
`confirm` reports in a row change the verdict, either way. Stays out: who is held by it (the assets ask).
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

import polars as pl

from pipeline.monitoring.quality.spec import QualitySpec


@dataclass(frozen=True)
class Low:
    """A table that is confirmed to lie below a floor.

    `score` is that of its last report. It may be above the floor again, as `n_good` reports in a row are: fewer than it
    takes.
    """

    table: str
    score: float
    floor: float
    since: datetime
    n_good: int

    @property
    def in_words(self) -> str:
        """As promotion tells it."""
        since = f"since {self.since:%Y-%m-%d %H:%M} UTC"
        if not self.n_good:
            return f"quality of {self.table} {self.score:.1f} is below {self.floor:g} {since}"
        lately = f"the last {self.n_good} reports are above, and it takes more"
        return f"quality of {self.table} was below {self.floor:g} {since}; {lately}"


def confirmed_low(reports: pl.DataFrame, floor: float, now: datetime, spec: QualitySpec) -> tuple[Low, ...]:
    """The tables confirmed to lie below the floor as of now, by name.

    Of several reports of an hour the last counts: to look three times in a minute confirms nothing. Old reports say
    nothing, so that a watch which was switched off holds nobody: after `max_age_hours` without one the row begins anew.

    Args:
        reports: rows of `tables.QUALITY_REPORTS` of one source; those of a score are looked at.
        floor: the score below which a report is low.
        now: later reports are not known yet.
        spec: how many reports it takes, and when they are too old.
    """
    scores = reports.filter(pl.col("part") == "score", pl.col("score").is_not_null(), pl.col("known_at") <= now)
    hourly = scores.sort("known_at").group_by("table_name", pl.col("known_at").dt.truncate("1h").alias("hour")).last()
    found = []
    for (name,), rows in hourly.sort("table_name", "known_at").group_by("table_name", maintain_order=True):
        points = list(rows.select("known_at", "score").iter_rows())
        if now - points[-1][0] > timedelta(hours=spec.max_age_hours):
            continue
        since, n_good = _walked(points, floor, spec)
        if since is not None:
            found.append(Low(str(name), float(points[-1][1]), floor, since, n_good))
    return tuple(found)


def why_held(lows: Iterable[Low]) -> str:
    """Why nobody takes charge for now; empty if nothing hinders."""
    told = "; ".join(low.in_words for low in lows)
    return told and f"promotion is held: {told}"


def _walked(points: list[tuple[datetime, float]], floor: float, spec: QualitySpec) -> tuple[datetime | None, int]:
    """Since when it is confirmed low (None: it is not), and how many good reports it ends with."""
    since: datetime | None = None
    before: datetime | None = None
    row: list[datetime] = []
    for at, score in points:
        if before is not None and at - before > timedelta(hours=spec.max_age_hours):
            since, row = None, []
        before = at
        row = [*row, at] if (score < floor) != (since is not None) else []
        if len(row) >= spec.confirm:
            since, row = (row[0] if since is None else None), []
    return since, len(row) if since is not None else 0
