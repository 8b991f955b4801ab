"""What was seen of what the sampler's plan asked for.

Belongs here: counting visits that were due. Each snapshot says in `interval_minutes` when the next one is due, by the
rule of `pipeline.pools.sampler`: at the next multiple of the interval, counted from midnight UTC. So the table itself
tells what is missing in it, in a replay (grid points) as of the live market (visits). Stays out: the plan's making.
"""

from datetime import datetime, timedelta

import polars as pl

from pipeline.calendars import EPOCH, MINUTE, Span
from pipeline.tables import POOL_KEY


def visits(snapshots: pl.DataFrame, span: Span, follow: timedelta) -> pl.DataFrame:
    """For each pool how many visits of the span were due (`n_due`) and how many were made (`n_seen`).

    Where more was due than there were calls, the plan took each pool with its inclusion probability: so many of its
    visits were due. A visit that came late stands for the last that was due before it. A pool that was not seen in the
    span nor in the hours of `snapshots` before it is not counted: it had ended, or nothing says when it was due.

    Args:
        snapshots: source, network, pool, event_time, created_at, interval_minutes, inclusion_probability, from one
            longest interval before the span on.
        span: what is judged; it ends where nothing can still be under way.
        follow: how long after its birth a pool is visited.
    """
    minute, step = (pl.col("event_time") - EPOCH).dt.total_minutes(), pl.col("interval_minutes").cast(pl.Int64)
    start, end = (int((moment - EPOCH) / MINUTE) for moment in (span.start, span.end))
    over = pl.min_horizontal((pl.col("created_at") + follow - EPOCH).dt.total_minutes(), pl.lit(end))
    first_due = (minute // step + 1) * step
    due = first_due + pl.max_horizontal(-((first_due - start) // step), 0) * step  # those before the span are others'
    until = minute.shift(-1).over(POOL_KEY)
    between = pl.when(until.is_not_null()).then((until - due) // step).otherwise(-((due - over) // step))
    counted = snapshots.sort(*POOL_KEY, "event_time").select(
        *POOL_KEY, "inclusion_probability", seen=minute >= start, missed=pl.max_horizontal(between, 0)
    )
    both = (pl.sum("seen").cast(pl.Int64) + pl.sum("missed")) * pl.mean("inclusion_probability")
    plan = counted.group_by(POOL_KEY).agg(n_due=both, n_seen=pl.sum("seen"))
    return plan.filter(pl.col("n_due") > 0)


def rows_of_rows(asked: pl.DataFrame, made: pl.DataFrame, each: int) -> pl.DataFrame:
    """For each pool how many rows were to be made (`each` of every one asked about) and how many were.

    Args:
        asked: source, network, pool of what rows were to be made of.
        made: the same of the rows that were.
    """
    due = asked.group_by(POOL_KEY).agg(n_due=pl.len() * each)
    seen = made.group_by(POOL_KEY).agg(n_seen=pl.len())
    return due.join(seen, on=list(POOL_KEY), how="left").with_columns(pl.col("n_seen").fill_null(0))


def share_seen(plan: pl.DataFrame) -> float | None:
    """What was seen of what was due, a mean over pools; None where nothing was due.

    By chance a pool may be seen more often than was due to it; only the mean is held to one.
    """
    if plan.is_empty():
        return None
    return min(1.0, float(plan.select((pl.col("n_seen") / pl.col("n_due")).sort().mean()).item()))


def never_seen(pools: pl.DataFrame, snapshots: pl.DataFrame, born: Span) -> float | None:
    """The share of the pools born in the span of which there is no snapshot at all; None where none was born."""
    babies = pools.filter(pl.col("created_at").is_between(born.start, born.end, closed="left"))
    if babies.is_empty():
        return None
    return babies.join(snapshots, on=list(POOL_KEY), how="anti").height / babies.height


def unanswered(collections: pl.DataFrame) -> dict[str, float]:
    """Network -> the share of its due pools that a collection cycle left waiting, a mean over cycles."""
    due = pl.col("n_observed") + pl.col("n_waiting")
    told = collections.filter(due > 0).group_by("network").agg((pl.col("n_waiting") / due).mean().alias("share"))
    return {str(network): float(share) for network, share in told.sort("network").iter_rows()}


def latest(moments: pl.Series, now: datetime) -> datetime | None:
    """The newest moment that is not in the future."""
    found = moments.filter(moments <= now).max() if moments.len() else None
    return found if isinstance(found, datetime) else None
