"""The costly half of `outcome_model`: fit, keep the evidence, register. Imported when there is something to train."""

from collections.abc import Callable
from typing import Any, Final

import polars as pl

from assets.away import once_it_answers
from assets.features import SPEC as FEATURES_SPEC
from assets.labels import SPEC as LABELS_SPEC
from pipeline.features.definitions import feature_definitions
from pipeline.features.registry import named
from pipeline.lake import Lake
from pipeline.models.evaluation import train_and_evaluate
from pipeline.models.records import evaluation_rows, figure_rows, flat, last_block, last_block_reads
from pipeline.models.spec import TrainingSpec
from pipeline.models.trained import Trained
from pipeline.models.training_records import paid_in_words, signal_table
from pipeline.models.training_set import TrainingSet
from pipeline.promotion.kinds import Outcomes
from pipeline.promotion.model_card import model_card
from pipeline.promotion.registry import Registry
from pipeline.promotion.run import Scalar, TrainingRun
from pipeline.promotion.versions import RegisteredVersion
from pipeline.tables import EVALUATIONS, FIGURES, OUTCOMES, TRAINING_SETS
from pipeline.workers import HERE, Workers
from resources.pages import run_page

LOADER: Final = "pipeline.models.outcome_scoring"
EXAMPLE_ROWS: Final = 3


def train(
    lake: Lake,
    registry: Registry,
    frozen: TrainingSet,
    spec: TrainingSpec,
    code: str,
    say: Callable[[str], None],
    run_id: str = "",
    workers: Workers = HERE,
) -> RegisteredVersion:
    """Train on a frozen set and register the result; the version comes last, so a kill before it leaves none behind.

    `run_id`: the run of Dagster that trains. `workers`: who makes the fits.
    """
    _count_read(lake, frozen.training_set_id)
    trained = train_and_evaluate(frozen, spec, lambda step, share: say(f"{share:4.0%} {step}"), workers)
    lake.append(EVALUATIONS, evaluation_rows(trained))
    lake.append(FIGURES, figure_rows(trained))
    n_reads = last_block_reads(lake.scan(TRAINING_SETS), frozen.rows_id)
    made = training_run(frozen, trained, spec, code, n_reads, run_id)
    return once_it_answers(lambda: registry.register(made), say)


def training_run(
    frozen: TrainingSet, trained: Trained, spec: TrainingSpec, code: str, n_reads: int, run_id: str = ""
) -> TrainingRun:
    """What the registry keeps of a training; `n_reads`: how often a model was evaluated on this last block."""
    kind = Outcomes(OUTCOMES, spec.horizon_hours, trained.model.further_hours, LOADER, trained.kind)
    dataset: dict[str, Scalar] = {
        "source": frozen.source,
        "rows": frozen.n_rows,
        "pools": frozen.n_pools,
        "trained on rows": trained.n_train_rows,
        "trained on pools": trained.n_train_pools,
        "first decision": f"{frozen.first_time:%Y-%m-%d %H:%M} UTC",
        "last decision": f"{frozen.last_time:%Y-%m-%d %H:%M} UTC",
    }
    return TrainingRun(
        model_name=spec.model_name,
        model_bytes=trained.model_bytes,
        model_sha256=trained.model_sha256,
        training_set_id=frozen.training_set_id,
        feature_set=frozen.feature_set,
        code_version=code,
        feature_names=trained.model.feature_names,
        feature_definitions=feature_definitions(FEATURES_SPEC, map(named, trained.model.feature_names)),
        label_rule=LABELS_SPEC.outcome_rule,
        kind=kind,
        params=_params(trained, spec),
        metrics=flat(last_block(figure_rows(trained))),
        tables={
            "figures": trained.metrics,
            "importance": trained.importance,
            "shap": trained.shap,
            "evaluation": trained.evaluation,
            "kinds_by_fold": trained.standings,
            "trials": trained.trials,
            "signal": signal_table(trained),
            "slices": trained.slices,
            "learning_curve": trained.learning_curve,
        },
        plots=trained.plots,
        dataset=dataset,
        documents={"card.md": card_of(frozen, trained, spec, kind.in_words, dataset, n_reads)},
        example=frozen.frame.head(EXAMPLE_ROWS),
        tags={"source": frozen.source},
        curves={"log_loss_by_pools_learned_from": _learning_curve(trained.learning_curve)},
        dagster_url=run_page(run_id),
        run_name=f"{spec.model_name} {frozen.training_set_id[:12]}",
    )


def _learning_curve(curve: pl.DataFrame) -> list[tuple[int, float]]:
    return list(curve.select("n_train_pools", "value").drop_nulls().iter_rows())


def card_of(
    frozen: TrainingSet, trained: Trained, spec: TrainingSpec, in_words: str, dataset: dict[str, Scalar], n_reads: int
) -> str:
    """The model's card, in Markdown."""
    figures = figure_rows(trained)
    return model_card(
        spec.model_name,
        in_words,
        identity={
            "model_sha256": trained.model_sha256, "training_set_id": frozen.training_set_id,
            "feature_set": frozen.feature_set,
        },
        data=dataset,
        figures=last_block(figures),
        classes=OUTCOMES,
        feature_names=trained.feature_names,
        n_last_block_reads=n_reads,
        n_trials=trained.trials.height,
        slices=trained.slices,
        abstention={"high signal": _signal(trained, figures)},
        params=_params(trained, spec),
    )  # fmt: skip


def _signal(trained: Trained, figures: pl.DataFrame) -> str:
    """What the signal guarantees, and how many of its calls paid."""
    paid = paid_in_words(figures)
    return trained.certificate.words if paid is None else f"{trained.certificate.words}; on these, {paid}"


def _params(trained: Trained, spec: TrainingSpec) -> dict[str, Any]:
    """What was chosen, after how many trials, and what the signal rests on."""
    return {
        "kind": trained.kind,
        "n_trials": trained.trials.height,
        "horizon_hours": spec.horizon_hours,
        "signal": trained.certificate.words,
        **trained.settings,
    }


def _count_read(lake: Lake, training_set_id: str) -> None:
    """The last block is touched once a training; the counter says how often it has been."""
    row = lake.scan(TRAINING_SETS).filter(pl.col("training_set_id") == training_set_id).collect()
    lake.upsert(TRAINING_SETS, row.with_columns(pl.col("n_last_block_reads") + 1))
