"""Promotion: who is in charge, and the evidence."""

from typing import Any

import dagster as dg
import polars as pl

from assets.metadata import table_value
from assets.models import frozen, trained_before
from pipeline.calendars import Clock
from pipeline.errors import UsageError
from pipeline.lake import Lake
from pipeline.models.records import as_interchange
from pipeline.models.spec import BASELINES
from pipeline.promotion.ledger import Deployed, current_champion, evidence_of, next_deployment
from pipeline.promotion.registry import Registry, reconcile
from pipeline.promotion.spec import PromotionSpec
from pipeline.promotion.succession import Incumbent, Judged, judge
from pipeline.promotion.versions import RegisteredVersion
from pipeline.tables import COMPARISONS, DEPLOYMENTS, EVALUATIONS, TRAINING_SETS

SPEC = PromotionSpec()


@dg.asset(deps=["outcome_model"])
def champion(
    lake: dg.ResourceParam[Lake],
    source: dg.ResourceParam[str],
    clock: dg.ResourceParam[Clock],
    registry: dg.ResourceParam[Registry],
) -> dg.MaterializeResult[Any]:
    """The version in charge. The alias moves only on evidence, and every move is a row of the hash-chained ledger."""
    ledger = lake.scan(DEPLOYMENTS).collect()
    reconcile(registry, ledger, SPEC.model_name)
    version, learned_from = _challenger(lake, source, clock, registry)
    judged = _judged(lake, registry, version, learned_from, current_champion(ledger, SPEC.model_name), clock)
    if judged.verdict.is_promoted:
        _move(lake, registry, version, judged, clock)
    in_charge = current_champion(lake.scan(DEPLOYMENTS).collect(), SPEC.model_name)
    return dg.MaterializeResult(
        metadata={
            "champion_version": in_charge.version if in_charge else "none",
            "challenger_version": version.version,
            "is_promoted": judged.verdict.is_promoted,
            "verdict": judged.verdict.reason,
            "comparisons": table_value(judged.comparisons),
        }
    )


def _challenger(lake: Lake, source: str, clock: Clock, registry: Registry) -> tuple[RegisteredVersion, str]:
    """The version trained on the training set of now, and what it learned from."""
    frozen_set = frozen(lake, source, clock)
    version = trained_before(registry, frozen_set)
    if version is None:
        raise UsageError(
            f"training set {frozen_set.training_set_id!r} gave no model yet: materialise `outcome_model` first"
        )
    return version, frozen_set.source


def _judged(
    lake: Lake, registry: Registry, version: RegisteredVersion, source: str, incumbent: Deployed | None, clock: Clock
) -> Judged:
    said = lake.scan(EVALUATIONS).filter(pl.col("model_sha256") == version.model_sha256).collect()
    judged = judge(
        {str(name): _named_by_network(rows) for (name,), rows in said.group_by("predictor", maintain_order=True)},
        baselines=BASELINES,
        version=version.version,
        source=source,
        incumbent=None
        if incumbent is None
        else Incumbent(incumbent.version, _source_of(lake, registry, incumbent.version)),
        known_at=clock.now(),
        spec=SPEC,
    )
    lake.append(COMPARISONS, judged.comparisons)
    return judged


def _named_by_network(rows: pl.DataFrame) -> pl.DataFrame:
    """Predictions to compare; one address may be a pool on two networks."""
    return as_interchange(rows.with_columns(pl.concat_str("network", "pool", separator=":").alias("pool")))


def _source_of(lake: Lake, registry: Registry, version: int) -> str:
    """What a version learned from; unknown where its training set is not on record."""
    sets = {entry.version: entry.training_set_id for entry in registry.versions(SPEC.model_name)}
    learned = lake.scan(TRAINING_SETS).filter(pl.col("training_set_id") == sets.get(version)).collect()
    return str(learned["source"].item()) if learned.height else "unknown"


def _move(lake: Lake, registry: Registry, version: RegisteredVersion, judged: Judged, clock: Clock) -> None:
    """The ledger first, then the alias: killed in between, the next `reconcile` moves the alias."""
    row = next_deployment(
        lake.scan(DEPLOYMENTS).collect(),
        model_name=SPEC.model_name,
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
    reconcile(registry, lake.scan(DEPLOYMENTS).collect(), SPEC.model_name)
