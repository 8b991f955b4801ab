"""`poolcast quality report`: tables and anybody's files, on the screen and as JSON."""

import json
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from typer.testing import CliRunner

from pipeline.cli import app
from pipeline.cli.quality_report import _show_newest
from pipeline.errors import InputError, UsageError
from pipeline.lake import Lake
from pipeline.monitoring.quality.report import Asked, quality_report
from pipeline.tables import QUALITY_PARTS, QUALITY_REPORTS, SNAPSHOTS, TRADES
from tests.builders import valid_frame

N = 60


def run(*arguments: Any, code: int = 0) -> str:
    done = CliRunner().invoke(app, ["quality", "report", *map(str, arguments)], env={"COLUMNS": "200"})
    assert done.exit_code == code, (done.output, done.exception)
    return done.stdout


def no_constant(name: str) -> Any:
    raise AssertionError(f"{name} is no JSON")


def as_json(*arguments: Any) -> Any:
    return json.loads(run(*arguments, "--json"), parse_constant=no_constant)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    rng, path = np.random.default_rng(1), tmp_path / "any.parquet"
    pl.DataFrame(
        {
            "pool": [f"p{i % 20}" for i in range(N)],
            "t": [i // 20 for i in range(N)],
            "x": np.exp(rng.normal(size=N)),
            "\x1b[2J[red]*": [None if i % 2 else "\x1b]0;owned\x07" for i in range(N)],
            "nan": [float("nan"), float("inf"), *[1.0] * (N - 2)],
            "d": [Decimal("1.10")] * N, "day": [date(2020, 1, 1)] * N, "l": [[1]] * N, "s": [{"a": None}] * N,
            "kind": pl.Series(["<script>"] * (N - 2) + ["a"] * 2, dtype=pl.Categorical),
        }
    ).write_parquet(path)  # fmt: skip
    return path


def test_a_file_is_reported_with_its_parts_and_every_figure(file: Path) -> None:
    told = as_json(file, "--key", "pool,t", "--group", "pool", "--label", "kind")
    assert (told["name"], told["n_rows"], told["n_pools"]) == ("any.parquet", N, 20)
    assert set(told["parts"]) == set(QUALITY_PARTS)
    assert 0 <= told["score"] <= 100
    figures = {(row["part"], row["subject"]): row for row in told["figures"]}
    assert figures["completeness", "\x1b[2J[red]*"]["value"] == pytest.approx(0.5)
    assert figures["uniqueness", "repeated key"]["value"] == 0
    assert figures["balance", "kind"]["is_warning"]
    assert figures["distribution", "x"]["detail"]["count"] == N


def test_names_and_values_of_a_file_are_shown_and_never_interpreted(file: Path) -> None:
    shown = run(file, "--label", "kind")
    assert "\x1b" not in shown
    assert "\\x1b[2J[red]*" in shown
    assert "<script>" in shown


def test_the_pool_is_the_unit_of_a_file_that_has_one(file: Path) -> None:
    assert as_json(file)["n_pools"] == 20
    assert as_json(file, "--group", "pool,t")["n_pools"] == N


def test_the_same_rows_have_the_same_score_on_the_command_line_and_in_the_library(file: Path) -> None:
    made = quality_report(pl.read_parquet(file), Asked("any.parquet", key=("pool", "t"), unit=("pool",)))
    assert as_json(file, "--key", "pool,t")["score"] == made.score


@pytest.mark.parametrize("frame", [pl.DataFrame(), pl.DataFrame({"a": []}), pl.DataFrame({"a": [None]})])
def test_files_with_nothing_in_them_are_reported(frame: pl.DataFrame, tmp_path: Path) -> None:
    frame.write_parquet(tmp_path / "empty.parquet")
    told = as_json(tmp_path / "empty.parquet")
    assert told["n_rows"] == frame.height
    assert "score" in run(tmp_path / "empty.parquet")


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        (("nowhere.parquet",), UsageError, "neither a table nor a file"),
        (("pools", "--key", "pool"), UsageError, "told of a Parquet file"),
        (("FILE", "--key", "absent"), UsageError, "no column 'absent'"),
        (("FILE", "--group", "l"), UsageError, "names no row or pool"),
        (("FILE", "--label", "absent"), UsageError, "no column 'absent'"),
        (("BROKEN",), InputError, "give a Parquet file"),
    ],
)
def test_what_cannot_be_done_is_said_in_words(
    arguments: tuple[str, ...], error: type, words: str, file: Path, tmp_path: Path
) -> None:
    broken = tmp_path / "broken.parquet"
    broken.write_bytes(b"PAR1 no more than this PAR1")
    told = [{"FILE": str(file), "BROKEN": str(broken)}.get(one, one) for one in arguments]
    done = CliRunner().invoke(app, ["quality", "report", *told])
    assert isinstance(done.exception, error)
    assert words in str(done.exception)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    lake = Lake(tmp_path / "lake", sync=lambda path: None)
    lake.append(SNAPSHOTS, valid_frame(SNAPSHOTS, 60))
    lake.append(TRADES, valid_frame(TRADES, 30))
    return tmp_path


def test_tables_are_reported_as_of_their_last_day(data: Path) -> None:
    for name, n_rows in (("snapshots", 60), ("trades", 30)):
        (told,) = as_json(name, "--data-dir", data)
        assert (told["name"], told["source"], told["n_pools"]) == (name, "recording:test", 3)
        assert told["n_rows"] <= n_rows
        assert name in run(name, "--data-dir", data)
    done = CliRunner().invoke(app, ["quality", "report", "pools", "--data-dir", str(data)])
    assert isinstance(done.exception, UsageError)


def test_without_a_name_the_newest_reports_of_all_tables_fit_one_screen(data: Path) -> None:
    assert as_json("--data-dir", data) == []
    assert "no report yet" in run("--data-dir", data)
    lake, now = Lake(data / "lake", sync=lambda path: None), datetime(2024, 3, 1, tzinfo=UTC)
    for k, rows in enumerate((60, 30)):
        made = quality_report(valid_frame(SNAPSHOTS, rows), Asked("snapshots", SNAPSHOTS, SNAPSHOTS.key, ("pool",)))
        lake.append(QUALITY_REPORTS, made.rows("recording:test", now + k * timedelta(hours=1)))
    (told,) = as_json("--data-dir", data)
    assert (told["table"], told["known_at"], told["n_rows"]) == ("snapshots", "2024-03-01T01:00:00+00:00", 30)
    assert set(told["parts"]) == set(QUALITY_PARTS)
    shown = run("--data-dir", data)
    assert "2024-03-01 01:00" in shown
    assert shown.count("snapshots") == 1
    assert None in told["parts"].values()
    assert "A part shown as - does not apply" in shown


def test_where_every_part_applies_nothing_is_explained(capsys: pytest.CaptureFixture[str]) -> None:
    one = {"source": "s", "table": "snapshots", "known_at": "2024-03-01T00:00", "score": 90.0, "n_warnings": 0}
    _show_newest([one | {"parts": dict.fromkeys(QUALITY_PARTS, 90.0)}])
    assert "does not apply" not in capsys.readouterr().out
