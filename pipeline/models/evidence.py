"""What a reader of a trained model looks at: pictures, figures by slice, and what more data would bring.

Belongs here: which pictures and tables a training comes with. Stays out: how they are drawn (`pictures`) and
computed (`curves`, `slices`, `learning_curve`).
"""

from collections.abc import Mapping
from typing import Final

import numpy as np
import polars as pl
import polars.selectors as cs

from pipeline.models.competition import Choice
from pipeline.models.head import Head
from pipeline.models.heads import Laid
from pipeline.models.intervals import FigureRules
from pipeline.models.learner import Floats
from pipeline.models.learning_curve import learning_curve
from pipeline.models.metrics import row_log_loss
from pipeline.models.outcome_model import OutcomeModel
from pipeline.models.pictures.calibration import calibration_plot, confusion_plot
from pipeline.models.pictures.curves import curves_plot
from pipeline.models.pictures.importance import importance_plot, shap_plot
from pipeline.models.pictures.lines import error_by_age_plot, learning_curve_plot
from pipeline.models.shap_values import sampled_shap, shap_importance
from pipeline.models.slices import ACTIVITY, slices, with_activity, with_tier
from pipeline.models.spec import TrainingSpec
from pipeline.models.splits import Rows
from pipeline.tables import OUTCOMES
from pipeline.tables.served import TIER_EDGES

SHAP_ROWS: Final = 60
SHAP_ORDERS: Final = 8
"""Decisions explained, and random orders of the features a decision: bounds what the sampled values cost."""
AGE = "decision_age_hours"
SLICED_BY = (AGE, "network")


def rules_of(spec: TrainingSpec) -> FigureRules:
    """How the evidence's figures are made."""
    return FigureRules(spec.n_resamples, spec.confidence, spec.n_calibration_bins, spec.seed)


def pictures(
    laid: Laid, said: Floats, importance: pl.DataFrame, shap: pl.DataFrame, sliced: Mapping[str, pl.DataFrame],
    curve: pl.DataFrame, baselines: Mapping[str, float], spec: TrainingSpec,
) -> dict[str, bytes]:  # fmt: skip
    """PNG bytes by name.

    Args:
        said: what the model says of the last block.
        shap: `shap_values.shap_importance`.
        sliced: predictor -> its figures by slice. curve: `learning_curve.CURVE`.
        baselines: the log loss of each on the last block.
    """
    y, pool = laid.bench.y[laid.block.test], laid.bench.pool[laid.block.test]
    at = np.unique(pool, return_inverse=True)[1].astype(np.int64)
    by_age = {name: table.filter(pl.col("by") == AGE) for name, table in sliced.items()}
    return {
        "calibration": calibration_plot(y, said, n_bins=spec.n_calibration_bins),
        "confusion": confusion_plot(y, said),
        "importance": importance_plot(importance),
        "shap": shap_plot(shap),
        "roc": curves_plot("roc", y, said, at, rules_of(spec)),
        "precision_recall": curves_plot("pr", y, said, at, rules_of(spec)),
        "error_by_age": error_by_age_plot(by_age),
        "learning_curve": learning_curve_plot(curve, baselines),
    }


def by_slice(evaluation: pl.DataFrame, known: pl.DataFrame, spec: TrainingSpec) -> pl.DataFrame:
    """Every figure of the last block by decision age, network, liquidity tier and activity, `slices.SLICES`.

    Args:
        evaluation: what a predictor says of it.
        known: the features of the same rows, in the same order; of those that are not there no slice is made.
    """
    told = known.select(cs.by_name("reserve_usd", *ACTIVITY, require_all=False))
    frame, by = pl.concat([evaluation, told], how="horizontal"), list(SLICED_BY)
    if "reserve_usd" in frame.columns:
        frame, by = with_tier(frame, TIER_EDGES), [*by, "tier"]
    if set(ACTIVITY) <= set(frame.columns):
        frame, by = with_activity(frame, ACTIVITY), [*by, "traded"]
    return slices(frame, by, rules_of(spec))


def shap_of(model: OutcomeModel, laid: Laid, spec: TrainingSpec) -> pl.DataFrame:
    """What moved the model's probabilities on a sample of the last block, `shap_values.shap_importance`.

    Sampled, as a model may be several kinds at once; each row's values add up exactly, and `sampling_error` says how
    far a feature's may be off.
    """
    bench, names = laid.bench, laid.training_set.feature_names
    columns = [names.index(name) for name in model.feature_names]
    test = laid.block.test
    rows = np.random.default_rng(spec.seed).choice(test, min(len(test), SHAP_ROWS), replace=False)
    told = sampled_shap(
        lambda x: model.predict_matrix(x, spec.horizon_hours),
        bench.x[rows][:, columns],
        bench.x[laid.block.train][:, columns],
        n_permutations=SHAP_ORDERS,
        seed=spec.seed,
    )
    return shap_importance(told, model.feature_names, OUTCOMES, bench.pool[rows])


def curve_of(laid: Laid, choice: Choice, head: Head, spec: TrainingSpec) -> pl.DataFrame:
    """The log loss on the last block over the size of the training set, all else as it was chosen.

    Nothing is chosen by it: it reads the last block that was evaluated already.
    """
    bench, train, test = laid.bench, laid.block.train, laid.block.test

    def fit_and_score(rows: Rows) -> Floats:
        members = [bench.fit(learner, setting, train[rows]) for learner, setting in choice.settings.items()]
        smaller = Head(head.kind, members, head.combination, head.calibrator)
        return row_log_loss(bench.y[test], smaller.predict(bench.x[test]))

    born = laid.frame["created_at"].gather(train).to_physical().to_numpy()
    return learning_curve(bench.pool[train], born, bench.pool[test], fit_and_score, rules_of(spec))
