"""The costly half of `return_model`: fit, keep the evidence, register. Imported when there is something to train."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import polars as pl

from assets.away import once_it_answers
from pipeline.lake import Lake
from pipeline.models.return_files import kept_rows
from pipeline.models.return_records import headline, return_evaluation_rows, return_figure_rows, without_skill
from pipeline.models.returns.portable import load_returns
from pipeline.models.returns.spec import ReturnsSpec
from pipeline.models.returns.train import Tracking, TrainedReturns, train_returns
from pipeline.models.returns.walk import NONE
from pipeline.promotion.kinds import Forecaster
from pipeline.promotion.registry import Registry
from pipeline.promotion.run import TrainingRun
from pipeline.promotion.versions import RegisteredVersion
from pipeline.tables import RETURN_DATASETS, RETURN_EVALUATIONS, RETURN_FIGURES
from resources.pages import run_page

LOADER: Final = "pipeline.models.return_scoring"
EXAMPLE_ROWS: Final = 3


def train_forecaster(
    lake: Lake,
    registry: Registry,
    folder: Path,
    row: dict[str, Any],
    spec: ReturnsSpec,
    say: Callable[[str], None],
    run_id: str = "",
) -> RegisteredVersion | None:
    """Train on the dataset of a row and register the result; the version comes last, so a kill leaves none behind.

    Where no kind has skill at any horizon, nothing is registered: the figures are kept, and the dataset's row says so.
    `run_id`: the run of Dagster that trains.
    """
    rows = kept_rows(folder, row["source"], row)
    _count_read(lake, row["dataset_id"])
    trained = train_returns(
        rows,
        spec,
        dataset_id=row["dataset_id"],
        source=row["source"],
        progress=lambda step, share: say(f"{share:4.0%} {step}"),
        tracking=Tracking(registry.tracking_uri, registry.open_experiment(spec.model_name)),
    )
    for kind, why in trained.skipped.items():
        say(f"{kind} did not compete: {why}")
    lake.append(RETURN_FIGURES, return_figure_rows(trained))
    if set(trained.chosen.values()) == {NONE}:
        _note(lake, row["dataset_id"], pl.lit(without_skill(return_figure_rows(trained))).alias("lacking"))
        return None
    lake.append(RETURN_EVALUATIONS, return_evaluation_rows(trained))
    made = return_run(trained, row, rows, spec, run_id)
    return once_it_answers(lambda: registry.register(made), say)


def return_run(
    trained: TrainedReturns, row: dict[str, Any], rows: pl.DataFrame, spec: ReturnsSpec, run_id: str = ""
) -> TrainingRun:
    """What the registry keeps of a training; every forecast of the last block is in `return_evaluations`."""
    features = load_returns(trained.model_bytes).features
    return TrainingRun(
        model_name=spec.model_name,
        model_bytes=trained.model_bytes,
        model_sha256=trained.model_sha256,
        training_set_id=row["dataset_id"],
        feature_set=row["feature_set"],
        code_version=row["code_version"],
        feature_names=trained.feature_names,
        kind=Forecaster(spec.horizons_hours, LOADER, trained.chosen),
        params=trained.params,
        metrics=headline(return_figure_rows(trained)),
        tables={
            "figures": trained.figures,
            "importance": trained.importance,
            "features": pl.DataFrame({"feature": list(features), "expression": list(features.values())}),
        },
        plots=trained.plots,
        dataset={
            "source": row["source"],
            "rows": row["n_rows"],
            "pools": row["n_pools"],
            "trained on rows": trained.n_train_rows,
            "trained on pools": trained.n_train_pools,
            "learned until": f"{trained.learned_until:%Y-%m-%d %H:%M} UTC",
            "first decision": f"{row['first_time']:%Y-%m-%d %H:%M} UTC",
            "last decision": f"{row['last_time']:%Y-%m-%d %H:%M} UTC",
        },
        dataset_table=RETURN_DATASETS.name,
        example=rows.head(EXAMPLE_ROWS),
        tags={"source": row["source"]},
        dagster_url=run_page(run_id),
        run_name=f"{spec.model_name} {row['dataset_id'][:12]}",
    )


def _count_read(lake: Lake, dataset_id: str) -> None:
    """The last block is touched once a training; the counter says how often it has been."""
    _note(lake, dataset_id, pl.col("n_last_block_reads") + 1)


def _note(lake: Lake, dataset_id: str, what: pl.Expr) -> None:
    row = lake.scan(RETURN_DATASETS).filter(pl.col("dataset_id") == dataset_id).collect()
    lake.upsert(RETURN_DATASETS, row.with_columns(what))
