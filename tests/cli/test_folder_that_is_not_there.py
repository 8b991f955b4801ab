"""A mistyped data folder, or another working directory, is never an installation that is new and well."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from pipeline.cli import app, main
from pipeline.cli.screen import settings_there
from pipeline.errors import PoolcastError, UsageError

READS = {
    "alerts list": (),
    "drift report": (),
    "evaluate": (),
    "lake sql": ("SELECT * FROM labels",),
    "lake status": (),
    "models evaluate": (),
    "models history": (),
    "pools show": ("0xpool",),
    "predictions query": (),
    "promotion audit": (),
    "promotion history": (),
    "promotion status": (),
    "quality docs": ("--out", "pages"),
    "quality quarantine list": (),
    "quality report": (),
    "status": (),
}
"""What only looks, with the arguments it cannot do without: nothing is made by it."""
CHANGES = {
    "alerts ack": ("a1",),
    "alerts deliver": (),
    "backup": (),
    "bins export": (),
    "lake compact": (),
    "lake vacuum": ("--dry-run",),
    "migrate": ("--dry-run",),
    "pools backfill": (),
    "promotion approve": ("1", "--reason", "why"),
    "promotion pin": ("--reason", "why"),
    "promotion reconcile": (),
    "promotion rollback": ("--reason", "why"),
    "promotion unpin": ("--reason", "why"),
    "promotion veto": ("1", "--reason", "why"),
    "quality quarantine release": ("r1", "--reason", "why"),
    "restore": ("20260904T120000Z",),
}
"""What works on an installation that is there."""
MAKES = {
    "alerts test", "demo", "models train", "pools collect", "recordings import", "recordings replay", "up", "worker",
}  # fmt: skip
"""What may begin an installation."""
ELSEWHERE = {
    "alerts rules", "bins check", "bins describe", "drift compare", "features compute", "features explain",
    "features list", "gate offline", "gate sequential", "graph", "labels compute", "models compare",
    "recordings describe", "recordings simulate", "sandbox serve", "sign-in hash",
}  # fmt: skip
"""What needs no data folder. Of these only `alerts rules` has a --data-dir: receivers are named with its salt."""
TAKES_SECONDS = {"drift report", "quality docs"}
"""To import what these need; they reach the registry as `promotion audit` does, and write where they are told."""
MORE_THAN_THE_LAKE = {"backup", "evaluate", "migrate", "models evaluate", "models history", "restore", "status"}


def commands(group: Any, before: str = "") -> Iterator[tuple[str, bool]]:
    """Every command by its whole name, and whether it has a --data-dir."""
    for name, each in group.commands.items():
        whole = f"{before} {name}".strip()
        if hasattr(each, "commands"):
            yield from commands(each, whole)
        else:
            yield whole, any(param.name == "data_dir" for param in each.params)


@pytest.fixture(autouse=True)
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory without anything in it, and an environment that names nothing else."""
    for name in ("DATA_DIR", "LAKE_URL", "POSTGRES_URL", "ALERTS_TO", "ALERT_RULES"):
        monkeypatch.delenv(f"POOLCAST_{name}", raising=False)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_every_command_is_known_to_read_to_change_to_make_or_to_need_no_folder() -> None:
    told = list(commands(typer.main.get_command(app)))
    assert sorted(name for name, _ in told) == sorted([*READS, *CHANGES, *MAKES, *ELSEWHERE])
    assert {name for name, has_folder in told if not has_folder} == ELSEWHERE - {"alerts rules"}


@pytest.mark.parametrize("name", [*READS, *CHANGES])
def test_what_needs_an_installation_refuses_a_folder_that_is_not_there(name: str, nowhere: Path) -> None:
    command = [*name.split(), *(READS | CHANGES)[name]]
    for more in (["--data-dir", "dtaa"], []):
        with pytest.raises(UsageError, match=r"there is no data folder '.*/(dtaa|data)': name the one"):
            CliRunner().invoke(app, [*command, *more], catch_exceptions=False)
    assert list(nowhere.iterdir()) == []


@pytest.mark.parametrize("name", sorted(set(READS) - TAKES_SECONDS))
def test_looking_into_an_empty_folder_makes_nothing_there(name: str, nowhere: Path) -> None:
    (nowhere / "data").mkdir()
    done = CliRunner().invoke(app, [*name.split(), *READS[name]])
    assert done.exception is None or isinstance(done.exception, PoolcastError | SystemExit)
    assert list((nowhere / "data").rglob("*")) == []


def test_a_lake_on_an_object_store_needs_no_folder_here_and_what_is_not_in_a_lake_does(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("POOLCAST_LAKE_URL", "s3://team/lake")
    assert settings_there(None).lake_url == "s3://team/lake"
    for name in MORE_THAN_THE_LAKE:
        with pytest.raises(UsageError, match="there is no data folder"):
            CliRunner().invoke(app, [*name.split(), *(READS | CHANGES)[name]], catch_exceptions=False)


def test_the_exit_status_is_that_of_wrong_use(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["poolcast", "promotion", "status", "--data-dir", "dtaa"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    assert capsys.readouterr().out == ""


def test_no_training_was_asked_for_where_there_is_no_database(nowhere: Path) -> None:
    (nowhere / "data").mkdir()
    told = CliRunner().invoke(app, ["models", "history"])
    assert told.exit_code == 0
    assert told.stdout.startswith("No training was asked for yet: there is no database in ")
    assert CliRunner().invoke(app, ["models", "history", "--json"]).stdout == "[]\n"
