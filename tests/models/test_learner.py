import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import xgboost as xgb
from model_rows import NAMES, SPEC, training_set

from pipeline.errors import InputError
from pipeline.models.learner import FittedModel, Learner, matrix
from pipeline.tables import OUTCOMES


def fitted(seed: int = 1, *, without: int | None = None) -> FittedModel:
    made = training_set(60)
    x, y, w = matrix(made.frame, NAMES), made.y, made.weight
    rows = y != without
    return Learner(SPEC.learner, NAMES, {"feature_set": "made-up"}).fit(x[rows], y[rows], w[rows], seed, n_rounds=8)


def test_the_same_rows_give_the_same_bytes_in_another_process():
    code = "from test_learner import fitted; print(fitted().sha256)"
    paths = [str(Path(__file__).parent), str(Path(__file__).parents[2])]
    run = [sys.executable, "-c", f"import sys; sys.path[:0] = {paths!r}\n{code}"]
    out = subprocess.run(run, capture_output=True, text=True, check=True).stdout
    assert out.strip() == fitted().sha256
    assert fitted(seed=2).sha256 != fitted().sha256


def test_a_model_read_back_from_its_bytes_says_the_same():
    model, frame = fitted(), training_set(20).frame
    back = FittedModel.from_bytes(model.model_bytes)
    assert back.feature_names == NAMES
    assert back.attributes["feature_set"] == "made-up"
    np.testing.assert_array_equal(back.predict_proba(frame), model.predict_proba(frame))


def test_xgboost_alone_reads_the_bytes_with_the_same_answers():
    model, frame = fitted(), training_set(20).frame
    booster = xgb.Booster()
    booster.load_model(bytearray(model.model_bytes))
    raw = booster.predict(xgb.DMatrix(matrix(frame, NAMES), feature_names=list(NAMES)))
    np.testing.assert_allclose(raw, model.predict_proba(frame), atol=1e-6)


def test_probabilities_have_a_column_an_outcome_and_sum_to_one():
    p = fitted().predict_proba(training_set(20).frame)
    assert p.shape == (100, len(OUTCOMES))
    np.testing.assert_allclose(p.sum(axis=1), 1, atol=1e-12)


@pytest.mark.parametrize("absent", [0, 3, 6])
def test_an_outcome_that_training_never_saw_keeps_a_column_and_a_chance(absent: int):
    p = fitted(without=absent).predict_proba(training_set(20).frame)
    assert p.shape[1] == len(OUTCOMES)
    assert p[:, absent].min() > 1e-3
    assert p[:, absent].mean() < 0.1


def test_missing_is_told_to_xgboost_as_missing_and_zero_is_not():
    frame = pl.DataFrame({"a": [None, 0.0, 1e300]}, schema={"a": pl.Float64})
    found = matrix(frame, ["a"])
    assert np.isnan(found[0, 0])
    assert found[1, 0] == 0
    assert np.isfinite(found[2, 0])


def test_nan_infinity_and_absent_features_are_refused_in_words():
    with pytest.raises(InputError, match="hold NaN or an infinite value"):
        matrix(pl.DataFrame({"a": [float("nan")]}), ["a"])
    with pytest.raises(InputError, match="lacks the features"):
        matrix(pl.DataFrame({"a": [1.0]}), ["b"])


@pytest.mark.parametrize("broken", [b"", b"no model", b"{}", b"\x80\x04pickle"])
def test_bytes_that_are_no_model_are_refused(broken: bytes):
    with pytest.raises(InputError):
        FittedModel.from_bytes(broken)


def test_a_model_over_other_outcomes_is_refused():
    booster = xgb.train({"objective": "binary:logistic"}, xgb.DMatrix(np.zeros((4, 1)), label=[0, 1, 0, 1]), 1)
    with pytest.raises(InputError, match="knows the outcomes None"):
        FittedModel.from_bytes(bytes(booster.save_raw("ubj")))


def test_no_rows_give_no_probabilities():
    assert fitted().predict_proba(training_set(20).frame.clear()).shape == (0, 7)
