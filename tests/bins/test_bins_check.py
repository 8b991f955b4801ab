"""`poolcast bins check` and `bins describe`: what a person sees, what a program reads, and the exit status."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from pipeline.cli.bins import bins as commands
from pipeline.cli.screen import out
from pipeline.errors import InputError, UsageError
from tests.bins.sound_provider import FIELDS, RANGES, Provider, at, sound_provider

A, B, C = RANGES


def run(*arguments: object) -> Result:
    return CliRunner().invoke(commands, [str(argument) for argument in arguments], catch_exceptions=False)


def as_json(*arguments: object) -> dict[str, Any]:
    return json.loads(run(*arguments, "--json").stdout)  # type: ignore[no-any-return]


@pytest.fixture(autouse=True)
def wide_screen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(out, "_width", 220)


@pytest.fixture
def made(tmp_path: Path) -> Provider:
    return sound_provider(tmp_path / "q")


def test_the_exit_status_says_how_bad_it_is(made: Provider) -> None:
    check = ("check", "--qlib-dir", made.root)
    assert run(*check).exit_code == 0
    assert run(*check, "--severity", "gap=warning").exit_code == 3
    made.set(A, "volume", 30, 8.0)
    assert run(*check).exit_code == 0
    made.set(A, "vwap", 30, 1000.0)
    assert run(*check).exit_code == 3
    made.set(A, "low", 30, -1.0)
    assert run(*check).exit_code == 4
    assert run(*check, "--json").exit_code == 4


def test_bins_without_any_factor_are_suspicious_and_no_more(made: Provider) -> None:
    for name in (A, B):
        made.file(name, "factor").unlink()
    assert run("check", "--qlib-dir", made.root).exit_code == 4  # only some have one
    made.file(C, "factor").unlink()
    assert run("check", "--qlib-dir", made.root).exit_code == 3
    assert "no instrument has a factor" in run("check", "--qlib-dir", made.root).stdout


def test_the_table_says_what_where_when_and_how_often(made: Provider) -> None:
    made.set(A, "low", 30, -1.0)
    told = run("check", "--qlib-dir", made.root).stdout
    for word in (
        "non_positive_price",
        "prices of zero or less",
        A,
        "low",
        "2021-03-02 06:00",
        "the lowest -1",
        "errors:",
    ):
        assert word in told
    assert "21 files of 3 instruments at 60min" in told


def test_the_json_holds_every_finding_and_infinity_in_words(made: Provider) -> None:
    made.set(A, "volume", 30, 0.0)
    told = as_json("check", "--qlib-dir", made.root)
    assert (told["worst"], told["n_instruments"], told["n_files"]) == ("info", 3, 21)
    (step,) = (row for row in told["problems"] if row["problem"] == "large_step")
    assert (step["instrument"], step["field"], step["value"], step["n"]) == (A, "volume", None, 1)
    assert step["time"] == "2021-03-02T07:00:00+00:00"
    assert step["found"].endswith("the largest inf")
    assert sum(row["findings"] for row in told["counts"]) == len(told["problems"]) == 4


def test_thresholds_are_options(made: Provider) -> None:
    made.set(A, "volume", 30, 6.0)
    for options, n in (
        (("--max-volume-step", "10"), 0),
        (("--max-volume-step", "0.9", "--max-price-step", "0.01"), 15),
    ):
        told = as_json("check", "--qlib-dir", made.root, *options)
        found = {(row["instrument"], row["field"]) for row in told["problems"] if row["problem"] == "large_step"}
        assert len(found) >= n
        assert bool(found) == bool(n)


def test_the_screen_is_capped_and_says_so(made: Provider) -> None:
    for number in range(9):
        made.add_line(made.listed, f"zz{number}\t{at(0):%F %T}\t{at(9):%F %T}")
    result = run("check", "--qlib-dir", made.root, "--limit", "2")
    assert result.stdout.count("there is no features/zz") == 2
    assert "7 further findings" in result.stderr


@pytest.mark.parametrize(
    "severity", ["gap", "gap=fatal", "gapp=error"]
)  # fmt: skip
def test_a_severity_that_does_not_exist_is_wrong_use(made: Provider, severity: str) -> None:
    with pytest.raises(UsageError, match="severity"):
        run("check", "--qlib-dir", made.root, "--severity", severity)


def test_a_directory_that_is_none_is_one_clear_message(tmp_path: Path) -> None:
    for command in ("check", "describe"):
        with pytest.raises(InputError, match="no such directory"):
            run(command, "--qlib-dir", tmp_path / "nowhere")
        with pytest.raises(InputError, match="no QLib provider directory"):
            run(command, "--qlib-dir", tmp_path)


@pytest.mark.slow
def test_the_program_ends_with_the_status_and_no_traceback(made: Provider, tmp_path: Path) -> None:
    def status(*arguments: object) -> tuple[int, str]:
        command = [sys.executable, "-m", "pipeline.cli", "bins", "check", *map(str, arguments)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert "Traceback" not in done.stderr
        return done.returncode, done.stderr

    made.file(A, "low").unlink()
    assert status("--qlib-dir", made.root)[0] == 4
    assert status("--qlib-dir", tmp_path / "nowhere")[0] == 1
    assert status("--qlib-dir", made.root, "--freq", "day")[0] == 2


def test_hostile_names_are_shown_and_never_interpreted(made: Provider) -> None:
    features = made.root / "features"
    names = ["a\nb", "\x1b[31mred", "[bold]x", "n" * 255, "\u202eevil", "=1+1", "..."]
    for name in names:
        (features / name).mkdir()
        for field in FIELDS:
            (features / name / f"{field}.60min.bin").write_bytes(np.array([0, 1], "<f4").tobytes())
    (features / os.fsdecode(b"\xff\xfe")).mkdir()
    (features / A / "\x1b]0;owned\x07.60min.bin").write_bytes(b"")
    made.add_line(made.listed, f"a\x1b[2Jb\t{at(0):%F %T}\t{at(9):%F %T}")
    for arguments in (("check", "--limit", "500"), ("check", "--json"), ("describe",), ("describe", "--json")):
        result = run(*arguments, "--qlib-dir", made.root)
        assert not {"\x1b", "\x07", "\r"} & set(result.stdout + result.stderr)
        if "--json" in arguments:
            json.loads(result.stdout)
        else:
            assert "\u202e" not in result.stdout
    told = as_json("check", "--qlib-dir", made.root)
    orphans = {row["instrument"] for row in told["problems"] if row["problem"] == "orphan_folder"}
    assert orphans == {*names, r"\xff\xfe"}
    assert "[bold]x" in run("check", "--qlib-dir", made.root, "--limit", "500").stdout


def test_describe_counts_what_there_is(made: Provider) -> None:
    made.set(B, "factor", 31, 1.0)  # in a gap: a factor alone is no bar
    told = as_json("describe", "--qlib-dir", made.root)
    (one,) = told["freqs"]
    assert (told["export_id"], told["lists"]) == (None, {"all": 3})
    assert (one["freq"], one["n_instruments"], one["n_files"], one["n_times"]) == ("60min", 3, 21, 100)
    assert (one["calendar_first"], one["calendar_last"]) == ("2021-03-01T00:00:00+00:00", "2021-03-05T03:00:00+00:00")
    assert one["n_bytes"] == sum(path.stat().st_size for path in made.root.rglob("*.bin"))
    n_places = 100 + 60 + 60
    assert (one["n_bars"], one["gap_share"]) == (n_places - 9, pytest.approx(9 / n_places))
    shares = dict.fromkeys(sorted(FIELDS), pytest.approx(9 / n_places))
    assert one["missing_shares"] == shares | {"factor": pytest.approx(8 / n_places)}
    assert one["first_range"] == [A, "2021-03-01T00:00:00+00:00", "2021-03-05T03:00:00+00:00"]
    assert one["last_range"][0] == C
    screen = run("describe", "--qlib-dir", made.root).stdout
    assert "missing volume" in screen
    assert "4.1%" in screen


def test_describe_says_how_much_of_a_field_is_missing_where_it_is_there(made: Provider) -> None:
    for field in ("vwap", "factor"):
        made.set(B, field, 40, np.nan)
    shutil.rmtree(made.root / "features" / C)
    shares = as_json("describe", "--qlib-dir", made.root, "--freq", "60min")["freqs"][0]["missing_shares"]
    assert shares["vwap"] == shares["factor"] == pytest.approx(7 / 160)
    assert shares["open"] == pytest.approx(6 / 160)
