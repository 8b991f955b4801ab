"""One horizon: every kind over the inner folds, the choice, the one touch of the last block.

Belongs here: the order of the work of one horizon. Stays out: several horizons, and the result's fate (`train`).

The kind is chosen by what the gate will measure: the reduction of the squared error of the calibrated forecast, each
pool one unit, on the out-of-fold forecasts of the inner folds. Rank IC would order the kinds much alike, but weighs an
hour of ten pools like one of a hundred, and says nothing of a forecast's size. A kind is judged on a fold with the
slope that the other folds give; where there is but one usable fold, with that fold's own, alike for every kind.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Final

import numpy as np
import polars as pl

from pipeline.models.returns.baselines import baseline_forecasts
from pipeline.models.returns.calibration import multiplier, shrunken_slope, size_of
from pipeline.models.returns.dataset import Bench, Floats, Table, bench
from pipeline.models.returns.figures import over_seeds, table
from pipeline.models.returns.importance import importance
from pipeline.models.returns.kinds import State, fit_member
from pipeline.models.returns.metrics import Panel
from pipeline.models.returns.portable import HorizonModel
from pipeline.models.returns.processors import Matrix
from pipeline.models.returns.segments import return_splits
from pipeline.models.returns.spec import LAST_BLOCK, MODEL, WALK_FORWARD, Kind, ReturnsSpec
from pipeline.models.splits import Rows, Split

type Told = Callable[[str, float], None]

NONE: Final = "none"
"""Chosen where no kind's out-of-fold forecasts tell anything: every forecast of that horizon is 0."""


@dataclass(frozen=True, eq=False)
class Walked:
    """What one horizon came to; `figures`, `evaluation`, `importance` as in `train.TrainedReturns`.

    `skills`: kind -> what it was chosen by. `chosen`: the kind, or `NONE`; the model holds a kind all the same, with a
    slope of 0. `standard_slope`: the slope in units of the raw forecasts' deviation. `n_folds`: folds that were usable.
    """

    horizon: int
    model: HorizonModel
    chosen: str
    standard_slope: float
    n_folds: int
    skills: Mapping[Kind, float]
    figures: pl.DataFrame
    evaluation: pl.DataFrame
    importance: pl.DataFrame
    n_train_rows: int
    train_pools: frozenset[tuple[str, str]]
    learned_until: datetime


@dataclass(frozen=True, eq=False)
class _Fold:
    """One fold's bench and a kind's members: each one's answers for the test rows, and the size of their mean."""

    bench: Bench
    members: Sequence[tuple[int, State]]
    raws: Sequence[Floats]
    size: float

    @property
    def standard(self) -> Floats:
        """The mean answer in units of its size; 0 where it has none."""
        mean = np.mean(self.raws, axis=0)
        return np.asarray(mean / self.size if self.size > 0 else np.zeros_like(mean))

    @property
    def y(self) -> Floats:
        """Targets of the test rows."""
        return self.bench.y[self.bench.split.test]


@dataclass(frozen=True, eq=False)
class _Judged:
    """A kind on the inner folds: its slope in standard units, what it is chosen by, and all its figures."""

    folds: Sequence[_Fold]
    slope: float
    skill: float
    figures: pl.DataFrame


def walk(
    frame: pl.DataFrame, names: tuple[str, ...], horizon: int, kinds: Sequence[Kind], spec: ReturnsSpec, told: Told
) -> Walked:
    """Fit, choose and evaluate one horizon.

    Args:
        frame: `targets.scored` rows of the horizon with the feature columns `names`.
        told: hears of each step and the share of the work done.

    Raises:
        InputError: too few pools or too short a history for the splits.
    """
    rows = Table.of(frame, names)
    *inner, block = return_splits(rows.frame, spec)
    judged = _all_judged(rows, inner, kinds, horizon, spec, told)
    kind = max(kinds, key=lambda k: (judged[k].slope > 0, judged[k].skill))
    best, chosen = judged[kind], kind if judged[kind].slope > 0 else NONE
    told(f"{chosen} on the last block", 0.8)
    last = bench(rows, block, spec)
    members = [(seed, fit_member(kind, last, seed)) for seed in spec.seeds]
    model = _model(kind, multiplier(best.slope, _size(kind, last, members)), last, members)
    evaluation, figures = _last_block(model, chosen, last, horizon, spec)
    told("importance", 0.95)
    newest = best.folds[-1]
    listened = _model(kind, multiplier(best.slope, newest.size), newest.bench, newest.members)
    found = importance(listened, newest.bench, spec.seed)
    until: datetime = rows.frame["label_end"].gather(block.train).max()  # type: ignore[assignment]
    return Walked(
        horizon=horizon,
        model=model,
        chosen=chosen,
        standard_slope=best.slope,
        n_folds=len(inner),
        skills={k: j.skill for k, j in judged.items()},
        figures=pl.concat([*(j.figures for j in judged.values()), figures]),
        evaluation=evaluation,
        importance=found.select(pl.lit(horizon, pl.Int32).alias("horizon_hours"), pl.all()),
        n_train_rows=len(block.train),
        train_pools=frozenset(rows.frame[block.train].select("network", "pool").unique().iter_rows()),
        learned_until=until,
    )


def _all_judged(
    rows: Table, inner: Sequence[Split], kinds: Sequence[Kind], horizon: int, spec: ReturnsSpec, told: Told
) -> dict[Kind, _Judged]:
    """Every kind and seed on every inner fold."""
    benches = [bench(rows, fold, spec) for fold in inner]
    judged = {}
    for k, kind in enumerate(kinds):
        folds = []
        for i, own in enumerate(benches):
            told(f"{kind} on {own.split.name}", 0.8 * (k + i / len(benches)) / len(kinds))
            members = [(seed, fit_member(kind, own, seed)) for seed in spec.seeds]
            raws = _each(kind, own, members, own.split.test)
            folds.append(_Fold(own, members, raws, _size(kind, own, members)))
        judged[kind] = _judged(folds, kind, horizon, spec)
    return judged


def _judged(folds: Sequence[_Fold], kind: Kind, horizon: int, spec: ReturnsSpec) -> _Judged:
    """The slope on all folds, and figures of the mean and of each seed; a fold's with the slope of the others."""

    @cache
    def slope_of(left_out: int | None) -> float:
        some = [fold for at, fold in enumerate(folds) if at != left_out or len(folds) == 1]
        return _slope(some, spec)

    factors = [multiplier(slope_of(at), fold.size) for at, fold in enumerate(folds)]
    by_seed = list(
        zip(*([factor * raw for raw in fold.raws] for factor, fold in zip(factors, folds, strict=True)), strict=True)
    )
    forecasts = [np.concatenate(parts) for parts in by_seed]
    rows = pl.concat(_tested(fold.bench) for fold in folds)
    context = {"predictor": MODEL, "kind": kind, "block": WALK_FORWARD, "horizon_hours": horizon}
    mean = np.mean(forecasts, axis=0)
    of_mean = table(_panel(rows, mean, spec), spec, with_interval=True, seed=None, **context)
    skill = of_mean.filter(pl.col("metric") == "skill")["value"].item()
    return _Judged(
        folds=folds,
        slope=slope_of(None),
        skill=float(skill),
        figures=pl.concat([of_mean, *_seeds(rows, forecasts, spec, context)]),
    )


def _slope(folds: Sequence[_Fold], spec: ReturnsSpec) -> float:
    """The shrunken slope of some folds' forecasts, in units of their size."""
    pools = pl.concat(fold.bench.table.frame[fold.bench.split.test].select("network", "pool") for fold in folds)
    numbers = pools.select(pl.struct("network", "pool").rank("dense")).to_series().to_numpy().astype(np.int64)
    said, came = (np.concatenate([getattr(fold, name) for fold in folds]) for name in ("standard", "y"))
    return shrunken_slope(said, came, numbers, spec.seed)


def _size(kind: Kind, own: Bench, members: Sequence[tuple[int, State]]) -> float:
    """How large the members' mean forecasts of their own training rows are (`calibration.size_of`)."""
    train = own.split.train
    return size_of(np.mean(_each(kind, own, members, train), axis=0), own.y[train])


def _tested(own: Bench) -> pl.DataFrame:
    """A bench's test rows, with the targets that they have among themselves."""
    test = own.split.test
    return own.table.frame[test].with_columns(pl.Series("target", own.y[test]))


def _last_block(
    model: HorizonModel, chosen: str, last: Bench, horizon: int, spec: ReturnsSpec
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The evaluation of the model and each baseline, row for row, and their figures."""
    test = last.split.test
    frame = _tested(last)
    raws = _each(model.kind, last, model.members, test)
    said = {MODEL: model.slope * np.mean(raws, axis=0)} | baseline_forecasts(last, test)
    context = {"block": LAST_BLOCK, "horizon_hours": horizon}
    kinds = {name: chosen if name == MODEL else None for name in said}
    tables = []
    for name, forecast in said.items():
        whose = context | {"predictor": name, "kind": kinds[name], "seed": None}
        tables.append(table(_panel(frame, forecast, spec), spec, with_interval=True, **whose))
    of_model = context | {"predictor": MODEL, "kind": chosen}
    tables += _seeds(frame, [model.slope * raw for raw in raws], spec, of_model)
    return pl.concat(_evaluated(frame, name, forecast, horizon) for name, forecast in said.items()), pl.concat(tables)


def _evaluated(frame: pl.DataFrame, name: str, forecast: Floats, horizon: int) -> pl.DataFrame:
    return frame.select(
        pl.lit(name).alias("predictor"), "instrument", "network", "pool", "base_token", "event_time",
        pl.lit(horizon, pl.Int32).alias("horizon_hours"), "target", pl.Series("forecast", forecast, dtype=pl.Float64),
        "forward_return", "label_end",
    )  # fmt: skip


def _seeds(
    rows: pl.DataFrame, forecasts: Sequence[Floats], spec: ReturnsSpec, context: Mapping[str, object]
) -> list[pl.DataFrame]:
    """Figures over the seeds, and of each."""
    each = pl.concat(
        table(_panel(rows, forecast, spec), spec, with_interval=False, seed=seed, **context)
        for seed, forecast in zip(spec.seeds, forecasts, strict=True)
    )
    return [over_seeds(each, spec), each]


def _panel(rows: pl.DataFrame, forecast: Floats, spec: ReturnsSpec) -> Panel:
    return Panel.of(rows.with_columns(pl.Series("forecast", forecast, dtype=pl.Float64)), spec)


def _model(kind: str, factor: float, own: Bench, members: Sequence[tuple[int, State]]) -> HorizonModel:
    return HorizonModel(kind, factor, own.scale, members)


def _each(kind: str, own: Bench, members: Sequence[tuple[int, State]], rows: Rows) -> list[Floats]:
    """Each member's answers, before calibration, for `rows`."""
    scaled: Matrix = own.scale(own.table.x[rows])
    keys = own.table.frame[rows].select("instrument", "event_time")
    return [_model(kind, 1.0, own, [member]).raw(scaled, keys) for member in members]
