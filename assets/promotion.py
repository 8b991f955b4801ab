"""Promotion: who is in charge, and the evidence; one procedure for every model."""

from collections.abc import Collection, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl

from assets.metadata import table_value
from assets.models import frozen, trained_before
from assets.returns import dataset_in_force, last_block_reads, nothing_done, version_of, why_nothing
from pipeline.calendars import Clock
from pipeline.errors import UsageError
from pipeline.lake import Lake, disk
from pipeline.models.records import as_interchange
from pipeline.models.return_records import as_forecasts
from pipeline.models.returns.spec import RETURN_BASELINES
from pipeline.models.spec import BASELINES
from pipeline.promotion.ledger import Deployed, current_champion, evidence_of, next_deployment
from pipeline.promotion.registry import Registry, reconcile
from pipeline.promotion.spec import OUTCOME, RETURN, PromotionSpec
from pipeline.promotion.succession import Incumbent, Judged, judge
from pipeline.promotion.versions import RegisteredVersion
from pipeline.tables import (
    COMPARISONS,
    DEPLOYMENTS,
    EVALUATIONS,
    RETURN_DATASETS,
    RETURN_EVALUATIONS,
    TRAINING_SETS,
    Table,
)


@dataclass(frozen=True)
class Challenger:
    """A version that asks to take over, what it learned from, and what it and the baselines said of the last block.

    `sets` is the table of what models of its name learn from; its key names one. `n_reads`: how often a model was
    evaluated on that block; each further time, the best of them looks better than it is.
    """

    version: RegisteredVersion
    source: str
    said: Mapping[str, pl.DataFrame]
    baselines: Collection[str]
    sets: Table
    n_reads: int = 1


@dg.asset(deps=["outcome_model"])
def champion(
    lake: dg.ResourceParam[Lake],
    source: dg.ResourceParam[str],
    clock: dg.ResourceParam[Clock],
    registry: dg.ResourceParam[Registry],
) -> dg.MaterializeResult[Any]:
    """The version in charge. The alias moves only on evidence, and every move is a row of the hash-chained ledger."""
    frozen_set = frozen(lake, source, clock)
    version = trained_before(registry, frozen_set)
    if version is None:
        raise UsageError(
            f"training set {frozen_set.training_set_id!r} gave no model yet: materialise `outcome_model` first"
        )
    said = {name: as_interchange(rows) for name, rows in _said(lake, EVALUATIONS, version).items()}
    learned = lake.scan(TRAINING_SETS).filter(pl.col("training_set_id") == frozen_set.training_set_id).collect()
    reads = int(learned["n_last_block_reads"].sum())
    challenger = Challenger(version, frozen_set.source, said, BASELINES, TRAINING_SETS, reads)
    return decided(lake, registry, clock, challenger, OUTCOME)


@dg.asset(deps=["return_model"])
def return_champion(
    context: dg.AssetExecutionContext,
    lake: dg.ResourceParam[Lake],
    return_datasets: dg.ResourceParam[Path],
    source: dg.ResourceParam[str],
    clock: dg.ResourceParam[Clock],
    registry: dg.ResourceParam[Registry],
) -> dg.MaterializeResult[Any]:
    """The forecaster in charge, by the same gate and ledger as `champion`: it must beat every baseline's forecasts."""
    row = dataset_in_force(lake, return_datasets, source)
    why = why_nothing(row)
    if row is None or why:
        return nothing_done(context, why)
    version = version_of(registry, row)
    if version is None:
        raise UsageError(f"return dataset {row['dataset_id']!r} gave no model yet: materialise `return_model` first")
    said = {name: as_forecasts(rows) for name, rows in _said(lake, RETURN_EVALUATIONS, version).items()}
    reads = last_block_reads(lake, row)
    challenger = Challenger(version, row["source"], said, RETURN_BASELINES, RETURN_DATASETS, reads)
    return decided(lake, registry, clock, challenger, RETURN)


def decided(
    lake: Lake, registry: Registry, clock: Clock, challenger: Challenger, spec: PromotionSpec
) -> dg.MaterializeResult[Any]:
    """Judge a challenger by the rule of its model, move the alias if it passes, and tell what was found.

    The rule looks at who is in charge. Whoever takes charge while a challenger is judged makes the verdict void: it is
    judged again, against the new one.
    """
    is_settled = False
    while not is_settled:
        named = _reconciled(lake, registry, spec.model_name)
        incumbent = Incumbent(named.version, _source_of(lake, registry, named, challenger.sets)) if named else None
        judged = judge(
            challenger.said,
            baselines=challenger.baselines,
            version=challenger.version.version,
            source=challenger.source,
            incumbent=incumbent,
            known_at=clock.now(),
            spec=spec,
            n_reads=challenger.n_reads,
        )
        lake.append(COMPARISONS, judged.comparisons)
        is_settled = not judged.verdict.is_promoted or _moved(lake, registry, challenger, judged, named, clock)
    in_charge = current_champion(lake.scan(DEPLOYMENTS).collect(), spec.model_name)
    return dg.MaterializeResult(
        metadata={
            "champion_version": in_charge.version if in_charge else "none",
            "challenger_version": challenger.version.version,
            "is_promoted": judged.verdict.is_promoted,
            "verdict": judged.verdict.reason,
            "last_block_reads": challenger.n_reads,
            "comparisons": table_value(judged.comparisons),
        }
    )


def _said(lake: Lake, evaluations: Table, version: RegisteredVersion) -> dict[str, pl.DataFrame]:
    """What each predictor said of the last block; pools carry their network, as one address may be on two."""
    own = lake.scan(evaluations).filter(pl.col("model_sha256") == version.model_sha256)
    said = own.with_columns(pl.concat_str("network", "pool", separator=":").alias("pool")).collect()
    return {str(name): rows for (name,), rows in said.group_by("predictor", maintain_order=True)}


def _source_of(lake: Lake, registry: Registry, deployed: Deployed, sets: Table) -> str:
    """What a version learned from; unknown where its training set is not on record."""
    ids = {entry.version: entry.training_set_id for entry in registry.versions(deployed.model_name)}
    (key,) = sets.key
    learned = lake.scan(sets).filter(pl.col(key) == ids.get(deployed.version)).collect()
    return str(learned["source"].item()) if learned.height else "unknown"


def _moving(lake: Lake) -> AbstractContextManager[None]:
    """The right to move an alias, which one has at a time: two models share the ledger, and the alias follows it.

    Whoever reads the ledger or the alias without it may take the half of another's move for damage.
    """
    return disk.locked(lake.root / ".locks" / "deployments.move.lock")


def _reconciled(lake: Lake, registry: Registry, model_name: str) -> Deployed | None:
    """Who is in charge by the ledger, after the alias was made to agree with it."""
    with _moving(lake):
        ledger = lake.scan(DEPLOYMENTS).collect()
        reconcile(registry, ledger, model_name)
    return current_champion(ledger, model_name)


def _moved(
    lake: Lake, registry: Registry, challenger: Challenger, judged: Judged, named: Deployed | None, clock: Clock
) -> bool:
    """Put the challenger in charge, unless somebody else than `named`, whom it was judged against, is by now.

    The ledger first, then the alias: killed in between, the next reconciliation moves the alias.
    """
    version = challenger.version
    with _moving(lake):
        ledger = lake.scan(DEPLOYMENTS).collect()
        if current_champion(ledger, version.model_name) != named:
            return False
        row = next_deployment(
            ledger,
            model_name=version.model_name,
            alias="champion",
            action="promote",
            version=version.version,
            model_sha256=version.model_sha256,
            actor="gate",
            reason=judged.verdict.reason,
            evidence=evidence_of(judged.comparisons),
            at=clock.now(),
        )
        lake.append(DEPLOYMENTS, row)
        reconcile(registry, lake.scan(DEPLOYMENTS).collect(), version.model_name)
    return True
