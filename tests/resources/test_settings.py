from pathlib import Path

import pytest

from pipeline.errors import UsageError
from resources.settings import Settings


def test_a_flag_wins_over_its_variable_and_a_variable_over_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POOLCAST_DATA_DIR", "/somewhere")
    monkeypatch.setenv("POOLCAST_DAGSTER_PORT", "3001")
    monkeypatch.setenv("POOLCAST_POSTGRES_URL", "")
    monkeypatch.delenv("POOLCAST_MLFLOW_PORT", raising=False)
    found = Settings.from_environment(dagster_port=3002)
    assert (found.data_dir, found.dagster_port, found.mlflow_port) == (Path("/somewhere"), 3002, 5000)
    assert found.postgres_url is None
    assert Settings.from_environment(data_dir=Path("here")).data_dir == Path.cwd() / "here"


@pytest.mark.parametrize("text", ["http", "0", "65536", "-1", "3000.5", "٣"])
def test_a_port_that_is_none_is_wrong_use(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("POOLCAST_MLFLOW_PORT", text)
    if text == "٣":
        assert Settings.from_environment().mlflow_port == 3
        return
    with pytest.raises(UsageError, match="POOLCAST_MLFLOW_PORT"):
        Settings.from_environment()


def test_processes_of_ours_call_nobody_and_load_no_pickles() -> None:
    found = Settings(Path("/data")).environment("postgresql://state", "http://registry")
    assert found["MLFLOW_ALLOW_PICKLE_DESERIALIZATION"] == "false"
    assert found["MLFLOW_DISABLE_TELEMETRY"] == "true"
    assert found["GX_ANALYTICS_ENABLED"] == "false"
    assert found["MLFLOW_TRACKING_URI"] == "http://registry"
    assert found["DAGSTER_HOME"] == "/data/dagster"
