"""Leak canaries: they sing before a figure that would be an artefact is believed.

Belongs here: checks that every training set must pass before a model is fitted on it. Stays out: the figures.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Final

import numpy as np
import polars as pl

from pipeline.models.learner import Classes, Floats, Learner, matrix
from pipeline.models.metrics import roc_auc
from pipeline.models.spec import CanarySpec
from pipeline.models.splits import Split, last_block, walk_forward
from pipeline.models.training_set import TrainingSet
from pipeline.tables import OUTCOMES, POOL_TIME_KEY

PLANTED: Final = "return_end_pct"
"""What is planted: the outcome's own return, which nobody can know at the decision."""
MIN_PER_SIDE: Final = 5
"""An outcome counts in a test block only with this many rows of it and of the others."""


@dataclass(frozen=True)
class CanaryResult:
    """One canary: what it heard, in words and numbers."""

    name: str
    is_passed: bool
    words: str
    numbers: dict[str, float]


@dataclass(frozen=True)
class CanaryReport:
    """What all canaries say about one training set."""

    training_set_id: str
    results: tuple[CanaryResult, ...]

    @property
    def is_passed(self) -> bool:
        """Every canary is quiet."""
        return all(result.is_passed for result in self.results)

    @property
    def words(self) -> str:
        """One line a canary."""
        return "\n".join(f"{'passed' if r.is_passed else 'FAILED'} {r.name}: {r.words}" for r in self.results)


def run_canaries(training_set: TrainingSet, future_cuts: Sequence[CanaryResult] = ()) -> CanaryReport:
    """Permuted labels, the planted future, and the future cuts that the caller checked with `check_future_cut`."""
    results = (check_permuted_labels(training_set), *check_future_columns(training_set), *future_cuts)
    return CanaryReport(training_set.training_set_id, results)


def check_permuted_labels(training_set: TrainingSet) -> CanaryResult:
    """With labels permuted by pool, the training path must find nothing: mean AUC within the spec's bounds.

    A pool's labels move together to another pool, so that a pool on both sides of a split still shows. The AUC is
    taken within each decision age (the mix of outcomes differs by age, which is no leak), each outcome against the
    rest, and averaged over outcomes, ages and folds. Permutations are added until three standard errors of their
    mean fit into the bounds' half-width.
    """
    spec, c = training_set.spec, training_set.spec.canaries
    rng = np.random.default_rng(spec.seed)
    folds = walk_forward(training_set.frame, n_folds=spec.n_folds, embargo=timedelta(hours=spec.embargo_hours))
    x = matrix(training_set.frame, training_set.feature_names)
    allowed = (c.auc_high - c.auc_low) / 6
    aucs: list[float] = []
    error = np.inf
    while len(aucs) < c.max_permutations and (len(aucs) < c.min_permutations or error > allowed):
        aucs.append(_permuted_auc(training_set, x, folds, rng))
        error = float(np.std(aucs, ddof=1) / np.sqrt(len(aucs))) if len(aucs) > 1 else np.inf
    mean = float(np.mean(aucs))
    is_sure = bool(error <= allowed)
    words = (
        f"labels permuted by pool give a mean AUC of {mean:.3f} (standard error {error:.3f}, {len(aucs)} permutations, "
        f"{len(folds)} folds); it must lie in [{c.auc_low}, {c.auc_high}]"
    )
    if not is_sure:
        words += f"; too few pools ({training_set.n_pools}) to tell"
    numbers = {"auc": mean, "standard_error": error, "n_permutations": len(aucs), "n_folds": len(folds)}
    return CanaryResult("permuted_labels", is_sure and c.auc_low <= mean <= c.auc_high, words, numbers)


def permute_by_pool(frame: pl.DataFrame, y: Classes, rng: np.random.Generator) -> Classes:
    """Each pool's outcomes replaced by those of another pool at the same decision ages.

    Where the other pool has no row of an age, its outcome at the nearest earlier age stands in, else the next later.
    """
    pool = pool_numbers(frame)
    ages, at = np.unique(frame["decision_age_hours"].to_numpy(), return_inverse=True)
    table = np.full((int(pool.max()) + 1, len(ages)), -1, np.int64)
    table[pool, at] = y
    for k in range(1, len(ages)):
        table[:, k] = np.where(table[:, k] < 0, table[:, k - 1], table[:, k])
    for k in range(len(ages) - 2, -1, -1):
        table[:, k] = np.where(table[:, k] < 0, table[:, k + 1], table[:, k])
    return np.asarray(table[rng.permutation(len(table))][pool, at])


def check_future_columns(training_set: TrainingSet) -> tuple[CanaryResult, CanaryResult]:
    """No single feature may tell an outcome as well as only the future can; a planted one must.

    The first result says that every real feature stays under the bound, the second that the detector sees: the
    same measure on the outcome's own return must exceed it. A feature counts as over the bound when its AUC less
    two standard errors is. Only rows before the last block are looked at.
    """
    spec = training_set.spec
    rows = last_block(
        training_set.frame, share=spec.last_block_share, embargo=timedelta(hours=spec.embargo_hours)
    ).train
    frame, y = training_set.frame[rows], training_set.y[rows]
    aucs = {name: one_feature_auc(frame, frame[name], y, spec.canaries) for name in training_set.feature_names}
    planted = one_feature_auc(frame, frame[PLANTED], y, spec.canaries)
    bound = spec.canaries.feature_auc_bound
    caught = {name: auc for name, auc in aucs.items() if auc > bound}
    highest = max(aucs, key=lambda name: aucs[name])
    words = f"the most telling feature is {highest!r}, lower AUC bound {aucs[highest]:.3f}; none may exceed {bound}"
    if caught:
        words += f"; these know the future: { {n: round(v, 4) for n, v in caught.items()}!r}"
    seen = f"the planted return has a lower AUC bound of {planted:.3f}; the detector sees if that exceeds {bound}"
    return (
        CanaryResult("future_columns", not caught, words, aucs),
        CanaryResult("planted_future", planted > bound, seen, {"auc": planted}),
    )


def one_feature_auc(frame: pl.DataFrame, column: pl.Series, y: Classes, spec: CanarySpec) -> float:
    """How well one column tells any outcome from the rest: the highest AUC, either way up, less two standard errors.

    The standard error is Hanley and McNeil's (1982) with pools for rows. Outcomes of fewer than
    `min_pools_per_class` pools are left out: one lucky pool would look like clairvoyance. Null ranks lowest.
    """
    score = column.cast(pl.Float64).fill_null(-np.inf).to_numpy()
    pool = pool_numbers(frame)
    n_pools, best, ones = int(pool.max()) + 1, 0.0, np.ones((1, len(y)))
    for k in range(len(OUTCOMES)):
        n_with = len(np.unique(pool[y == k]))
        n_without = n_pools - n_with
        if n_with < spec.min_pools_per_class or n_without < spec.min_pools_per_class:
            continue
        auc = float(roc_auc((y == k).astype(np.float64), score, ones)[0])
        auc = max(auc, 1 - auc)
        best = max(best, auc - 2 * _auc_error(auc, n_with, n_without))
    return best


def check_future_cut(full: pl.DataFrame, truncated: pl.DataFrame, moment: datetime) -> CanaryResult:
    """Features up to `moment` must be the same with and without the history after it.

    Args:
        full: features computed on all of the history. truncated: on the history up to `moment`.

    Returns:
        Passed if both hold the same rows up to `moment`, equal to the last bit, null for null.
    """
    key = [c for c in POOL_TIME_KEY if c in full.columns]
    before, cut = (f.filter(pl.col("event_time") <= moment).sort(key) for f in (full, truncated))
    n_missing = before.join(cut, on=key, how="anti").height + cut.join(before, on=key, how="anti").height
    changed = _changed_columns(before, cut, key) if not n_missing and before.height == cut.height else {}
    numbers = {"n_rows": float(before.height), "n_missing": float(n_missing)} | changed
    is_passed = before.height > 0 and before.height == cut.height and not n_missing and not changed
    words = f"{before.height} rows up to {moment:%Y-%m-%d %H:%M} with the future cut off: "
    if not before.height:
        words += "nothing to compare, choose a later moment"
    elif n_missing or before.height != cut.height:
        words += f"{n_missing} rows exist on one side only ({before.height} against {cut.height})"
    else:
        words += f"these columns changed (rows): {changed!r}" if changed else "nothing changed"
    return CanaryResult("future_cut", is_passed, words, numbers)


def pool_numbers(frame: pl.DataFrame) -> Classes:
    """A number for each row's pool, from 0 without gaps."""
    return frame.select(pl.struct("network", "pool").rank("dense") - 1).to_series().to_numpy().astype(np.int64)


def _permuted_auc(training_set: TrainingSet, x: Any, folds: Sequence[Split], rng: np.random.Generator) -> float:
    """Mean AUC over folds, ages and outcomes after one permutation; NaN where no outcome has enough rows."""
    spec, c = training_set.spec, training_set.spec.canaries
    cheap = replace(spec.learner, max_depth=c.max_depth, learning_rate=c.learning_rate)
    learner = Learner(cheap, training_set.feature_names)
    y, weight = permute_by_pool(training_set.frame, training_set.y, rng), training_set.weight
    age = training_set.frame["decision_age_hours"].to_numpy()
    aucs: list[float] = []
    for fold in folds:
        model = learner.fit(x[fold.train], y[fold.train], weight[fold.train], spec.seed, n_rounds=c.n_rounds)
        aucs.extend(_aucs_by_age(y[fold.test], model.predict_matrix(x[fold.test]), age[fold.test]))
    return float(np.mean(aucs)) if aucs else float("nan")


def _aucs_by_age(y: Classes, p: Floats, age: Any) -> list[float]:
    found = []
    for hours in np.unique(age):
        rows = age == hours
        for k in range(len(OUTCOMES)):
            truth = (y[rows] == k).astype(np.float64)
            if min(truth.sum(), (1 - truth).sum()) >= MIN_PER_SIDE:
                found.append(float(roc_auc(truth, p[rows, k], np.ones((1, int(rows.sum()))))[0]))
    return found


def _auc_error(auc: float, n_with: int, n_without: int) -> float:
    q1, q2 = auc / (2 - auc), 2 * auc**2 / (1 + auc)
    spread = auc * (1 - auc) + (n_with - 1) * (q1 - auc**2) + (n_without - 1) * (q2 - auc**2)
    return float(np.sqrt(max(spread, 0.0) / (n_with * n_without)))


def _changed_columns(before: pl.DataFrame, cut: pl.DataFrame, key: list[str]) -> dict[str, float]:
    """Rows that differ, by column, where any do; a column that one side lacks differs everywhere."""
    changed = {}
    for name in sorted({*before.columns, *cut.columns} - {*key}):
        if name not in before.columns or name not in cut.columns:
            changed[name] = float(before.height)
        elif n := (~before[name].eq_missing(cut[name])).sum():
            changed[name] = float(n)
    return changed
