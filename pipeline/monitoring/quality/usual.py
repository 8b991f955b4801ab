"""What is usual: half of a quiet pool's features are missing by nature, and a third of its amounts lie far off.

Belongs here: medians over earlier reports. Stays out: what is beyond the usual (`score`).
"""

from datetime import datetime, timedelta

import polars as pl

from pipeline.monitoring.quality.outliers import MAD_OF_NORMAL
from pipeline.monitoring.quality.score import UNKNOWN, Usual
from pipeline.monitoring.quality.spec import QualitySpec


def usual_of(reports: pl.DataFrame, now: datetime, spec: QualitySpec) -> Usual:
    """The medians of each column's shares over the reports of the last `usual_days` that were above the floor.

    A fault that brings the score below the floor never becomes usual; one that stays above it does, after about half
    of those days, and is told as a plain warning all along.

    Args:
        reports: rows of `tables.QUALITY_REPORTS` of one source and table.
        now: only reports from before are looked at, so that one made again is the same.
        spec: how far back, and how many it takes.
    """
    lately = reports.filter(pl.col("known_at").is_between(now - timedelta(days=spec.usual_days), now, closed="left"))
    good = lately.filter(pl.col("part") == "score", pl.col("score") >= spec.floor)
    if good["known_at"].n_unique() < spec.min_usual:
        return UNKNOWN
    told = lately.join(good.select("known_at"), on="known_at", how="semi").drop_nulls("value")
    away = (pl.col("value") - pl.median("value")).abs().median() / MAD_OF_NORMAL
    habits = told.group_by("part", "subject").agg(pl.median("value"), spread=spec.max_robust_z * away, n=pl.len())
    known = habits.filter(pl.col("n") >= spec.min_usual, pl.col("subject") != "all")

    def of(part: str, figure: str) -> dict[str, float]:
        return dict(known.filter(pl.col("part") == part).select("subject", figure).iter_rows())

    return Usual(
        of("completeness", "value"), of("validity", "value"), of("completeness", "spread"), of("validity", "spread")
    )
