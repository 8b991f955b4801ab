"""The registry against a real MLflow store on an embedded PostgreSQL."""

import hashlib

import polars as pl
import pytest
from training_runs import CLASSES, FEATURES, a_ledger, a_model, a_run, model_file

from pipeline.errors import InputError, RegistryAwayError, RegistryError
from pipeline.promotion.kinds import Classifier
from pipeline.promotion.reconciliation import reconcile
from pipeline.promotion.registry import Registry

pytestmark = [
    pytest.mark.slow,
]

ABSENT = "postgresql://nobody@127.0.0.1:1/mlflow"


def test_a_registered_model_is_loaded_as_the_very_bytes_that_were_trained(registry, model_name):
    run = a_run(model_name=model_name)
    version = registry.register(run)
    loaded = registry.load(model_name, version.version, expected_sha256=run.model_sha256)
    assert (version.version, version.model_sha256) == (1, run.model_sha256)
    assert loaded.model_bytes == run.model_bytes
    assert (loaded.feature_names, loaded.kind) == (FEATURES, Classifier(CLASSES))
    assert loaded.registered == version


def test_the_run_holds_parameters_metrics_tables_plots_and_the_training_set(registry, client, model_name, tmp_path):
    version = registry.register(a_run(model_name=model_name))
    run = client.get_run(version.run_id)
    assert run.info.status == "FINISHED"
    assert run.data.params == {"max_depth": "2", "eta": "0.3"}
    assert run.data.metrics == {"log_loss": 1.05, "roc_auc_RUG": 0.71}
    assert run.data.tags["horizon_hours"] == "24"
    assert run.inputs.dataset_inputs[0].dataset.digest == "0" * 36
    files = {a.path for folder in ("tables", "plots") for a in client.list_artifacts(version.run_id, folder)}
    assert files == {"tables/metrics.csv", "plots/calibration.png"}


def test_the_version_carries_tags_and_a_card_for_its_reviewer(registry, client, model_name):
    run = a_run(model_name=model_name)
    version = registry.register(run)
    entity = client.get_model_version(model_name, "1")
    assert run.identity.items() <= entity.tags.items()
    assert (version.training_set_id, version.feature_set, version.code_version) == (run.training_set_id, "fs1", "c1")
    assert "| roc_auc_RUG | 0.71 |" in entity.description
    assert run.model_sha256 in entity.description


def test_mlflow_itself_loads_the_model_natively_with_pickles_forbidden(registry, model_name, at_database, monkeypatch):
    import mlflow
    import xgboost

    run = a_run(model_name=model_name)
    registry.register(run)
    registry.set_alias(model_name, "champion", 1)
    uri = f"models:/{model_name}@champion"
    booster = mlflow.xgboost.load_model(uri)
    assert isinstance(booster, xgboost.Booster)
    assert bytes(booster.save_raw("ubj")) == run.model_bytes
    info = mlflow.models.get_model_info(uri)
    assert info.signature.inputs.input_names() == list(FEATURES)
    assert info.signature.outputs.input_names() == [f"p_{c}" for c in CLASSES]
    said = mlflow.pyfunc.load_model(uri).predict(pl.DataFrame([dict.fromkeys(FEATURES, 1.0)]).to_pandas())
    assert said.shape == (1, 3)


def test_registering_the_same_training_twice_gives_the_first_version_and_logs_nothing(registry, client, model_name):
    first = registry.register(a_run(model_name=model_name))
    again = registry.register(a_run(model_name=model_name, run_name="again", metrics={"log_loss": 9.0}))
    assert again == first
    assert len(client.search_runs([client.get_experiment_by_name(model_name).experiment_id])) == 1
    assert registry.register(a_run(1, model_name)).version == 2
    assert [v.version for v in registry.versions(model_name)] == [1, 2]


def test_new_code_that_makes_the_same_bytes_is_named_by_the_version(registry, model_name):
    registry.register(a_run(model_name=model_name, code_version="old"))
    again = registry.register(a_run(model_name=model_name, code_version="new"))
    assert (again.version, again.code_version) == (1, "new")
    assert len(registry.versions(model_name)) == 1


def test_the_same_file_from_another_training_set_is_another_version(registry, model_name):
    first = registry.register(a_run(model_name=model_name))
    other = registry.register(a_run(model_name=model_name, training_set_id="f" * 64))
    assert (first.version, other.version) == (1, 2)


class Stuttering:
    """MLflow's client on a slow line: the request to make a version is sent again before the first answer came."""

    def __init__(self, client) -> None:
        self.client = client

    def __getattr__(self, name):
        return getattr(self.client, name)

    def create_model_version(self, *args, **kwargs):
        self.client.create_model_version(*args, **kwargs)
        return self.client.create_model_version(*args, **kwargs)


def test_a_version_that_was_made_twice_by_a_repeated_request_is_one_afterwards(registry, client, model_name):
    registry._connected = Stuttering(client)
    version = registry.register(a_run(model_name=model_name))
    assert version.version == 1
    assert registry.versions(model_name) == [version]
    assert registry.load(model_name, 1).model_sha256 == version.model_sha256


def test_a_run_that_was_killed_half_way_is_marked_and_not_used(registry, client, model_name):
    registry.register(a_run(1, model_name))
    experiment = client.get_experiment_by_name(model_name).experiment_id
    run = a_run(model_name=model_name)
    killed = client.create_run(experiment, tags=run.identity).info.run_id
    other = client.create_run(experiment, tags={**run.identity, "training_set_id": "another"}).info.run_id
    version = registry.register(run)
    assert version.run_id != killed
    assert client.get_run(killed).info.status == "KILLED"
    assert client.get_run(other).info.status == "RUNNING"


def test_a_run_that_was_killed_after_its_version_was_made_is_finished(registry, client, model_name):
    run = a_run(model_name=model_name)
    version = registry.register(run)
    client.update_run(version.run_id, status="RUNNING")
    assert registry.register(run) == version
    assert client.get_run(version.run_id).info.status == "FINISHED"


def test_a_training_that_cannot_be_logged_fails_its_run_and_leaves_no_version(registry, client, model_name):
    nested = pl.DataFrame({"a": [[1, 2]]})
    with pytest.raises(pl.exceptions.PolarsError):
        registry.register(a_run(model_name=model_name, tables={"nested": nested}))
    runs = client.search_runs([client.get_experiment_by_name(model_name).experiment_id])
    assert [r.info.status for r in runs] == ["FAILED"]
    assert registry.versions(model_name) == []


@pytest.mark.parametrize("damage", ["another model", "one byte", "no bytes"])
def test_a_model_file_that_was_changed_is_not_loaded(registry, model_name, tmp_path, damage):
    run = a_run(model_name=model_name)
    registry.register(run)
    damaged = {"another model": a_model(7), "one byte": run.model_bytes[:-1] + b"\0", "no bytes": b""}[damage]
    model_file(tmp_path, run.model_bytes).write_bytes(damaged)
    with pytest.raises(RegistryError, match="hashes to"):
        registry.load(model_name, 1)


def test_a_model_file_that_is_gone_is_said_to_be_gone(registry, model_name, tmp_path):
    run = a_run(model_name=model_name)
    registry.register(run)
    model_file(tmp_path, run.model_bytes).unlink()
    with pytest.raises(RegistryError, match="loaded"):
        registry.load(model_name, 1)


def test_a_changed_file_with_a_changed_tag_is_caught_by_the_ledgers_hash(registry, client, model_name, tmp_path):
    run, other = a_run(model_name=model_name), a_model(7)
    registry.register(run)
    model_file(tmp_path, run.model_bytes).write_bytes(other)
    client.set_model_version_tag(model_name, "1", "model_sha256", hashlib.sha256(other).hexdigest())
    with pytest.raises(RegistryError, match="ledger"):
        registry.load(model_name, 1, expected_sha256=run.model_sha256)


def test_a_version_without_our_tags_is_not_loaded(registry, client, model_name):
    registry.register(a_run(model_name=model_name))
    client.delete_model_version_tag(model_name, "1", "classes")
    with pytest.raises(RegistryError, match="classes"):
        registry.load(model_name, 1)


def test_there_is_no_champion_until_one_is_set(registry, model_name):
    assert registry.champion(model_name) is None
    assert registry.versions(model_name) == []
    version = registry.register(a_run(model_name=model_name))
    assert registry.champion(model_name) is None
    registry.set_alias(model_name, "champion", 1)
    assert registry.champion(model_name) == version


def test_what_is_not_there_is_said_to_be_missing(registry, model_name):
    registry.register(a_run(model_name=model_name))
    with pytest.raises(RegistryError, match="version 9"):
        registry.load(model_name, 9)
    with pytest.raises(RegistryError, match="version 9"):
        registry.set_alias(model_name, "champion", 9)


def test_the_alias_follows_the_ledger_after_a_crash_between_the_two(registry, model_name):
    first, second = (registry.register(a_run(seed, model_name)) for seed in (0, 1))
    assert reconcile(registry, a_ledger(model_name), model_name) == "none"
    one = a_ledger(model_name, first)
    assert reconcile(registry, one, model_name) == "moved"
    assert reconcile(registry, one, model_name) == "agreed"
    two = a_ledger(model_name, first, second)  # the ledger was written, then the process died
    assert registry.champion(model_name) == first
    assert reconcile(registry, two, model_name) == "moved"
    assert registry.champion(model_name) == second
    assert registry.pointers(model_name).ledger_head == two["row_hash"][-1]


def test_an_alias_moved_by_hand_is_put_back(registry, model_name):
    first, second = (registry.register(a_run(seed, model_name)) for seed in (0, 1))
    ledger = a_ledger(model_name, first)
    reconcile(registry, ledger, model_name)
    registry.set_alias(model_name, "champion", second.version)
    assert reconcile(registry, ledger, model_name) == "moved"
    assert registry.champion(model_name) == first


def test_a_champion_the_ledger_never_named_is_removed(registry, model_name):
    registry.register(a_run(model_name=model_name))
    registry.set_alias(model_name, "champion", 1)
    assert reconcile(registry, a_ledger(model_name), model_name) == "removed"
    assert registry.champion(model_name) is None


def test_a_ledger_shorter_than_the_registry_remembers_moves_nothing(registry, model_name):
    first, second = (registry.register(a_run(seed, model_name)) for seed in (0, 1))
    both = a_ledger(model_name, first, second)
    reconcile(registry, both, model_name)
    for shorter in (both.head(1), both.clear()):
        with pytest.raises(RegistryError, match="remembers"):
            reconcile(registry, shorter, model_name)
    assert registry.champion(model_name) == second


def test_a_ledger_that_names_another_file_moves_nothing(registry, model_name, tmp_path):
    run = a_run(model_name=model_name)
    version = registry.register(run)
    ledger = a_ledger(model_name, version)
    model_file(tmp_path, run.model_bytes).write_bytes(a_model(7))
    with pytest.raises(RegistryError, match="hashes to"):
        reconcile(registry, ledger, model_name)
    assert registry.champion(model_name) is None


def test_a_booster_with_other_inputs_or_classes_than_the_run_says_is_refused_before_anything_is_logged(
    registry, client, model_name
):
    for wrong in (
        {"feature_names": FEATURES[::-1]},
        {"kind": Classifier((*CLASSES, "DIP"))},
        {"model_bytes": b"no booster"},
    ):
        with pytest.raises(InputError, match="booster"):
            registry.register(a_run(model_name=model_name, **wrong))
    assert client.search_runs([client.get_experiment_by_name(model_name).experiment_id]) == []


def test_a_deleted_experiment_is_said_to_be_deleted(registry, client, model_name):
    registry.register(a_run(model_name=model_name))
    client.delete_experiment(client.get_experiment_by_name(model_name).experiment_id)
    with pytest.raises(RegistryError, match="was deleted"):
        registry.register(a_run(1, model_name))


@pytest.mark.parametrize("uri", [ABSENT, "http://127.0.0.1:1"])
@pytest.mark.timeout(60)
def test_a_registry_that_is_down_says_so_soon_and_as_something_to_retry(uri, tmp_path):
    with pytest.raises(RegistryAwayError, match="registry"):
        Registry(uri, tmp_path).champion("pool-outcome")
