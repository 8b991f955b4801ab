"""Returns: a frozen dataset read from the bins, and the forecasters chosen on it with their evidence.

Where there is too little to learn from, these assets say what is missing and leave everything as it was: a market that
is a day old has no forecaster, and that is no failure.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl

from assets.metadata import frame_metadata, n_rows, table_value
from assets.models import has_evidence
from assets.pictures import page_of, pictures_of
from pipeline.bins.export import reading
from pipeline.bins.instruments import read_instruments
from pipeline.calendars import Clock
from pipeline.errors import StorageError
from pipeline.lake import Lake
from pipeline.models.records import last_block_reads
from pipeline.models.return_dataset import (
    ReturnDataset,
    feature_set_of,
    freeze_returns,
    inputs_id_of,
    installed_learners,
    named_pools,
    unwatched_hours,
)
from pipeline.models.return_files import current_id, keep, kept_rows, safe_name
from pipeline.models.return_records import (
    compared_with_baselines,
    kinds_on_folds,
    null_shares,
    target_quantiles,
)
from pipeline.models.returns.rows import return_rows
from pipeline.models.returns.spec import ReturnsSpec
from pipeline.models.source import choose_source
from pipeline.promotion.registry import Registry
from pipeline.promotion.versions import RegisteredVersion, made_from
from pipeline.provenance import code_of
from pipeline.tables import (
    ANSWERS,
    BIN_EXPORTS,
    POOLS,
    RAW_POOLS,
    RETURN_DATASETS,
    RETURN_EVALUATIONS,
    RETURN_FIGURES,
)

SPEC = ReturnsSpec()
CODE = code_of("models", SPEC, installed_learners())


@dg.asset(deps=["qlib_bins", "pools"])
def return_dataset(
    context: dg.AssetExecutionContext,
    lake: dg.ResourceParam[Lake],
    qlib: dg.ResourceParam[Path],
    return_datasets: dg.ResourceParam[Path],
    source: dg.ResourceParam[str],
    clock: dg.ResourceParam[Clock],
) -> dg.MaterializeResult[Any]:
    """Decisions on hourly bars with their features and forward returns, frozen under the hash of their content."""
    chosen = chosen_source(lake.scan(BIN_EXPORTS).filter(pl.col("freq") == SPEC.freq), source)
    if chosen is None or not (qlib / safe_name(chosen)).exists():
        return nothing_done(context, f"no bins of {SPEC.freq} are there to learn from; materialise `qlib_bins` first")
    frozen = frozen_returns(context, lake, qlib / safe_name(chosen), return_datasets, chosen, clock)
    if frozen is None or frozen.rows.is_empty():
        return nothing_done(context, f"no pool of {chosen} has traded in {SPEC.min_bars} bars yet")
    keep(frozen, return_datasets)
    before = lake.scan(RETURN_DATASETS).filter(pl.col("dataset_id") == frozen.dataset_id).collect()
    row = pl.DataFrame([frozen.row() | remembered(before)], schema=RETURN_DATASETS.schema)
    lake.upsert(RETURN_DATASETS, row)
    lacking = row["lacking"].item()
    if lacking:
        context.log.warning(f"nothing to learn from it: {lacking}")
    return dg.MaterializeResult(
        metadata={
            **frame_metadata(RETURN_DATASETS, row, n_rows(lake, RETURN_DATASETS)),
            "dataset_id": frozen.dataset_id,
            "export_id": frozen.export_id,
            "rows": frozen.rows.height,
            "pools": frozen.n_pools,
            "lacking": lacking or "nothing",
            "segments": table_value(frozen.segments),
            "feature_null_shares": table_value(null_shares(frozen)),
            "targets": table_value(target_quantiles(frozen)),
        }
    )


@dg.asset(deps=[return_dataset], pool="training")
def return_model(
    context: dg.AssetExecutionContext,
    lake: dg.ResourceParam[Lake],
    return_datasets: dg.ResourceParam[Path],
    source: dg.ResourceParam[str],
    registry: dg.ResourceParam[Registry],
) -> dg.MaterializeResult[Any]:
    """For each horizon the best of several kinds, chosen by walk-forward and registered together as `pool-return`."""
    row = dataset_in_force(lake, return_datasets, source)
    why = why_nothing(row)
    if row is None or why:
        return nothing_done(context, why)
    version = version_of(registry, row)
    if version is None or not has_evidence(lake, version, (RETURN_EVALUATIONS, RETURN_FIGURES)):
        # QLib and the trees take seconds to import: paid here, and never when the code location loads.
        from assets.return_training import train_forecaster  # noqa: PLC0415

        version = train_forecaster(
            lake, registry, return_datasets, row, spec_for(row["source"]), context.log.info, context.run.run_id
        )
        if version is None:
            return nothing_done(context, why_nothing(dataset_in_force(lake, return_datasets, source)))
    else:
        context.log.info(f"version {version.version} was trained on this dataset by this code; nothing to train")
    figures = lake.scan(RETURN_FIGURES).filter(pl.col("model_sha256") == version.model_sha256).collect()
    return dg.MaterializeResult(
        metadata={
            "version": version.version,
            "version_in_mlflow": page_of(registry, version),
            "model_sha256": version.model_sha256,
            "dataset_id": row["dataset_id"],
            "mlflow_run_id": version.run_id,
            "last_block_reads": last_block_reads(lake.scan(RETURN_DATASETS), row["rows_id"]),
            "chosen": version.kind.in_words,
            "last_block": table_value(compared_with_baselines(figures)),
            "kinds_on_walk_forward": table_value(kinds_on_folds(figures)),
            **pictures_of(context, registry, version),
        }
    )


def frozen_returns(
    context: dg.AssetExecutionContext, lake: Lake, directory: Path, folder: Path, source: str, clock: Clock
) -> ReturnDataset | None:
    """The dataset of the bins that are in force now; None while no pool we know is among them."""
    from pipeline.models.returns.expressions import expressions, feature_names  # noqa: PLC0415 - they import QLib

    spec = spec_for(source)
    known = lake.scan(POOLS, sources=[source]).filter(pl.col("known_at") <= clock.now()).collect()
    with reading(directory) as held:
        export_id, named = held.name, named_pools(read_instruments(held), known)
        if named.is_empty():
            return None
        unwatched = unwatched_of(lake, source, clock)
        inputs_id = inputs_id_of(named, export_id, CODE, spec, unwatched)
        rows = _computed_before(context, lake, folder, source, inputs_id)
        if rows is None:
            say = context.log.info
            rows = return_rows(held, named, spec, lambda step, share: say(f"{share:4.0%} {step}"), unwatched=unwatched)
    formulas = expressions(spec)
    return freeze_returns(
        rows,
        source=source,
        export_id=export_id,
        inputs_id=inputs_id,
        known_by=clock.now(),
        feature_set=feature_set_of({name: formulas.get(name) for name in feature_names(spec)}, spec),
        code_version=CODE,
        spec=spec,
    )


def unwatched_of(lake: Lake, source: str, clock: Clock) -> pl.DataFrame | None:
    """The hours in which nobody heard of a network, while it was collected; None where nothing was ever missed.

    A recording and a simulation are whole by themselves: an hour without a trade is one in which nobody traded.
    """
    if source.startswith(("recording:", "simulation:")):
        return None
    heard = lake.scan(ANSWERS, sources=[source]).filter(pl.col("status").is_between(200, 299))
    rows = lake.scan(RAW_POOLS, sources=[source])
    told = pl.concat([told.select("network", "known_at") for told in (heard, rows)])
    return unwatched_hours(told.filter(pl.col("known_at") <= clock.now()))


def _computed_before(
    context: dg.AssetExecutionContext, lake: Lake, folder: Path, source: str, inputs_id: str
) -> pl.DataFrame | None:
    """The rows that the same inputs gave before, if they are kept and sound."""
    found = lake.scan(RETURN_DATASETS, sources=[source]).filter(pl.col("inputs_id") == inputs_id).collect()
    if found.is_empty():
        return None
    try:
        rows = kept_rows(folder, source, found.row(0, named=True))
    except StorageError as error:
        context.log.warning(f"computed anew: {error}")
        return None
    context.log.info("bins, pools, code and spec are those of the dataset before; nothing to compute")
    return rows


def spec_for(source: str) -> ReturnsSpec:
    """The spec; to name a simulation is to allow it: `choose_source` takes none that was not named."""
    return replace(SPEC, is_simulation_allowed=source.startswith("simulation:"))


def dataset_in_force(lake: Lake, folder: Path, source: str) -> dict[str, Any] | None:
    """The row of the dataset in force; None while there is none. `why_nothing` says whether it may be learned from.

    Raises:
        UsageError: nobody said which of several sources is meant.
    """
    chosen = chosen_source(lake.scan(RETURN_DATASETS), source)
    named = current_id(folder, chosen) if chosen else None
    if named is None:
        return None
    rows = lake.scan(RETURN_DATASETS).filter(pl.col("dataset_id") == named).collect()
    return rows.row(0, named=True) if rows.height else None


def remembered(before: pl.DataFrame) -> dict[str, Any]:
    """What a dataset's row tells of its trainings, which freezing the same rows again must not forget."""
    return before.select("lacking", "n_last_block_reads").row(0, named=True) if before.height else {}


def chosen_source(table: pl.LazyFrame, wanted: str) -> str | None:
    """The one source of a table to learn from; None while the table holds none, or not the one that is wanted."""
    present = set(table.select(pl.col("source").unique()).collect()["source"])
    return choose_source(present, wanted) if present and (not wanted or wanted in present) else None


def version_of(registry: Registry, row: dict[str, Any]) -> RegisteredVersion | None:
    """The version a dataset gave under this code, if there is one."""
    return made_from(registry.versions(SPEC.model_name), row["dataset_id"], CODE)


def why_nothing(row: dict[str, Any] | None) -> str:
    """Why nothing can be learned from the dataset in force, in words; empty where something can."""
    if row is None:
        return "no return dataset is there yet"
    if row["code_version"] != CODE:
        return f"return dataset {row['dataset_id']!r} was frozen by other code: materialise `return_dataset` first"
    return f"nothing to learn from: {row['lacking']}" if row["lacking"] else ""


def nothing_done(context: dg.AssetExecutionContext, why: str) -> dg.MaterializeResult[Any]:
    """The result of an asset that had nothing to work on: it says so, and nothing changed."""
    context.log.warning(f"nothing was done: {why}")
    return dg.MaterializeResult(metadata={"dagster/row_count": 0, "skipped": why})
