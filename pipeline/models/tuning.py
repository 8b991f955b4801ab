"""Parameters of one learner, found on walk-forward folds.

Belongs here: trying settings and counting them. Stays out: which kind is chosen in the end (`competition`).

Optuna's tree-structured Parzen estimator (Bergstra et al. 2011), seeded and kept in memory, proposes; the defaults are
always the first trial, so that a search cannot end below them. A setting is worth its out-of-fold log loss, each pool
one unit. How many features are kept, and how far rare outcomes are weighted up, are parameters like any other: what is
weighted is weighted back before it is judged (`members`).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from pipeline.models.by_pool import pool_means
from pipeline.models.fits import Bench, Makers, Setting
from pipeline.models.learner import Floats
from pipeline.models.members import LEARNERS
from pipeline.models.metrics import row_log_loss
from pipeline.models.spec import CompetitionSpec, Learner
from pipeline.models.splits import Split

type Told = Callable[[str, float], None]
"""Hears of each step, and of the share of the work that is done."""


@dataclass(frozen=True)
class Trial:
    """One setting that was tried: `loss` is its out-of-fold log loss, each pool one unit, in nats."""

    learner: Learner
    number: int
    setting: Setting
    loss: float


@dataclass(frozen=True, eq=False)
class Tuned:
    """A learner's best setting, and what it says of each fold's test rows."""

    learner: Learner
    setting: Setting
    said: Sequence[Floats] = field(repr=False)


def tune(
    learners: Sequence[Learner], bench: Bench, folds: Sequence[Split], spec: CompetitionSpec, told: Told,
    makers: Makers,
) -> tuple[dict[Learner, Tuned], list[Trial]]:  # fmt: skip
    """The best of each learner's settings, and every one that was tried, learner by learner.

    All learners take a step at once, so that the fits of all of them on all folds can be made beside each other; what
    one tries depends on its own losses alone.
    """
    n_trials = spec.trials_on(sum(len(fold.train) for fold in folds))
    tested = np.concatenate([fold.test for fold in folds])
    searches = {learner: _Search(learner, spec, n_trials, bench.seed) for learner in learners}
    for number in range(n_trials):
        told(f"setting {number + 1} of {n_trials} of {', '.join(learners)}", number / n_trials)
        asked = {learner: search.ask() for learner, search in searches.items()}
        said = makers.said_by_all(bench, asked, folds)
        for learner, setting in asked.items():
            losses = pool_means(row_log_loss(bench.y[tested], np.concatenate(said[learner])), bench.pool[tested])
            searches[learner].tell(setting, said[learner], float(losses.mean()))
    tuned = {learner: search.tuned() for learner, search in searches.items()}
    return tuned, [trial for search in searches.values() for trial in search.trials]


class _Search:
    """One learner's search: proposes a setting, hears what it was worth, remembers the best."""

    def __init__(self, learner: Learner, spec: CompetitionSpec, n_trials: int, seed: int) -> None:
        import optuna  # noqa: PLC0415  takes a second

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        sampler = optuna.samplers.TPESampler(seed=seed, n_startup_trials=max(2, n_trials // 2))
        self._study = optuna.create_study(sampler=sampler)
        self._study.enqueue_trial({**LEARNERS[learner].DEFAULTS, "n_kept": spec.n_kept[0], "power": spec.powers[0]})
        self._learner, self._spec = learner, spec
        self._open: Any = None
        self._best: Tuned | None = None
        self.trials: list[Trial] = []

    def ask(self) -> Setting:
        """The next setting to try."""
        self._open = self._study.ask()
        return _suggested(self._learner, self._open, self._spec)

    def tell(self, setting: Setting, said: Sequence[Floats], loss: float) -> None:
        """What the setting asked for last was worth."""
        self._study.tell(self._open, loss)
        if all(loss < one.loss for one in self.trials):
            self._best = Tuned(self._learner, setting, said)
        self.trials.append(Trial(self._learner, len(self.trials), setting, loss))

    def tuned(self) -> Tuned:
        """The best so far."""
        assert self._best is not None  # noqa: S101  at least one setting was tried
        return self._best


def _suggested(learner: Learner, trial: Any, spec: CompetitionSpec) -> Setting:
    # Each is told to Optuna whether there is a choice or not, so that the defaults mean the same everywhere.
    n_kept = int(trial.suggest_categorical("n_kept", spec.n_kept))
    power = float(trial.suggest_categorical("power", spec.powers))
    return Setting(LEARNERS[learner].suggest(trial), n_kept, power)
