"""A model of outcomes in the registry: one JSON file of several heads, scored by MLflow without a pickle."""

import numpy as np
import pandas as pd
import polars as pl
import pytest
from training_runs import a_png

from pipeline.errors import InputError
from pipeline.models.calibration import Calibrator
from pipeline.models.combination import alone
from pipeline.models.head import Head
from pipeline.models.members import LEARNERS, fit_member
from pipeline.models.outcome_model import ATTRIBUTES, OutcomeModel, Signal
from pipeline.promotion.card import describe
from pipeline.promotion.kinds import Outcomes, kind_of
from pipeline.promotion.run import TrainingRun
from pipeline.tables import OUTCOMES

NAMES = ("age_hours", "reserve_usd")
KIND = Outcomes(OUTCOMES, 24, (1,), "pipeline.models.outcome_scoring", "logistic")


def a_model(threshold: float | None = 0.2) -> OutcomeModel:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(200, 2)).astype(np.float32), rng.integers(0, 7, 200)
    params = LEARNERS["logistic"].DEFAULTS
    member = fit_member("logistic", x, y, np.ones(200), params, seed=1, n_kept=2, power=0.0)
    head = Head("logistic", [member], alone(), Calibrator())
    attributes = {**dict.fromkeys(ATTRIBUTES, "x"), "horizon_hours": "24"}
    prior = np.full(7, 1 / 7)
    return OutcomeModel(attributes, NAMES, np.ones(2), prior, {1: head, 24: head}, Signal(threshold, "words", 0.03))


def a_run(name: str, model: OutcomeModel | None = None, **other) -> TrainingRun:
    made = model or a_model()
    told = {
        "model_name": name, "model_bytes": made.model_bytes, "model_sha256": made.sha256, "training_set_id": "e" * 64,
        "feature_set": "fs", "code_version": "c", "feature_names": NAMES, "kind": KIND,
        "params": {"kind": "logistic", "n_trials": 4}, "metrics": {"log_loss": 1.0},
        "tables": {"trials": pl.DataFrame({"trial": [0]})}, "plots": {"calibration": a_png()},
        "dataset": {"rows": 200}, "example": pl.DataFrame({"age_hours": [1.0, None], "reserve_usd": [2.0, 3.0]}),
    }  # fmt: skip
    return TrainingRun(**{**told, **other})


def test_a_version_says_its_kind_in_tags_that_give_it_back():
    assert kind_of(KIND.tags) == KIND
    assert "after 24 h, and for 1 h" in describe(a_run("pool-outcome"))
    assert "| n_trials | 4 |" in describe(a_run("pool-outcome"))


@pytest.mark.slow
def test_mlflow_scores_a_model_of_outcomes_with_pickles_forbidden(registry, model_name, at_database, monkeypatch):
    import mlflow

    run = a_run(model_name)
    version = registry.register(run)
    loaded = registry.load(model_name, version.version, expected_sha256=run.model_sha256)
    assert (loaded.model_bytes, loaded.kind, loaded.feature_names) == (run.model_bytes, KIND, NAMES)
    monkeypatch.setenv("MLFLOW_ALLOW_PICKLE_DESERIALIZATION", "false")
    model = mlflow.pyfunc.load_model(f"models:/{model_name}/{version.version}")
    rows = {"age_hours": [1.0, np.nan], "reserve_usd": [2.0, 3.0]}
    said = model.predict(pd.DataFrame(rows))
    assert tuple(said.columns) == KIND.outputs
    frame = pl.DataFrame(rows).with_columns(pl.all().fill_nan(None))
    np.testing.assert_array_equal(said[[f"p_{o}" for o in OUTCOMES]].to_numpy(), a_model().predict_proba(frame))
    assert model.predict(model.input_example).shape == (2, len(KIND.outputs))


@pytest.mark.slow
@pytest.mark.parametrize(
    "wrong",
    [
        {"feature_names": NAMES[::-1]},
        {"kind": Outcomes(OUTCOMES, 24, (), KIND.loader, "logistic")},
    ],
)
def test_a_model_that_takes_or_gives_other_than_its_run_says_is_refused(registry, model_name, wrong):
    with pytest.raises(InputError, match="the run says"):
        registry.register(a_run(model_name, **wrong))
