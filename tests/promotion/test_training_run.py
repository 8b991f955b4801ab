import hashlib

import polars as pl
import pytest

from pipeline.errors import InputError
from pipeline.promotion.card import MAX_DESCRIPTION, describe
from pipeline.promotion.kinds import Classifier
from pipeline.promotion.run import TrainingRun


def a_run(**other) -> TrainingRun:
    told = {
        "model_name": "pool-outcome",
        "model_bytes": b"model",
        "model_sha256": hashlib.sha256(b"model").hexdigest(),
        "training_set_id": "ab" * 32,
        "feature_set": "fs",
        "code_version": "c",
        "feature_names": ("age_hours", "reserve_usd"),
        "kind": Classifier(("RUG", "STABLE")),
        "params": {"max_depth": 4},
        "metrics": {"log_loss": 1.25},
        "dataset": {"n_pools": 40},
    }
    return TrainingRun(**{**told, **other})


def test_the_card_says_what_the_model_is_worth_and_how_to_check_it():
    card = describe(a_run())
    for said in ("| log_loss | 1.25 |", "| n_pools | 40 |", "| max_depth | 4 |", a_run().model_sha256, "RUG, STABLE"):
        assert said in card


def test_the_card_fits_the_registrys_column_however_much_there_is_to_say():
    names = tuple(f"a_feature_with_a_long_name_{i}" for i in range(400))
    assert len(describe(a_run(feature_names=names))) <= MAX_DESCRIPTION


def test_text_cannot_break_out_of_the_card():
    card = describe(a_run(dataset={"source": "x | y\n<script>alert(1)</script> [a](javascript:b)"}))
    assert r"\<script\>" in card
    assert r"x \| y \<script" in card
    assert r"\[a\](javascript:b)" in card


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"model_sha256": "0" * 64}, "model_sha256"),
        ({"metrics": {"log_loss": float("nan")}}, "not finite"),
        ({"metrics": {"a<b": 1.0}}, "names of artifacts"),
        ({"tables": {"../../etc": pl.DataFrame()}}, "names of artifacts"),
        ({"plots": {"a/b": b"\x89PNG\r\n"}}, "names of artifacts"),
        ({"plots": {"a": b"<svg>"}}, "PNG"),
        ({"model_name": "x' or name != '"}, "names of artifacts"),
    ],
)
def test_a_run_that_is_not_what_it_says_is_refused(wrong, said):
    with pytest.raises(InputError, match=said):
        a_run(**wrong)
