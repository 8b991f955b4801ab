"""A moment that a person types is read alike by every option that takes one."""

from datetime import UTC, datetime

import pytest
from typer.testing import CliRunner

from pipeline.cli import app
from pipeline.cli.moments import is_day, moment
from pipeline.errors import UsageError

EIGHT = datetime(2026, 1, 31, 8, tzinfo=UTC)
OPTIONS = [
    ("alerts", "list", "--since"),
    ("bins", "export", "--start-date"),
    ("bins", "export", "--end-date"),
    ("bins", "export", "--calendar-start"),
    ("drift", "report", "--at"),
    ("predictions", "query", "--since"),
    ("predictions", "query", "--until"),
    ("quality", "quarantine", "list", "--since"),
]


@pytest.mark.parametrize("told", ["2026-01-31T08:00Z", "2026-01-31T08:00+00:00", "2026-01-31 10:00+02:00"])
def test_a_zone_that_is_named_is_converted_without_a_word(told: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert moment(told, "--at") == EIGHT
    assert capsys.readouterr().err == ""


def test_an_hour_without_a_zone_is_utc_and_that_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    assert moment("2026-01-31T08:00", "--at") == EIGHT
    assert capsys.readouterr().err == "--at 2026-01-31T08:00 names no zone: read as UTC\n"


def test_a_day_is_one_of_utc_and_nothing_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    assert moment(" 2026-01-31 ", "--at") == EIGHT.replace(hour=0)
    assert capsys.readouterr().err == ""
    assert is_day("2026-01-31")
    assert not is_day("2026-01-31T00:00")


@pytest.mark.parametrize("told", ["yesterday", "", "2026-02-30", "0001-01-01T00:00+05:00", "9999-12-31T23:59-05:00"])
def test_what_is_no_moment_of_the_calendar_is_refused_with_what_was_found(told: str) -> None:
    with pytest.raises(UsageError, match="--at takes a day or a moment") as refused:
        moment(told, "--at")
    assert repr(told) in str(refused.value)


@pytest.mark.parametrize("command", OPTIONS, ids=" ".join)
def test_every_option_refuses_in_the_same_words(command: tuple[str, ...], tmp_path: object) -> None:
    done = CliRunner().invoke(app, [*command, "0001-01-01T00:00+05:00", "--data-dir", str(tmp_path)])
    assert isinstance(done.exception, UsageError)
    assert f"{command[-1]} takes a day or a moment such as 2026-01-31" in str(done.exception)
