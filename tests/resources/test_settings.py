import os
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.errors import UsageError
from resources.settings import Settings, database_patience


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
        ("POOLCAST_API_URL", "foo"),
        ("POOLCAST_API_URL", "https://me:planted@host"),
        ("POOLCAST_SANDBOX_URL", "http://127.0.0.1:99999"),
        ("POOLCAST_SANDBOX_URL", "ftp://127.0.0.1"),
    ],
)
def test_what_the_api_cannot_be_asked_with_is_wrong_use_and_a_key_is_not_repeated(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(UsageError, match=variable) as raised:
        Settings.from_environment()
    assert "plant" not in str(raised.value)


@pytest.mark.parametrize("address", ["foo", "tcp://scheduler", "scheduler:http", "tcp://h:99999", "tcp://a b:8786"])
def test_a_scheduler_that_has_no_address_is_wrong_use(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    monkeypatch.setenv("POOLCAST_DASK", address)
    with pytest.raises(UsageError, match="POOLCAST_DASK"):
        Settings.from_environment()


def test_addresses_are_taken_as_their_readers_take_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POOLCAST_API_URL", "HTTPS://Pro-Api.Example/api/v3/onchain/")
    monkeypatch.setenv("POOLCAST_LAKE_URL", "/a folder/with@sign")
    for address in ("tcp://scheduler:8786", "tls://[::1]:8786", "10.0.0.7:8786"):
        monkeypatch.setenv("POOLCAST_DASK", address)
        found = Settings.from_environment()
        assert (found.dask, found.lake_url) == (address, "/a folder/with@sign")
        assert found.api.base_url == "HTTPS://Pro-Api.Example/api/v3/onchain/"


@pytest.mark.parametrize("text", ["soon", "-1", "1.5", "٣", "1e3"])
def test_a_patience_that_is_no_number_is_wrong_use_wherever_it_is_read(
    monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    monkeypatch.setenv("POOLCAST_DATABASE_PATIENCE_S", text)
    for read in (Settings.from_environment, database_patience):
        with pytest.raises(UsageError, match="POOLCAST_DATABASE_PATIENCE_S is"):
            read()


def test_networks_are_named_once_each_and_a_key_is_never_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POOLCAST_NETWORKS", " eth, solana ,,eth")
    monkeypatch.setenv("POOLCAST_API_KEY", " planted ")
    monkeypatch.setenv("POOLCAST_SANDBOX_URL", "http://127.0.0.1:1/")
    found = Settings.from_environment()
    assert found.api.networks == ("eth", "solana")
    assert found.api.key == "planted"
    assert found.api.sandbox_url == "http://127.0.0.1:1"
    assert "planted" not in repr(found)


def test_processes_of_ours_keep_the_bytecode_that_they_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    ours = Settings(Path("/nowhere")).environment("postgresql://h/db", "sqlite://")
    asked = [sys.executable, "-c", "import sys; print(sys.dont_write_bytecode)"]
    said = subprocess.run(asked, env={**os.environ, **ours}, capture_output=True, text=True, check=True)
    assert said.stdout.strip() == "False"
