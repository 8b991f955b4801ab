"""`poolcast lake`: what a person sees, and what no terminal and no spreadsheet may take for an order."""

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest
from typer.testing import CliRunner

from pipeline.cli.lake import lake as commands
from pipeline.errors import ServiceError, UsageError
from pipeline.lake import Lake
from pipeline.tables import ANSWERS, POOLS, TRAINING_SETS
from resources.locks import FileLock
from tests.builders import valid_frame

Run = Callable[..., str]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    def invoke(*arguments: str) -> str:
        result = CliRunner().invoke(commands, [*arguments, "--data-dir", str(tmp_path)], catch_exceptions=False)
        assert result.exit_code == 0, result.output
        return result.stdout

    return invoke


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    lake = Lake(tmp_path / "lake", sync=lambda path: None)
    for first in range(3):
        lake.append(POOLS, valid_frame(POOLS, n_rows=3 * (first + 1)))
    return lake


@pytest.mark.parametrize("command", ["compact", "vacuum"])
def test_what_changes_files_does_not_work_beside_a_restore_or_on_what_one_left_half(
    run: Run, lake: Lake, tmp_path: Path, command: str
) -> None:
    lock = FileLock(tmp_path / "work.lock")
    assert lock.try_acquire("exclusive")
    with pytest.raises(ServiceError, match="just migrated, copied or restored"):
        run(command)
    lock.close()
    (tmp_path / "backups").mkdir()
    (tmp_path / "backups" / "restoring").write_text("20260101T000000Z")
    with pytest.raises(ServiceError, match="run `poolcast restore 20260101T000000Z`"):
        run(command)
    assert lake.version(POOLS) == 3


def test_the_status_names_rows_files_and_what_there_is_to_merge(run: Run, lake: Lake) -> None:
    told = json.loads(run("status", "--json"))
    assert [(t["table"], t["n_rows"], t["n_files"], t["n_mergeable"]) for t in told] == [("pools", 9, 3, 3)]
    line = next(line for line in run("status").splitlines() if line.startswith("pools"))
    assert line.split()[1:4] == ["9", "3", "3"]
    assert "2020-09-07 18:00" in line


def test_an_empty_lake_has_no_table_yet(run: Run) -> None:
    assert "no table yet" in run("status")


def test_compaction_and_vacuum_keep_the_rows_and_what_training_sets_were_read_from(run: Run, lake: Lake) -> None:
    pinned = valid_frame(TRAINING_SETS, n_rows=1).with_columns(lake_versions=pl.lit('{"pools": 2}'))
    lake.append(TRAINING_SETS, pinned)
    before = lake.scan(POOLS, version=2).collect().sort("pool")
    run("compact")
    assert "would be deleted" in run("vacuum", "--dry-run", "--retention-hours", "0")
    run("vacuum", "--retention-hours", "0")
    assert json.loads(run("status", "--json"))[0]["n_files"] == 1
    assert lake.scan(POOLS, version=2).collect().sort("pool").equals(before)
    assert lake.scan(POOLS).collect().height == 9


def test_an_unknown_table_is_a_usage_error(run: Run, lake: Lake) -> None:
    with pytest.raises(UsageError, match="no table 'poools'"):
        run("compact", "poools")


HOSTILE = "[red]=cmd\x1b[2J\x07\u202e[/red]"


def test_text_in_a_table_is_neither_markup_nor_a_terminals_order(run: Run, lake: Lake) -> None:
    lake.append(POOLS, named(HOSTILE))
    shown = run("sql", "SELECT name FROM (SELECT dex AS name FROM pools WHERE pool = 'hostile')")
    assert "[red]=cmd\\x1b[2J\\x07\\u202e[/red]" in shown
    assert not set(shown) & {"\x1b", "\x07", "\u202e"}


def named(text: str) -> pl.DataFrame:
    return valid_frame(POOLS, n_rows=1).with_columns(dex=pl.lit(text), pool=pl.lit("hostile"))


def test_a_long_cell_is_cut_in_a_table(run: Run, lake: Lake) -> None:
    shown = run("sql", "SELECT repeat('x', 1000) AS x, 'right' AS y")
    assert max(map(len, shown.splitlines())) < 100
    assert "right" in shown


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r"])
def test_a_text_that_a_spreadsheet_would_run_is_harmless_in_csv(run: Run, lake: Lake, start: str) -> None:
    lake.append(POOLS, named(f'{start}1+1,"'))
    told = run("sql", "SELECT dex, -1.5 AS minus FROM pools WHERE pool = 'hostile'", "--format", "csv")
    assert list(csv.reader(io.StringIO(told, newline=""))) == [["dex", "minus"], [f"'{start}1+1,\"", "-1.5"]]


def test_no_control_character_reaches_a_terminal_through_csv(run: Run, lake: Lake) -> None:
    assert run("sql", "SELECT 'a' || chr(27) || 'b' AS \"=x\"", "--format", "csv") == "'=x\na\\x1bb\n"


def test_rows_as_json_hold_lengths_for_bytes_and_null_for_what_is_no_number(run: Run, lake: Lake) -> None:
    lake.append(ANSWERS, valid_frame(ANSWERS, n_rows=1))
    told = json.loads(run("sql", "SELECT body, 'nan'::DOUBLE AS x, [1, 2] AS l FROM answers", "--format", "json"))
    assert told[0] == {"body": f"{len(lake.scan(ANSWERS).collect()['body'][0])} bytes", "x": None, "l": [1, 2]}


def test_a_limit_and_an_error_are_passed_on(run: Run, lake: Lake) -> None:
    assert len(json.loads(run("sql", "SELECT * FROM pools", "--limit", "2", "--format", "json"))) == 2
    with pytest.raises(UsageError, match="Parser Error"):
        run("sql", "SELEC 1")
