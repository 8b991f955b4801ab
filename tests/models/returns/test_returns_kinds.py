"""Each kind through QLib's own class: one seed is one model, and what travels forecasts what QLib forecasts."""

import re
import shlex
import subprocess
import sys
import tomllib
from datetime import timedelta
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from returns_market import made_rows

from pipeline.errors import UsageError
from pipeline.models.returns.dataset import Bench, Table, bench
from pipeline.models.returns.kinds import competing, fit_member, select_features
from pipeline.models.returns.portable import HorizonModel
from pipeline.models.returns.qlib_session import quiet, start_qlib
from pipeline.models.returns.spec import GET_TORCH, EnsembleSpec, ReturnsSpec, TreeSpec
from pipeline.models.returns.targets import feature_columns, scored
from pipeline.models.splits import last_block

pytestmark = pytest.mark.slow
SPEC = ReturnsSpec(
    horizons_hours=(1,), min_hour_pools=4, seeds=(1, 2),
    trees=TreeSpec(n_rounds_max=25, min_rows_in_leaf=20), ensemble=EnsembleSpec(n_models=3, n_rounds=8, max_rows=800),
)  # fmt: skip
KINDS = ("linear", "lightgbm", "xgboost", "double_ensemble")


@pytest.fixture(scope="module")
def own() -> Bench:
    start_qlib()
    rows = made_rows(rho=0.3, n_noise=10)
    table = Table.of(scored(rows, 1, SPEC), feature_columns(rows, SPEC))
    return bench(table, last_block(table.frame, share=0.3, embargo=timedelta(hours=24)), SPEC)


def forecast(own: Bench, kind: str, state: dict[str, object], rows: np.ndarray) -> np.ndarray:
    keys = own.table.frame[rows].select("instrument", "event_time")
    return HorizonModel(kind, 1.0, own.scale, [(1, state)]).forecast(own.table.x[rows], keys)


@pytest.mark.parametrize("kind", KINDS)
def test_a_seed_gives_one_model_and_another_seed_another(own: Bench, kind: str) -> None:
    np.random.seed(99)
    first = fit_member(kind, own, 1)
    drawn = np.random.random()
    np.random.seed(99)
    assert np.random.random() == drawn, "the global generator moved"
    assert fit_member(kind, own, 1) == first
    assert fit_member(kind, own, 2) != first


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_finds_a_planted_signal(own: Bench, kind: str) -> None:
    test = own.split.test
    said = forecast(own, kind, fit_member(kind, own, 1), test)
    assert np.corrcoef(said, own.table.y[test])[0, 1] > 0.2


def test_a_linear_member_forecasts_what_qlibs_model_does(own: Bench) -> None:
    from qlib.contrib.model.linear import LinearModel

    model = LinearModel(estimator="ridge", alpha=SPEC.ridge_alpha, fit_intercept=True)
    expected = model.fit(own.member(1, SPEC.max_train_rows)).predict(own.dataset)
    found = forecast(own, "linear", fit_member("linear", own, 1), own.split.test)
    np.testing.assert_allclose(found, expected.to_numpy(), atol=1e-6)


@pytest.mark.parametrize("kind", ["lightgbm", "double_ensemble"])
def test_a_member_forecasts_what_qlibs_fitted_model_does(
    own: Bench, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from qlib.contrib.model.double_ensemble import DEnsembleModel
    from qlib.contrib.model.gbdt import LGBModel

    fitted = []
    for cls in (LGBModel, DEnsembleModel):
        plain = cls.fit
        monkeypatch.setattr(
            cls, "fit", lambda self, *a, plain=plain, **k: (fitted.append(self), plain(self, *a, **k))[1]
        )
    found = forecast(own, kind, fit_member(kind, own, 1), own.split.test)
    np.testing.assert_allclose(found, fitted[0].predict(own.dataset).to_numpy(), atol=1e-6)


def test_an_xgboost_member_forecasts_what_its_best_rounds_do(own: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    import xgboost
    from qlib.contrib.model.xgboost import XGBModel

    fitted = []
    plain = XGBModel.fit
    monkeypatch.setattr(XGBModel, "fit", lambda self, *a, **k: (fitted.append(self), plain(self, *a, **k))[1])
    found = forecast(own, "xgboost", fit_member("xgboost", own, 1), own.split.test)
    booster = fitted[0].model
    said = booster.predict(xgboost.DMatrix(own.scaled[own.split.test]), iteration_range=(0, booster.best_iteration + 1))
    np.testing.assert_allclose(found, said, atol=1e-6)


def test_the_selected_features_are_those_qlib_selects() -> None:
    import lightgbm
    import pandas as pd
    from qlib.contrib.model.double_ensemble import DEnsembleModel

    rng = np.random.default_rng(3)
    x = pd.DataFrame(rng.normal(size=(300, 12)), columns=[f"f{k}" for k in range(12)])
    y = (x["f0"] + 0.5 * x["f1"] - 0.3 * x["f2"] + rng.normal(size=300)).to_numpy()
    with quiet():
        model = DEnsembleModel(num_models=2)
        for columns in (x.columns, x.columns[[0, 2, 5, 7]]):
            data = lightgbm.Dataset(x[columns].to_numpy(), label=y)
            model.ensemble.append(lightgbm.train({"verbosity": -1, "num_threads": 1}, data, num_boost_round=10))
            model.sub_features.append(columns)
    at = [x.columns.get_indexer(columns) for columns in model.sub_features]
    told = [booster.predict for booster in model.ensemble]
    loss = (y - np.mean([f(x.to_numpy()[:, c]) for f, c in zip(told, at, strict=True)], axis=0)) ** 2
    frame = pd.concat({"feature": x, "label": pd.DataFrame({"y": y})}, axis=1)
    for seed in range(3):
        np.random.seed(seed)
        # As QLib knows pandas: a test before may have imported pandas-ta, which switches it to copy on write.
        with pytest.warns(FutureWarning), pd.option_context("mode.copy_on_write", False):
            expected = set(model.feature_selection(frame, pd.Series(loss)))
        found = select_features(x.to_numpy(), y, loss, told, at, model.sample_ratios, np.random.RandomState(seed))
        assert {x.columns[k] for k in found} == expected


def test_double_ensemble_is_the_same_in_another_process(own: Bench) -> None:
    """QLib keeps selected features in a set of strings, whose order follows the process's hash seed."""
    code = (
        "import hashlib, json, sys; sys.path.insert(0, 'tests/models/returns');"
        "import test_returns_kinds as t;"
        "state = json.dumps(t.fit_member('double_ensemble', t.own.__wrapped__(), 1));"
        "print(hashlib.sha256(state.encode()).hexdigest())"
    )
    command = [sys.executable, "-c", code]
    run = [
        subprocess.run(command, env={"PYTHONHASHSEED": seed}, capture_output=True, text=True, check=False)
        for seed in ("1", "2")
    ]
    assert [r.returncode for r in run] == [0, 0], run[0].stderr
    assert run[0].stdout == run[1].stdout
    assert len(run[0].stdout.strip()) == 64


@pytest.mark.skipif(find_spec("torch") is not None, reason="PyTorch is installed")
def test_a_transformer_without_pytorch_is_skipped_with_a_reason_and_refused_when_named() -> None:
    kinds, skipped = competing(ReturnsSpec())
    assert kinds == KINDS
    assert GET_TORCH in skipped["transformer"]
    with pytest.raises(UsageError, match=re.escape(GET_TORCH)):
        competing(ReturnsSpec(kinds=("transformer",)))


def test_the_way_to_pytorch_names_the_extras_own_requirement_and_a_tool_that_the_environment_has() -> None:
    """No package index holds a poolcast of ours, so `poolcast[torch]` would run whatever somebody put there."""
    root = Path(__file__).parents[3]
    told = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    tool, *_, requirement = shlex.split(GET_TORCH)
    assert told["optional-dependencies"]["torch"] == [requirement]
    assert tool == ".venv/bin/uv"
    assert any(each.startswith("uv>") for each in told["dependencies"])
