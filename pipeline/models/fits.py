"""Fits that need nothing of each other, done by whoever is there.

Belongs here: which fits are asked for at once, and by whom they are made. Stays out: which settings are tried
(`tuning`), one fit (`members`), the workers (`pipeline.workers`).

Each fit is made by one worker on one thread from its seed alone, so a cluster gives the bytes that one machine gives.
The exception is asked for by name (`CompetitionSpec.spread_from_rows`): see `learners.xgboost_spread`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from threadpoolctl import threadpool_limits

from pipeline.models.learner import Classes, Floats, Matrix
from pipeline.models.learners.states import FitOne, Params
from pipeline.models.members import Member, fit_member
from pipeline.models.spec import Learner
from pipeline.models.splits import Rows, Split
from pipeline.workers import HERE, Workers


@dataclass(frozen=True)
class Setting:
    """Everything that is chosen about a learner."""

    params: Params
    n_kept: int
    power: float

    def as_dict(self) -> dict[str, int | float]:
        """By name, flat."""
        return {**self.params, "n_kept": self.n_kept, "class_weight_power": self.power}


@dataclass(frozen=True, eq=False)
class Bench:
    """Rows laid out for fitting: one row a decision, `pool` any number per pool."""

    x: Matrix
    y: Classes
    weight: Floats
    pool: Classes
    seed: int

    def fit(self, learner: Learner, setting: Setting, rows: Rows, fit_one: FitOne | None = None) -> Member:
        """One learner on some of the rows; `fit_one` in place of the learner's own way to fit."""
        return fit_member(
            learner, self.x[rows], self.y[rows], self.weight[rows], setting.params,
            seed=self.seed, n_kept=setting.n_kept, power=setting.power, fit_one=fit_one,
        )  # fmt: skip


@dataclass(frozen=True, eq=False)
class Fit:
    """One learner with one setting, to be fitted on `rows`."""

    learner: Learner
    setting: Setting
    rows: Rows = field(repr=False)


@dataclass(frozen=True, eq=False)
class _Ask:
    """A fit, and what its member is to answer; None: the member itself is wanted."""

    fit: Fit
    rows: Rows | None = field(repr=False, default=None)


@dataclass(frozen=True)
class Makers:
    """Who makes fits, and from how many rows on an XGBoost fit is made by all of them together."""

    workers: Workers = HERE
    spread_from_rows: int | None = None

    def members(self, bench: Bench, fits: Sequence[Fit]) -> list[Member]:
        """The fitted members, in order."""
        alone = [None if self._is_spread(fit) else _Ask(fit) for fit in fits]
        made = iter(self.workers.each(_member, bench, [ask for ask in alone if ask is not None]))
        return [self._spread(bench, fit) if ask is None else next(made) for fit, ask in zip(fits, alone, strict=True)]

    def said_by_all(
        self, bench: Bench, settings: dict[Learner, Setting], folds: Sequence[Split]
    ) -> dict[Learner, list[Floats]]:
        """What each learner with its setting says of each fold's test rows after its training rows."""
        asks = [_Ask(Fit(who, how, fold.train), fold.test) for who, how in settings.items() for fold in folds]
        alone = [ask for ask in asks if not self._is_spread(ask.fit)]
        made = iter(self.workers.each(_said, bench, alone))
        said = iter([
            self._spread(bench, ask.fit).predict(bench.x[ask.rows]) if self._is_spread(ask.fit) else next(made)
            for ask in asks
        ])  # fmt: skip
        return {learner: [next(said) for _ in folds] for learner in settings}

    def _is_spread(self, fit: Fit) -> bool:
        return fit.learner == "xgboost" and self.spread_from_rows is not None and len(fit.rows) >= self.spread_from_rows

    def _spread(self, bench: Bench, fit: Fit) -> Member:
        from pipeline.models.learners.xgboost_spread import fit_over  # noqa: PLC0415  Dask is there where it is asked for

        return bench.fit(fit.learner, fit.setting, fit.rows, fit_over(self.workers))


def _member(bench: Bench, ask: _Ask) -> Member:
    with threadpool_limits(1):  # sums over several threads differ in their last bits
        return bench.fit(ask.fit.learner, ask.fit.setting, ask.fit.rows)


def _said(bench: Bench, ask: _Ask) -> Floats:
    assert ask.rows is not None  # noqa: S101  asked in `said_by_all` alone
    with threadpool_limits(1):
        return np.asarray(bench.fit(ask.fit.learner, ask.fit.setting, ask.fit.rows).predict(bench.x[ask.rows]))


HERE_ALONE: Final = Makers()
"""This process makes every fit."""
