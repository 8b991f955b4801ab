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

from pipeline.models.learner import Classes, Floats, Matrix
from pipeline.models.learners.states import Params
from pipeline.models.members import LEARNERS, Member, fit_member
from pipeline.models.metrics import row_log_loss
from pipeline.models.spec import CompetitionSpec, Learner
from pipeline.models.splits import Rows, Split

type Told = Callable[[str, float], None]
"""Hears of each step, and of the share of the work that is done."""


@dataclass(frozen=True, eq=False)
class Bench:
    """Rows laid out for fitting: one row a decision, `pool` any number per pool."""

    x: Matrix
    y: Classes
    weight: Floats
    pool: Classes
    seed: int

    def fit(self, learner: Learner, setting: "Setting", rows: Rows) -> Member:
        """One learner on some of the rows."""
        return fit_member(
            learner, self.x[rows], self.y[rows], self.weight[rows], setting.params,
            seed=self.seed, n_kept=setting.n_kept, power=setting.power,
        )  # fmt: skip


@dataclass(frozen=True)
class Setting:
    """Everything that is chosen about a learner."""

    params: Params
    n_kept: int
    power: float

    def as_dict(self) -> dict[str, int | float]:
        """By name, flat."""
        return {**self.params, "n_kept": self.n_kept, "class_weight_power": self.power}


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


def pool_losses(p: Floats, y: Classes, pool: Classes) -> Floats:
    """(n_pools,) mean log loss of each pool's rows, in the order of the pools' numbers."""
    _, at = np.unique(pool, return_inverse=True)
    return np.asarray(np.bincount(at, weights=row_log_loss(y, p)) / np.bincount(at))


def tune(
    learner: Learner, bench: Bench, folds: Sequence[Split], spec: CompetitionSpec, told: Told
) -> tuple[Tuned, list[Trial]]:
    """The best of a learner's settings, and every one that was tried."""
    n_trials = spec.trials_on(sum(len(fold.train) for fold in folds))
    tested = np.concatenate([fold.test for fold in folds])
    trials: list[Trial] = []
    best: Tuned | None = None

    def objective(trial: Any) -> float:
        nonlocal best
        told(f"{learner}: setting {trial.number + 1} of {n_trials}", trial.number / n_trials)
        setting = _suggested(learner, trial, spec)
        said = [bench.fit(learner, setting, fold.train).predict(bench.x[fold.test]) for fold in folds]
        loss = float(pool_losses(np.concatenate(said), bench.y[tested], bench.pool[tested]).mean())
        if best is None or loss < min(one.loss for one in trials):
            best = Tuned(learner, setting, said)
        trials.append(Trial(learner, trial.number, setting, loss))
        return loss

    _search(objective, {**LEARNERS[learner].DEFAULTS, "n_kept": spec.n_kept[0], "power": spec.powers[0]}, n_trials,
            bench.seed)  # fmt: skip
    assert best is not None  # noqa: S101  at least one setting was tried
    return best, trials


def _suggested(learner: Learner, trial: Any, spec: CompetitionSpec) -> Setting:
    # Each is told to Optuna whether there is a choice or not, so that the defaults mean the same everywhere.
    n_kept = int(trial.suggest_categorical("n_kept", spec.n_kept))
    power = float(trial.suggest_categorical("power", spec.powers))
    return Setting(LEARNERS[learner].suggest(trial), n_kept, power)


def _search(objective: Callable[[Any], float], defaults: dict[str, Any], n_trials: int, seed: int) -> None:
    import optuna  # noqa: PLC0415  takes a second

    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        study = optuna.create_study(
            sampler=optuna.samplers.TPESampler(seed=seed, n_startup_trials=max(2, n_trials // 2))
        )
        study.enqueue_trial(defaults)
        study.optimize(objective, n_trials=n_trials)
    finally:
        optuna.logging.set_verbosity(before)
