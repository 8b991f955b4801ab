"""Promotion: who is in charge, and the evidence; one procedure for every model."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl

from assets.labels import SPEC as LABELS_SPEC
from assets.metadata import table_value
from assets.models import SPEC as TRAINING
from assets.models import frozen, trained_before
from assets.predictions import fed_today
from assets.quality import promotion_held
from assets.returns import dataset_in_force, nothing_done, version_of, why_nothing
from pipeline.calendars import Clock
from pipeline.errors import RegistryError, UsageError
from pipeline.lake import Lake
from pipeline.models.records import as_interchange, last_block_reads
from pipeline.models.return_records import as_forecasts
from pipeline.models.returns.spec import RETURN_BASELINES
from pipeline.models.spec import BASELINES, MODEL
from pipeline.models.training_set import TrainingSet
from pipeline.promotion.cache import load_in_charge
from pipeline.promotion.ledger import Deployed, evidence_of, quoted
from pipeline.promotion.looks import Looks
from pipeline.promotion.moves import Move, Moves, why_not
from pipeline.promotion.registry import Registry
from pipeline.promotion.spec import OUTCOME, RETURN, PromotionSpec
from pipeline.promotion.standing import Standing
from pipeline.promotion.succession import UNKNOWN_SOURCE, Incumbent, Judged, judge, why_tried
from pipeline.promotion.trial_spec import TRIAL
from pipeline.promotion.versions import RegisteredVersion, asked_otherwise, why_mute
from pipeline.tables import (
    COMPARISONS,
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


type Asking = Callable[[Deployed, str], Incumbent]
"""(the champion, what it learned from) -> the same, with what it says of the challenger's last block."""


@dg.asset(deps=["outcome_model"])
def champion(
    lake: dg.ResourceParam[Lake],
    source: dg.ResourceParam[str],
    clock: dg.ResourceParam[Clock],
    registry: dg.ResourceParam[Registry],
    model_cache: dg.ResourceParam[Path],
) -> dg.MaterializeResult[Any]:
    """The version in charge. An alias moves only on evidence, and every move is a row of the hash-chained ledger.

    A challenger that beats the champion and every baseline on the last block waits for its `trial`.
    """
    frozen_set = frozen(lake, source, clock)
    version = trained_before(registry, frozen_set)
    if version is None:
        raise UsageError(
            f"training set {frozen_set.training_set_id!r} gave no model yet: materialise `outcome_model` first"
        )
    said = {name: as_interchange(rows) for name, rows in _said(lake, EVALUATIONS, version).items()}
    reads = last_block_reads(lake.scan(TRAINING_SETS), frozen_set.rows_id)
    challenger = Challenger(version, frozen_set.source, said, BASELINES, TRAINING_SETS, reads)
    asking = partial(_asked, registry, model_cache, frozen_set, _said_by_model(lake, version))
    return decided(lake, registry, clock, challenger, OUTCOME, asking)


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
    reads = last_block_reads(lake.scan(RETURN_DATASETS), row["rows_id"])
    challenger = Challenger(version, row["source"], said, RETURN_BASELINES, RETURN_DATASETS, reads)
    return decided(lake, registry, clock, challenger, RETURN)


def decided(
    lake: Lake,
    registry: Registry,
    clock: Clock,
    challenger: Challenger,
    spec: PromotionSpec,
    asking: Asking = lambda named, source: Incumbent(named.version, source),
) -> dg.MaterializeResult[Any]:
    """Judge a challenger by the rule of its model, let it take the step that this allows, and tell what was found.

    The rule looks at who is in charge. Whoever takes charge while a challenger is judged makes the verdict void: it is
    judged again, against the new one.
    """
    is_settled, moves = False, Moves(lake, registry)
    while not is_settled:
        stands = moves.reconciled(spec.model_name)
        named = stands.champion
        incumbent = asking(named, _source_of(lake, registry, named, challenger.sets)) if named else None
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
        held = promotion_held(lake, challenger.source, clock.now())
        refused, is_settled = _stepped(moves, challenger, judged, stands, clock, spec, held)
    in_charge = Looks(lake, moves, spec, TRIAL, LABELS_SPEC.outcome_rule).begin(clock.now()).champion
    return dg.MaterializeResult(
        metadata={
            "champion_version": in_charge.version if in_charge else "none",
            "challenger_version": challenger.version.version,
            "is_promoted": judged.verdict.is_promoted and not refused,
            "verdict": f"{judged.verdict.reason}{refused and '; refused: ' + refused}",
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
    return str(learned["source"].item()) if learned.height else UNKNOWN_SOURCE


def _stepped(
    moves: Moves,
    challenger: Challenger,
    judged: Judged,
    stands: Standing,
    clock: Clock,
    spec: PromotionSpec,
    held: str,
) -> tuple[str, bool]:
    """Why the step that the verdict allows is refused (empty: it is not), and whether it is settled.

    It is not where somebody moved since the challenger was judged: then it is judged again. `held`: why nobody takes
    charge for now; the next time it is judged decides.
    """
    if judged.step == "stay":
        return "", True
    version = challenger.version
    move = Move(
        model_name=version.model_name,
        action=judged.step,
        version=version.version,
        model_sha256=version.model_sha256,
        actor="gate",
        reason=judged.verdict.reason,
        evidence=evidence_of(judged.comparisons),
        approval=spec.approval,
    )
    # A trial may begin meanwhile: it is concluded in nobody's favour while promotion is held.
    is_held = held if judged.step == "promote" else ""
    refused = why_not(stands, move) or why_tried(moves.ledger(), move.model_name, move.version, stands) or is_held
    return refused, bool(refused) or moves.move(move, at=clock.now(), given=stands) is not None


def _said_by_model(lake: Lake, version: RegisteredVersion) -> pl.DataFrame:
    """What a version said of its last block, at the horizon it is judged by, networks apart from pools."""
    own = lake.scan(EVALUATIONS).filter(pl.col("model_sha256") == version.model_sha256, pl.col("predictor") == MODEL)
    return as_interchange(own.filter(pl.col("horizon_hours") == TRAINING.horizon_hours).collect())


def _asked(
    registry: Registry, cache: Path, frozen_set: TrainingSet, evaluation: pl.DataFrame, named: Deployed, source: str
) -> Incumbent:
    """The champion, and what it says of the challenger's last block; or why it cannot be asked any more."""
    from pipeline.models.outcome_model import load_outcome  # noqa: PLC0415 - its learners are slow to import
    from pipeline.models.rival import answered  # noqa: PLC0415

    try:
        loaded = load_in_charge(registry, cache, named)
        mute = why_mute(loaded.registered, fed_today())
    except RegistryError as error:
        mute = str(error)
    if mute:
        return Incumbent(named.version, source, mute=quoted(mute))
    model = load_outcome(loaded.model_bytes)
    until = pl.Series([model.attributes["learned_until"]]).str.to_datetime(time_zone="UTC").item()
    said = answered(frozen_set, evaluation, model, until)
    return Incumbent(
        named.version,
        source,
        said.with_columns(pl.concat_str("network", "pool", separator=":").alias("pool")),
        learned=quoted(asked_otherwise(loaded.registered, LABELS_SPEC.outcome_rule)),
    )
