"""What each column of a frame is like: what is missing, what cannot be, what lies far off, how it is distributed.

Belongs here: measuring. Shares are means over pools, each pool's share counting once: a pool that is seen every five
minutes says no more than one that is seen every four hours. Stays out: what is too much (`score`).
"""

import json
import math
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
import polars as pl

from pipeline.monitoring.quality.outliers import Fences, Reals, fences
from pipeline.monitoring.quality.spec import QualitySpec
from pipeline.tables import Column

type Looked = tuple[Fences, Mapping[str, float | None]]
type Kind = Literal["number", "flag", "text", "time", "other"]

QUANTILES: Final = {"min": 0.0, "q05": 0.05, "q25": 0.25, "median": 0.5, "q75": 0.75, "q95": 0.95, "max": 1.0}
THREADS: Final = 2
OF_EACH: Final = 6
"""Rows of a pool that fences and distributions are made from: a followed pool has as many a day, at least."""


@dataclass(frozen=True)
class Measured:
    """One column: shares are means over pools, the distribution is that of a few rows of each pool.

    Attributes:
        share_null: missing; NaN counts as missing.
        share_invalid: infinite, outside the range that the column's spec declares, or not one of its values.
        share_outlying: outliers on the scale on which there are fewer; None: not a number.
        share_outlying_raw: those on the raw scale, among what the fences were made from.
        scale: that scale.
        figures: count, mean, sd, quantiles, share of zeros; None where they do not exist.
    """

    column: str
    kind: Kind
    share_null: float
    share_invalid: float
    share_outlying: float | None
    share_outlying_raw: float | None
    scale: str
    figures: Mapping[str, float | None]

    @property
    def as_json(self) -> str:
        """The distribution, for the trend."""
        return json.dumps(dict(self.figures), allow_nan=False)


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
    few = _few_of_each(frame, unit).select(numbers)
    # Sorting releases the interpreter's lock: two columns are sorted at once.
    with ThreadPoolExecutor(THREADS) as threads:
        looked = dict(zip(numbers, threads.map(lambda name: _looked_at(few[name], spec), numbers), strict=True))
    shares = _shares(frame, unit, {name: limits for name, (limits, _) in looked.items()}, dict(declared or {}))
    return [_one(frame[name], looked.get(name), shares[name]) for name in names]


def _few_of_each(frame: pl.DataFrame, unit: Sequence[str]) -> pl.DataFrame:
    """At most OF_EACH rows of each pool, evenly spaced; all rows where each is its own."""
    if not unit:
        return frame
    place, n = pl.int_range(pl.len()).over("pool"), pl.len().over("pool")
    is_taken = (place * OF_EACH // n) != ((place - 1) * OF_EACH // n)
    return frame.filter(frame.select(pool_of(unit)).select(is_taken | (place == 0)).to_series())


def _one(values: pl.Series, looked: Looked | None, shares: Mapping[str, float]) -> Measured:
    kind, is_number = kind_of(values.dtype), kind_of(values.dtype) == "number"
    limits, figures = looked or (None, {"count": float(values.len() - values.null_count())})
    return Measured(
        values.name,
        kind,
        shares["null"],
        shares.get("invalid", 0.0),
        shares["outlying"] if is_number else None,
        limits.share_raw if is_number and limits else None,
        limits.scale if is_number and limits else "",
        figures,
    )


def value_of(name: str, dtype: pl.DataType) -> pl.Expr:
    """A column, with NaN as missing; numbers and flags as floats."""
    if kind_of(dtype) in ("number", "flag"):
        return pl.col(name).cast(pl.Float64, strict=False).fill_nan(None)
    return pl.col(name)


def _looked_at(values: pl.Series, spec: QualitySpec) -> Looked:
    told = values.cast(pl.Float64, strict=False).drop_nulls().to_numpy()
    ordered = np.sort(told[np.isfinite(told)])
    return fences(ordered, spec.max_robust_z), _figures(ordered, values.len())


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
    frame: pl.DataFrame, unit: Sequence[str], limits: Mapping[str, Fences], declared: Mapping[str, Column]
) -> dict[str, dict[str, float]]:
    """Column -> `null`, `invalid` (where something says so), `outlying` -> a mean over pools."""
    asked: list[tuple[str, str, pl.Expr]] = []
    for name, dtype in frame.schema.items():
        value = value_of(name, dtype)
        asked.append((name, "null", value.is_null()))
        if (invalid := _is_invalid(value, dtype, declared.get(name))) is not None:
            asked.append((name, "invalid", invalid.fill_null(value=False)))
        if name in limits:
            asked.append((name, "outlying", limits[name].is_outlying(pl.when(value.is_finite()).then(value))))
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
