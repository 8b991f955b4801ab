"""A return model as one file: what is loaded forecasts what was trained, and nothing else is believed."""

import hashlib
import json
import re
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from returns_forger import forged, resized
from returns_market import made_rows

from pipeline.errors import InputError, RegistryError
from pipeline.models import return_scoring
from pipeline.models.returns import portable, portable_checks
from pipeline.models.returns.dataset import Bench, Table, bench
from pipeline.models.returns.kinds import fit_member
from pipeline.models.returns.portable import HorizonModel, ReturnModel, load_returns
from pipeline.models.returns.portable_checks import sealed
from pipeline.models.returns.qlib_session import start_qlib
from pipeline.models.returns.spec import EnsembleSpec, ReturnsSpec, TreeSpec
from pipeline.models.returns.targets import feature_columns, scored
from pipeline.models.splits import last_block

pytestmark = pytest.mark.slow
KINDS = ("linear", "lightgbm", "xgboost", "double_ensemble")
SPEC = ReturnsSpec(
    horizons_hours=(1,), min_hour_pools=4, seeds=(1, 2),
    trees=TreeSpec(n_rounds_max=15, min_rows_in_leaf=20), ensemble=EnsembleSpec(n_models=2, n_rounds=5, max_rows=500),
)  # fmt: skip


@pytest.fixture(scope="module")
def rows() -> pl.DataFrame:
    return made_rows(n_pools=60, n_hours=120, rho=0.3)


@pytest.fixture(scope="module")
def own(rows: pl.DataFrame) -> Bench:
    start_qlib()
    table = Table.of(scored(rows, 1, SPEC), feature_columns(rows, SPEC))
    return bench(table, last_block(table.frame, share=0.3, embargo=timedelta(hours=24)), SPEC)


def trained(own: Bench, kind: str) -> ReturnModel:
    members = [(seed, fit_member(kind, own, seed)) for seed in SPEC.seeds]
    features = {name: "$close" if name == "signal" else None for name in own.table.names}
    until = datetime(2020, 9, 20, tzinfo=UTC)
    horizons = {1: HorizonModel(kind, 0.37, own.scale, members)}
    return ReturnModel("pool-return", "an-id", "recording:x", until, SPEC.sha256(), features, horizons)


@pytest.mark.parametrize("kind", KINDS)
def test_a_loaded_model_forecasts_what_was_trained(rows: pl.DataFrame, own: Bench, kind: str) -> None:
    model = trained(own, kind)
    loaded = load_returns(model.to_bytes())
    expected = model.horizons[1].forecast(own.table.x, own.table.frame)
    known = rows.join(own.table.frame.select("instrument", "event_time"), on=["instrument", "event_time"], how="semi")
    shuffled = known.select(reversed(known.columns)).with_row_index("at").sample(fraction=1.0, shuffle=True, seed=2)
    found = loaded.forecast(shuffled, 1)
    np.testing.assert_allclose(found, expected[shuffled["at"].to_numpy()], atol=1e-6)
    assert np.ptp(found) > 0
    assert loaded.to_bytes() == model.to_bytes()
    assert (loaded.dataset_id, loaded.source, loaded.learned_until) == ("an-id", "recording:x", model.learned_until)
    assert loaded.feature_names == own.table.names


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_rows_and_spec_give_the_same_bytes(own: Bench, kind: str) -> None:
    assert trained(own, kind).sha256 == trained(own, kind).sha256


def test_what_is_missing_counts_as_the_centre(rows: pl.DataFrame, own: Bench) -> None:
    loaded = load_returns(trained(own, "linear").to_bytes())
    some = rows.head(3)
    without = loaded.forecast(some.with_columns(pl.lit(None, pl.Float32).alias("signal")), 1)
    centre = float(loaded.horizons[1].scale.centre[loaded.feature_names.index("signal")])
    middle = loaded.forecast(some.with_columns(pl.lit(centre, pl.Float32).alias("signal")), 1)
    np.testing.assert_allclose(without, middle, atol=1e-6)


def test_rows_and_horizons_a_model_does_not_know_are_refused(rows: pl.DataFrame, own: Bench) -> None:
    loaded = load_returns(trained(own, "linear").to_bytes())
    with pytest.raises(InputError, match="forecasts \\[1\\] h, asked for 24 h"):
        loaded.forecast(rows, 24)
    with pytest.raises(InputError, match="'signal'"):
        loaded.forecast(rows.drop("signal"), 1)


@pytest.fixture(scope="module")
def files(own: Bench) -> dict[str, bytes]:
    return {kind: trained(own, kind).to_bytes() for kind in KINDS}


def changed(model_bytes: bytes, change: Callable[[dict[str, Any], dict[str, Any]], object]) -> bytes:
    """The file with a change to its content and its first horizon, and the hash of what it then says."""
    content = json.loads(model_bytes)
    change(content, content["horizons"]["1"])
    return forged(content)


def trees(name: str, value: str) -> Callable[[dict[str, Any], dict[str, Any]], object]:
    """The first number of a list in the text of trees exchanged."""

    def change(_: dict[str, Any], h: dict[str, Any]) -> None:
        holder = h["members"][0].get("members", h["members"])[0]
        text, n = re.subn(rf'({name}(=|":\[))-?[0-9.]+', rf"\g<1>{value}", holder["trees"], count=1)
        assert n == 1
        holder["trees"] = text if name == "tree_sizes" else resized(text)

    return change


WRONG: dict[str, Callable[[dict[str, Any], dict[str, Any]], object]] = {
    "another form": lambda c, h: c.update(format="other/1"),
    "no features": lambda c, h: c.pop("features"),
    "a feature less": lambda c, h: c["features"].pop(),
    "a feature twice": lambda c, h: c["features"].__setitem__(1, c["features"][0]),
    "features without names": lambda c, h: c.update(features=[[None, None]] * len(c["features"])),
    "a field more": lambda c, h: c.update(more=1),
    "a name that is none": lambda c, h: c.update(model_name=5),
    "a kind nobody knows": lambda c, h: h.update(kind="forest"),
    "another kind": lambda c, h: h.update(kind="transformer"),
    "no members": lambda c, h: h.update(members=[]),
    "a state of every kind": lambda c, h: h["members"][0].update(trees="tree", coefficients="no", members=[{}]),
    "a short centre": lambda c, h: h.update(centre=[0.0]),
    "a huge centre": lambda c, h: h["centre"].__setitem__(0, 1e39),
    "no time": lambda c, h: c.update(learned_until="yesterday"),
    "a time without a zone": lambda c, h: c.update(learned_until="2020-01-01"),
    "no width": lambda c, h: h["width"].__setitem__(0, 0),
    "a width that float32 holds as 0": lambda c, h: h["width"].__setitem__(0, 1e-60),
    "a negative clip": lambda c, h: h.update(clip=-3),
    "a huge number": lambda c, h: h.update(slope=10**400),
    "a slope that is a truth": lambda c, h: h.update(slope=True),
    "a negative seed": lambda c, h: h["members"][0].update(seed=-1),
    "no horizons": lambda c, h: c.update(horizons={}),
    "a negative horizon": lambda c, h: c.update(horizons={"-4": h}),
    "a horizon of 0": lambda c, h: c.update(horizons={"0": h}),
}
WRONG_LINEAR: dict[str, Callable[[dict[str, Any], dict[str, Any]], object]] = {
    "short": lambda c, h: h["members"][0].update(coefficients=[1.0]),
    "nested": lambda c, h: h["members"][0].update(coefficients=[[1.0]] * len(h["centre"])),
    "beyond all measure": lambda c, h: h["members"][0]["coefficients"].__setitem__(0, 1e31),
    "no intercept": lambda c, h: h["members"][0].pop("intercept"),
}
WRONG_ENSEMBLE: dict[str, Callable[[dict[str, Any], dict[str, Any]], object]] = {
    "a column out of range": lambda c, h: h["members"][0]["members"][0]["columns"].__setitem__(0, 10**6),
    "a negative column": lambda c, h: h["members"][0]["members"][0]["columns"].__setitem__(0, -1),
    "a column twice": lambda c, h: (at := h["members"][0]["members"][0]["columns"]).__setitem__(0, at[1]),
    "a column less": lambda c, h: h["members"][0]["members"][0]["columns"].pop(),
    "no weight": lambda c, h: h["members"][0].update(weights=[0, 0]),
    "a negative weight": lambda c, h: h["members"][0].update(weights=[3, -1]),
    "a weight less": lambda c, h: h["members"][0]["weights"].pop(),
    "no sub-models": lambda c, h: h["members"][0].update(members=[], weights=[]),
    "trees without an end": lambda c, h: (m := h["members"][0]["members"][0]).update(
        trees=m["trees"].replace("end of trees", "more")
    ),
    "a child out of range": trees("left_child", "99"),
}


@pytest.fixture
def no_parser(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fails the test where a native parser would be asked, which could end the process."""
    monkeypatch.setattr(portable, "answer", lambda *_: pytest.fail("a native parser was asked"))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("wrong", WRONG)
@pytest.mark.usefixtures("no_parser")
def test_a_file_that_is_no_model_is_refused(files: dict[str, bytes], kind: str, wrong: str) -> None:
    with pytest.raises(RegistryError, match="cannot read a return model"):
        load_returns(changed(files[kind], WRONG[wrong]))


@pytest.mark.parametrize(
    ("kind", "wrong"),
    [*(("linear", name) for name in WRONG_LINEAR), *(("double_ensemble", name) for name in WRONG_ENSEMBLE)],
)
@pytest.mark.usefixtures("no_parser")
def test_a_member_that_is_none_of_its_kind_is_refused(files: dict[str, bytes], kind: str, wrong: str) -> None:
    change = (WRONG_LINEAR | WRONG_ENSEMBLE)[wrong]
    with pytest.raises(RegistryError, match="cannot read a return model"):
        load_returns(changed(files[kind], change))


@pytest.mark.parametrize(
    ("kind", "name", "value"),
    [
        *(("lightgbm", *at) for at in (("left_child", "0"), ("left_child", "-99"), ("right_child", "1"))),
        *(("lightgbm", *at) for at in (("split_feature", "9999"), ("num_leaves", "2000000000"), ("threshold", "nan"))),
        *(("lightgbm", *at) for at in (("decision_type", "1"), ("leaf_value", "1e999"), ("tree_sizes", "1"))),
        *(("lightgbm", *at) for at in (("max_feature_idx", "2"), ("num_class", "3"), ("is_linear", "1"))),
        *(("xgboost", *at) for at in (("left_children", "0"), ("left_children", "9999"), ("right_children", "1"))),
        *(("xgboost", *at) for at in (("split_indices", "9999"), ("parents", "3"), ("split_type", "1"))),
        *(("xgboost", *at) for at in (("tree_info", "1"), ("split_conditions", "1e999"), ("base_weights", "NaN"))),
    ],
)
@pytest.mark.usefixtures("no_parser")
def test_trees_that_a_native_parser_would_stumble_over_never_reach_it(
    files: dict[str, bytes], kind: str, name: str, value: str
) -> None:
    forgery = changed(files[kind], trees(name, value))
    with pytest.raises(RegistryError, match="cannot read a return model"):
        load_returns(forgery)


@pytest.mark.parametrize("kind", KINDS)
def test_an_edited_file_is_told_by_its_hash_before_anything_is_parsed(
    files: dict[str, bytes], kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = files[kind]
    body = b"{" + whole[whole.index(b",") + 1 :]
    assert whole[19:83].decode() == hashlib.sha256(body).hexdigest()
    monkeypatch.setattr(portable_checks, "strict_json", lambda _: pytest.fail("parsed"))

    @settings(max_examples=150, database=None, deadline=None)
    @given(st.integers(0, len(whole) - 1), st.integers(0, len(whole)), st.binary(max_size=6))
    def told(at: int, until: int, put: bytes) -> None:
        damaged = whole[:at] + put + whole[max(at, until) :]
        assume(damaged != whole)
        with pytest.raises(RegistryError, match="cannot read a return model"):
            load_returns(damaged)

    told()
    with pytest.raises(RegistryError, match="damaged or edited"):
        load_returns(whole.replace(b'"slope":0.37', b'"slope":0.38'))


@pytest.mark.parametrize("kind", KINDS)
def test_whatever_is_forged_is_refused_or_forecasts_and_no_process_dies(
    files: dict[str, bytes], kind: str, tmp_path: Path
) -> None:
    (tmp_path / "model.json").write_bytes(files[kind])
    forger = [sys.executable, str(Path(__file__).with_name("returns_forger.py")), str(tmp_path / "model.json"), "150"]
    done = subprocess.run(forger, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, (done.returncode, done.stdout[-200:], done.stderr[-1500:])


@pytest.mark.parametrize(
    "clip",
    [
        b"NaN",
        b"Infinity",
        b"-Infinity",
        b"1e999",
        b"9" * 5000,
        b"[" * 100_000 + b"]" * 100_000,
        b'"\xff"',
        b'3,"clip":3',
    ],
    ids=["NaN", "Infinity", "-Infinity", "1e999", "digits", "nested", "no UTF-8", "twice"],
)
def test_json_beyond_its_standard_is_refused_even_under_its_own_hash(files: dict[str, bytes], clip: bytes) -> None:
    whole = files["linear"]
    body = b"{" + whole[whole.index(b",") + 1 :]
    assert load_returns(sealed(body)).to_bytes() == whole
    with pytest.raises(RegistryError, match="cannot read a return model"):
        load_returns(sealed(body.replace(b'"clip":3.0', b'"clip":' + clip)))


def test_a_trial_forecast_that_is_not_finite_is_refused(
    files: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = files["linear"]
    monkeypatch.setattr(portable, "answer", lambda *_: lambda x, _: np.full(len(x), np.nan))
    with pytest.raises(RegistryError, match="a trial forecast"):
        load_returns(whole)


def test_a_file_beyond_all_measure_is_not_read(files: dict[str, bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(portable_checks, "MOST_BYTES", 1_000)
    with pytest.raises(RegistryError, match="more than 1000 bytes"):
        load_returns(files["linear"])


def test_what_mlflow_loads_goes_through_the_same_checks(files: dict[str, bytes], tmp_path: Path) -> None:
    with pytest.raises(RegistryError, match=r"cannot read 'model\.json'"):
        return_scoring._load_pyfunc(str(tmp_path))
    whole = files["lightgbm"]
    (tmp_path / "model.json").write_bytes(whole)
    assert return_scoring._load_pyfunc(str(tmp_path)).feature_names == load_returns(whole).feature_names
    (tmp_path / "model.json").write_bytes(whole.replace(b"shrinkage=1", b"shrinkage=2"))
    with pytest.raises(RegistryError, match="damaged or edited"):
        return_scoring._load_pyfunc(str(tmp_path))


@pytest.mark.parametrize("content", [b"", b"\x80\x04pickle", b"[]", b"null", b"{}", b'"text"', b"\xff\xfe"])
def test_bytes_that_are_no_file_are_refused(content: bytes) -> None:
    with pytest.raises(RegistryError, match="cannot read a return model"):
        load_returns(content)
