"""`poolcast drift report` says what is wrong where it cannot look."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from pipeline.cli import app
from pipeline.errors import TransientError, UsageError


def asked(*arguments: str) -> BaseException | None:
    return CliRunner().invoke(app, ["drift", "report", *arguments]).exception


@pytest.mark.parametrize("told", ["yesterday", "0001-01-01T00:00+14:00", "0001-01-01", "9999-12-31T23:59"])
def test_a_moment_that_is_none_or_has_no_day_around_it_is_refused(tmp_path: Path, told: str) -> None:
    found = asked("--at", told, "--data-dir", str(tmp_path))
    assert isinstance(found, UsageError)
    assert repr(told) in str(found)


def test_without_a_registry_it_says_so_and_makes_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("POOLCAST_POSTGRES_URL", "MLFLOW_TRACKING_URI"):  # MLflow sets the latter itself, for its process
        monkeypatch.delenv(name, raising=False)
    found = asked("--data-dir", str(tmp_path), "--at", "2024-03-01")
    assert isinstance(found, TransientError)
    assert "the registry cannot be reached" in str(found)
    assert not (tmp_path / "postgres").exists()
