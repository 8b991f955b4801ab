"""Models: a frozen training set, and the model fitted on it with the evidence that belongs to its bytes."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import dagster as dg
import polars as pl

from assets.away import tried_again
from assets.features import SPEC as FEATURES_SPEC
from assets.metadata import frame_metadata, n_rows, table_value
from assets.pictures import page_of, pictures_of
from pipeline.calendars import Clock
from pipeline.errors import RegistryError
from pipeline.features.registry import FEATURE_NAMES, feature_set_hash
from pipeline.lake import Lake
from pipeline.models.records import compared, last_block
from pipeline.models.source import choose_source
from pipeline.models.spec import TrainingSpec
from pipeline.models.training_records import kinds_by_fold, signal_in_words
from pipeline.models.training_set import TrainingSet, freeze
from pipeline.promotion.registry import Registry
from pipeline.promotion.versions import RegisteredVersion, made_from
from pipeline.provenance import code_of
from pipeline.tables import EVALUATIONS, FEATURES, FIGURES, LABELS, POOLS, TRAINING_SETS, Table
from pipeline.workers import Workers

SPEC = TrainingSpec()
CODE = code_of("models", SPEC)


def frozen(lake: Lake, source: str, clock: Clock) -> TrainingSet:
    """The training set of now: the same rows give the same set, so each step may ask for it again."""
    tables = [lake.scan(target) for target in (FEATURES, LABELS, POOLS)]
    chosen = choose_source(_sources(tables), source)
    features, labels, pools = (frame.filter(pl.col("source") == chosen) for frame in tables)
    return freeze(
        features,
        labels,
        pools,
        source=chosen,
        known_by=clock.now(),
        feature_set=feature_set_hash(FEATURES_SPEC),
        feature_names=FEATURE_NAMES,
        # To name a simulation is to allow it; `choose_source` takes none that was not named.
        spec=replace(SPEC, is_simulation_allowed=chosen.startswith("simulation:")),
    )


@dg.asset(deps=["features", "labels", "pools"])
def training_set(
    lake: dg.ResourceParam[Lake], source: dg.ResourceParam[str], clock: dg.ResourceParam[Clock]
) -> dg.MaterializeResult[Any]:
    """The rows a model may learn from, frozen under the hash of their content."""
    frozen_set = frozen(lake, source, clock)
    versions = {target.name: lake.version(target) or 0 for target in (FEATURES, LABELS, POOLS)}
    row = pl.DataFrame([frozen_set.row(versions)], schema=TRAINING_SETS.schema)
    lake.append(TRAINING_SETS, row)
    return dg.MaterializeResult(
        metadata={
            **frame_metadata(TRAINING_SETS, row, n_rows(lake, TRAINING_SETS)),
            "training_set_id": frozen_set.training_set_id,
            "rows": frozen_set.n_rows,
            "pools": frozen_set.n_pools,
            "outcomes": table_value(
                pl.DataFrame(list(frozen_set.class_counts.items()), ["outcome", "rows"], orient="row")
            ),
        }
    )


@dg.asset(deps=[training_set], pool="training")
def outcome_model(
    context: dg.AssetExecutionContext,
    lake: dg.ResourceParam[Lake],
    source: dg.ResourceParam[str],
    clock: dg.ResourceParam[Clock],
    registry: dg.ResourceParam[Registry],
    workers: dg.ResourceParam[Workers],
) -> dg.MaterializeResult[Any]:
    """The outcome at 24 h (and 1 h, 6 h) by the best of six kinds of model, evaluated once on the last block in time.

    It is registered as `pool-outcome`, with a high signal whose false-positive rate is bounded, or why there is none.
    """
    # XGBoost and matplotlib take seconds to import: paid here, and never when the code location loads.
    from assets.training import train  # noqa: PLC0415

    frozen_set = frozen(lake, source, clock)
    # Two that ask at once train once: the second waits, and finds what the first trained.
    with tried_again(), lake.locked("outcome_model.train"):
        version = trained_before(registry, frozen_set)
        if version is None or not has_evidence(lake, version):
            version = train(lake, registry, frozen_set, SPEC, CODE, context.log.info, context.run.run_id, workers)
        else:
            context.log.info(f"version {version.version} was trained on this set by this code; nothing to train")
    figures = lake.scan(FIGURES).filter(pl.col("model_sha256") == version.model_sha256).collect()
    headline_age = str(SPEC.headline_age_hours)
    return dg.MaterializeResult(
        metadata={
            "version": version.version,
            "version_in_mlflow": page_of(registry, version),
            "model_sha256": version.model_sha256,
            "training_set_id": version.training_set_id,
            "mlflow_run_id": version.run_id,
            **_card(context, registry, version),
            **pictures_of(context, registry, version),
            "what_it_is": version.kind.in_words,
            "kinds_by_fold": table_value(kinds_by_fold(figures)),
            "high_signal": signal_in_words(figures),
            "last_block": table_value(compared(last_block(figures))),
            f"last_block_decided_at_{headline_age}_h_of_age": table_value(compared(last_block(figures, headline_age))),
        }
    )


def trained_before(registry: Registry, frozen_set: TrainingSet) -> RegisteredVersion | None:
    """The version this set gave under this code, if there is one."""
    return made_from(registry.versions(SPEC.model_name), frozen_set.training_set_id, CODE)


def _card(context: dg.AssetExecutionContext, registry: Registry, version: RegisteredVersion) -> dict[str, Any]:
    """The version's card; a run that somebody deleted has none."""
    try:
        return {"model_card": dg.MetadataValue.md(registry.document(version, "card.md"))}
    except RegistryError as error:
        context.log.warning(f"no card: {error}")
        return {}


def has_evidence(lake: Lake, version: RegisteredVersion, kept_in: Sequence[Table] = (EVALUATIONS, FIGURES)) -> bool:
    """Whether what the version said of the last block, and what that is worth, is still on record."""
    return all(
        lake.scan(target).filter(pl.col("model_sha256") == version.model_sha256).head(1).collect().height
        for target in kept_in
    )


def _sources(tables: Sequence[pl.LazyFrame]) -> set[str]:
    """Sources that have both features and labels."""
    features, labels = (set(t.select(pl.col("source").unique()).collect()["source"]) for t in tables[:2])
    return features & labels
