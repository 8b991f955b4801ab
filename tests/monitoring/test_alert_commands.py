"""`poolcast alerts` as a person uses it."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from pipeline.cli.alerts import alerts
from pipeline.errors import UsageError
from pipeline.lake import Lake
from pipeline.monitoring.alerts.journal import record
from tests.monitoring.alert_bench import Web, event, free_port

NOW = datetime.now(UTC)
Run = Callable[..., Result]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.delenv("POOLCAST_ALERTS_TO", raising=False)
    monkeypatch.delenv("POOLCAST_ALERT_RULES", raising=False)
    monkeypatch.setenv("POOLCAST_DATA_DIR", str(tmp_path))

    def told(*arguments: str) -> Result:
        result = CliRunner().invoke(alerts, list(arguments))
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result

    return told


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    made = Lake(tmp_path / "lake")
    record(made, [event("old", at=NOW - timedelta(days=3))], NOW - timedelta(days=3))
    record(made, [event("new", at=NOW, title="<b>\x1b[2J", details=("x",))], NOW)
    return made


def test_what_happened_is_listed_newest_first_and_since_when_one_wants(run: Run, lake: Lake) -> None:
    told = json.loads(run("list", "--json").output)
    assert [each["subject"] for each in told] == ["new", "old"]
    assert [each["subject"] for each in json.loads(run("list", "--since", "36h", "--json").output)] == ["new"]
    assert len(json.loads(run("list", "--since", "2020-01-01", "--json").output)) == 2
    assert "\x1b" not in run("list").output
    with pytest.raises(UsageError, match="found 'yesterday'; or how long ago"):
        run("list", "--since", "yesterday")


def test_an_alert_is_acknowledged_by_the_beginning_of_its_id(run: Run, lake: Lake) -> None:
    first = json.loads(run("list", "--json").output)[0]["alert_id"]
    run("ack", first[:8], "--reason", "on it")
    left = json.loads(run("list", "--unacknowledged", "--json").output)
    assert [each["subject"] for each in left] == ["old"]
    known = next(each for each in json.loads(run("list", "--json").output) if each["alert_id"] == first)
    assert known["acknowledged_reason"] == "on it"
    assert known["acknowledged_by"]
    for wrong in ("", "nonsense"):
        with pytest.raises(UsageError, match="found 0 alerts"):
            run("ack", wrong)


def test_where_nothing_happened_and_nobody_is_named_that_is_said(run: Run) -> None:
    assert "Nothing happened" in run("list").output
    assert json.loads(run("list", "--json").output) == []
    assert "POOLCAST_ALERTS_TO names no receiver" in run("deliver").output
    with pytest.raises(UsageError, match="POOLCAST_ALERTS_TO"):
        run("test")


@pytest.mark.slow
def test_a_test_says_for_each_receiver_whether_it_arrived(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    web = Web(free_port())
    monkeypatch.setenv("POOLCAST_ALERTS_TO", f"json://me:topsecret@127.0.0.1:{web.port}/ json://127.0.0.1:1/topsecret")
    with web.up():
        done = run("test", "--severity", "critical")
    assert done.exit_code == 1
    assert done.output.count("1 arrived") == 1
    assert done.output.count("0 arrived, 1 not: it could not be reached, or refused") == 1
    assert "topsecret" not in done.output
    assert web.titles == ["poolcast critical: this is a test"]
    with pytest.raises(UsageError, match="no severity 'loud'"):
        run("test", "--severity", "loud")


def test_the_rules_in_force_are_shown_for_every_kind(run: Run) -> None:
    shown = run("rules").output
    assert "drift.harm" in shown
    assert "Rules: built in" in shown
