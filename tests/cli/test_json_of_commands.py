"""JSON is printed in one way: any reader takes it, and no terminal reads anything else into it."""

import json
import re
from datetime import UTC, date, datetime, time
from decimal import Decimal
from pathlib import Path

import polars as pl
import pytest

from pipeline.cli.rows import print_rows_as_json
from pipeline.cli.screen import print_json

COMMANDS = Path(__file__).parents[2] / "pipeline" / "cli"
NOON = datetime(2024, 3, 1, 12, tzinfo=UTC)


def no_constant(word: str) -> None:
    raise AssertionError(word)


def test_what_json_has_no_word_for_is_text_or_null(capsys: pytest.CaptureFixture[str]) -> None:
    value = {
        "at": NOON, "day": date(2024, 3, 1), "time": time(12, 30), "body": b"abc",
        24: [float("nan"), float("-inf"), 0.5], "path": Path("a/b"), "exact": Decimal("1.50"), "pair": (None, True),
    }  # fmt: skip
    print_json(value)
    assert json.loads(capsys.readouterr().out, parse_constant=no_constant) == {
        "at": "2024-03-01T12:00:00+00:00", "day": "2024-03-01", "time": "12:30:00", "body": "3 bytes",
        "24": [None, None, 0.5], "path": "a/b", "exact": "1.50", "pair": [None, True],
    }  # fmt: skip


def test_names_from_a_chain_reach_a_terminal_as_plain_letters_and_a_reader_whole(
    capsys: pytest.CaptureFixture[str],
) -> None:
    hostile = "[red]\x1b[2J\u202e\U0001f680\ud800\n"
    print_json({hostile: hostile})
    out = capsys.readouterr().out
    assert out.isascii()
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f]", out)
    assert json.loads(out) == {hostile: hostile}


def test_rows_are_one_line_and_other_answers_are_indented(capsys: pytest.CaptureFixture[str]) -> None:
    print_rows_as_json(pl.DataFrame({"at": [NOON, None], "x": [float("nan"), 1.0]}))
    out = capsys.readouterr().out
    assert out.count("\n") == 1
    assert json.loads(out) == [{"at": NOON.isoformat(), "x": None}, {"at": None, "x": 1.0}]
    print_json({"a": [1]})
    assert capsys.readouterr().out.startswith('{\n  "a"')


def test_no_command_prints_json_by_itself() -> None:
    printing = re.compile(r"(echo|write|print\w*)\(\s*json\.dumps|\.print_json\(")
    found = {path.name for path in COMMANDS.glob("*.py") if printing.search(path.read_text())}
    assert found == set()
