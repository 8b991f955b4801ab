"""The assets of the returns: from bins to a forecaster in charge, and from too little to nothing at all."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from shutil import rmtree
from typing import Any

import dagster as dg
import numpy as np
import polars as pl
import pytest

import assets.returns
import pipeline.models.return_canaries
from assets.checks import EXPECTATION_CHECKS, return_leak_canaries
from assets.promotion import return_champion
from assets.returns import return_dataset, return_model, unwatched_of
from pipeline.bins.export import export_all
from pipeline.bins.instruments import instrument_name
from pipeline.bins.spec import BinsSpec
from pipeline.calendars import FixedClock
from pipeline.errors import UsageError
from pipeline.expectations.verdict import validate
from pipeline.lake import Lake
from pipeline.models.return_canaries import ReturnCanarySpec
from pipeline.models.return_files import kept_rows
from pipeline.models.returns.portable import load_returns
from pipeline.models.returns.spec import RETURN_BASELINES, ReturnsSpec, TreeSpec
from pipeline.promotion.kinds import Forecaster
from pipeline.promotion.registry import Registry
from pipeline.tables import (
    ANSWERS,
    BIN_EXPORTS,
    COMPARISONS,
    DEPLOYMENTS,
    POOLS,
    RETURN_DATASETS,
    RETURN_EVALUATIONS,
    RETURN_FIGURES,
)
from tests.builders import valid_frame
from tests.conftest import temporary_folder
from tests.models.returns.returns_market import Made, made_market

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(300),
]

ABSENT = "postgresql://nobody@127.0.0.1:1/mlflow"
SOURCE = "simulation:7"
NOW = datetime(2020, 12, 1, tzinfo=UTC)
CHEAP = ReturnsSpec(
    horizons_hours=(1,), kinds=("linear", "lightgbm"), seeds=(1, 2), n_resamples=50, windows=(5,), n_folds=2,
    trees=TreeSpec(n_rounds_max=20), min_hour_pools=5, embargo_hours=2,
    min_fold_pools=5, min_fold_rows=30,
)  # fmt: skip


class Bench:
    """A lake, bins and a registry in one folder, and the assets over them."""

    def __init__(self, folder: Path, database: str) -> None:
        self.folder, self.lake = folder, Lake(folder / "lake")
        self.registry = Registry(database, folder / "artifacts")

    def hold(self, made: Made) -> None:
        """Bins of a made market, and its pools in the lake."""
        names = {p["instrument"]: instrument_name(p["network"], p["pool"]) for p in made.pools.iter_rows(named=True)}
        bars = made.bars.with_columns(pl.col("instrument").replace_strict(names))
        identities = {names[p["instrument"]]: (p["network"], p["pool"]) for p in made.pools.iter_rows(named=True)}
        export = export_all(bars, identities, self.folder / "qlib" / "simulation-7", BinsSpec())
        told = valid_frame(BIN_EXPORTS, n_rows=1).with_columns(
            pl.lit(SOURCE).alias("source"), pl.lit("60min").alias("freq"), pl.lit(export.export_id).alias("export_id")
        )
        self.lake.append(BIN_EXPORTS, told)
        births = made.pools.select("network", "pool", "base_token", "created_at")
        rows = valid_frame(POOLS, n_rows=births.height).drop(births.columns).hstack(births)
        rows = rows.with_columns(pl.lit(SOURCE).alias("source"), pl.col("created_at").alias("known_at"))
        self.lake.append(POOLS, rows.select(POOLS.schema.names()))

    def run(self, *selected: Any, source: str = SOURCE) -> dict[str, dict[str, Any]]:
        """Materialise, and give each asset's metadata."""
        done = dg.materialize(
            list(selected),
            resources={
                "lake": self.lake, "qlib": self.folder / "qlib", "return_datasets": self.folder / "return_datasets",
                "source": source, "clock": FixedClock(NOW), "registry": self.registry,
            },
            raise_on_error=True,
        )  # fmt: skip
        return {
            event.asset_key.to_user_string(): {k: v.value for k, v in event.materialization.metadata.items()}
            for event in done.get_asset_materialization_events()
        }

    def table(self, target: Any) -> pl.DataFrame:
        return self.lake.scan(target).collect()


ALL = (return_dataset, return_leak_canaries, return_model, return_champion)


@pytest.fixture(scope="module", autouse=True)
def cheap() -> Iterator[None]:
    """Few kinds, seeds and features: what is tried here is the way, not the forecasts."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(assets.returns, "SPEC", CHEAP)
        # So few pools pass the gate only where more can be forecast than in this world; a planted return is still 1.
        listening = partial(ReturnCanarySpec, feature_ic_bound=0.7)
        patch.setattr(pipeline.models.return_canaries, "ReturnCanarySpec", listening)
        yield


@pytest.fixture(scope="module")
def made() -> Made:
    return made_market(n_pools=150, n_hours=140, strength=0.65, seed=2)


@pytest.fixture(scope="module")
def first(database: str, made: Made) -> Iterator[tuple[Bench, dict[str, dict[str, Any]]]]:
    """The way gone once, in a market where there is something to find."""
    with temporary_folder() as folder, pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        bench = Bench(folder, database)
        bench.hold(made)
        yield bench, bench.run(*ALL)
        assert {path.name for path in folder.iterdir()} == {"lake", "qlib", "artifacts", "return_datasets"}


@pytest.fixture
def empty(tmp_path: Path) -> Bench:
    """Nothing at all; the registry is not even asked for a model."""
    return Bench(tmp_path, ABSENT)


def test_every_asset_tells_what_it_did(first: tuple[Bench, dict[str, dict[str, Any]]], made: Made) -> None:
    _, said = first
    frozen, model, champion = (said[name] for name in ("return_dataset", "return_model", "return_champion"))
    assert (frozen["pools"], frozen["lacking"]) == (made.pools.height, "nothing")
    assert [r.data["segment"] for r in frozen["segments"].records][-1] == "last_block: tested on"
    assert [r.data["horizon_hours"] for r in frozen["targets"].records] == ["1"]
    assert float(frozen["feature_null_shares"].records[0].data["null_share"]) > 0
    assert model["dataset_id"] == frozen["dataset_id"]
    assert set(model["last_block"].records[0].data) == {"horizon_hours", "metric", "model", *RETURN_BASELINES}
    assert {r.data["kind"] for r in model["kinds_on_walk_forward"].records} == set(CHEAP.kinds)
    assert all(model[name].startswith("![") for name in ("ic_by_day", "quantile_returns", "importance"))
    assert (champion["champion_version"], champion["is_promoted"]) == (model["version"], True), champion["verdict"]


def test_the_evidence_is_as_its_tables_say_and_of_the_registered_bytes(first) -> None:
    bench, said = first
    for target in (RETURN_DATASETS, RETURN_EVALUATIONS, RETURN_FIGURES, COMPARISONS, DEPLOYMENTS):
        rows = bench.table(target)
        assert rows.height
        assert validate(target, rows).is_passed, target.name
    sha256 = said["return_model"]["model_sha256"]
    assert bench.table(RETURN_EVALUATIONS)["model_sha256"].unique().to_list() == [sha256]
    assert set(bench.table(RETURN_EVALUATIONS)["predictor"]) == {"model", *RETURN_BASELINES}
    assert bench.table(RETURN_DATASETS)["n_last_block_reads"].to_list() == [1]
    assert bench.table(COMPARISONS)["loss"].unique().to_list() == ["squared_error"]
    (moved,) = bench.table(DEPLOYMENTS).to_dicts()
    assert (moved["model_name"], moved["model_sha256"]) == (CHEAP.model_name, sha256)


def test_mlflow_gives_the_same_forecasts_as_the_library(first, database, monkeypatch) -> None:
    import mlflow

    bench, _ = first
    monkeypatch.setenv("MLFLOW_TRACKING_URI", database)
    rows = kept_rows(bench.folder / "return_datasets", SOURCE, bench.table(RETURN_DATASETS).row(0, named=True))
    (version,) = bench.registry.versions(CHEAP.model_name)
    loaded = bench.registry.load(CHEAP.model_name, version.version)
    library = load_returns(loaded.model_bytes)
    assert isinstance(loaded.kind, Forecaster)
    assert loaded.kind.outputs == ("forecast_1h",)
    features = rows.select(library.feature_names).cast(pl.Float64).to_pandas()
    said = mlflow.pyfunc.load_model(f"models:/{CHEAP.model_name}@champion").predict(features)
    assert np.array_equal(said["forecast_1h"].to_numpy(), library.forecast(rows, 1))


def test_the_same_bins_again_compute_and_train_nothing_and_promote_nobody(first, monkeypatch) -> None:
    bench, said = first
    monkeypatch.setattr(assets.returns, "return_rows", lambda *_, **__: pytest.fail("computed what was known"))
    again = bench.run(*ALL)
    for name, key in (("return_dataset", "dataset_id"), ("return_model", "version"), ("return_model", "mlflow_run_id")):
        assert again[name][key] == said[name][key]
    assert again["return_champion"]["is_promoted"] is False
    assert "in charge already" in again["return_champion"]["verdict"]
    assert [v.version for v in bench.registry.versions(CHEAP.model_name)] == [1]
    assert bench.table(RETURN_DATASETS)["n_last_block_reads"].to_list() == [1]
    assert bench.table(DEPLOYMENTS).height == 1


def test_rows_that_were_lost_or_changed_are_computed_again(first) -> None:
    bench, said = first
    (kept,) = (bench.folder / "return_datasets" / "simulation-7").glob("*.parquet")
    whole = kept.read_bytes()
    for damage in (kept.unlink, lambda: kept.write_bytes(whole[:-100])):
        damage()
        assert bench.run(return_dataset)["return_dataset"]["dataset_id"] == said["return_dataset"]["dataset_id"]
        assert kept.read_bytes() == whole


def test_the_same_dataset_trained_again_gives_the_same_bytes_and_no_second_version(first) -> None:
    bench, said = first
    rmtree(bench.lake.root / RETURN_EVALUATIONS.name)
    again = bench.run(return_model)["return_model"]
    assert all(again[key] == said["return_model"][key] for key in ("version", "model_sha256"))
    assert [v.version for v in bench.registry.versions(CHEAP.model_name)] == [1]
    assert bench.table(RETURN_DATASETS)["n_last_block_reads"].to_list() == [2]


def test_a_feature_that_knows_the_return_stops_the_training(first, monkeypatch) -> None:
    bench, _ = first
    rows = kept_rows(bench.folder / "return_datasets", SOURCE, bench.table(RETURN_DATASETS).row(0, named=True))
    leaky = rows.with_columns(pl.col("return_1h").cast(pl.Float32).alias("change_1h"))
    monkeypatch.setattr(assets.returns, "return_rows", lambda *_, **__: leaky)
    # The code that leaks is other code: what it would compute is not what was computed before.
    monkeypatch.setattr(assets.returns, "CODE", "leaky")
    with pytest.raises(dg.DagsterError, match="return_leak_canaries"):
        bench.run(*ALL)
    assert bench.table(RETURN_DATASETS).height == 2
    assert len(bench.registry.versions(CHEAP.model_name)) == 1


def test_what_was_frozen_by_other_code_is_not_learned_from_and_stops_nobody(first, monkeypatch) -> None:
    bench, _ = first
    monkeypatch.setattr(assets.returns, "CODE", "other")
    (bench.folder / "qlib").rename(bench.folder / "away")  # so that there is nothing to freeze anew
    try:
        said = bench.run(*ALL)
    finally:
        (bench.folder / "away").rename(bench.folder / "qlib")
    assert "materialise `qlib_bins` first" in said["return_dataset"]["skipped"]
    assert all("frozen by other code" in said[name]["skipped"] for name in ("return_model", "return_champion"))
    assert len(bench.registry.versions(CHEAP.model_name)) == 1


def test_other_code_does_not_forget_how_often_the_last_block_was_looked_at(first, monkeypatch) -> None:
    bench, said = first
    reads = sum(bench.table(RETURN_DATASETS)["n_last_block_reads"])
    monkeypatch.setattr(assets.returns, "CODE", "newer")
    again = bench.run(*ALL)
    assert again["return_dataset"]["dataset_id"] != said["return_dataset"]["dataset_id"]
    assert again["return_model"]["last_block_reads"] == reads + 1
    assert again["return_champion"]["last_block_reads"] == reads + 1


def test_the_tables_that_both_champions_write_are_checked_after_either() -> None:
    checked = {(k.asset_key.to_user_string(), k.name) for check in EXPECTATION_CHECKS for k in check.check_keys}
    names = ("comparisons_as_specified", "deployments_as_specified")
    assert {(asset, name) for asset in ("champion", "return_champion") for name in names} <= checked


def test_without_bins_nothing_is_done_and_nothing_fails(empty: Bench) -> None:
    said = empty.run(*ALL)
    assert "materialise `qlib_bins` first" in said["return_dataset"]["skipped"]
    assert said["return_model"]["skipped"] == said["return_champion"]["skipped"] == "no return dataset is there yet"
    assert not any(empty.table(target).height for target in (RETURN_DATASETS, RETURN_EVALUATIONS, DEPLOYMENTS))


def test_pools_that_have_hardly_traded_give_no_dataset(empty: Bench) -> None:
    empty.hold(made_market(n_pools=3, n_hours=8))
    said = empty.run(*ALL)
    assert "no pool of simulation:7 has traded in 12 bars yet" in said["return_dataset"]["skipped"]
    assert "skipped" in said["return_champion"]


def test_too_few_pools_are_frozen_with_the_reason_why_nobody_learns_from_them(empty: Bench) -> None:
    empty.hold(made_market(n_pools=8, n_hours=40))
    said = empty.run(*ALL)
    (row,) = empty.table(RETURN_DATASETS).to_dicts()
    assert row["lacking"]
    assert validate(RETURN_DATASETS, empty.table(RETURN_DATASETS)).is_passed
    assert said["return_dataset"]["lacking"] == row["lacking"]
    for name in ("return_model", "return_champion"):
        assert said[name]["skipped"] == f"nothing to learn from: {row['lacking']}"


def test_where_no_kind_has_skill_nothing_is_registered_and_nobody_trains_again(database: str) -> None:
    with temporary_folder() as folder, pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(assets.returns, "SPEC", replace(CHEAP, model_name="pool-return-without-skill"))
        bench = Bench(folder, database)
        bench.hold(made_market(n_pools=150, n_hours=140, strength=0.0, seed=2))
        said = bench.run(*ALL)
        for name in ("return_model", "return_champion"):
            assert "no kind of model has skill on the inner folds at any horizon (1 h" in said[name]["skipped"]
        assert bench.registry.versions("pool-return-without-skill") == []
        assert bench.table(RETURN_FIGURES).height
        assert not bench.table(COMPARISONS).height
        again = bench.run(*ALL)
        assert again["return_model"] == said["return_model"]
        assert "no kind" in again["return_dataset"]["lacking"]
        assert bench.table(RETURN_DATASETS)["n_last_block_reads"].to_list() == [1]
        assert validate(RETURN_DATASETS, bench.table(RETURN_DATASETS)).is_passed


def test_of_two_real_sources_one_must_be_named(empty: Bench) -> None:
    told = valid_frame(BIN_EXPORTS, n_rows=2).with_columns(
        pl.Series("source", ["recording:a", "recording:b"]), pl.lit("60min").alias("freq")
    )
    empty.lake.append(BIN_EXPORTS, told)
    with pytest.raises(UsageError, match="name one"):
        empty.run(return_dataset, source="")


def test_of_two_sources_side_by_side_the_named_one_is_learned_from_and_its_folders_are_its_own(empty: Bench) -> None:
    empty.hold(made_market(n_pools=8, n_hours=40))
    empty.lake.append(BIN_EXPORTS, valid_frame(BIN_EXPORTS, n_rows=1).with_columns(
        pl.lit("recording:a").alias("source"), pl.lit("60min").alias("freq")
    ))  # fmt: skip
    assert empty.run(return_dataset)["return_dataset"]["pools"] == 8
    # Named, but its bins are not there; and not named, the real one is meant: nothing is taken from the other.
    for source in ("recording:a", ""):
        assert "materialise `qlib_bins` first" in empty.run(return_dataset, source=source)["return_dataset"]["skipped"]
    assert empty.table(RETURN_DATASETS)["source"].to_list() == [SOURCE]


def test_hours_without_any_answer_are_unwatched_where_pools_are_collected(empty: Bench) -> None:
    hours = [0, 1, 4]
    times = pl.Series([NOW - timedelta(hours=9 - hour) for hour in hours], dtype=pl.Datetime("us", "UTC"))
    told = valid_frame(ANSWERS, n_rows=3).with_columns(
        pl.lit("geckoterminal").alias("source"), pl.lit("eth").alias("network"), times.alias("known_at"),
        times.alias("event_time"), times.alias("asked_at"), pl.Series("status", [200, 503, 200], pl.Int64),
    )  # fmt: skip
    empty.lake.append(ANSWERS, told.select(pl.col(name).cast(kind) for name, kind in ANSWERS.schema.items()))
    found = unwatched_of(empty.lake, "geckoterminal", FixedClock(NOW))
    assert found is not None
    assert found.rows() == [("eth", NOW - timedelta(hours=9 - hour)) for hour in (1, 2, 3)]
    assert unwatched_of(empty.lake, SOURCE, FixedClock(NOW)) is None
