"""A forecaster in the registry: one JSON file, scored by MLflow without a pickle, beside the classifier."""

import hashlib

import pandas as pd
import pytest
from tiny_forecaster import HORIZONS, INPUTS, KIND, a_forecasting_run, tiny_bytes
from training_runs import a_ledger, a_run

from pipeline.errors import InputError, RegistryError
from pipeline.promotion.card import describe
from pipeline.promotion.kinds import Classifier, Forecaster
from pipeline.promotion.reconciliation import reconcile

pytestmark = [
    pytest.mark.slow,
]


def test_a_forecaster_is_loaded_as_the_very_bytes_that_were_registered(registry, model_name):
    run = a_forecasting_run(model_name)
    version = registry.register(run)
    loaded = registry.load(model_name, version.version, expected_sha256=run.model_sha256)
    assert loaded.model_bytes == run.model_bytes
    assert (loaded.feature_names, loaded.kind) == (INPUTS, KIND)
    assert registry.register(run) == version
    assert registry.register(a_forecasting_run(model_name, slope=0.25)).version == 2


def test_mlflow_scores_a_forecaster_with_pickles_forbidden(registry, client, model_name, at_database, monkeypatch):
    import mlflow

    version = registry.register(a_forecasting_run(model_name))
    registry.set_alias(model_name, "champion", version.version)
    monkeypatch.setenv("MLFLOW_ALLOW_PICKLE_DESERIALIZATION", "false")
    uri = f"models:/{model_name}@champion"
    signature = mlflow.models.get_model_info(uri).signature
    assert signature.inputs.required_input_names() == list(INPUTS)
    assert signature.outputs.input_names() == list(KIND.outputs)
    model = mlflow.pyfunc.load_model(uri)
    said = model.predict(pd.DataFrame({"momentum": [1.0, 2.0], "volume": [0.0, 0.0]}))
    assert said.to_dict("list") == {"forecast_1h": [0.5, 1.0], "forecast_24h": [1.0, 2.0]}
    assert model.predict(model.input_example)["forecast_1h"].to_list() == [1.0, 1.5]


def test_nothing_in_a_forecasters_folder_is_code_or_a_pickle(registry, model_name, tmp_path):
    registry.register(a_forecasting_run(model_name))
    (found,) = tmp_path.rglob("model.json")
    assert {path.name for path in found.parent.iterdir()} == {
        "MLmodel", "conda.yaml", "input_example.json", "model.json", "python_env.yaml", "requirements.txt",
        "serving_input_example.json",
    }  # fmt: skip


def test_the_run_of_a_forecaster_shows_plots_and_names_its_dataset(registry, client, model_name):
    version = registry.register(a_forecasting_run(model_name))
    run = client.get_run(version.run_id)
    assert run.inputs.dataset_inputs[0].dataset.name == "return_datasets"
    assert [a.path for a in client.list_artifacts(version.run_id, "plots")] == ["plots/ic_by_day.png"]
    assert client.get_experiment(run.info.experiment_id).name == model_name


def test_the_card_of_a_forecaster_says_horizons_kinds_and_figures():
    card = describe(a_forecasting_run("pool-return"))
    for said in ("1 h by linear; 24 h by lightgbm", "| rank_ic/1h | 0.04 |", "| pools | 30 |", "momentum, volume"):
        assert said in card
    assert "outcomes" not in card


@pytest.mark.parametrize("damage", [tiny_bytes(9.0), b"{}", b""], ids=["another model", "no model", "no bytes"])
def test_a_forecaster_whose_file_was_changed_is_not_loaded(registry, model_name, tmp_path, damage):
    registry.register(a_forecasting_run(model_name))
    (found,) = tmp_path.rglob("model.json")
    found.write_bytes(damage)
    with pytest.raises(RegistryError, match="hashes to"):
        registry.load(model_name, 1)


def test_a_changed_forecaster_with_a_changed_tag_is_caught_by_the_ledgers_hash(registry, client, model_name, tmp_path):
    run = a_forecasting_run(model_name)
    registry.register(run)
    (found,) = tmp_path.rglob("model.json")
    found.write_bytes(tiny_bytes(9.0))
    client.set_model_version_tag(model_name, "1", "model_sha256", hashlib.sha256(tiny_bytes(9.0)).hexdigest())
    with pytest.raises(RegistryError, match="ledger"):
        registry.load(model_name, 1, expected_sha256=run.model_sha256)


@pytest.mark.parametrize(
    ("tag", "value"),
    [
        *((tag, None) for tag in ("horizons_hours", "loader", "chosen", "feature_names")),
        *((tag, "[[") for tag in ("horizons_hours", "chosen", "feature_names")),
    ],
)
def test_a_forecaster_without_sound_tags_is_not_loaded(registry, client, model_name, tag, value):
    registry.register(a_forecasting_run(model_name))
    if value is None:
        client.delete_model_version_tag(model_name, "1", tag)
    else:
        client.set_model_version_tag(model_name, "1", tag, value)
    with pytest.raises(RegistryError, match="must tell"):
        registry.load(model_name, 1)


@pytest.mark.parametrize(
    "wrong",
    [
        {"feature_names": INPUTS[::-1]},
        {"kind": Forecaster(HORIZONS[:1], KIND.loader)},
        {"model_bytes": tiny_bytes(horizons=(1, 6))},
    ],
)
def test_a_forecaster_that_takes_or_gives_other_than_its_run_says_is_refused(registry, client, model_name, wrong):
    with pytest.raises(InputError, match="the run says"):
        registry.register(a_forecasting_run(model_name, **wrong))
    assert client.search_runs([client.get_experiment_by_name(model_name).experiment_id]) == []


def test_the_champions_of_two_models_are_independent_in_one_ledger(registry, model_name):
    outcome, forecast = f"{model_name}-outcome", f"{model_name}-return"
    first = registry.register(a_run(model_name=outcome))
    second = registry.register(a_forecasting_run(forecast))
    third = registry.register(a_forecasting_run(forecast, slope=0.25))
    ledger = a_ledger(outcome, first)
    assert reconcile(registry, ledger, outcome) == "moved"
    assert (reconcile(registry, ledger, forecast), registry.champion(forecast)) == ("none", None)
    ledger = a_ledger(forecast, second, third, before=ledger)
    assert reconcile(registry, ledger, forecast) == "moved"
    assert reconcile(registry, ledger, outcome) == "agreed"
    assert (registry.champion(outcome), registry.champion(forecast)) == (first, third)
    assert ledger["previous_version"].to_list() == [None, None, second.version]
    kinds = [registry.load(who.model_name, who.version).kind for who in (first, third)]
    assert [type(kind) for kind in kinds] == [Classifier, Forecaster]
