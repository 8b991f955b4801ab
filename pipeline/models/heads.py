"""The heads of a model: one a horizon, fitted on what lies before the last block.

Belongs here: the order of one head's work. Stays out: what it is worth on the last block (`evaluation`).

The spec's own horizon chooses: every kind competes on its inner folds. The further horizons take the kind and the
settings that were chosen there, and fit members, combination and calibration on their own labels, purged by their own
spans; a search for each would cost three times the trials, each of which flatters the best a little.

Whatever is fitted on out-of-fold answers is fitted on rows that the members answering there had not learned from: the
combination on all inner folds, the calibration on the newest one alone. The members are then fitted once more on all
rows before the last block.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import numpy as np
import polars as pl

from pipeline.errors import InputError
from pipeline.models.calibration import Calibrated, Calibrator, calibrate
from pipeline.models.combination import Combination
from pipeline.models.competition import Choice, combined, compete, members_of, walked
from pipeline.models.fits import HERE_ALONE, Bench, Fit, Makers
from pipeline.models.head import Head
from pipeline.models.learner import Floats, Matrix, matrix
from pipeline.models.spec import TrainingSpec
from pipeline.models.splits import Split, block_since, folds_before, last_block
from pipeline.models.training_set import TrainingSet, pool_numbers
from pipeline.models.tuning import Told
from pipeline.workers import Workers

_FURTHER_FOLDS = 2
"""Inner folds of a further horizon: one to fit a combination on, the newest to calibrate."""


@dataclass(frozen=True, eq=False)
class Laid:
    """One horizon's rows, laid out, with its splits.

    Attributes:
        training_set: the set as one of this horizon's labels.
        block: the last block; inner folds are numbered by the same rows.
    """

    training_set: TrainingSet
    bench: Bench
    block: Split
    folds: Sequence[Split]

    @property
    def frame(self) -> pl.DataFrame:
        """The rows."""
        return self.training_set.frame

    @property
    def learned_until(self) -> datetime:
        """When the last label it may learn from was over."""
        found = self.frame["label_end"].gather(self.block.train).max()
        assert isinstance(found, datetime)  # noqa: S101  a split has rows on both sides
        return found


@dataclass(frozen=True, eq=False)
class FittedHead:
    """A head, the rows it was fitted on, and what calibration was chosen by."""

    head: Head
    laid: Laid = field(repr=False)
    calibration: Mapping[str, float]


def lay_out(training_set: TrainingSet, spec: TrainingSpec, start: datetime | None = None) -> Laid:
    """One horizon's rows with its splits.

    Args:
        start: where the last block begins; None: where the newest share of the pools does.

    Raises:
        InputError: too few pools for the splits.
    """
    frame, embargo = training_set.frame, timedelta(hours=spec.embargo_hours)
    if start is None:
        block = last_block(frame, share=spec.last_block_share, embargo=embargo)
    else:
        block = block_since(frame, start, embargo=embargo)
    folds = folds_before(frame, block, n_folds=spec.n_folds, embargo=embargo)
    x = matrix(frame, training_set.feature_names)
    bench = Bench(x, training_set.y, training_set.weight, pool_numbers(frame), spec.seed)
    return Laid(training_set, bench, block, folds)


def makers_of(spec: TrainingSpec, workers: Workers) -> Makers:
    """Who makes a training's fits."""
    return Makers(workers, spec.competition.spread_from_rows)


def fit_chosen(laid: Laid, choice: Choice, spec: TrainingSpec, makers: Makers = HERE_ALONE) -> FittedHead:
    """The chosen kind on everything before the last block, calibrated by the newest fold."""
    calibrated = _calibrated(laid, laid.folds, choice.said, spec)
    return _fitted(laid, choice, choice.combination, calibrated, makers)


def fit_further(laid: Laid, choice: Choice, spec: TrainingSpec, makers: Makers = HERE_ALONE) -> FittedHead:
    """The same kind with the same settings for another horizon."""
    learners = members_of(choice.kind, spec.competition)
    folds = laid.folds[-_FURTHER_FOLDS:] if len(learners) > 1 else laid.folds[-1:]
    each = makers.said_by_all(laid.bench, {learner: choice.settings[learner] for learner in learners}, folds)
    said = walked(choice.kind, each, laid.bench, folds)
    calibrated = _calibrated(laid, folds, said, spec)
    mixed = combined(choice.kind, list(each.values()), laid.bench, folds)
    return _fitted(laid, choice, mixed, calibrated, makers)


def choose(laid: Laid, spec: TrainingSpec, told: Told, makers: Makers = HERE_ALONE) -> Choice:
    """The kind and its settings, by the inner folds."""
    return compete(laid.bench, laid.folds, spec.competition, told, makers)


def further_layouts(training_set: TrainingSet, spec: TrainingSpec, start: datetime) -> dict[int, Laid]:
    """The further horizons that have enough labels on both sides of the last block's edge, by hours."""
    found = {}
    for hours in training_set.horizons_hours:
        if hours != spec.horizon_hours:
            try:
                found[hours] = lay_out(training_set.head(hours), spec, start)
            except InputError:
                continue
    return found


def _calibrated(laid: Laid, folds: Sequence[Split], said: Sequence[Floats | None], spec: TrainingSpec) -> Calibrated:
    """By the newest fold; left as they are where nobody spoke there out of fold."""
    newest, p = folds[-1].test, said[-1]
    if p is None:
        return Calibrated(Calibrator(), {})
    return calibrate(p, laid.bench.y[newest], laid.bench.pool[newest], spec.seed)


def _fitted(laid: Laid, choice: Choice, combination: Combination, calibrated: Calibrated, makers: Makers) -> FittedHead:
    fits = [Fit(learner, setting, laid.block.train) for learner, setting in choice.settings.items()]
    members = makers.members(laid.bench, fits)
    return FittedHead(Head(choice.kind, members, combination, calibrated.calibrator), laid, calibrated.losses)


def present(x: Matrix) -> Floats:
    """(n_features,) the share of the rows that have each feature."""
    return np.asarray(1.0 - np.isnan(x).mean(axis=0))
