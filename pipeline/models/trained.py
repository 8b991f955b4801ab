"""What comes out of training: a model, and the evidence that belongs to its bytes.

Belongs here: its shape. Stays out: how it came to be (`evaluation`), and its rows in tables (`records`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import polars as pl

from pipeline.errors import InputError
from pipeline.models.conformal import Certificate, Realised
from pipeline.models.intervals import FIGURES, Figure
from pipeline.models.outcome_model import OutcomeModel
from pipeline.models.signal_worth import Worth
from pipeline.models.spec import LAST_BLOCK, MODEL, Kind


@dataclass(frozen=True)
class Trained:
    """A fitted model and the evidence that belongs to its bytes.

    Attributes:
        metrics: `intervals.FIGURES`: the model by fold, before calibration; the model and each baseline on the last
            block; each further head and the class prior on `last_block_{hours}h`.
        evaluation: out-of-sample predictions of the last block: `network`, `pool`, `base_token`, `time`, `horizon`
            (hours), `decision_age_hours`, `label`, `p_RUG` ... `p_DECLINE`.
        baselines: the same frame for each baseline, row for row.
        importance: `feature`, `gain` (share), `permutation` (rise of the log loss on the last block, nats).
        shap: `shap_values.shap_importance` of a sample of the last block, in probabilities.
        headline: ROC-AUC for RUG within the horizon, decided at the headline age, on the last block.
        plots: PNG bytes by name.
        slices: `slices.SLICES`: the model on the last block by decision age, network, tier and activity.
        learning_curve: `learning_curve.CURVE`: its log loss there over the size of the training set.
        kind: the kind of model that was chosen.
        standings: each kind on each fold, see `competition.Choice`.
        trials: every setting that was tried, see `competition.trial_table`.
        settings: the chosen settings and calibrations, flat.
        certificate: what the signal's threshold guarantees, or why there is none.
        later_pools: a threshold set on the earlier half of the last block's pools, on the later half; None without one.
        worth: how many of the last block's signals paid; None without a signal.
    """

    training_set_id: str
    model: OutcomeModel
    metrics: pl.DataFrame = field(repr=False)
    evaluation: pl.DataFrame = field(repr=False)
    baselines: Mapping[str, pl.DataFrame] = field(repr=False)
    importance: pl.DataFrame = field(repr=False)
    shap: pl.DataFrame = field(repr=False)
    headline: Figure
    plots: Mapping[str, bytes] = field(repr=False)
    slices: pl.DataFrame = field(repr=False)
    learning_curve: pl.DataFrame = field(repr=False)
    n_train_rows: int
    n_train_pools: int
    kind: Kind
    standings: pl.DataFrame = field(repr=False)
    trials: pl.DataFrame = field(repr=False)
    settings: Mapping[str, Any] = field(repr=False)
    certificate: Certificate
    later_pools: Realised | None
    worth: Worth | None

    @property
    def model_bytes(self) -> bytes:
        """The model's file."""
        return self.model.model_bytes

    @property
    def model_sha256(self) -> str:
        """SHA-256 of `model_bytes`."""
        return self.model.sha256

    @property
    def feature_names(self) -> Sequence[str]:
        """What the model is fed, in order."""
        return self.model.feature_names

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
        return figure_of(self.metrics, metric, outcome, predictor=predictor, age=age, block=block)


def figure_of(
    metrics: pl.DataFrame, metric: str, outcome: str, *, predictor: str, age: int | None, block: str
) -> Figure:
    """One figure of a table of them.

    Raises:
        InputError: there is none like it.
    """
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
