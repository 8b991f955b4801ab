"""Guard rails: what throws a champion out at once, without waiting for outcomes.

Belongs here: pure comparisons of what the champion and the one before it answered to the same snapshots.
Stays out: harm that shows only in outcomes (`sequential`), and the move (`ledger`).

Every guard is paired. A world that changes, a collector that is slow or a feed that is down changes both models'
answers alike, and going back would mend nothing; what speaks against the champion is what happens to it alone.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Literal

import numpy as np
import polars as pl

from pipeline.promotion.trial_spec import GuardSpec

type Guard = Literal["answers", "latency", "class_rate", "artifact"]

SNAPSHOT: Final = ("source", "network", "pool", "event_time")
_POOL: Final = ("source", "network", "pool")
_ROW: Final = (*SNAPSHOT, "horizon_hours")


@dataclass(frozen=True)
class Breach:
    """A guard that was broken, and the finding in words.

    `is_fault`: the champion is broken. Else it only speaks differently than it did, which may be the world's doing and
    right: that is told, and throws nobody out.
    """

    guard: Guard
    reason: str
    is_fault: bool = True


def breaches(
    own: pl.DataFrame, other: pl.DataFrame, failed: pl.DataFrame, *, since: datetime, now: datetime, spec: GuardSpec
) -> list[Breach]:
    """Every guard that the champion broke in the last `spec.window_hours`.

    Args:
        own: the champion's predictions, in any role: SNAPSHOT, `horizon_hours`, `known_at`, `latency_ms`, `p_CLASS` ...
        other: the same of the champion before it.
        failed: snapshots that the champion should have answered and could not: SNAPSHOT, `known_at`.
        since: when it took charge; what both said before is how they differ in health.
        now: the moment of the look, UTC.
        spec: the numbers.
    """
    window = pl.col("known_at").is_between(max(since, now - timedelta(hours=spec.window_hours)), now)
    health = pl.col("known_at") < since
    recent, before = (_paired(own.filter(when), other.filter(when)) for when in (window, health))
    lost, lost_before = (_unanswered(own, other.filter(when), failed.filter(when)) for when in (window, health))
    found = [
        _answers(lost, lost_before, spec),
        _latency(recent, before, spec),
        *(_class_rate(*rows, spec) for rows in _by_horizon(recent, before)),
    ]
    return [breach for breach in found if breach is not None]


def _paired(own: pl.DataFrame, other: pl.DataFrame) -> pl.DataFrame:
    """Both sides' answers to the same snapshots; the other's columns end in `_other`."""
    told = [name for name in own.columns if name.startswith("p_")]
    kept = [*_ROW, "latency_ms", *told]
    return own.select(kept).join(other.select(kept), on=list(_ROW), suffix="_other")


def _by_horizon(recent: pl.DataFrame, before: pl.DataFrame) -> Iterator[tuple[pl.DataFrame, pl.DataFrame]]:
    """The rows of each horizon apart: a head that broke must not hide behind those that did not."""
    for hours in recent["horizon_hours"].unique().sort():
        is_own = pl.col("horizon_hours") == hours
        yield recent.filter(is_own), before.filter(is_own)


def _unanswered(own: pl.DataFrame, other: pl.DataFrame, failed: pl.DataFrame) -> pl.Series:
    """For each pool the other answered about: the share of those snapshots that the champion could not answer, ever."""
    key = list(SNAPSHOT)
    lost = failed.select(key).unique().join(own.select(key).unique(), on=key, how="anti")
    asked = other.select(key).unique().join(lost.with_columns(is_lost=pl.lit(1.0)), on=key, how="left")
    return asked.group_by(_POOL).agg(pl.col("is_lost").fill_null(0.0).mean())["is_lost"]


def _answers(now: pl.Series, before: pl.Series, spec: GuardSpec) -> Breach | None:
    """NaN, a wrong shape, inputs that only it needs and that are gone: it could not answer what the other answered.

    That it was always a little more demanding was known when it took charge, and is no fault.
    """
    share, in_health = (float(np.mean(side.to_numpy())) if side.len() else 0.0 for side in (now, before))
    if now.len() < spec.min_pools or share - in_health <= spec.max_failed_share:
        return None
    told = (
        f"it could not answer {share:.0%} of the snapshots that the champion before it answered, over {now.len()} pools"
    )
    return Breach("answers", f"{told}; in health {in_health:.0%}")


def _latency(rows: pl.DataFrame, before: pl.DataFrame, spec: GuardSpec) -> Breach | None:
    """That it was always so many times slower was known when it took charge, and is no fault."""
    now, then = (_latencies(frame, spec) for frame in (rows, before))
    if now is None:
        return None
    own, other = now
    in_health = max(1.0, then[0] / then[1]) if then is not None and then[1] > 0 else 1.0
    if own <= max(spec.min_latency_ms, spec.latency_ratio * in_health * other):
        return None
    told = f"it takes {own:.1f} ms a row by the median, the champion before it {other:.1f} ms"
    return Breach("latency", told if then is None else f"{told}; in health {then[0]:.1f} and {then[1]:.1f} ms")


def _latencies(rows: pl.DataFrame, spec: GuardSpec) -> tuple[float, float] | None:
    """Both sides' medians on the same rows; None where too few pools were timed."""
    timed = rows.drop_nulls(["latency_ms", "latency_ms_other"])
    if timed.select(_POOL).n_unique() < spec.min_pools:
        return None
    own, other = (float(np.median(timed[name].to_numpy())) for name in ("latency_ms", "latency_ms_other"))
    return own, other


def _class_rate(rows: pl.DataFrame, before: pl.DataFrame, spec: GuardSpec) -> Breach | None:
    """A class whose probability, the other's taken off, moved further than it may; means and errors are over pools.

    A champion that recognises a wave of rugs which the one before it does not know moves alike: no fault by itself.
    """
    told = [name for name in rows.columns if name.startswith("p_") and not name.endswith("_other")]
    now, then = (_distances(frame, told) for frame in (rows, before))
    if min(len(now), len(then)) < spec.min_pools:
        return None
    jump = now.mean(axis=0) - then.mean(axis=0)
    error = np.sqrt(now.var(axis=0, ddof=1) / len(now) + then.var(axis=0, ddof=1) / len(then))
    excess = np.abs(jump) - spec.rate_errors * error
    k = int(np.argmax(excess))
    if excess[k] <= spec.rate_jump:
        return None
    moved = f"its probability of {told[k].removeprefix('p_')} moved by {jump[k]:+.2f} against the champion before it"
    return Breach("class_rate", f"{moved}, over {len(now)} pools", is_fault=False)


def _distances(rows: pl.DataFrame, told: list[str]) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    """(n_pools, classes): by how much the champion's probability lies above the other's, a mean over a pool's rows."""
    pools = rows.group_by(_POOL, maintain_order=True).agg((pl.col(p) - pl.col(f"{p}_other")).mean() for p in told)
    return pools.select(told).to_numpy()
