"""Who did something is who runs the process, whatever the environment says."""

from pathlib import Path

import pytest

from pipeline.cli.screen import user_name

CLI = Path(__file__).parents[2] / "pipeline" / "cli"


def test_the_environment_cannot_rename_a_person(monkeypatch: pytest.MonkeyPatch) -> None:
    before = user_name()
    for variable in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.setenv(variable, "somebody-else")
    assert user_name() == before != "somebody-else"


def test_no_command_asks_the_environment_who_runs_it() -> None:
    assert [path.name for path in CLI.glob("*.py") if "getuser" in path.read_text()] == []
