"""A trained model's evidence as rows: what it and the baselines said of the last block, and what that is worth.

Stays out: training and evaluation themselves.
"""

from typing import TYPE_CHECKING, Any

import polars as pl

from pipeline.models.spec import LAST_BLOCK, MODEL
from pipeline.models.training_records import competition_rows, signal_rows
from pipeline.tables import EVALUATIONS, FIGURES, OUTCOMES

if TYPE_CHECKING:
    # Not imported when this runs: it brings XGBoost and matplotlib, and readers of the records need neither.
    from pipeline.models.trained import Trained

ALL_AGES = "all"
SHOWN = (
    "log_loss",
    "accuracy",
    "f1/macro",
    "roc_auc/macro",
    "roc_auc/RUG",
    "pr_auc/macro",
    "pr_auc/RUG",
    "brier",
    "ece/macro",
)
"""The figures that fit on a screen; the `figures` table holds all of them."""
FLAT_METRICS = ("log_loss", "accuracy", "roc_auc", "pr_auc", "f1", "precision", "recall", "brier", "ece")
"""The figures shown one by one where there is no room for a table."""


def evaluation_rows(trained: "Trained") -> pl.DataFrame:
    """Out-of-sample predictions of the last block, the model's and each baseline's, as `EVALUATIONS`."""
    said = {MODEL: trained.evaluation, **trained.baselines}
    return pl.concat(
        frame.select(
            pl.lit(trained.model_sha256).alias("model_sha256"),
            pl.lit(predictor).alias("predictor"),
            "network",
            "pool",
            pl.col("time").alias("event_time"),
            pl.col("horizon").alias("horizon_hours"),
            "decision_age_hours",
            "label",
            *(f"p_{outcome}" for outcome in OUTCOMES),
        )
        for predictor, frame in said.items()
    ).cast(EVALUATIONS.schema)


def figure_rows(trained: "Trained") -> pl.DataFrame:
    """Every figure with its interval, as `FIGURES`: of the model, and of the competition and the signal behind it."""
    figures = trained.metrics.select(
        pl.lit(trained.model_sha256).alias("model_sha256"),
        "predictor",
        "block",
        pl.col("decision_age_hours").cast(pl.String).fill_null(ALL_AGES).alias("decision_age"),
        "metric",
        "outcome",
        "value",
        "low",
        "high",
        "n_rows",
        "n_pools",
    ).cast(FIGURES.schema)
    told = [*competition_rows(trained), *signal_rows(trained)]
    others = pl.DataFrame(
        [{"model_sha256": trained.model_sha256, "decision_age": ALL_AGES, "outcome": "all", **row} for row in told],
        schema=FIGURES.schema,
    )
    return pl.concat([figures, others])


def as_interchange(evaluations: pl.DataFrame) -> pl.DataFrame:
    """Rows of `EVALUATIONS` under the names predictions travel by: `pool`, `time`, `horizon`, `label`, `p_CLASS`."""
    return evaluations.select(
        "network",
        "pool",
        pl.col("event_time").alias("time"),
        pl.col("horizon_hours").alias("horizon"),
        "decision_age_hours",
        "label",
        *(f"p_{outcome}" for outcome in OUTCOMES),
    ).sort("pool", "time")


def last_block(figures: pl.DataFrame, decision_age: str = ALL_AGES) -> pl.DataFrame:
    """The figures of the last block at one decision age, that have a value."""
    return figures.filter(
        pl.col("block") == LAST_BLOCK, pl.col("decision_age") == decision_age, pl.col("value").is_not_null()
    )


def compared(figures: pl.DataFrame, metrics: tuple[str, ...] = SHOWN) -> pl.DataFrame:
    """The telling figures side by side: one row a figure, one column a predictor, `value [low, high]` as text."""
    told = nested(figures)
    names = [MODEL, *sorted(name for name in told if name != MODEL)]
    return pl.DataFrame(
        [{"figure": m, **{name: as_text(told.get(name, {}).get(m)) for name in names}} for m in metrics],
        schema=["figure", *names],
    )


def as_text(figure: dict[str, Any] | None) -> str:
    """`value [low, high]` to three places; a dash where there is none."""
    if figure is None or figure["value"] is None:
        return "-"
    interval = "" if figure["low"] is None else f" [{figure['low']:.3f}, {figure['high']:.3f}]"
    return f"{figure['value']:.3f}{interval}"


def nested(figures: pl.DataFrame) -> dict[str, dict[str, Any]]:
    """Figures as `{predictor: {metric/outcome: {value, low, high}}}`, for a report."""
    told: dict[str, dict[str, Any]] = {}
    for row in figures.sort("predictor", "metric", "outcome").iter_rows(named=True):
        name = row["metric"] if row["outcome"] == "all" else f"{row['metric']}/{row['outcome']}"
        told.setdefault(row["predictor"], {})[name] = {key: row[key] for key in ("value", "low", "high")}
    return told


def flat(figures: pl.DataFrame) -> dict[str, float]:
    """The model's own figures by name, log loss first: what MLflow shows as metrics."""
    own = {name: figure["value"] for name, figure in nested(figures).get(MODEL, {}).items()}
    rank = {metric: place for place, metric in enumerate(FLAT_METRICS)}
    return dict(sorted(own.items(), key=lambda item: (rank.get(item[0].partition("/")[0], len(rank)), item[0])))


def last_block_reads(sets: pl.LazyFrame, rows_id: str) -> int:
    """How often a model was evaluated on the last block of these rows, by whatever features, learners and code.

    Args:
        sets: `training_sets` or `return_datasets`.
        rows_id: which rows.
    """
    return int(sets.filter(pl.col("rows_id") == rows_id).select(pl.col("n_last_block_reads").sum()).collect().item())
