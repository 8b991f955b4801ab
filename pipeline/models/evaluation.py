"""Train on what lies before, predict what lies after, and say what that is worth.

Belongs here: the order of the work and what comes out of it. Stays out: one head's fit (`heads`), figures and plots,
the registry, files, the clock.

The model that is evaluated on the last block is the model that is registered. Fitting once more on all rows would
use newer data, but the figures would then belong to other bytes than those in charge. No probability knows the last
block. The threshold of the high signal is set on it, by a model that has not learned from it (`conformal`).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import numpy as np
import polars as pl
from threadpoolctl import threadpool_limits

from pipeline.models.baselines import class_prior, fit_baselines
from pipeline.models.competition import Choice, trial_table
from pipeline.models.conformal import Certificate, Realised, certify, later_pools
from pipeline.models.evidence import by_slice, curve_of, pictures, shap_of
from pipeline.models.heads import (
    FittedHead,
    Laid,
    choose,
    fit_chosen,
    fit_further,
    further_layouts,
    lay_out,
    makers_of,
    present,
)  # fmt: skip
from pipeline.models.importance import importance
from pipeline.models.intervals import with_intervals
from pipeline.models.learner import Floats, Predictor
from pipeline.models.metrics import row_log_loss
from pipeline.models.outcome_model import OutcomeModel, Signal, load_outcome, signal_score, used_columns
from pipeline.models.signal_worth import Worth, worth
from pipeline.models.spec import BASELINES, LAST_BLOCK, MODEL, TrainingSpec
from pipeline.models.splits import Rows
from pipeline.models.trained import Trained, figure_of
from pipeline.models.training_set import TrainingSet
from pipeline.tables import OUTCOMES
from pipeline.workers import HERE, Workers

__all__ = ["Trained", "train_and_evaluate"]

type Told = Callable[[str, float], None]


def train_and_evaluate(
    training_set: TrainingSet, spec: TrainingSpec, progress: Told = lambda _step, _share: None, workers: Workers = HERE
) -> Trained:
    """Choose and calibrate on folds before the last block, fit once on all before it, evaluate once on it.

    Args:
        progress: told of each step and the share of the work that is done.
        workers: who makes the fits; the model is the same whoever does.

    Raises:
        InputError: too few pools for the splits.
        ClusterError: the workers are gone.
    """
    with threadpool_limits(1):  # sums over several threads differ in their last bits
        laid, makers = lay_out(training_set, spec), makers_of(spec, workers)
        choice = choose(laid, spec, lambda step, share: progress(step, 0.6 * share), makers)
        progress(f"{choice.kind} fitted for the last block", 0.6)
        heads = {spec.horizon_hours: fit_chosen(laid, choice, spec, makers)}
        for hours, further in further_layouts(training_set, spec, laid.block.start).items():
            progress(f"{choice.kind} for {hours} h", 0.65)
            heads[hours] = fit_further(further, choice, spec, makers)
        model, certificate = _assembled(heads, laid, spec)
        return _evaluated(model, heads, laid, choice, certificate, spec, progress)


def _assembled(heads: Mapping[int, FittedHead], laid: Laid, spec: TrainingSpec) -> tuple[OutcomeModel, Certificate]:
    """The model out of its heads, fed with the features that any of them sees, and its signal's certificate."""
    own, rows, test = laid.training_set, laid.block.train, laid.block.test
    columns = used_columns({hours: one.head for hours, one in heads.items()})
    score = signal_score(heads[spec.horizon_hours].head.predict(laid.bench.x[test]))
    certificate = certify(score, own.paid[test], laid.bench.pool[test], spec.max_false_positive_rate)
    is_set = certificate.threshold is not None
    model = OutcomeModel(
        attributes={
            "model_name": spec.model_name,
            "horizon_hours": str(spec.horizon_hours),
            "feature_set": own.feature_set,
            "training_set_id": own.training_set_id,
            "source": own.source,
            # Everything its probabilities learned from was over by then; what came later they have not seen.
            "learned_until": _told(max(one.laid.learned_until for one in heads.values())),
            "signal_set_until": _told(laid.block.end) if is_set else "",
        },
        feature_names=tuple(own.feature_names[k] for k in columns),
        present=present(laid.bench.x[rows][:, columns]),
        class_prior=np.asarray(class_prior(laid.bench.y[rows], laid.bench.weight[rows]).probabilities),
        heads={hours: one.head.placed(columns) for hours, one in sorted(heads.items())},
        signal_rule=Signal(certificate.threshold, certificate.words, certificate.max_rate),
    )
    # What is judged is what the file says, read as whoever serves it will read it.
    return load_outcome(model.model_bytes), certificate


def _evaluated(
    model: OutcomeModel, heads: Mapping[int, FittedHead], laid: Laid, choice: Choice, certificate: Certificate,
    spec: TrainingSpec, progress: Told,
) -> Trained:  # fmt: skip
    """The evidence that belongs to a model's bytes."""
    own, block = laid.training_set, laid.block
    head = heads[spec.horizon_hours].head
    columns = [own.feature_names.index(name) for name in model.feature_names]
    said = {MODEL: model.predict_matrix(laid.bench.x[block.test][:, columns], spec.horizon_hours)}
    said |= {name: b.predict_proba(own.frame[block.test]) for name, b in _baselines(laid, spec).items()}
    metrics = _metrics(heads, laid, choice, said, spec, progress)
    progress("importance", 0.88)
    found = importance(head, laid.bench, block.test, own.feature_names)
    progress("Shapley values", 0.9)
    shap = shap_of(model, laid, spec)
    progress("learning curve", 0.92)
    curve = curve_of(laid, choice, head, spec)
    progress("slices and plots", 0.96)
    evaluations = {name: _predictions(own, block.test, p) for name, p in said.items()}
    known = own.frame.select(own.feature_names)[block.test]
    sliced = {name: by_slice(evaluations[name], known, spec) for name in (MODEL, BASELINES[0])}
    levels = {name: float(row_log_loss(laid.bench.y[block.test], said[name]).mean()) for name in BASELINES}
    trained = Trained(
        training_set_id=own.training_set_id,
        model=model,
        metrics=metrics,
        evaluation=evaluations.pop(MODEL),
        baselines=evaluations,
        importance=found,
        headline=figure_of(metrics, "roc_auc", "RUG", predictor=MODEL, age=spec.headline_age_hours, block=LAST_BLOCK),
        shap=shap,
        plots=pictures(laid, said[MODEL], found, shap, sliced, curve, levels, spec),
        slices=sliced[MODEL],
        learning_curve=curve,
        n_train_rows=len(block.train),
        n_train_pools=len(np.unique(laid.bench.pool[block.train])),
        kind=choice.kind,
        standings=choice.standings,
        trials=trial_table(choice.trials),
        settings=_settings(choice, heads),
        certificate=certificate,
        later_pools=_later_pools(laid, said[MODEL], spec),
        worth=_worth(laid, said[MODEL], spec),
    )
    progress("done", 1.0)
    return trained


def _metrics(
    heads: Mapping[int, FittedHead], laid: Laid, choice: Choice, said: Mapping[str, Floats], spec: TrainingSpec,
    progress: Told,
) -> pl.DataFrame:  # fmt: skip
    """Every figure: of the chosen kind by fold, of all predictors on the last block, of the further heads on theirs."""
    figures = _Figures(spec)
    tables = [
        figures.of(laid, fold.test, p, MODEL, fold.name)
        for fold, p in zip(laid.folds, choice.said, strict=True)
        if p is not None
    ]
    for i, (name, p) in enumerate(said.items()):
        progress(f"figures of {name}", 0.7 + 0.15 * i / len(said))
        tables += figures.of_last_block(laid, p, name)
    progress("figures of the further horizons", 0.85)
    for hours, one in heads.items():
        if hours != spec.horizon_hours:
            tables += figures.of_further(one, hours)
    return pl.concat(tables)


def _told(moment: datetime) -> str:
    """A moment as text, always to the microsecond."""
    return moment.isoformat(timespec="microseconds")


def _later_pools(laid: Laid, p: Floats, spec: TrainingSpec) -> Realised | None:
    test = laid.block.test
    born = laid.frame["created_at"].gather(test).to_physical().to_numpy().astype(np.int64)
    paid, pool = laid.training_set.paid[test], laid.bench.pool[test]
    return later_pools(signal_score(p), paid, pool, born, spec.max_false_positive_rate, spec.seed)


def _worth(laid: Laid, p: Floats, spec: TrainingSpec) -> Worth | None:
    own, test = laid.training_set, laid.block.test
    paid, known, pool = own.paid[test], own.is_position_known[test], laid.bench.pool[test]
    rate = spec.max_false_positive_rate
    return worth(signal_score(p), paid, known, pool, rate, seed=spec.seed, confidence=spec.confidence)


def _baselines(laid: Laid, spec: TrainingSpec) -> dict[str, Predictor]:
    rows, bench = laid.block.train, laid.bench
    return fit_baselines(laid.frame[rows], laid.training_set.feature_names, bench.y[rows], bench.weight[rows], spec)


def _settings(choice: Choice, heads: Mapping[int, FittedHead]) -> dict[str, Any]:
    """What was chosen, flat: each learner's setting, each horizon's calibration."""
    found: dict[str, Any] = {}
    for learner, setting in choice.settings.items():
        found |= {f"{learner}/{name}": value for name, value in setting.as_dict().items()}
    for hours, one in sorted(heads.items()):
        found[f"calibration_{hours}h"] = one.head.calibrator.how
        found |= {f"calibration_{hours}h/{how}": loss for how, loss in one.calibration.items()}
    return found


@dataclass(frozen=True)
class _Figures:
    """Figures with their intervals, in one table."""

    spec: TrainingSpec = field(repr=False)

    def of(self, laid: Laid, rows: Rows, p: Floats, predictor: str, block: str, age: int | None = None) -> pl.DataFrame:
        """Figures on some rows; intervals on the last block alone."""
        s = self.spec
        return with_intervals(
            laid.bench.y[rows],
            p,
            laid.bench.pool[rows],
            n_resamples=s.n_resamples if block.startswith(LAST_BLOCK) else 0,
            confidence=s.confidence,
            n_bins=s.n_calibration_bins,
            seed=s.seed,
            predictor=predictor,
            block=block,
            decision_age_hours=age,
        )

    def of_last_block(self, laid: Laid, p: Floats, predictor: str) -> list[pl.DataFrame]:
        """Figures over all decision ages and at the headline age."""
        rows, age = laid.block.test, self.spec.headline_age_hours
        at = (laid.frame["decision_age_hours"].gather(rows) == age).to_numpy()
        tables = [self.of(laid, rows, p, predictor, LAST_BLOCK)]
        if at.any():
            tables.append(self.of(laid, rows[at], p[at], predictor, LAST_BLOCK, age=age))
        return tables

    def of_further(self, one: FittedHead, hours: int) -> list[pl.DataFrame]:
        """A further head and the class prior on its last block, which is called after its horizon."""
        laid, block = one.laid, f"{LAST_BLOCK}_{hours}h"
        train, test = laid.block.train, laid.block.test
        prior = class_prior(laid.bench.y[train], laid.bench.weight[train]).predict_proba(laid.frame[test])
        said = {MODEL: one.head.predict(laid.bench.x[test]), "class_prior": prior}
        return [self.of(laid, test, p, name, block) for name, p in said.items()]


def _predictions(training_set: TrainingSet, test: Rows, p: Floats) -> pl.DataFrame:
    rows = training_set.frame[test]
    return rows.select(
        "network",
        "pool",
        "base_token",
        pl.col("event_time").alias("time"),
        pl.lit(training_set.spec.horizon_hours, pl.Int32).alias("horizon"),
        "decision_age_hours",
        pl.col("outcome").alias("label"),
    ).with_columns(pl.Series(f"p_{outcome}", p[:, k], dtype=pl.Float64) for k, outcome in enumerate(OUTCOMES))
