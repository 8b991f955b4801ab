"""Train on what lies before, predict what lies after, and say what that is worth.

Belongs here: the order of the work and what comes out of it. Stays out: the registry, files, the clock.

The model that is evaluated on the last block is the model that is registered. Fitting once more on all rows would
use newer data, but the figures would then belong to other bytes than those in charge.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta

import numpy as np
import polars as pl

from pipeline.errors import InputError
from pipeline.models.baselines import fit_baselines
from pipeline.models.canaries import pool_numbers
from pipeline.models.intervals import FIGURES, Figure, with_intervals
from pipeline.models.learner import Classes, FittedModel, Floats, Learner, Matrix, Predictor, matrix
from pipeline.models.metrics import row_log_loss
from pipeline.models.plots import calibration_plot, confusion_plot, importance_plot
from pipeline.models.spec import LAST_BLOCK, MODEL, TrainingSpec
from pipeline.models.splits import Rows, Split, last_block, walk_forward
from pipeline.models.training_set import TrainingSet
from pipeline.tables import OUTCOMES


@dataclass(frozen=True)
class Trained:
    """A fitted model and the evidence that belongs to its bytes.

    Attributes:
        metrics: `intervals.FIGURES`: the model by fold, and the model and each baseline on the last block.
        evaluation: out-of-sample predictions of the last block: `network`, `pool`, `base_token`, `time`, `horizon`
            (hours), `decision_age_hours`, `label`, `p_RUG` ... `p_DECLINE`.
        baselines: the same frame for each baseline, row for row.
        importance: `feature`, `gain` (share), `permutation` (rise of the log loss on the last block, nats).
        headline: ROC-AUC for RUG within the horizon, decided at the headline age, on the last block.
        plots: PNG bytes by name.
    """

    training_set_id: str
    model: FittedModel
    metrics: pl.DataFrame = field(repr=False)
    evaluation: pl.DataFrame = field(repr=False)
    baselines: Mapping[str, pl.DataFrame] = field(repr=False)
    importance: pl.DataFrame = field(repr=False)
    headline: Figure
    plots: Mapping[str, bytes] = field(repr=False)
    n_train_rows: int
    n_train_pools: int

    @property
    def model_bytes(self) -> bytes:
        """The model, as XGBoost's UBJ."""
        return self.model.model_bytes

    @property
    def model_sha256(self) -> str:
        """SHA-256 of `model_bytes`."""
        return self.model.sha256

    def figure(
        self,
        metric: str,
        outcome: str = "all",
        *,
        predictor: str = MODEL,
        age: int | None = None,
        block: str = LAST_BLOCK,
    ) -> Figure:
        """One figure of `metrics`.

        Raises:
            InputError: there is none like it.
        """
        return _figure(self.metrics, metric, outcome, predictor=predictor, age=age, block=block)


def train_and_evaluate(
    training_set: TrainingSet, spec: TrainingSpec, progress: Callable[[str, float], None] = lambda _step, _share: None
) -> Trained:
    """Walk forward before the last block, fit once on all before it, evaluate once on it.

    Args:
        progress: told of each step and the share of the work that is done.

    Raises:
        InputError: too few pools for the splits.
    """
    embargo = timedelta(hours=spec.embargo_hours)
    bench = _Bench(training_set, spec, matrix(training_set.frame, training_set.feature_names))
    block = last_block(training_set.frame, share=spec.last_block_share, embargo=embargo)
    folds = _folds(training_set, block, spec)
    tables = []
    for i, fold in enumerate(folds):
        progress(f"walk-forward {i + 1} of {len(folds)}", 0.4 * i / len(folds))
        tables.append(
            bench.figures(fold.test, bench.fit(fold.train).predict_matrix(bench.x[fold.test]), MODEL, fold.name)
        )
    progress("fit for the last block", 0.4)
    model = bench.fit(block.train)
    said = {MODEL: model.predict_matrix(bench.x[block.test])}
    said |= {name: b.predict_proba(training_set.frame[block.test]) for name, b in bench.baselines(block.train).items()}
    for i, (name, p) in enumerate(said.items()):
        progress(f"figures of {name}", 0.5 + 0.4 * i / len(said))
        tables.extend(bench.last_block_figures(block, p, name))
    progress("importance and plots", 0.9)
    metrics = pl.concat(tables)
    importance = _importance(model, bench, block)
    trained = Trained(
        training_set_id=training_set.training_set_id,
        model=model,
        metrics=metrics,
        evaluation=_predictions(training_set, block, said[MODEL]),
        baselines={name: _predictions(training_set, block, p) for name, p in said.items() if name != MODEL},
        importance=importance,
        headline=_figure(metrics, "roc_auc", "RUG", predictor=MODEL, age=spec.headline_age_hours, block=LAST_BLOCK),
        plots=_plots(bench.y[block.test], said[MODEL], importance, spec),
        n_train_rows=len(block.train),
        n_train_pools=training_set.frame[block.train].select("network", "pool").n_unique(),
    )
    progress("done", 1.0)
    return trained


@dataclass(frozen=True)
class _Bench:
    """A training set laid out for fitting: the one training path."""

    training_set: TrainingSet
    spec: TrainingSpec
    x: Matrix

    @property
    def y(self) -> Classes:
        return self.training_set.y

    def fit(self, rows: Rows) -> FittedModel:
        """Find the rounds on the newest pools of `rows`, purged, then fit on all of `rows`."""
        s, t = self.spec, self.training_set
        attributes = {
            "model_name": s.model_name,
            "horizon_hours": str(s.horizon_hours),
            "feature_set": t.feature_set,
            "training_set_id": t.training_set_id,
            "source": t.source,
            # Everything this model learned from was over by then; what came later it has not seen.
            "learned_until": str(t.frame["label_end"].gather(rows).dt.to_string("iso:strict").max()),
        }
        learner = Learner(s.learner, t.feature_names, attributes)
        x, y, weight = self.x[rows], self.y[rows], t.weight[rows]
        n_rounds = self._rounds(learner, rows)
        return learner.fit(x, y, weight, s.seed, n_rounds=n_rounds)

    def _rounds(self, learner: Learner, rows: Rows) -> int:
        """Rounds by early stopping inside `rows`; the spec's number where they are too few for an inner split."""
        s, y, weight = self.spec, self.y, self.training_set.weight
        embargo = timedelta(hours=s.embargo_hours)
        try:
            inner = last_block(self.training_set.frame[rows], share=s.learner.validation_share, embargo=embargo)
        except InputError:
            return s.learner.n_rounds_unguided
        a, b = rows[inner.train], rows[inner.test]
        return learner.rounds(self.x[a], y[a], weight[a], s.seed, (self.x[b], y[b], weight[b]))

    def baselines(self, rows: Rows) -> dict[str, Predictor]:
        t = self.training_set
        return fit_baselines(t.frame[rows], t.feature_names, self.y[rows], t.weight[rows], self.spec)

    def last_block_figures(self, block: Split, p: Floats, predictor: str) -> list[pl.DataFrame]:
        """Figures over all decision ages and at the headline age."""
        ages = self.training_set.frame["decision_age_hours"].gather(block.test).to_numpy()
        at = ages == self.spec.headline_age_hours
        tables = [self.figures(block.test, p, predictor, LAST_BLOCK)]
        if at.any():
            age = self.spec.headline_age_hours
            tables.append(self.figures(block.test[at], p[at], predictor, LAST_BLOCK, age=age))
        return tables

    def figures(self, rows: Rows, p: Floats, predictor: str, block: str, age: int | None = None) -> pl.DataFrame:
        s = self.spec
        return with_intervals(
            self.y[rows],
            p,
            pool_numbers(self.training_set.frame[rows]),
            n_resamples=s.n_resamples if block == LAST_BLOCK else 0,
            confidence=s.confidence,
            n_bins=s.n_calibration_bins,
            seed=s.seed,
            predictor=predictor,
            block=block,
            decision_age_hours=age,
        )


def _folds(training_set: TrainingSet, block: Split, spec: TrainingSpec) -> list[Split]:
    """Walk-forward folds among the rows that may train for the last block, as rows of the whole set."""
    folds = walk_forward(
        training_set.frame[block.train], n_folds=spec.n_folds, embargo=timedelta(hours=spec.embargo_hours)
    )
    return [Split(f.name, block.train[f.train], block.train[f.test], f.start, f.end) for f in folds]


def _predictions(training_set: TrainingSet, block: Split, p: Floats) -> pl.DataFrame:
    rows = training_set.frame[block.test]
    return rows.select(
        "network",
        "pool",
        "base_token",
        pl.col("event_time").alias("time"),
        pl.lit(training_set.spec.horizon_hours, pl.Int32).alias("horizon"),
        "decision_age_hours",
        pl.col("outcome").alias("label"),
    ).with_columns(pl.Series(f"p_{outcome}", p[:, k], dtype=pl.Float64) for k, outcome in enumerate(OUTCOMES))


def _importance(model: FittedModel, bench: _Bench, block: Split) -> pl.DataFrame:
    """Gain, and what the loss on the last block rises by when a feature's values are shuffled (Breiman 2001)."""
    rng = np.random.default_rng(bench.spec.seed)
    x, y = bench.x[block.test], bench.y[block.test]
    order = rng.permutation(len(x))
    base = row_log_loss(y, model.predict_matrix(x)).mean()
    rises = []
    for k in range(x.shape[1]):
        shuffled = x.copy()
        shuffled[:, k] = x[order, k]
        rises.append(float(row_log_loss(y, model.predict_matrix(shuffled)).mean() - base))
    gain = model.gain()
    frame = pl.DataFrame({"feature": list(gain), "gain": list(gain.values()), "permutation": rises})
    return frame.sort("gain", "feature", descending=[True, False])


def _plots(y: Classes, p: Floats, importance: pl.DataFrame, spec: TrainingSpec) -> dict[str, bytes]:
    return {
        "calibration": calibration_plot(y, p, n_bins=spec.n_calibration_bins),
        "confusion": confusion_plot(y, p),
        "importance": importance_plot(importance),
    }


def _figure(metrics: pl.DataFrame, metric: str, outcome: str, *, predictor: str, age: int | None, block: str) -> Figure:
    found = metrics.filter(
        pl.col("metric") == metric,
        pl.col("outcome") == outcome,
        pl.col("predictor") == predictor,
        pl.col("block") == block,
        pl.col("decision_age_hours").eq_missing(pl.lit(age, FIGURES["decision_age_hours"])),
    )
    if found.height != 1:
        raise InputError(f"no figure {metric!r} of {outcome!r} for {predictor!r} on {block!r} at age {age!r}")
    row = found.row(0, named=True)
    return Figure(row["value"], row["low"], row["high"], row["n_rows"], row["n_pools"])
