import hashlib
import json
from functools import cache

import numpy as np
import pytest
from model_rows import NAMES, SPEC, training_set

from pipeline.errors import InputError
from pipeline.models.calibration import Calibrator
from pipeline.models.combination import equal
from pipeline.models.fits import Setting
from pipeline.models.head import Head
from pipeline.models.heads import lay_out, present
from pipeline.models.learners.states import packed
from pipeline.models.outcome_model import (
    ATTRIBUTES,
    OutcomeModel,
    Signal,
    load_outcome,
    p_pump,
    p_rug,
    signal_score,
    used_columns,
)
from pipeline.models.outcome_scoring import OutcomeScorer, _load_pyfunc
from pipeline.models.returns.portable_checks import sealed
from pipeline.tables import OUTCOMES


@cache
def model() -> OutcomeModel:
    """All four learners as one, without a search."""
    from outcome_rows import small

    laid = lay_out(training_set(100), SPEC)
    learners = ("logistic", "random_forest", "lightgbm", "xgboost")
    members = [laid.bench.fit(one, Setting(small(one), 2, 0.5), laid.block.train) for one in learners]
    head = Head("voted", members, equal(4), Calibrator("temperature", 1.2))
    columns = used_columns({24: head})
    return OutcomeModel(
        attributes={**dict.fromkeys(ATTRIBUTES, "x"), "horizon_hours": "24"},
        feature_names=tuple(NAMES[k] for k in columns),
        present=present(laid.bench.x[:, columns]),
        class_prior=np.full(7, 1 / 7),
        heads={6: head.placed(columns), 24: head.placed(columns)},
        signal_rule=Signal(0.3, "as the test has it", 0.03),
    )


def test_a_model_read_back_from_its_bytes_says_the_same_and_is_the_same_bytes():
    frame = training_set(20).frame
    back = load_outcome(model().model_bytes)
    assert back.model_bytes == model().model_bytes
    assert back.sha256 == hashlib.sha256(model().model_bytes).hexdigest()
    for hours, p in back.predict(frame).items():
        np.testing.assert_array_equal(p, model().predict(frame)[hours])
    assert (back.horizons_hours, back.horizon_hours, back.further_hours) == ((6, 24), 24, (6,))
    assert back.predict_proba(frame.clear()).shape == (0, 7)


def test_the_file_begins_with_its_hash_and_holds_plain_json():
    said = json.loads(model().model_bytes)
    assert next(iter(said)) == "content_sha256"
    assert said["format"] == "poolcast-outcomes/1"
    assert b"pickle" not in model().model_bytes


def test_needed_are_the_features_that_half_of_the_training_rows_had():
    assert set(model().feature_names) <= set(NAMES)
    assert "signal" in model().needed
    rare = OutcomeModel(**{**vars_of(model()), "present": np.array([0.5, 0.49])})
    assert rare.needed == rare.feature_names[:1]


def vars_of(one: OutcomeModel) -> dict:
    names = ("attributes", "feature_names", "present", "class_prior", "heads", "signal_rule")
    return {name: getattr(one, name) for name in names}


def test_pump_counts_moons_and_the_signal_is_less_where_a_rug_is_likely():
    p = np.zeros((2, 7))
    p[:, OUTCOMES.index("PUMP")], p[:, OUTCOMES.index("MOON")] = 0.3, 0.2
    p[1, OUTCOMES.index("RUG")] = 0.5
    assert p_pump(p).tolist() == [0.5, 0.5]
    assert p_rug(p).tolist() == [0.0, 0.5]
    assert signal_score(p).tolist() == [0.5, 0.25]


def test_the_signal_is_above_the_threshold_and_none_where_the_model_abstains():
    frame = training_set(20).frame
    score, is_high = model().signal(frame)
    np.testing.assert_array_equal(is_high, score > 0.3)
    mute = OutcomeModel(**{**vars_of(model()), "signal_rule": Signal(None, "abstains: few", 0.03)})
    again, nothing = load_outcome(mute.model_bytes).signal(frame)
    np.testing.assert_array_equal(again, score)
    assert nothing is None


def changed(change) -> bytes:
    """The file after a change of its content, its hash made anew: what a forger would hand in."""
    content = {k: v for k, v in json.loads(model().model_bytes).items() if k != "content_sha256"}
    change(content)
    return sealed(json.dumps(content, sort_keys=True, separators=(",", ":")).encode())


@pytest.mark.parametrize(
    "change",
    [
        lambda c: c.update(format="poolcast-outcomes/2"),
        lambda c: c.update(outcomes=["RUG"]),
        lambda c: c.update(more=1),
        lambda c: c.pop("signal"),
        lambda c: c.update(heads={}),
        lambda c: c["heads"].pop("24"),
        lambda c: c["heads"].update({"0": c["heads"]["6"]}),
        lambda c: c["heads"].update({"²": c["heads"]["6"]}),
        lambda c: c["heads"]["24"].update(kind="svm"),
        lambda c: c["heads"]["24"].update(members=[]),
        lambda c: c["heads"]["24"]["members"].pop(),
        lambda c: c["heads"]["24"]["members"][0].update(learner="xgboost"),
        lambda c: c["heads"]["24"]["members"][3]["fitted"].update(trees="{}"),
        lambda c: c["heads"]["24"]["members"][2]["fitted"].update(trees="tree\n\n"),
        lambda c: c["heads"]["24"]["combination"].update(weights=packed(np.full(4, np.nan))),
        lambda c: c["heads"]["24"]["calibrator"].update(temperature=-1.0),
        lambda c: c.update(feature_names=["a", "a"]),
        lambda c: c.update(feature_names=[]),
        lambda c: c.update(class_prior=packed(np.zeros(7))),
        lambda c: c["attributes"].pop("source"),
        lambda c: c["attributes"].update(horizon_hours="1"),
        lambda c: c["attributes"].update(horizon_hours="x"),
        lambda c: c["signal"].update(threshold="0.3"),
        lambda c: c["signal"].update(threshold=True),
        lambda c: c["signal"].update(words=""),
    ],
)
def test_a_forged_file_is_refused_in_words(change):
    with pytest.raises(InputError, match="cannot read an outcome model"):
        load_outcome(changed(change))


@pytest.mark.parametrize("broken", [b"", b"no model", b"{}", b"\x80\x04pickle", b'{"content_sha256":"', b"\xff" * 99])
def test_bytes_that_are_no_model_are_refused(broken: bytes):
    with pytest.raises(InputError, match="cannot read an outcome model"):
        load_outcome(broken)


def test_any_byte_changed_or_cut_off_is_noticed():
    whole = model().model_bytes
    rng = np.random.default_rng(0)
    for at in rng.integers(0, len(whole), 40):
        spoilt = bytearray(whole)
        spoilt[at] ^= 1 << int(rng.integers(0, 8))
        with pytest.raises(InputError):
            load_outcome(bytes(spoilt))
        with pytest.raises(InputError):
            load_outcome(whole[:at])


def test_mlflows_loader_gives_a_column_for_each_output(tmp_path):
    (tmp_path / "model.json").write_bytes(model().model_bytes)
    scorer = _load_pyfunc(str(tmp_path))
    frame = training_set(20).frame
    said = scorer.predict(frame.select(scorer.feature_names).to_pandas())
    assert tuple(said.columns) == scorer.outputs
    np.testing.assert_array_equal(said[[f"p_{o}" for o in OUTCOMES]].to_numpy(), model().predict_proba(frame))
    np.testing.assert_array_equal(said[[f"p_{o}_6h" for o in OUTCOMES]].to_numpy(), model().predict(frame)[6])
    assert set(said["is_high_signal"]) <= {0.0, 1.0}
    mute = OutcomeModel(**{**vars_of(model()), "signal_rule": Signal(None, "abstains: few", 0.03)})
    assert OutcomeScorer(mute).predict(frame.to_pandas())["is_high_signal"].isna().all()
    with pytest.raises(InputError, match="cannot read 'model"):
        _load_pyfunc(str(tmp_path / "nowhere"))
