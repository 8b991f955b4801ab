"""One screen about everything, whatever the installation is like."""

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import sqlalchemy as sa
from dagster_postgres.run_storage import PostgresRunStorage
from dagster_postgres.schedule_storage import PostgresScheduleStorage
from typer.testing import CliRunner

from pipeline.cli import app
from pipeline.cli.status_runs import seen_runs
from pipeline.errors import UsageError
from pipeline.lake import Lake
from pipeline.monitoring.alerts.events import rows_of
from pipeline.monitoring.alerts.journal import acknowledge
from pipeline.monitoring.status import RunsHealth
from pipeline.promotion.moves import Move, Moves
from pipeline.tables import ALERTS, ANSWERS, DRIFT_REPORTS, QUALITY_REPORTS, TABLES, Table
from resources.roster import Restart, Roster
from resources.settings import Settings
from tests.builders import valid_frame
from tests.monitoring.alert_bench import event

NOW = datetime.now(UTC)
HOSTILE = "<script>\x1b[2J\u202e[red]"


def asked(data_dir: Path, *more: str) -> tuple[int, str]:
    told = CliRunner().invoke(app, ["status", "--data-dir", str(data_dir), *more])
    assert told.exception is None or isinstance(told.exception, SystemExit), told.exc_info
    return told.exit_code, told.output


def as_json(data_dir: Path) -> tuple[int, dict[str, Any]]:
    status, text = asked(data_dir, "--json")

    def refuse(name: str) -> None:
        raise AssertionError(name)

    return status, json.loads(text, parse_constant=refuse)


def rows(table: Table, **values: object) -> pl.DataFrame:
    """One valid row with other values."""
    dtypes = table.schema
    changed = [pl.lit(value, dtypes[name]).alias(name) for name, value in values.items()]
    return valid_frame(table, n_rows=1).with_columns(changed).select(dtypes.names())


def test_a_new_installation_is_well_and_says_what_to_do(tmp_path: Path) -> None:
    status, text = asked(tmp_path)
    assert status == 0
    assert "There is no table yet" in text
    assert "PostgreSQL does not run" in text
    assert list(tmp_path.iterdir()) == []
    status, told = as_json(tmp_path)
    assert (status, told["attention"], told["tables"]) == (0, [], [])


def test_another_working_directory_is_no_new_installation_either(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("POOLCAST_DATA_DIR", raising=False)
    with pytest.raises(UsageError, match="there is no data folder"):
        CliRunner().invoke(app, ["status"], catch_exceptions=False)


def test_what_was_not_looked_at_is_not_said_to_be_well_and_who_expects_up_is_told(tmp_path: Path) -> None:
    status, text = asked(tmp_path)
    assert status == 0
    assert "All is well" not in text
    assert "Nothing that was looked at needs attention; runs and schedules were not." in " ".join(text.split())
    told = CliRunner().invoke(app, ["status", "--data-dir", str(tmp_path), "--expect-up"])
    assert told.exit_code == 1
    assert "Needs attention: `poolcast up` does not run" in told.output


def test_a_mistyped_folder_is_no_new_installation(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there is no data folder"):
        CliRunner().invoke(app, ["status", "--data-dir", str(tmp_path / "dtaa")], catch_exceptions=False)
    assert not (tmp_path / "dtaa").exists()


def test_everything_has_its_line_and_what_is_wrong_needs_attention(tmp_path: Path) -> None:
    lake = Lake(tmp_path / "lake")
    old = NOW - timedelta(hours=1)
    lake.append(ANSWERS, rows(ANSWERS, event_time=old, known_at=old, asked_at=old))
    Moves(lake, None).move(Move("pool-outcome", "promote", 1, "a" * 64, "gate", "why"), at=old)
    report = {"known_at": old, "model_name": "pool-outcome", "model_version": 1, "source": "s", "is_drifted": True}
    lake.append(DRIFT_REPORTS, rows(DRIFT_REPORTS, **report, kind="alarm", subject="stands"))
    lake.append(DRIFT_REPORTS, rows(DRIFT_REPORTS, **report, kind="feature", subject="volume_h1_usd", js=0.31))
    lake.append(DRIFT_REPORTS, rows(DRIFT_REPORTS, **report, kind="feature", subject=HOSTILE, js=0.01))
    for hours in (1, 2, 3):
        score = {"source": "s", "table_name": "features", "part": "score", "subject": "all", "score": 40.0}
        lake.append(QUALITY_REPORTS, rows(QUALITY_REPORTS, known_at=NOW - timedelta(hours=hours), **score))
    lake.append(ALERTS, rows_of([event("train", title=f"train: {HOSTILE}", at=old)], old))
    status, text = asked(tmp_path)
    assert status == 1
    for expected in (
        "pool-outcome: champion version 1",
        "ALARM; 2 features moved: js volume_h1_usd 0.31",
        "features of s",
        "BELOW THE FLOOR",
        "warning, open: train",
        "Needs attention: answers is older than it may be",
        "Needs attention: pool-outcome version 1 suffers from drift",
        "Needs attention: quality of features of s is below its floor",
        "Needs attention: nobody acknowledged: train",
    ):
        assert expected in " ".join(text.split()), expected
    assert not re.search(r"[\x00-\x08\x0b-\x1f\u202e]", text)
    status, told = as_json(tmp_path)
    assert status == 1
    assert told["drift"][0]["features"][0] == ["volume_h1_usd", 0.31]
    assert told["models"][0]["champion"] == 1
    assert told["tables"][0]["table"] == "answers"
    since = (datetime.now(UTC) - old) / timedelta(hours=1)
    assert told["tables"][0]["age_hours"] == pytest.approx(since, abs=0.1)


def test_what_is_critical_and_has_no_end_is_open_until_somebody_acknowledges_it(tmp_path: Path) -> None:
    lake, at = Lake(tmp_path / "lake"), NOW - timedelta(days=9)
    told: dict[str, Any] = {"state": "told", "at": at}
    thrown_out = event("pool-outcome", kind="promotion.rollback", title="version 2 was thrown out", **told)
    pinned = event("pool-outcome", kind="promotion.pin", title="it was pinned", **told)
    lake.append(ALERTS, rows_of([thrown_out, pinned], at))
    status, text = asked(tmp_path)
    assert status == 1
    assert "critical, open: version 2 was thrown out" in text
    assert "warning, said: it was pinned" in text
    assert [line for line in text.splitlines() if line.startswith("Needs attention: ")] == [
        "Needs attention: nobody acknowledged: version 2 was thrown out"
    ]
    alert_id = next(each["alert_id"] for each in as_json(tmp_path)[1]["alerts"] if each["severity"] == "critical")
    acknowledge(lake, alert_id, "me", None, NOW)
    status, text = asked(tmp_path)
    assert status == 0
    assert "critical, said: version 2 was thrown out" in text


def test_reports_that_are_too_old_to_be_shown_are_not_said_to_be_missing(tmp_path: Path) -> None:
    lake, old = Lake(tmp_path / "lake"), datetime(2024, 3, 9, 14, tzinfo=UTC)
    text = asked(tmp_path)[1]
    assert "Drift    no report of the last week\n" in text
    assert "Quality  no report of the last two weeks\n" in text
    lake.append(DRIFT_REPORTS, rows(DRIFT_REPORTS, known_at=old))
    lake.append(QUALITY_REPORTS, rows(QUALITY_REPORTS, known_at=old))
    text = asked(tmp_path)[1]
    assert "Drift    no report of the last week; the newest is of 2024-03-09 14:00\n" in text
    assert "Quality  no report of the last two weeks; the newest is of 2024-03-09 14:00\n" in text


def test_a_table_that_cannot_be_read_and_a_broken_ledger_are_lines_and_no_end(tmp_path: Path) -> None:
    lake = Lake(tmp_path / "lake")
    for n in (1, 2):
        Moves(lake, None).move(Move("pool-outcome", "promote", n, "a" * 64, "gate", "why"), at=NOW)
    lake.append(ALERTS, rows_of([event()], NOW))
    for broken in (tmp_path / "lake" / "alerts").rglob("*.parquet"):
        broken.write_bytes(b"nonsense")
    ledger = next((tmp_path / "lake" / "deployments").rglob("*.parquet"))
    ledger.unlink()
    status, text = asked(tmp_path)
    assert status == 1
    assert "Needs attention: could not read" in " ".join(text.split())


def test_every_table_there_is_stands_on_the_screen_in_no_time(tmp_path: Path) -> None:
    lake = Lake(tmp_path / "lake")
    for table in TABLES.values():
        if table.name != "deployments":
            lake.append(table, valid_frame(table, n_rows=3))
    started = time.process_time()
    _status, told = as_json(tmp_path)
    assert time.process_time() - started < 2.0
    assert {each["table"] for each in told["tables"]} == set(TABLES) - {"deployments"}


def test_servers_that_died_were_restarted_or_left_behind_are_told(tmp_path: Path) -> None:
    (tmp_path / "lake").mkdir()
    roster = Roster(tmp_path / "up.json")
    roster.clear()
    roster.note_ready()
    roster.add("MLflow", os.getppid())
    for n in (30, 3, 2, 1):
        roster.note(Restart(NOW - timedelta(hours=n), "MLflow", "MLflow died (\x1b[2J)"))
    status, text = asked(tmp_path)
    assert status == 1
    assert "`poolcast up` runs; started again in the last day: 3" in " ".join(text.split())
    assert "Needs attention: MLflow was started again 3 times in the last day" in " ".join(text.split())
    assert "\x1b[2J" not in text
    child = subprocess.Popen(["sleep", "60"])
    roster.add("MLflow", child.pid)
    noted = (tmp_path / "up.json").read_text()
    (tmp_path / "up.json").write_text(noted.replace(f'"pid": {os.getpid()},', f'"pid": {2**22 + 1},'))
    assert "`poolcast up` was killed and left MLflow behind" in " ".join(asked(tmp_path)[1].split())
    child.kill()
    child.wait()
    assert as_json(tmp_path)[1]["parts"] == {
        "is_up": False, "is_starting": False, "dead": [], "left": [], "restarts": [],
    }  # fmt: skip
    (tmp_path / "up.json").write_text(noted)
    assert as_json(tmp_path)[1]["parts"]["dead"] == ["MLflow"]


def test_while_everything_starts_it_is_not_said_to_be_well(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.cli.status_runs.seen_runs", lambda *_: RunsHealth())
    roster = Roster(tmp_path / "up.json")
    roster.clear()
    roster.add("MLflow", os.getppid())
    status, text = asked(tmp_path)
    assert status == 0
    assert "`poolcast up` is starting" in text
    assert text.endswith("Nothing needs attention so far: `poolcast up` is starting, look again soon.\n")
    roster.note_ready()
    assert asked(tmp_path)[1].endswith("All is well.\n")


def test_the_command_loads_nothing_slow() -> None:
    names = "pipeline.cli.status, pipeline.cli.status_runs, pipeline.monitoring.status, resources.roster"
    code = f"import sys, {names}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"dagster", "mlflow", "apprise", "pandas"} & set(done.stdout.split())


@contextmanager
def dagster_database(url: str) -> Iterator[str]:
    """A database called as ours, with the tables that Dagster makes."""
    engine = sa.create_engine(url, isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)
    with engine.connect() as connection:
        connection.execute(sa.text("CREATE DATABASE poolcast_dagster"))
    yield sa.engine.make_url(url).set(database="poolcast_dagster").render_as_string(hide_password=False)
    with engine.connect() as connection:
        connection.execute(sa.text("DROP DATABASE poolcast_dagster WITH (FORCE)"))


@pytest.mark.slow
def test_runs_and_schedules_are_read_from_dagsters_own_tables(database: str, tmp_path: Path) -> None:
    import dagster as dg
    from dagster._core.remote_origin import (
        InProcessCodeLocationOrigin,
        RemoteInstigatorOrigin,
        RemoteRepositoryOrigin,
    )
    from dagster._core.scheduler.instigation import (
        InstigatorState,
        InstigatorStatus,
        InstigatorType,
        ScheduleInstigatorData,
        TickData,
        TickStatus,
    )
    from dagster._core.types.loadable_target_origin import LoadableTargetOrigin

    with dagster_database(database) as url:
        runs, schedules = PostgresRunStorage(url, True), PostgresScheduleStorage(url, True)
        for job, status in (("train", "SUCCESS"), ("train", "FAILURE"), ("serve", "FAILURE"), ("serve", "SUCCESS")):
            runs.add_run(dg.DagsterRun(job_name=job, status=dg.DagsterRunStatus(status)))
        for name, status in (("hourly", "RUNNING"), ("off", "STOPPED"), ("weekly", "DECLARED_IN_CODE")):
            target = LoadableTargetOrigin(python_file="graph.py")
            origin = RemoteInstigatorOrigin(RemoteRepositoryOrigin(InProcessCodeLocationOrigin(target), "graph"), name)
            state = InstigatorState(
                origin, InstigatorType.SCHEDULE, InstigatorStatus(status), ScheduleInstigatorData("7 * * * *")
            )
            schedules.add_instigator_state(state)
            if name == "hourly":
                schedules.create_tick(
                    TickData(
                        state.instigator_origin_id, name, InstigatorType.SCHEDULE, TickStatus.SKIPPED,
                        NOW.timestamp(), selector_id=state.selector_id,
                    )
                )  # fmt: skip
        found = seen_runs(Settings(tmp_path, postgres_url=database), NOW)
    assert found.problem is None
    assert (found.n_succeeded, found.n_failed, found.n_under_way) == (2, 2, 0)
    assert [job for job, _at in found.failed] == ["train"]
    ((hourly, ticked), (weekly, never)) = found.schedules
    assert (hourly, weekly, never) == ("hourly", "weekly", None)
    assert ticked is not None
    assert abs(ticked - NOW) < timedelta(seconds=1)


def test_a_database_that_does_not_answer_is_said_without_its_password(tmp_path: Path) -> None:
    settings = Settings(tmp_path, postgres_url="postgresql://me:topsecret@127.0.0.1:1/x")
    found = seen_runs(settings, NOW)
    assert found.problem is not None
    assert "topsecret" not in found.problem
    assert "did not answer" in found.problem
    assert found.is_silent


@pytest.mark.parametrize(
    "url",
    [
        "garbage:topsecret@@",
        "mysql://u:topsecret@h/x",
        "postgresql://u:topsecret@h:port/x",
        "postgresql://u:p@topsecret@h/x",
    ],
)
def test_what_is_no_address_of_a_database_is_wrong_use_and_is_not_shown(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POOLCAST_POSTGRES_URL", url)
    with pytest.raises(UsageError, match="POOLCAST_POSTGRES_URL is not an address") as raised:
        CliRunner().invoke(app, ["status", "--data-dir", str(tmp_path)], catch_exceptions=False)
    assert "secret" not in str(raised.value)


@pytest.mark.slow
def test_a_server_that_dagster_never_used_is_no_alarm(database: str, tmp_path: Path) -> None:
    found = seen_runs(Settings(tmp_path, postgres_url=database), NOW)
    assert found.problem is not None
    assert "Dagster never used it" in found.problem
    assert not found.is_silent


def test_a_file_where_the_data_should_lie_is_not_well(tmp_path: Path) -> None:
    (tmp_path / "data").touch()
    status, text = asked(tmp_path / "data")
    assert status == 1
    assert "is no folder" in " ".join(text.split())
