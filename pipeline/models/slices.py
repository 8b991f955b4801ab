"""Figures by slices of the rows: by horizon, network, liquidity tier, age, activity, or any other column.

Belongs here: cutting rows into slices and the long table of their figures. Stays out: the figures (`metrics`), their
intervals (`intervals`), and where tiers begin (the sampler's spec; it is an argument).
"""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Final

import numpy as np
import polars as pl

from pipeline.errors import InputError, UsageError
from pipeline.models.intervals import FigureRules, with_intervals
from pipeline.models.metrics import Ints
from pipeline.tables import OUTCOMES

SLICES: Final = pl.Schema(
    {
        "by": pl.String(),
        "slice": pl.String(),
        "metric": pl.String(),
        "outcome": pl.String(),
        "value": pl.Float64(),
        "low": pl.Float64(),
        "high": pl.Float64(),
        "n_rows": pl.Int64(),
        "n_pools": pl.Int64(),
    }
)
"""One figure of one slice: the column that cuts, the slice's value, then as in `intervals.FIGURES`."""
MIN_POOLS: Final = 30
"""A slice of fewer pools gets no intervals: docs/evaluation.md says how often they would hold the truth."""
MAX_SLICES: Final = 50
AGE_EDGES_HOURS: Final = (1.0, 2.0, 4.0, 8.0, 16.0, 24.0, 72.0, 168.0)
ACTIVITY: Final = ("n_buys_1h", "n_sells_1h")
RULES: Final = FigureRules()
UNKNOWN: Final = "unknown"

type Tiers = Sequence[tuple[float, bool]]
"""(reserve in USD, whether the bound itself is left out) of each tier, from the richest to the poorest."""


def slices(
    frame: pl.DataFrame,
    by: Sequence[str],
    rules: FigureRules = RULES,
    classes: Sequence[str] = OUTCOMES,
    *,
    min_pools: int = MIN_POOLS,
) -> pl.DataFrame:
    """Every figure of every slice, in the shape of `SLICES`; rows whose value is null are a slice of their own.

    Args:
        frame: `pool` (and `network`, where there is one), `label` (one of `classes`), one `p_CLASS` column a class,
            and the columns of `by`.
        min_pools: with fewer, the intervals are null.

    Raises:
        InputError: a column of `by` is missing, or has more than `MAX_SLICES` values.
    """
    y = frame["label"].cast(pl.Enum(classes)).to_physical().to_numpy().astype(np.int64)
    p = frame.select(pl.col(f"p_{name}").cast(pl.Float64) for name in classes).to_numpy()
    pool = frame.select(pl.struct(name for name in ("network", "pool") if name in frame.columns).rank("dense"))
    at = pool.to_series().to_numpy().astype(np.int64)
    tables = []
    for name in by:
        for told, rows in _rows_by_value(frame, name).items():
            n_pools = len(np.unique(at[rows]))
            figures = with_intervals(
                y[rows], p[rows], at[rows], n_resamples=rules.n_resamples if n_pools >= min_pools else 0,
                confidence=rules.confidence, n_bins=rules.n_bins, seed=rules.seed, classes=classes,
                predictor="", block="", decision_age_hours=None,
            )  # fmt: skip
            named = figures.with_columns(pl.lit(name).alias("by"), pl.lit(told).alias("slice"))
            tables.append(named.select(SLICES.names()))
    return pl.concat(tables) if tables else pl.DataFrame(schema=SLICES)


def nested_slices(table: pl.DataFrame) -> dict[str, dict[str, object]]:
    """`SLICES` as `{by: {slice: {n_rows, n_pools, figures: {metric/class: {value, low, high}}}}}`, for a report."""
    told: dict[str, dict[str, object]] = {}
    for (by, name), own in table.group_by("by", "slice", maintain_order=True):
        figures = {
            r["metric"] if r["outcome"] == "all" else f"{r['metric']}/{r['outcome']}": {
                key: r[key] for key in ("value", "low", "high")
            }
            for r in own.filter(pl.col("value").is_not_null()).sort("metric", "outcome").iter_rows(named=True)
        }
        extent = {"n_rows": own["n_rows"][0], "n_pools": own["n_pools"][0]}
        told.setdefault(str(by), {})[str(name)] = {**extent, "figures": figures}
    return told


def with_tier(frame: pl.DataFrame, tiers: Tiers, reserve: str = "reserve_usd") -> pl.DataFrame:
    """The frame with `tier`: the liquidity tier of each row's reserve, as `tables.TIERS` calls it; unknown is null.

    >>> frame = pl.DataFrame({"reserve_usd": [2e5, 1e5, 5.0, None]})
    >>> with_tier(frame, [(1e5, True), (1e4, False)])["tier"].to_list()
    ['above 100k', '10k to 100k', 'below 10k', None]
    """
    bounds = [bound for bound, _ in tiers]
    if not bounds or bounds != sorted(bounds, reverse=True):
        raise UsageError(f"tiers must run from the richest to the poorest, found {bounds!r}: reorder them")
    told = [f"{bound / 1000:g}k" for bound in bounds]
    names = [f"above {told[0]}", *(f"{low} to {high}" for high, low in pairwise(told))]
    poorest = f"below {told[-1]}"
    usd, tier = pl.col(reserve), pl.lit(poorest)
    for (bound, is_exclusive), name in reversed(list(zip(tiers, names, strict=True))):
        tier = pl.when(usd > bound if is_exclusive else usd >= bound).then(pl.lit(name)).otherwise(tier)
    known = pl.when(usd.is_not_null() & usd.cast(pl.Float64).is_not_nan()).then(tier)
    return frame.with_columns(known.cast(pl.Enum([poorest, *reversed(names)])).alias("tier"))


def with_activity(frame: pl.DataFrame, counts: Sequence[str] = ACTIVITY) -> pl.DataFrame:
    """The frame with `traded`: whether the pool was, in the hour before; unknown is null.

    What becomes of a pool that sleeps is easily said, and such rows make any figure of all rows look better.

    >>> frame = pl.DataFrame({"n_buys_1h": [0, 2, None], "n_sells_1h": [0, 0, 1]})
    >>> with_activity(frame)["traded"].to_list()
    ['not in the last hour', 'in the last hour', None]
    """
    buys, sells = counts
    n_trades = pl.col(buys) + pl.col(sells)
    told = pl.when(n_trades > 0).then(pl.lit("in the last hour")).otherwise(pl.lit("not in the last hour"))
    return frame.with_columns(pl.when(n_trades.is_not_null()).then(told).alias("traded"))


def with_age(frame: pl.DataFrame, age: str, edges: Sequence[float] = AGE_EDGES_HOURS) -> pl.DataFrame:
    """The frame with `age`: the band of each row's age in hours, in words.

    >>> with_age(pl.DataFrame({"age_hours": [0.5, 1.0, 700.0]}), "age_hours")["age"].to_list()
    ['under 1 h', '1 to 2 h', 'over 168 h']
    """
    names = [f"under {edges[0]:g} h", *(f"{a:g} to {b:g} h" for a, b in pairwise(edges))]
    names.append(f"over {edges[-1]:g} h")
    hours = pl.col(age).cast(pl.Float64)
    n_passed = pl.sum_horizontal((hours >= edge).cast(pl.Int64) for edge in edges)
    known = pl.when(hours.is_not_null() & hours.is_not_nan()).then(n_passed)
    return frame.with_columns(known.replace_strict(dict(enumerate(names)), return_dtype=pl.Enum(names)).alias("age"))


def _rows_by_value(frame: pl.DataFrame, name: str) -> Mapping[str, Ints]:
    """The positions of each value's rows, by the value in words, in the order of the values."""
    if name not in frame.columns:
        raise InputError(f"cannot cut figures by {name!r}: the columns are {frame.columns!r}")
    found = frame.select(pl.col(name), pl.int_range(pl.len()).alias("row"))
    if found[name].n_unique() > MAX_SLICES:
        raise InputError(f"cannot cut figures by {name!r}: it has more than {MAX_SLICES} values; cut it into bands")
    groups = found.group_by(name, maintain_order=True).agg("row").sort(name, nulls_last=True)
    return {UNKNOWN if value is None else str(value): np.asarray(rows) for value, rows in groups.iter_rows()}
