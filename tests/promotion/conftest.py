"""Doors to the MLflow store that the tests of the registry share."""

import re

import pytest

from pipeline.promotion.registry import Registry


@pytest.fixture(scope="session")
def client(database):
    import mlflow

    return mlflow.MlflowClient(tracking_uri=database, registry_uri=database)


@pytest.fixture
def model_name(request) -> str:
    """A registered model of the test's own, in the one store of the session."""
    return re.sub(r"[^A-Za-z0-9_]", "-", request.node.name)


@pytest.fixture
def registry(database, tmp_path, model_name, monkeypatch):
    monkeypatch.chdir(tmp_path)
    yield Registry(database, tmp_path / "artifacts")
    assert {path.name for path in tmp_path.iterdir()} <= {"artifacts"}, "MLflow fell back to a store of its own"


@pytest.fixture
def at_database(database, monkeypatch) -> None:
    """MLflow's own functions ask the test's store, whatever store a test before this one told the process to use."""
    from mlflow.tracking._model_registry import utils as of_models
    from mlflow.tracking._tracking_service import utils as of_runs

    monkeypatch.setenv("MLFLOW_TRACKING_URI", database)
    monkeypatch.setattr(of_runs, "_tracking_uri", database)
    monkeypatch.setattr(of_models, "_registry_uri", database)
