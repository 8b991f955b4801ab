from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from model_rows import NAMES, SPEC, training_set
from sklearn.metrics import log_loss, roc_auc_score

from pipeline.errors import InputError
from pipeline.models.baselines import BASELINES
from pipeline.models.evaluation import Trained, train_and_evaluate
from pipeline.models.learner import FittedModel
from pipeline.tables import OUTCOMES

P = [f"p_{outcome}" for outcome in OUTCOMES]
PNG = b"\x89PNG\r\n\x1a\n"


@pytest.fixture(scope="module")
def trained() -> Trained:
    return train_and_evaluate(training_set(200), SPEC)


def test_figures_can_be_recomputed_from_the_evaluation_frame(trained: Trained):
    said = trained.evaluation
    y = said["label"].cast(pl.Enum(OUTCOMES)).to_physical().to_numpy()
    expected = log_loss(y, said.select(P).to_numpy(), labels=list(range(7)))
    assert trained.figure("log_loss").value == pytest.approx(expected, abs=1e-9)
    early = said.filter(pl.col("decision_age_hours") == 1)
    auc = roc_auc_score(early["label"] == "RUG", early["p_RUG"])
    assert trained.headline.value == pytest.approx(auc, abs=1e-9)
    assert trained.headline.low <= auc <= trained.headline.high
    assert trained.headline.n_rows == trained.headline.n_pools == 60


def test_the_registered_bytes_are_those_that_were_evaluated(trained: Trained):
    block = training_set(200).frame.join(trained.evaluation, on=["network", "pool", "decision_age_hours"], how="semi")
    p = FittedModel.from_bytes(trained.model_bytes).predict_proba(block)
    np.testing.assert_array_equal(p, trained.evaluation.select(P).to_numpy())
    assert trained.model.attributes["training_set_id"] == trained.training_set_id


def test_training_twice_gives_the_same_bytes_figures_and_pictures(trained: Trained):
    again = train_and_evaluate(training_set(200), SPEC)
    assert again.model_sha256 == trained.model_sha256
    assert again.metrics.equals(trained.metrics)
    assert again.plots == trained.plots


def test_the_last_block_has_no_say_in_the_model(trained: Trained):
    made = training_set(200)
    tested = trained.evaluation.select("network", "pool", "decision_age_hours").with_columns(is_last=pl.lit(True))
    marked = made.frame.join(tested, on=["network", "pool", "decision_age_hours"], how="left", maintain_order="left")
    changed = made.frame.with_columns(
        outcome=pl.when(marked["is_last"].fill_null(False)).then(pl.lit("RUG")).otherwise("outcome")
    )
    assert train_and_evaluate(replace(made, frame=changed), SPEC).model_sha256 == trained.model_sha256


def test_baselines_stand_beside_the_model_on_the_same_rows(trained: Trained):
    assert tuple(trained.baselines) == BASELINES
    for name, frame in trained.baselines.items():
        assert frame.drop(P).equals(trained.evaluation.drop(P))
        assert trained.figure("log_loss", predictor=name).n_rows == frame.height
    # In made-up rows one feature tells everything there is, so the rule on it is no baseline to beat here.
    for name in ("class_prior", "majority"):
        assert trained.figure("log_loss", predictor=name).value > trained.figure("log_loss").value


def test_noise_is_told_from_signal(trained: Trained):
    noise = train_and_evaluate(training_set(200, is_noise=True), SPEC)
    assert trained.figure("roc_auc", "macro").low > 0.6
    assert noise.figure("roc_auc", "macro").low < 0.5 < noise.figure("roc_auc", "macro").high


def test_folds_plots_and_importance_are_there(trained: Trained):
    assert set(trained.metrics["block"]) == {"fold_1", "fold_2", "last_block"}
    assert all(picture.startswith(PNG) for picture in trained.plots.values())
    assert set(trained.plots) == {"calibration", "confusion", "importance"}
    assert set(trained.importance["feature"]) == set(NAMES)
    assert trained.importance["feature"][0] == "signal"
    assert trained.importance["gain"].sum() == pytest.approx(1)


def test_progress_rises_to_its_end():
    told: list[float] = []
    train_and_evaluate(training_set(120), replace(SPEC, n_resamples=10), lambda _step, share: told.append(share))
    assert told == sorted(told)
    assert told[-1] == 1.0


def test_a_figure_that_does_not_exist_is_refused(trained: Trained):
    with pytest.raises(InputError, match="no figure"):
        trained.figure("sharpe")
