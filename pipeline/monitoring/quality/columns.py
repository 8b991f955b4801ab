"""What each column of a frame is like: what is missing, what cannot be, what lies far off, how it is distributed.

Belongs here: measuring. Shares are means over pools, each pool's share counting once: a pool that is seen every five
minutes says no more than one that is seen every four hours. Stays out: what is too much (`score`).
"""

import json
import math
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Final, Literal

import numpy as np
import polars as pl

from pipeline.monitoring.quality.outliers import Fences, Reals, Scale, fences
from pipeline.monitoring.quality.spec import QualitySpec
from pipeline.tables import Column

type Figures = Mapping[str, float | None]
type Kind = Literal["number", "flag", "text", "time", "other"]

QUANTILES: Final = {"min": 0.0, "q05": 0.05, "q25": 0.25, "median": 0.5, "q75": 0.75, "q95": 0.95, "max": 1.0}
THREADS: Final = 2
OF_EACH: Final = 6
"""Rows of a pool that fences and distributions are made from: a followed pool has as many a day, at least."""
ENOUGH: Final = 2_000
"""Rows that they are made from at least, where there are as many: of few pools six rows each would tell nothing."""


@dataclass(frozen=True)
class Measured:
    """One column: shares are means over pools, the distribution is that of a few rows of each pool.

    Attributes:
        share_null: missing; NaN counts as missing.
        share_invalid: infinite, outside the range that the column's spec declares, or not one of its values.
        share_outlying: outliers on the scale on which there are fewer; None: not a number, or too few values.
        by_scale: that scale and its share, then the other scale and its; empty: not a number.
        n_values: finite values that fences were made from, those that a pool repeats counting once.
        figures: count, mean, sd, quantiles, share of zeros; None where they do not exist.
    """

    column: str
    kind: Kind
    share_null: float
    share_invalid: float
    share_outlying: float | None
    by_scale: Mapping[Scale, float]
    n_values: int
    figures: Figures

    @property
    def as_json(self) -> str:
        """The distribution, for the trend."""
        return json.dumps(dict(self.figures), allow_nan=False)

    @property
    def as_name(self) -> "Measured":
        """The same of a column that names a row or a pool, of which no value lies far off."""
        return replace(self, share_outlying=None, by_scale={})


def kind_of(dtype: pl.DataType) -> Kind:
    """What can be said of a column of this dtype."""
    if dtype.is_numeric():
        return "number"
    if dtype == pl.Boolean:
        return "flag"
    if dtype.is_temporal():
        return "time"
    return "text" if dtype in (pl.String, pl.Categorical, pl.Enum) else "other"


def measured(
    frame: pl.DataFrame, unit: Sequence[str], spec: QualitySpec, declared: Mapping[str, Column] | None = None
) -> list[Measured]:
    """Every column of the frame, in order.

    Args:
        frame: the rows.
        unit: the columns that name a pool; none: each row is one of its own.
        spec: what an outlier is.
        declared: the columns' specs, where there are any.
    """
    names = frame.columns
    numbers = [name for name, dtype in frame.schema.items() if kind_of(dtype) in ("number", "flag")]
    few, pools = frame.select(numbers), None
    if unit:
        pools = frame.select(pool_of(unit)).to_series()
        taken = _few_of_each(pools)
        few, pools = few.select(pl.all().gather(taken)), pools.gather(taken)
    # Sorting releases the interpreter's lock: two columns are sorted at once.
    with ThreadPoolExecutor(THREADS) as threads:
        looked = dict(zip(numbers, threads.map(lambda name: _looked_at(few[name], pools, spec), numbers), strict=True))
    shares = _shares(frame, unit, {name: one.fences for name, one in looked.items()}, dict(declared or {}))
    return [_one(frame[name], looked.get(name), shares[name], spec) for name in names]


@dataclass(frozen=True)
class _Looked:
    """What the chosen rows tell of a column of numbers or flags."""

    fences: tuple[Fences, Fences]
    n_values: int
    figures: Figures


def _few_of_each(pool: pl.Series) -> pl.Series:
    """The places of at most OF_EACH rows of each pool, evenly spaced.

    Where pools are so few that this is not ENOUGH, of each as many more as it takes: then those of a pool that has
    fewer than others stand there several times, so that no pool counts for more than another.
    """
    place, size = pl.int_range(pl.len()).over("pool"), pl.len().over("pool").cast(pl.Int64)
    rows = pool.alias("pool").to_frame().select("pool", place=place, size=size)
    n = max(OF_EACH, min(math.ceil(ENOUGH / max(1, rows["pool"].n_unique())), max(rows["size"], default=0)))
    times = rows.select(pl.col("place") * n // pl.col("size") - (pl.col("place") - 1) * n // pl.col("size")).to_series()
    return pl.Series(np.repeat(np.arange(rows.height), times if n > OF_EACH else times.clip(0, 1)))


def _one(values: pl.Series, looked: _Looked | None, shares: Mapping[str, float], spec: QualitySpec) -> Measured:
    kind = kind_of(values.dtype)
    scales = [one.scale for one in looked.fences] if looked and kind == "number" else []
    by_scale = {scale: shares[scale] for scale in sorted(scales, key=lambda scale: shares[scale])}
    n_values = looked.n_values if looked else 0
    return Measured(
        values.name,
        kind,
        shares["null"],
        shares.get("invalid", 0.0),
        min(by_scale.values()) if by_scale and n_values >= spec.min_values else None,
        by_scale,
        n_values,
        looked.figures if looked else {"count": float(values.len() - values.null_count())},
    )


def value_of(name: str, dtype: pl.DataType) -> pl.Expr:
    """A column, with NaN as missing; numbers and flags as floats."""
    if kind_of(dtype) in ("number", "flag"):
        return pl.col(name).cast(pl.Float64, strict=False).fill_nan(None)
    return pl.col(name)


def _looked_at(values: pl.Series, pools: pl.Series | None, spec: QualitySpec) -> _Looked:
    told = values.cast(pl.Float64, strict=False).to_numpy()
    is_finite = np.isfinite(told)
    ordered = np.sort(told[is_finite])
    n_values = ordered.size
    if pools is not None:  # what is the same all along tells as much as one row
        n_values = pl.DataFrame({"pool": pools.to_numpy()[is_finite], "value": told[is_finite]}).n_unique()
    return _Looked(fences(ordered, spec.max_robust_z), n_values, _figures(ordered, values.len()))


def _figures(ordered: Reals, n_rows: int) -> dict[str, float | None]:
    n = int(ordered.size)
    if not n:
        return {"count": 0.0, "share_zero": None, "mean": None, "sd": None, **dict.fromkeys(QUANTILES)}
    n_zero = np.searchsorted(ordered, 0, side="right") - np.searchsorted(ordered, 0, side="left")
    with np.errstate(over="ignore", invalid="ignore"):  # of 1e308 no square can be told, and null is
        moments = {"mean": float(ordered.mean()), "sd": float(ordered.std())}
    figures = {
        "count": float(n),
        "share_zero": float(n_zero) / n_rows,
        **moments,
        **{name: float(ordered[round(q * (n - 1))]) for name, q in QUANTILES.items()},
    }
    return {name: value if math.isfinite(value) else None for name, value in figures.items()}


def _shares(
    frame: pl.DataFrame, unit: Sequence[str], limits: Mapping[str, Sequence[Fences]], declared: Mapping[str, Column]
) -> dict[str, dict[str, float]]:
    """Column -> `null`, `invalid` (where something says so), each scale that has fences -> a mean over pools."""
    asked: list[tuple[str, str, pl.Expr]] = []
    for name, dtype in frame.schema.items():
        value = value_of(name, dtype)
        asked.append((name, "null", value.is_null()))
        if (invalid := _is_invalid(value, dtype, declared.get(name))) is not None:
            asked.append((name, "invalid", invalid.fill_null(value=False)))
        finite = pl.when(value.is_finite()).then(value)
        asked += [(name, one.scale, one.is_outlying(finite)) for one in limits.get(name, ())]
    found = [is_so.mean().alias(f"share {i}") for i, (_, _, is_so) in enumerate(asked)]
    rows = frame.lazy()
    by_pool = rows.group_by(pool_of(unit)).agg(found).drop("pool") if unit else rows.select(found)
    ordered = by_pool.select(pl.all().sort())  # a mean is the same to the last bit in whatever order pools come
    told: dict[str, dict[str, float]] = {name: {} for name in frame.columns}
    for (name, what, _), share in zip(asked, ordered.mean().collect().row(0), strict=True):
        told[name][what] = share or 0.0
    return told


def pool_of(unit: Sequence[str]) -> pl.Expr:
    """A number a pool, by the columns that name it."""
    return pl.struct(pl.col(unit)).rank("dense").alias("pool")


def _is_invalid(value: pl.Expr, dtype: pl.DataType, declared: Column | None) -> pl.Expr | None:
    """Whether a value cannot be; None where nothing says so."""
    rules = []
    if kind_of(dtype) == "number":
        rules.append(value.is_infinite())
    if declared is not None and declared.minimum is not None:
        rules.append(value < declared.minimum)
    if declared is not None and declared.maximum is not None:
        rules.append(value > declared.maximum)
    if declared is not None and declared.values is not None and kind_of(dtype) == "text":
        rules.append(~value.cast(pl.String).is_in(declared.values))
    return pl.any_horizontal(rules) if rules else None
