"""Leak canaries: they sing before a figure that would be an artefact is believed.

Belongs here: which canaries listen to a training set. Stays out: each canary (`canary_*`) and the figures.

| canary | what makes it sing | false alarms on sound data |
|---|---|---|
| `permuted_labels` | a model that learns from labels that mean nothing: a pool on both sides of a split | <= 0.5 % |
| `future_columns` | a feature that tells an outcome as only the future can | a feature with a true AUC over the bound |
| `planted_future` | the canary above, gone blind | too few pools |
| `splits` | pools, tokens or time shared by training and test | none, exact |
| `labels` | labels used before they are known, or other than LABELS says | none, exact |
| `reconciled` | decisions that got lost on the way to a label | none, exact |
| `fitting_*` | scalers, imputers, encodings, selections that have seen test rows | none, exact |
| `recomputed` | features, or decisions, that what was known at the decision does not give | none, to 1e-9 |
| `rebuilt` | snapshots or bars on record other than what was known then gives; survivors | none, to 1e-9 |
| `relabelled` | labels that what they say they were known from does not give | none, to 1e-9 |
| `arrivals` | rows that claim to have been known before they were told | none, exact |
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import polars as pl

from pipeline.models.baselines import fit_baselines
from pipeline.models.canary_arrivals import check_arrivals
from pipeline.models.canary_columns import check_future_columns, one_feature_auc
from pipeline.models.canary_fitting import Prepare, check_fitting
from pipeline.models.canary_history import Recompute, check_future_cut, check_recomputed
from pipeline.models.canary_labels import check_labels, check_reconciled
from pipeline.models.canary_permutation import check_permuted_labels, permute_by_pool
from pipeline.models.canary_rebuilt import Rebuild, Relabel, check_rebuilt, check_relabelled
from pipeline.models.canary_report import CanaryReport, CanaryResult
from pipeline.models.canary_splits import check_splits, training_splits
from pipeline.models.learner import Classes, matrix
from pipeline.models.learners.logistic import Design
from pipeline.models.selection import select
from pipeline.models.splits import Rows, Split
from pipeline.models.training_set import TrainingSet, pool_numbers
from pipeline.models.vector import fit_vector, scaled
from pipeline.tables import OUTCOMES

__all__ = [
    "CanaryReport", "CanaryResult", "History", "check_arrivals", "check_fitting", "check_future_columns",
    "check_future_cut", "check_labels", "check_permuted_labels", "check_rebuilt", "check_recomputed",
    "check_reconciled", "check_relabelled", "check_splits", "one_feature_auc", "permute_by_pool", "pool_numbers",
    "preparations", "run_canaries", "training_splits",
]  # fmt: skip


_KEPT: Final = 20
"""How many features the selection that is listened to keeps."""


@dataclass(frozen=True)
class History:
    """What a training set was made from, all of its source.

    `told` holds, by name, the tables that features are made from and those that these are made from; see
    `check_arrivals`. `recompute` computes features from them as they were known at a moment, `rebuild` some of these
    tables from theirs, `relabel` labels; what is not given is not made again. `features` are those on record.
    """

    pools: pl.LazyFrame
    labels: pl.LazyFrame
    told: Mapping[str, pl.LazyFrame]
    answers: pl.LazyFrame
    recompute: Recompute
    rebuild: Mapping[str, Rebuild] = field(default_factory=dict)
    relabel: Relabel | None = None
    features: pl.LazyFrame | None = None


def run_canaries(
    training_set: TrainingSet,
    future_cuts: Sequence[CanaryResult] = (),
    history: History | None = None,
    *,
    splits: Sequence[Split] | None = None,
    prepares: Mapping[str, Prepare] | None = None,
) -> CanaryReport:
    """Every canary on one training set.

    Args:
        future_cuts: what the caller checked with `check_future_cut`.
        history: what the set was made from; without it nothing is computed again.
        splits: default: those of training and its evaluation.
        prepares: whatever is fitted on the way to a model, by name; default: `preparations`.

    Raises:
        InputError: too few pools for a split.
    """
    chosen = training_splits(training_set) if splits is None else splits
    fitted = preparations(training_set) if prepares is None else prepares
    results = [
        check_permuted_labels(training_set),
        *check_future_columns(training_set),
        check_splits(training_set, chosen),
        check_labels(training_set, history.labels if history else None),
        check_reconciled(training_set),
        *check_fitting(training_set, chosen[0], fitted),
        *future_cuts,
    ]
    if history:
        results.append(check_recomputed(training_set, history.pools, history.recompute, history.features))
        results.append(check_rebuilt(training_set, history.told, history.rebuild))
        if history.relabel is not None:
            results.append(check_relabelled(training_set, history.labels, history.relabel))
        results.append(check_arrivals(history.told, history.answers))
    return CanaryReport(training_set.training_set_id, tuple(results))


def preparations(training_set: TrainingSet) -> dict[str, Prepare]:
    """What this stage fits before and beside a model: scaled vector, selected features, a design, baselines."""
    names, spec = training_set.feature_names, training_set.spec

    def vector(frame: pl.DataFrame, train: Rows) -> pl.DataFrame:
        return scaled(fit_vector(frame[train], names), frame).select(names)

    def selection(frame: pl.DataFrame, train: Rows) -> pl.DataFrame:
        rows = frame[train]
        kept = select(matrix(rows, names), _outcomes(rows), rows["weight"].to_numpy(), _KEPT)
        return frame.select(pl.col(n) if k in kept else pl.lit(None).alias(n) for k, n in enumerate(names))

    def design(frame: pl.DataFrame, train: Rows) -> pl.DataFrame:
        return pl.DataFrame(Design.of(matrix(frame[train], names))(matrix(frame, names)))

    def baselines(frame: pl.DataFrame, train: Rows) -> pl.DataFrame:
        rows = frame[train]
        y = _outcomes(rows)
        fitted = fit_baselines(rows, names, y, rows["weight"].to_numpy(), spec)
        return pl.concat(
            [pl.DataFrame(b.predict_proba(frame), [f"{n}_{o}" for o in OUTCOMES]) for n, b in fitted.items()],
            how="horizontal",
        )

    return {"vector": vector, "selection": selection, "design": design, "baselines": baselines}


def _outcomes(rows: pl.DataFrame) -> Classes:
    """Positions in `OUTCOMES`."""
    return rows["outcome"].cast(pl.Enum(OUTCOMES)).to_physical().to_numpy().astype("int64")
