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
