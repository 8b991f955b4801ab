"""The whole of training on made rows: a planted signal is found, none is invented, a leak is plain to see."""

import os
import sqlite3
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from returns_market import made_rows

from pipeline.errors import InputError, UsageError
from pipeline.models.returns.figures import FIGURES
from pipeline.models.returns.portable import load_returns
from pipeline.models.returns.qlib_session import Tracking
from pipeline.models.returns.spec import MODEL, RETURN_BASELINES, WALK_FORWARD, EnsembleSpec, ReturnsSpec, TreeSpec
from pipeline.models.returns.train import TrainedReturns, train_returns

pytestmark = pytest.mark.slow
KINDS = ("linear", "lightgbm", "xgboost", "double_ensemble")
SPEC = ReturnsSpec(
    horizons_hours=(1,), kinds=KINDS, seeds=(1, 2), n_folds=2, min_hour_pools=5, n_resamples=100,
    min_fold_pools=8, min_fold_rows=100,
    trees=TreeSpec(n_rounds_max=40, min_rows_in_leaf=20), ensemble=EnsembleSpec(n_models=2, n_rounds=10, max_rows=800),
)  # fmt: skip
RHO = 0.3


def train(rows: pl.DataFrame, spec: ReturnsSpec = SPEC, tracking: Tracking | None = None) -> TrainedReturns:
    return train_returns(rows, spec, dataset_id="an-id", source="recording:made", tracking=tracking)


@pytest.fixture(scope="module")
def planted() -> TrainedReturns:
    return train(made_rows(rho=RHO, n_pools=160, n_hours=260))


@pytest.fixture(scope="module")
def noise() -> TrainedReturns:
    return train(made_rows(rho=0.0, n_pools=120, seed=2))


def test_every_kind_comes_near_the_planted_rank_correlation(planted: TrainedReturns) -> None:
    truth = 6 / np.pi * np.arcsin(RHO / 2)  # Spearman's of a bivariate normal (Pearson 1907)
    found = planted.figures.filter(
        pl.col("metric") == "rank_ic", pl.col("block") == WALK_FORWARD, pl.col("seed").is_null()
    )
    assert set(found["kind"]) == set(KINDS)
    assert (found["value"] > 0.6 * truth).all()
    assert (found["value"] < 1.2 * truth).all()
    last = planted.figure("rank_ic", 1)
    assert last.low < truth < last.high + 0.05
    assert last.low > 0


def test_a_planted_signal_beats_every_baseline(planted: TrainedReturns) -> None:
    error = {name: planted.figure("squared_error", 1, predictor=name).value for name in (MODEL, *RETURN_BASELINES)}
    assert error[MODEL] < 0.97 * min(error[name] for name in RETURN_BASELINES)
    assert planted.figure("skill", 1).low > SPEC.min_gain
    assert planted.importance["feature"][0] == "signal"


def test_where_nothing_can_be_forecast_intervals_hold_0_and_nothing_is_gained(noise: TrainedReturns) -> None:
    for metric in ("ic", "rank_ic", "long_short"):
        figure = noise.figure(metric, 1)
        assert figure.value is None or figure.low <= 0 <= figure.high, metric
    assert noise.figure("skill", 1).value < SPEC.min_gain


def test_a_feature_from_the_future_shows_as_a_correlation_that_cannot_be() -> None:
    rows = made_rows(rho=0.0, n_pools=80)
    leaky = rows.with_columns((pl.col("return_1h") * 3).cast(pl.Float32).alias("noise_0"))
    found = train(leaky, replace(SPEC, kinds=("lightgbm",)))
    assert found.figure("rank_ic", 1).low > 0.8
    assert found.importance["feature"][0] == "noise_0"


def test_the_evaluation_is_the_last_block_row_for_row(planted: TrainedReturns) -> None:
    parts = {name: planted.evaluation.filter(pl.col("predictor") == name) for name in (MODEL, *RETURN_BASELINES)}
    keys = ["instrument", "network", "pool", "base_token", "event_time", "horizon_hours", "target", "forward_return"]
    for part in parts.values():
        assert part.select(keys).equals(parts[MODEL].select(keys))
    assert planted.evaluation["predictor"].n_unique() == 4
    assert parts["no_forecast"]["forecast"].unique().to_list() == [0.0]
    assert parts[MODEL]["event_time"].min() > planted.learned_until


def test_the_model_that_travels_is_the_one_that_was_evaluated(planted: TrainedReturns) -> None:
    rows = made_rows(rho=RHO, n_pools=160, n_hours=260)
    said = planted.evaluation.filter(pl.col("predictor") == MODEL).select("instrument", "event_time", "forecast")
    asked = said.join(rows, on=["instrument", "event_time"], maintain_order="left")
    found = load_returns(planted.model_bytes).forecast(asked, 1)
    np.testing.assert_allclose(found, said["forecast"].to_numpy(), atol=1e-6)
    assert load_returns(planted.model_bytes).learned_until == planted.learned_until


def test_figures_hold_each_kind_seed_and_baseline(planted: TrainedReturns) -> None:
    assert planted.figures.schema == FIGURES
    folds = planted.figures.filter(pl.col("block") == WALK_FORWARD, pl.col("metric") == "ic")
    assert set(folds.select("kind", "seed").iter_rows()) == {(kind, seed) for kind in KINDS for seed in (1, 2, None)}
    last = planted.figures.filter(pl.col("block") == "last_block", pl.col("metric") == "ic", pl.col("seed").is_null())
    assert dict(last.select("predictor", "kind").iter_rows()) == {MODEL: planted.chosen[1]} | dict.fromkeys(
        RETURN_BASELINES
    )
    over = planted.figures.filter(pl.col("metric") == "ic_over_seeds", pl.col("block") == "last_block")
    assert over["n_pools"][0] == planted.figure("ic", 1).n_pools
    best = max(KINDS, key=lambda k: planted.params[f"skill_{k}_1h"])
    assert planted.chosen == {1: best}


def test_the_plots_are_pictures(planted: TrainedReturns) -> None:
    assert set(planted.plots) == {"ic_by_day", "quantile_returns", "importance"}
    assert all(png.startswith(b"\x89PNG") and len(png) > 5_000 for png in planted.plots.values())


def test_training_again_gives_the_same_bytes_and_test_rows_do_not_reach_them() -> None:
    spec = replace(SPEC, kinds=("linear", "lightgbm"), n_resamples=0)
    rows = made_rows(rho=RHO, n_pools=60, seed=4)
    first = train(rows, spec)
    assert train(rows, spec).model_bytes == first.model_bytes
    tested = (
        first.evaluation.select("instrument", "event_time").unique().with_columns(pl.lit(value=True).alias("is_tested"))
    )
    changed = rows.join(tested, on=["instrument", "event_time"], how="left", maintain_order="left").with_columns(
        pl.when(pl.col("is_tested")).then(pl.col("signal") * 50 + 9).otherwise("signal").alias("signal"),
        pl.when(pl.col("is_tested")).then(-pl.col("return_1h")).otherwise("return_1h").alias("return_1h"),
    )
    assert train(changed.drop("is_tested"), spec).model_bytes == first.model_bytes


def test_where_no_kind_tells_anything_none_is_chosen_and_the_forecast_is_0() -> None:
    rows = made_rows(n_pools=60, seed=4).with_columns(pl.lit(1.0, pl.Float32).alias(name) for name in (
        "signal", "change_1h", "change_24h", *(f"noise_{k}" for k in range(6))))  # fmt: skip
    found = train(rows, replace(SPEC, kinds=("linear", "lightgbm")))
    assert found.chosen == {1: "none"}
    assert found.params["kind_1h"] == "none"
    assert found.figure("skill", 1).value == 0
    assert found.evaluation.filter(pl.col("predictor") == MODEL)["forecast"].unique().to_list() == [0.0]
    assert load_returns(found.model_bytes).forecast(rows, 1).tolist() == [0.0] * rows.height
    assert set(found.plots) == {"ic_by_day", "quantile_returns", "importance"}


def test_no_forecast_is_made_larger_than_its_members_said(planted: TrainedReturns, noise: TrainedReturns) -> None:
    for found in (planted, noise):
        assert 0 <= found.params["slope_1h"] <= 1
    assert planted.params["usable_folds_1h"] == 2


def test_figures_and_gate_see_the_same_rows(planted: TrainedReturns) -> None:
    own = planted.evaluation.filter(pl.col("predictor") == MODEL)
    assert own.height == planted.figure("skill", 1).n_rows
    assert own.group_by("event_time").agg(pl.col("target").mean())["target"].abs().max() < 1e-9


def test_the_bytes_do_not_depend_on_the_threads_of_the_linear_algebra() -> None:
    code = (
        "import sys; sys.path.insert(0, 'tests/models/returns');"
        "import test_returns_training as t; from dataclasses import replace;"
        "rows = t.made_rows(n_pools=120, n_hours=150, n_noise=200, rho=0.3);"
        "print(t.train(rows, replace(t.SPEC, kinds=('linear',), seeds=(1,), n_resamples=0)).model_sha256)"
    )
    run = [
        subprocess.run(
            [sys.executable, "-c", code], env=os.environ | {"OPENBLAS_NUM_THREADS": n},
            capture_output=True, text=True, check=False,
        ) for n in ("1", "2")
    ]  # fmt: skip
    assert [r.returncode for r in run] == [0, 0], run[0].stderr
    assert run[0].stdout == run[1].stdout


def test_the_recorder_holds_one_run_a_kind_and_one_of_the_last_block(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    spec = replace(SPEC, kinds=("linear", "lightgbm"), seeds=(1,), n_resamples=0)
    found = train(made_rows(n_pools=90, rho=0.5), spec, Tracking(f"sqlite:///{tmp_path / 'mlflow.db'}"))
    with sqlite3.connect(tmp_path / "mlflow.db") as db:
        runs = dict(db.execute("select name, status from runs").fetchall())
        kept = db.execute(
            "select value from metrics natural join runs where name = ? and key = 'rank_ic'",
            (f"{found.chosen[1]} 1h last_block",),
        ).fetchall()
    assert runs == dict.fromkeys(
        ["linear 1h walk_forward", "lightgbm 1h walk_forward", f"{found.chosen[1]} 1h last_block"], "FINISHED"
    )
    assert kept == [(pytest.approx(found.figure("rank_ic", 1).value),)]


def test_what_cannot_be_trained_on_is_refused() -> None:
    rows = made_rows(n_pools=30, n_hours=60)
    with pytest.raises(UsageError, match="simulated"):
        train_returns(rows, SPEC, dataset_id="", source="simulation:7")
    with pytest.raises(InputError, match="make them with return_rows"):
        train(rows.drop("label_end_1h"))
    with pytest.raises(InputError, match="change_1h"):
        train(rows.drop("change_1h"))
    with pytest.raises(InputError, match="no hour has 99 pools"):
        train(rows, replace(SPEC, min_hour_pools=99))
    with pytest.raises(InputError, match="collect"):
        train(made_rows(n_pools=12, n_hours=12), replace(SPEC, min_hour_pools=2))
