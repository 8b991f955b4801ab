"""Which snapshots are due to be scored, chosen once for every role and before any model is asked.

Belongs here: the choice, live and in a replay, and what was said already. Stays out: asking (`scoring`).

Live, the newest snapshot of each pool is due, now. In a replay of a recording the clock stands still while everything
is dated as we would have learned it; a version that was in its role when a snapshot was learned would have scored it at
once. So there each pool's newest snapshot of every look is due, dated when it was learned. What was learned before
anybody was in a role can only be scored with hindsight, dated now; it is evidence of nothing.
"""

from datetime import datetime

import polars as pl

from pipeline.calendars import require_utc
from pipeline.predictions.spec import PredictionSpec
from pipeline.tables import POOL_KEY, POOL_TIME_KEY


def due_live(features: pl.LazyFrame, now: datetime, spec: PredictionSpec) -> pl.DataFrame:
    """Each pool's newest snapshot that is known, of an age that models were trained on or unknown, and not too old.

    Args:
        features: rows of `tables.FEATURES`, in any order.
        now: UTC.
        spec: ages, and how long a snapshot is due.

    Returns:
        the same columns, `said_at` (now) and `is_hindsight` (no), one row a pool, in order of the key.
    """
    recent = _told(features, now, spec).filter(pl.col("event_time") > now - spec.due)
    return _newest(recent).with_columns(pl.lit(now).alias("said_at"), pl.lit(False).alias("is_hindsight"))


def due_in_replay(
    features: pl.LazyFrame, now: datetime, since: datetime, learned_until: datetime, spec: PredictionSpec
) -> pl.DataFrame:
    """Each pool's newest snapshot of every look since `since`, and with hindsight the newest of pools without any.

    Args:
        features: rows of `tables.FEATURES`, in any order.
        now: where the clock stands, UTC.
        since: when the first version took a role, UTC.
        learned_until: what the champion learned from ends here; hindsight begins after it.
        spec: ages, and how often a model looks.

    Returns:
        the same columns, `said_at` (when the snapshot was learned, or now with hindsight) and `is_hindsight`, in order
        of the key. A snapshot that was learned at `since` itself is scored at once.
    """
    told = _told(features, now, spec)
    served = told.filter(pl.col("known_at") >= since)
    look = (pl.col("known_at") - pl.duration(microseconds=1)).dt.truncate(f"{spec.every_minutes}m").alias("look")
    at_once = served.sort(*POOL_TIME_KEY).with_columns(look)
    at_once = at_once.unique([*POOL_KEY, "look"], keep="last", maintain_order=True).drop("look")
    before = told.filter(pl.col("known_at") < since, pl.col("event_time") > learned_until)
    late = _newest(before).join(served.select(POOL_KEY), on=POOL_KEY, how="anti")
    return pl.concat(
        [
            at_once.with_columns(pl.col("known_at").alias("said_at"), pl.lit(False).alias("is_hindsight")),
            late.with_columns(pl.lit(now).alias("said_at"), pl.lit(True).alias("is_hindsight")),
        ]
    ).sort(*POOL_TIME_KEY)


def _told(features: pl.LazyFrame, now: datetime, spec: PredictionSpec) -> pl.DataFrame:
    """What is known by now, of an age that models were trained on, or of none that is known; no other row is read."""
    age = pl.col("age_hours")
    of_age = age.is_null() | age.is_between(spec.min_age_hours, spec.max_age_hours)
    return features.filter(pl.col("known_at") <= require_utc(now), pl.col("event_time") <= now, of_age).collect()


def _newest(told: pl.DataFrame) -> pl.DataFrame:
    return told.sort(*POOL_TIME_KEY).unique(POOL_KEY, keep="last", maintain_order=True)
