"""Six kinds of model on the inner folds, and the choice between them.

Belongs here: tuning every learner, the ensembles on what they said, the verdict. Stays out: the last block, which is
not looked at here, and the fit that follows from the choice (`heads`).

Learners are judged on all folds. An ensemble is fitted on out-of-fold answers alone, and judged on a fold by what the
earlier folds gave, as far as their rows may train for it: on the first fold, and on others that the purge cuts off, it
has nothing to say, and where that is so everywhere it does not compete. The least log loss wins, each pool one unit,
unless a simpler kind is within one standard error of it (Breiman et al. 1984), the error being that of the difference
pool by pool: first among the learners, then among the ensembles, and an ensemble must be better by as much than the
learner on the folds where both speak.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, cast

import numpy as np
import polars as pl

from pipeline.models.by_pool import pool_means, pool_weights
from pipeline.models.calibration import is_worse
from pipeline.models.combination import Combination, alone, equal, fit_stack, fit_vote
from pipeline.models.fits import HERE_ALONE, Bench, Makers, Setting
from pipeline.models.learner import Classes, Floats
from pipeline.models.metrics import row_log_loss
from pipeline.models.spec import KINDS, CompetitionSpec, Kind, Learner
from pipeline.models.splits import Split
from pipeline.models.tuning import Told, Trial, tune

type _Mix = Callable[[Sequence[Floats], Classes, Floats], Combination]

_ENSEMBLES: Final[Mapping[Kind, _Mix]] = {"voted": fit_vote, "stacked": fit_stack}


@dataclass(frozen=True, eq=False)
class Choice:
    """What the inner folds came to.

    Attributes:
        kind: the chosen one.
        settings: the tuned setting of each learner it is made of.
        said: what it says of each fold's test rows, not having learned from them; None where it has nothing to say.
        combination: how its members answer together, fitted on all folds.
        trials: every setting that was tried.
        standings: `kind`, `fold`, `log_loss` (each pool one unit), `n_pools`, `n_rows`, `is_chosen`.
    """

    kind: Kind
    settings: Mapping[Learner, Setting]
    said: Sequence[Floats | None] = field(repr=False)
    combination: Combination
    trials: Sequence[Trial] = field(repr=False)
    standings: pl.DataFrame = field(repr=False)


def compete(
    bench: Bench, folds: Sequence[Split], spec: CompetitionSpec, told: Told, makers: Makers = HERE_ALONE
) -> Choice:
    """Tune every learner, combine them, choose."""
    tuned, trials = tune(spec.learners, bench, folds, spec, told, makers)
    each = {learner: one.said for learner, one in tuned.items()}
    said = {kind: walked(kind, each, bench, folds) for kind in KINDS if _competes(kind, spec, folds)}
    chosen = chosen_kind(said, bench, folds)
    members = members_of(chosen, spec)
    return Choice(
        kind=chosen,
        settings={learner: tuned[learner].setting for learner in members},
        said=said[chosen],
        combination=combined(chosen, [each[learner] for learner in members], bench, folds),
        trials=trials,
        standings=_standings(said, bench, folds, chosen),
    )


def members_of(kind: Kind, spec: CompetitionSpec) -> tuple[Learner, ...]:
    """The learners a kind is made of."""
    return tuple(spec.learners) if kind in _ENSEMBLES else tuple(one for one in spec.learners if one == kind)


def walked(
    kind: Kind, each: Mapping[Learner, Sequence[Floats]], bench: Bench, folds: Sequence[Split]
) -> list[Floats | None]:
    """What a kind says of each fold's test rows; an ensemble by what the folds before gave, if there are any."""
    if kind not in _ENSEMBLES:
        return list(each[cast("Learner", kind)])
    found: list[Floats | None] = []
    for k, fold in enumerate(folds):
        known = [np.isin(before.test, fold.train) for before in folds[:k]]
        if not sum(int(rows.sum()) for rows in known):
            found.append(None)
            continue
        rows = np.concatenate([before.test[own] for before, own in zip(folds, known, strict=False)])
        given = [np.concatenate([p[own] for p, own in zip(said, known, strict=False)]) for said in each.values()]
        mix = _ENSEMBLES[kind](given, bench.y[rows], pool_weights(bench.pool[rows]))
        found.append(mix([said[k] for said in each.values()]))
    return found


def combined(kind: Kind, each: Sequence[Sequence[Floats]], bench: Bench, folds: Sequence[Split]) -> Combination:
    """How members answer together, by all folds."""
    if kind not in _ENSEMBLES:
        return alone()
    rows = np.concatenate([fold.test for fold in folds])
    if not len(rows):
        return equal(len(each))
    return _ENSEMBLES[kind]([np.concatenate(said) for said in each], bench.y[rows], pool_weights(bench.pool[rows]))


def trial_table(trials: Sequence[Trial]) -> pl.DataFrame:
    """Every trial a row: `learner`, `trial`, `log_loss`, and its parameters by name, null where a learner has none."""
    rows: list[dict[str, Any]] = [
        {"learner": one.learner, "trial": one.number, "log_loss": one.loss}
        | {name: float(value) for name, value in one.setting.as_dict().items()}
        for one in trials
    ]
    return pl.DataFrame(rows, infer_schema_length=None)


def _competes(kind: Kind, spec: CompetitionSpec, folds: Sequence[Split]) -> bool:
    if kind in _ENSEMBLES:
        return len(spec.learners) > 1 and len(folds) > 1
    return kind in spec.learners


def chosen_kind(said: Mapping[Kind, Sequence[Floats | None]], bench: Bench, folds: Sequence[Split]) -> Kind:
    """The kind by the rule at the module's head; kinds come simplest first. `said` as in `Choice`, of each kind."""
    learners = [kind for kind in said if kind not in _ENSEMBLES]
    best = _simplest_of_the_best({kind: _losses(said[kind], bench, folds) for kind in learners})
    spoken = [k for k in range(len(folds)) if all(said[kind][k] is not None for kind in said)]
    if len(learners) == len(said) or not spoken:
        return best
    on_common = {kind: _losses([said[kind][k] for k in spoken], bench, [folds[k] for k in spoken]) for kind in said}
    ensemble = _simplest_of_the_best({kind: on_common[kind] for kind in said if kind in _ENSEMBLES})
    return ensemble if is_worse(on_common[best], on_common[ensemble]) else best


def _simplest_of_the_best(losses: Mapping[Kind, Floats]) -> Kind:
    best = min(losses, key=lambda kind: float(losses[kind].mean()))
    return next(kind for kind in losses if not is_worse(losses[kind], losses[best]))


def _losses(said: Sequence[Floats | None], bench: Bench, folds: Sequence[Split]) -> Floats:
    """(n_pools,) log loss over folds on which a kind speaks."""
    rows = np.concatenate([fold.test for fold in folds])
    p = np.concatenate([p for p in said if p is not None])
    return pool_means(row_log_loss(bench.y[rows], p), bench.pool[rows])


def _standings(
    said: Mapping[Kind, Sequence[Floats | None]], bench: Bench, folds: Sequence[Split], chosen: Kind
) -> pl.DataFrame:
    rows = []
    for kind, found in said.items():
        for p, fold in zip(found, folds, strict=True):
            if p is not None:
                losses = pool_means(row_log_loss(bench.y[fold.test], p), bench.pool[fold.test])
                rows.append((kind, fold.name, float(losses.mean()), len(losses), len(fold.test), kind == chosen))
    return pl.DataFrame(rows, ["kind", "fold", "log_loss", "n_pools", "n_rows", "is_chosen"], orient="row")
