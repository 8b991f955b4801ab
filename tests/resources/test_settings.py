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
    with pytest.raises(UsageError, match="POOLCAST_MLFLOW_PORT"):
        Settings.from_environment()


def test_processes_of_ours_call_nobody_and_load_no_pickles() -> None:
    found = Settings(Path("/data")).environment("postgresql://state", "http://registry")
    assert found["MLFLOW_ALLOW_PICKLE_DESERIALIZATION"] == "false"
    assert found["MLFLOW_DISABLE_TELEMETRY"] == "true"
    assert found["GX_ANALYTICS_ENABLED"] == "false"
    assert found["MLFLOW_TRACKING_URI"] == "http://registry"
    assert found["DAGSTER_HOME"] == "/data/dagster"


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("POOLCAST_API_CALLS_PER_MINUTE", "0"),
        ("POOLCAST_API_CALLS_PER_MINUTE", "ten"),
        ("POOLCAST_NETWORKS", "eth,../secret"),
        ("POOLCAST_API_KEY", "planted\nX-Other: 1"),
        ("POOLCAST_API_KEY", "plantéd"),
    ],
)
def test_what_the_api_cannot_be_asked_with_is_wrong_use_and_a_key_is_not_repeated(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(UsageError, match=variable) as raised:
        Settings.from_environment()
    assert "plant" not in str(raised.value)


def test_networks_are_named_once_each_and_a_key_is_never_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POOLCAST_NETWORKS", " eth, solana ,,eth")
    monkeypatch.setenv("POOLCAST_API_KEY", " planted ")
    monkeypatch.setenv("POOLCAST_SANDBOX_URL", "http://127.0.0.1:1/")
    found = Settings.from_environment()
    assert found.api.networks == ("eth", "solana")
    assert found.api.key == "planted"
    assert found.api.sandbox_url == "http://127.0.0.1:1"
    assert "planted" not in repr(found)
