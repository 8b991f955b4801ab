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

type Guard = Literal["answers", "latency", "completeness", "class_rate", "artifact"]

SNAPSHOT: Final = ("source", "network", "pool", "event_time", "horizon_hours")
_POOL: Final = ("source", "network", "pool")


@dataclass(frozen=True)
class Breach:
    """A guard that was broken, and the finding in words."""

    guard: Guard
    reason: str


def breaches(
    own: pl.DataFrame, other: pl.DataFrame, failed: pl.DataFrame, *, since: datetime, now: datetime, spec: GuardSpec
) -> list[Breach]:
    """Every guard that the champion broke in the last `spec.window_hours`.

    Args:
        own: the champion's predictions, in any role: SNAPSHOT, `known_at`, `completeness`, `latency_ms`, `p_CLASS` ...
        other: the same of the champion before it.
        failed: snapshots that the champion should have answered and could not: SNAPSHOT, `known_at`.
        since: when it took charge; what both said before is how they differ in health.
        now: the moment of the look, UTC.
        spec: the numbers.
    """
    window = pl.col("known_at").is_between(max(since, now - timedelta(hours=spec.window_hours)), now)
    recent = _paired(own.filter(window), other.filter(window))
    before = _paired(*(side.filter(pl.col("known_at") < since) for side in (own, other)))
    found = [
        _answers(other.filter(window), failed.filter(window), spec),
        _latency(recent, spec),
        _completeness(recent, spec),
        *(_class_rate(*rows, spec) for rows in _by_horizon(recent, before)),
    ]
    return [breach for breach in found if breach is not None]


def _paired(own: pl.DataFrame, other: pl.DataFrame) -> pl.DataFrame:
    """Both sides' answers to the same snapshots; the other's columns end in `_other`."""
    told = [name for name in own.columns if name.startswith("p_")]
    kept = [*SNAPSHOT, "completeness", "latency_ms", *told]
    return own.select(kept).join(other.select(kept), on=list(SNAPSHOT), suffix="_other")


def _by_horizon(recent: pl.DataFrame, before: pl.DataFrame) -> Iterator[tuple[pl.DataFrame, pl.DataFrame]]:
    """The rows of each horizon apart: a head that broke must not hide behind those that did not."""
    for hours in recent["horizon_hours"].unique().sort():
        is_own = pl.col("horizon_hours") == hours
        yield recent.filter(is_own), before.filter(is_own)


def _answers(other: pl.DataFrame, failed: pl.DataFrame, spec: GuardSpec) -> Breach | None:
    """NaN, a wrong shape, a feature set it does not know: it could not answer what the other answered."""
    n, n_failed = other.height, other.join(failed, on=list(SNAPSHOT), how="semi").height
    if n < spec.min_rows or n_failed <= spec.max_failed_share * n:
        return None
    return Breach("answers", f"it could not answer {n_failed} of {n} snapshots that the champion before it answered")


def _latency(rows: pl.DataFrame, spec: GuardSpec) -> Breach | None:
    if rows.height < spec.min_rows:
        return None
    own, other = (_median(rows[name]) for name in ("latency_ms", "latency_ms_other"))
    if own <= max(spec.min_latency_ms, spec.latency_ratio * other):
        return None
    return Breach("latency", f"it takes {own:.1f} ms a row by the median, the champion before it {other:.1f} ms")


def _completeness(rows: pl.DataFrame, spec: GuardSpec) -> Breach | None:
    if rows.height < spec.min_rows:
        return None
    own, other = (_median(rows[name]) for name in ("completeness", "completeness_other"))
    if other - own <= spec.completeness_drop:
        return None
    return Breach("completeness", f"{own:.0%} of its inputs are there by the median, of the one before it {other:.0%}")


def _class_rate(rows: pl.DataFrame, before: pl.DataFrame, spec: GuardSpec) -> Breach | None:
    """A class whose probability, the other's taken off, moved further than it may; means and errors are over pools."""
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
    name = told[k].removeprefix("p_")
    return Breach(
        "class_rate",
        f"its probability of {name} moved by {jump[k]:+.2f} against the champion before it, over {len(now)} pools",
    )


def _distances(rows: pl.DataFrame, told: list[str]) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    """(n_pools, classes): by how much the champion's probability lies above the other's, a mean over a pool's rows."""
    pools = rows.group_by(_POOL, maintain_order=True).agg((pl.col(p) - pl.col(f"{p}_other")).mean() for p in told)
    return pools.select(told).to_numpy()


def _median(values: pl.Series) -> float:
    return float(np.median(values.fill_null(0.0).to_numpy()))
