"""A return training's evidence as rows of our tables, and as people read it.

Belongs here: shapes. Stays out: every computation (`returns`), and where the rows go.
"""

from typing import Final

import polars as pl

from pipeline.models.records import as_text
from pipeline.models.return_dataset import ReturnDataset
from pipeline.models.returns.figures import OVER_SEEDS
from pipeline.models.returns.spec import LAST_BLOCK, MODEL, WALK_FORWARD
from pipeline.models.returns.targets import return_name
from pipeline.models.returns.train import TrainedReturns
from pipeline.tables import RETURN_EVALUATIONS, RETURN_FIGURES

ALL_SEEDS: Final = "all"
_QUANTILES: Final = (0.05, 0.25, 0.5, 0.75, 0.95)
_SHOWN: Final = ("rank_ic", "rank_icir", "ic", "precision_at_k", "turnover", "long_short", "long_short_net", "skill")
"""What is compared with the baselines at a glance; everything else is in `return_figures`."""


def return_evaluation_rows(trained: TrainedReturns) -> pl.DataFrame:
    """Rows of `tables.RETURN_EVALUATIONS`."""
    told = trained.evaluation.with_columns(pl.lit(trained.model_sha256).alias("model_sha256"))
    return told.select(pl.col(name).cast(dtype) for name, dtype in RETURN_EVALUATIONS.schema.items())


def return_figure_rows(trained: TrainedReturns) -> pl.DataFrame:
    """Rows of `tables.RETURN_FIGURES`; the seed is `all` for the seeds' mean forecast, a baseline's kind its name."""
    told = trained.figures.with_columns(
        pl.lit(trained.model_sha256).alias("model_sha256"),
        pl.col("seed").cast(pl.String).fill_null(ALL_SEEDS),
        pl.coalesce("kind", "predictor").alias("kind"),
    )
    return told.select(pl.col(name).cast(dtype) for name, dtype in RETURN_FIGURES.schema.items())


def as_forecasts(evaluation: pl.DataFrame) -> pl.DataFrame:
    """Rows of `tables.RETURN_EVALUATIONS` as the gate reads them; one address may be a pool on two networks."""
    pool = pl.concat_str("network", "pool", separator=":").alias("pool")
    return evaluation.select(pool, pl.col("event_time").alias("time"), pl.col("horizon_hours").alias("horizon"),
                             "target", "forecast")  # fmt: skip


def null_shares(dataset: ReturnDataset) -> pl.DataFrame:
    """`feature` and `null_share` of the features that are not always there, most missing first."""
    shares = dataset.rows.select(pl.col(dataset.feature_names).null_count() / pl.len())
    told = shares.transpose(include_header=True, header_name="feature", column_names=["null_share"])
    return told.filter(pl.col("null_share") > 0).sort("null_share", "feature", descending=[True, False])


def target_quantiles(dataset: ReturnDataset) -> pl.DataFrame:
    """What came of the decisions at each horizon: how many returns are known, and their quantiles as shares."""
    told = []
    for hours in dataset.spec.horizons_hours:
        known = dataset.rows[return_name(hours)].drop_nulls()
        spread = {f"q{100 * q:.0f}": known.quantile(q) for q in _QUANTILES}
        told.append(
            {"horizon_hours": hours, "known": known.len(), "pending": dataset.rows.height - known.len(), **spread}
        )
    return pl.DataFrame(told, infer_schema_length=None)


def headline(figures: pl.DataFrame) -> dict[str, float]:
    """The model's figures on the last block by `metric/HORIZONh`, the shown ones first; what has no value is left out.

    Args:
        figures: rows of `tables.RETURN_FIGURES` of one model.
    """
    own = _of_last_block(figures).filter(pl.col("predictor") == MODEL, pl.col("value").is_not_null())
    order = {name: place for place, name in enumerate(_SHOWN)}
    rows = own.select("metric", "horizon_hours", "value").sort("horizon_hours", "metric").rows()
    rows.sort(key=lambda row: order.get(row[0], len(order)))
    return {f"{metric}/{hours}h": value for metric, hours, value in rows}


def compared_with_baselines(figures: pl.DataFrame) -> pl.DataFrame:
    """The shown figures of the last block: a row a horizon and figure, a column a predictor, with intervals."""
    shown = _of_last_block(figures).filter(pl.col("metric").is_in(_SHOWN))
    text = pl.struct("value", "low", "high").map_elements(as_text, pl.String)
    order = pl.col("metric").cast(pl.Enum(_SHOWN))
    return (
        shown.with_columns(text.alias("text"), order)
        .sort("horizon_hours", "metric", pl.col("predictor") != MODEL, "predictor")
        .pivot("predictor", index=["horizon_hours", "metric"], values="text", maintain_order=True)
    )


def rank_ics(figures: pl.DataFrame) -> dict[str, dict[str, float | None]]:
    """The model's rank IC on the last block by horizon (`1h`), with its interval."""
    own = _of_last_block(figures).filter(pl.col("predictor") == MODEL, pl.col("metric") == "rank_ic")
    rows = own.sort("horizon_hours").select("horizon_hours", "value", "low", "high").iter_rows(named=True)
    return {f"{row.pop('horizon_hours')}h": row for row in rows}


def kinds_on_folds(figures: pl.DataFrame) -> pl.DataFrame:
    """What the choice between the kinds rests on: skill and rank IC on the walk-forward, best first."""
    own = figures.filter(pl.col("block") == WALK_FORWARD, pl.col("seed") == ALL_SEEDS)
    wanted = own.filter(pl.col("metric").is_in(["skill", "rank_ic", f"rank_ic{OVER_SEEDS}"]))
    wide = wanted.pivot("metric", index=["horizon_hours", "kind"], values="value", maintain_order=True)
    return wide.sort("horizon_hours", "skill", descending=[False, True], nulls_last=True)


def without_skill(figures: pl.DataFrame) -> str:
    """That no kind has skill at any horizon, with the best of each out of fold.

    Args:
        figures: rows of `tables.RETURN_FIGURES` of one training.
    """
    best = kinds_on_folds(figures).group_by("horizon_hours", maintain_order=True).first()
    told = (f"{row['horizon_hours']} h {row['kind']} {row['skill'] or 0:.2%}" for row in best.iter_rows(named=True))
    return f"no kind of model has skill on the inner folds at any horizon ({', '.join(told)})"


def _of_last_block(figures: pl.DataFrame) -> pl.DataFrame:
    return figures.filter(pl.col("block") == LAST_BLOCK, pl.col("seed") == ALL_SEEDS)
