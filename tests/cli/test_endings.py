"""How commands end that cannot do what they were told: in words, with what to do, whatever was wrong."""

import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.cli import main

ROOT = Path(__file__).parents[2]


def ended(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["poolcast", *arguments])
    with pytest.raises(SystemExit) as end:
        main()
    assert isinstance(end.value.code, int)
    return end.value.code


def test_a_misspelt_variable_is_told_once_and_changes_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    before = ended(monkeypatch, "status", "--json", "--data-dir", str(tmp_path)), capsys.readouterr()
    monkeypatch.setenv("POOLCAST_DATA_DRI", "/planted")
    monkeypatch.setenv("POOLCAST_\x1b[2J", "/planted")
    assert ended(monkeypatch, "status", "--json", "--data-dir", str(tmp_path)) == before[0]
    told = capsys.readouterr()
    assert before[1].err == ""
    assert told.out.count("\n") == before[1].out.count("\n")
    hostile, near = told.err.splitlines()
    assert near.endswith("'POOLCAST_DATA_DRI' is set and is no setting of poolcast: did you mean POOLCAST_DATA_DIR?")
    assert hostile.endswith("docs/reference/settings.md has them all")
    assert "\x1b[2J" not in told.err
    assert "planted" not in told.err


@pytest.mark.parametrize("command", ["demo", "up"])
def test_a_file_where_the_data_folder_should_be_is_told_with_what_to_do(
    command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    assert ended(monkeypatch, command, "--data-dir", str(tmp_path / "file")) == 1
    told = capsys.readouterr().err
    assert str(tmp_path / "file") in told
    assert "--data-dir or POOLCAST_DATA_DIR" in told


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("POOLCAST_POSTGRES_URL", "postgresql://u:p@ss/w@h:5432/db"),
        ("POOLCAST_SANDBOX_URL", "foo"),
        ("POOLCAST_DASK", "foo"),
        ("POOLCAST_DATABASE_PATIENCE_S", "soon"),
    ],
)
@pytest.mark.parametrize("command", ["up", "status", "demo"])
def test_a_variable_that_cannot_be_meant_is_wrong_use_before_anything_is_done(
    command: str,
    variable: str,
    value: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    monkeypatch.setenv(variable, value)
    assert ended(monkeypatch, command, "--data-dir", str(tmp_path)) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.startswith(f"poolcast: {variable} is ")
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_under_the_output_is_told_with_what_to_do() -> None:
    with Path("/dev/full").open("wb") as full:
        command = [sys.executable, "-m", "pipeline.cli", "features", "list"]
        done = subprocess.run(command, cwd=ROOT, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("poolcast: could not write: No space left on device. Free space")
    assert "None" not in done.stderr
