"""Which values lie far off: one column at a time by a robust z, and the row as a whole by an isolation forest.

A robust z is 0.6745 (x - median) / MAD (Iglewicz and Hoaglin 1993): of a normal distribution 0.3 % lie beyond 3. Where
more than half of the values are equal the MAD is 0, and the mean absolute deviation stands in, as they propose. Amounts
span twenty orders of magnitude, and on their own scale a third of what is sound lies beyond 3: so the z is taken on the
raw and on a logarithmic scale, and that scale counts on which fewer of all rows are outlying. The logarithm is that of
the positive values where none is negative (zeros are then no outliers), else sign(x) ln(1 + |x| / MAD).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np
import polars as pl

from pipeline.monitoring.quality.spec import QualitySpec

type Reals = np.ndarray[Any, np.dtype[np.float64]]
type Scale = Literal["raw", "log", "signed_log"]

MAD_OF_NORMAL: Final = 0.6745
MEAN_OF_NORMAL: Final = 1.253314


@dataclass(frozen=True)
class Fences:
    """Below `low` and above `high` a value is an outlier on that scale; on the scale `log` a zero lies within."""

    low: float
    high: float
    scale: Scale

    def is_outlying(self, value: pl.Expr) -> pl.Expr:
        """Whether a finite value is an outlier; false where it is missing."""
        is_low = value < self.low
        if self.scale == "log":
            is_low &= value != 0
        return (is_low | (value > self.high)).fill_null(value=False)

    def share(self, ordered: Reals) -> float:
        """The share of finite values, ascending, that are outliers."""
        if not ordered.size:
            return 0.0
        n_low = int(np.searchsorted(ordered, self.low, side="left"))
        if self.scale == "log":  # none is negative: what lies below and is zero lies within
            n_low = max(0, n_low - int(np.searchsorted(ordered, 0, side="right")))
        n_high = ordered.size - np.searchsorted(ordered, self.high, side="right")
        return float((n_low + n_high) / ordered.size)


def fences(ordered: Reals, max_z: float) -> tuple[Fences, Fences]:
    """The fences of a column on the raw and on a logarithmic scale.

    Args:
        ordered: its finite values, ascending; none: nothing is outlying.

    >>> raw, logs = fences(np.arange(1.0, 10.0), 3.0)
    >>> raw.scale, round(raw.low, 2), round(raw.high, 2)
    ('raw', -3.9, 13.9)
    >>> logs.scale, round(logs.low, 2), round(logs.high, 2)
    ('log', 0.62, 40.44)
    """
    if not ordered.size:
        return Fences(-np.inf, np.inf, "raw"), Fences(-np.inf, np.inf, "log")
    # Of 1e308 no spread can be told; then it is no number, and nothing lies beyond it.
    with np.errstate(over="ignore", invalid="ignore"):
        center, spread = _center(ordered), _spread(ordered)
        raw = Fences(center - max_z * spread, center + max_z * spread, "raw")
        return raw, _of_logs(ordered, max_z) if ordered[0] >= 0 else _of_signed_logs(ordered, spread, max_z)


def _of_logs(ordered: Reals, max_z: float) -> Fences:
    positive = ordered[np.searchsorted(ordered, 0, side="right") :]
    if not positive.size:
        return Fences(-np.inf, np.inf, "log")
    logs = np.log(positive)
    return Fences(*_around(logs, max_z, np.exp), "log")


def _of_signed_logs(ordered: Reals, unit: float, max_z: float) -> Fences:
    if unit <= 0:
        return Fences(-np.inf, np.inf, "signed_log")

    def back(logs: Reals) -> Reals:
        return np.asarray(np.sign(logs) * unit * np.expm1(np.abs(logs)))

    return Fences(*_around(np.sign(ordered) * np.log1p(np.abs(ordered) / unit), max_z, back), "signed_log")


def _around(ordered: Reals, max_z: float, back: Callable[[Reals], Reals]) -> tuple[float, float]:
    center, spread = _center(ordered), _spread(ordered)
    low, high = back(np.array([center - max_z * spread, center + max_z * spread]))
    # Back and forth through a logarithm costs a last digit, and a constant column is not to lie outside of itself.
    slack = 1e-9
    return float(low - slack * abs(low)), float(high + slack * abs(high))


def _center(ordered: Reals) -> float:
    return float(ordered[(ordered.size - 1) // 2] / 2 + ordered[ordered.size // 2] / 2)


def _spread(ordered: Reals) -> float:
    """The standard deviation that a normal distribution of this MAD, or mean deviation, has."""
    away = np.abs(ordered - _center(ordered))
    middle = (away.size - 1) // 2, away.size // 2
    mad = float(np.partition(away, middle)[list(middle)].mean())
    return mad / MAD_OF_NORMAL if mad > 0 else float(away.mean()) * MEAN_OF_NORMAL


def outlying_vectors(frame: pl.DataFrame, columns: list[str], unit: list[str], spec: QualitySpec) -> float | None:
    """The share of rows that an isolation forest (Liu 2008) takes for outliers, a mean over pools; None: too few pools.

    The forest sees each column as the share of the rows below it, from 0 to 1, with what is missing at one half, so
    that no scale counts for more. A row is an outlier if its anomaly score is one among the scores, by the robust z:
    the forest's own threshold takes a fifth of sound rows for outliers. It is made from whole pools, drawn by their
    names' hash, at most `spec.forest_rows` rows.
    """
    chosen = _sample(frame, columns, unit, spec)
    if not columns or chosen["_pool"].n_unique() < spec.min_forest_pools:
        return None
    from sklearn.ensemble import IsolationForest  # noqa: PLC0415 - slow to import

    vectors = chosen.select(_as_rank(name) for name in columns).to_numpy()
    forest = IsolationForest(n_estimators=spec.forest_trees, random_state=spec.forest_seed)
    anomaly = -forest.fit(vectors).score_samples(vectors)
    ordered = np.sort(anomaly)
    is_odd = anomaly > min(fences(ordered, spec.max_robust_z), key=lambda one: one.share(ordered)).high
    by_pool = chosen.select("_pool").with_columns(pl.Series("is_odd", is_odd)).group_by("_pool").agg(pl.mean("is_odd"))
    return float(by_pool.select(pl.col("is_odd").sort().mean()).item())


def _as_rank(name: str) -> pl.Expr:
    value = pl.col(name).cast(pl.Float64, strict=False).fill_nan(None)
    rank = (value.rank("average") - 0.5) / value.count()
    return rank.fill_null(0.5).alias(name)


def _sample(frame: pl.DataFrame, columns: list[str], unit: list[str], spec: QualitySpec) -> pl.DataFrame:
    """Whole pools in the order of a hash until the rows are enough; a row is its own pool where there is no unit.

    Of a pool that has more than its part of the rows the first are taken.
    """
    place = pl.int_range(pl.len(), dtype=pl.UInt64)
    pool = pl.concat_str(pl.col(unit).cast(pl.String), separator="\n", ignore_nulls=True) if unit else place
    named = frame.lazy().with_columns(_pool=pool.hash(spec.forest_seed)).select("_pool", *columns)
    few = named.filter(place.over("_pool") < max(1, spec.forest_rows // spec.min_forest_pools))
    sizes = few.group_by("_pool").len().sort("_pool").collect()
    taken = sizes.filter(pl.col("len").cum_sum() <= spec.forest_rows)
    return few.join(taken.lazy().select("_pool"), on="_pool", how="semi").collect()
