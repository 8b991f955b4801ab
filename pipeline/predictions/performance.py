"""How good what was said was, by day and by liquidity.

Belongs here: which rows make a report, and lift. Stays out: the formulas of the other figures, which are those of the
evaluation and come as an argument, and pictures (`plots`).

Predictions said with hindsight are reported apart from evidence. A report counts rows; a pool with many snapshots
weighs more, and `n_pools` says on how few a figure rests.
"""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Final

import numpy as np
import polars as pl

from pipeline.tables import OUTCOMES, PERFORMANCE_REPORTS, PREDICTION_OUTCOMES, TIERS
from pipeline.tables.served import TIER_EDGES

type Floats = np.ndarray[Any, np.dtype[np.float64]]
type Ints = np.ndarray[Any, np.dtype[np.int64]]
type Figures = Callable[[Ints, Floats, Floats], Mapping[tuple[str, str], Floats]]
"""Positions of what came in `OUTCOMES` (n,), probabilities (n, 7), weights (1, n) -> figures by (metric, outcome)."""

MIN_LIFT_ROWS: Final = 10
_GROUP: Final = ("source", "day_start", "model_name", "model_version", "horizon_hours", "is_evidence")
_TOLD: Final = {
    "accuracy": ("accuracy", "all"), "log_loss": ("log_loss", "all"), "brier": ("brier", "all"),
    "ece": ("ece", "macro"),
}  # fmt: skip


def tier() -> pl.Expr:
    """The liquidity tier of a row by its `reserve_usd`, as the sampler's edges have it.

    >>> pl.DataFrame({"reserve_usd": [100_000.0, 1_000.0, 0.0, None]}).select(tier()).to_series().to_list()
    ['10k to 100k', '1k to 10k', 'below 1k', 'unknown']
    """
    reserve = pl.col("reserve_usd")
    above = [reserve > edge if is_exclusive else reserve >= edge for edge, is_exclusive in TIER_EDGES]
    names = [pl.when(is_above).then(pl.lit(name)) for is_above, name in zip(above, TIERS[:3], strict=True)]
    return pl.coalesce(*names, pl.when(reserve.is_not_null()).then(pl.lit(TIERS[3])), pl.lit(TIERS[4])).alias("tier")


def performance(predictions: pl.DataFrame, outcomes: pl.DataFrame, figures: Figures, now: datetime) -> pl.DataFrame:
    """One report a model version, horizon, day of decision and tier, and one of all tiers together.

    Args:
        predictions: rows of `tables.PREDICTIONS`.
        outcomes: rows of `tables.PREDICTION_OUTCOMES` of whole days.
        figures: the evaluation's figures.
        now: when the report is made, UTC.

    Returns:
        rows of `tables.PERFORMANCE_REPORTS`, in order of the key.
    """
    probabilities = [f"p_{outcome}" for outcome in OUTCOMES]
    key = list(PREDICTION_OUTCOMES.key)
    labelled = (
        outcomes.filter(pl.col("status") == "labelled")
        .join(predictions.select(*key, *probabilities, "reserve_usd"), on=key, how="inner")
        .with_columns(pl.col("event_time").dt.truncate("1d").alias("day_start"), tier())
    )
    both = pl.concat([labelled, labelled.with_columns(pl.lit("all").alias("tier"))]).sort(*key)
    reports = [
        {**dict(zip((*_GROUP, "tier"), group, strict=True)), "known_at": now, **_report(rows, figures)}
        for group, rows in both.group_by(*_GROUP, "tier", maintain_order=True)
    ]
    return pl.DataFrame(reports, schema=PERFORMANCE_REPORTS.schema).sort(*PERFORMANCE_REPORTS.key)


def rug_lift(is_rug: Floats, p_rug: Floats) -> float | None:
    """The share of rugs among the tenth of the rows that were most suspected, over the share among all.

    Rows that are equally suspected share a place: each counts with the part of it that fits into the tenth, so that
    their order does not matter. None where there is no rug, or fewer than ten rows to take a tenth of.

    >>> rug_lift(np.array([1.0] * 2 + [0.0] * 18), np.linspace(1, 0, 20))
    10.0
    >>> rug_lift(np.array([1.0] * 2 + [0.0] * 18), np.full(20, 0.5))
    1.0
    """
    if len(is_rug) < MIN_LIFT_ROWS or not is_rug.any():
        return None
    wanted = len(is_rug) / 10
    levels, at = np.unique(-p_rug, return_inverse=True)
    n_rows = np.bincount(at, minlength=len(levels)).astype(np.float64)
    n_rugs = np.bincount(at, weights=is_rug, minlength=len(levels))
    taken = np.clip(wanted - (np.cumsum(n_rows) - n_rows), 0, n_rows)
    return float((taken / n_rows * n_rugs).sum() / wanted / is_rug.mean())


def _report(rows: pl.DataFrame, figures: Figures) -> dict[str, float | int | None]:
    """The figures of one group; what is not defined is null."""
    y = rows["outcome"].cast(pl.Enum(OUTCOMES)).to_physical().to_numpy().astype(np.int64)
    p = rows.select(f"p_{outcome}" for outcome in OUTCOMES).to_numpy()
    found = figures(y, p, np.ones((1, len(y))))
    told = {name: float(found[place][0]) for name, place in _TOLD.items()}
    is_rug = (y == OUTCOMES.index("RUG")).astype(np.float64)
    return {
        **{name: None if np.isnan(value) else value for name, value in told.items()},
        "n_rows": rows.height,
        "n_pools": rows.select("network", "pool").n_unique(),
        "rug_share": float(is_rug.mean()),
        "rug_lift": rug_lift(is_rug, p[:, OUTCOMES.index("RUG")]),
    }
