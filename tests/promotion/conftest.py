"""Doors to the MLflow store, and the command line on a data folder of a test's own."""

import re
from pathlib import Path

import pytest
from click.testing import Result
from command_bench import AWAY, Run
from typer.testing import CliRunner

from pipeline.cli.promotion import promotion
from pipeline.lake import Lake
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


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The data folder; the registry's files lie where the settings look for them."""
    made = tmp_path / "artifacts"
    made.mkdir()
    return made


@pytest.fixture
def lake(folder: Path) -> Lake:
    return Lake(folder / "lake")


@pytest.fixture
def run(folder: Path) -> Run:
    def invoke(*arguments: str, exit_code: int = 0) -> Result:
        told = CliRunner().invoke(promotion, [*arguments, "--data-dir", str(folder)], catch_exceptions=False)
        assert told.exit_code == exit_code, told.output
        return told

    return invoke


@pytest.fixture
def up(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", database)


@pytest.fixture
def down(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", AWAY)
