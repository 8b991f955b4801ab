"""The watch over runs, checks, schedules and tables, on a real Dagster instance; and people being told."""

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import dagster as dg
import polars as pl
import pytest
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

from pipeline.calendars import SystemClock
from pipeline.lake import Lake
from pipeline.monitoring.alerts.deliver import due
from pipeline.monitoring.alerts.journal import remembered
from pipeline.monitoring.alerts.rules import Rules
from pipeline.monitoring.alerts.setup import AlertSetup
from pipeline.monitoring.alerts.spec import ALERTING
from pipeline.promotion.moves import Move, Moves
from pipeline.tables import ALERT_DELIVERIES, ALERTS, ANSWERS
from resources.messenger import is_delivering
from sensors.alerts import LOOK_EVERY, alerts_told, failed_runs
from tests.builders import valid_frame
from tests.monitoring.alert_bench import MovingClock, Web, free_port


@dg.asset(name="answers")
def sound() -> None: ...


@dg.asset_check(asset=sound, blocking=True, name="answers_as_specified")
def broken_check() -> dg.AssetCheckResult:
    return dg.AssetCheckResult(passed=False, description="answers: 3 rows\n- such as <script>alert(1)</script>")


@dg.asset_check(asset=sound, name="answers_are_fresh")
def old_check() -> dg.AssetCheckResult:
    return dg.AssetCheckResult(passed=False, severity=dg.AssetCheckSeverity.WARN, description="old")


@dg.asset
def broken() -> None:
    raise ValueError("pool <img src=x onerror=alert(1)> is broken")


@dataclass
class Watched:
    """An instance, a lake and a clock under the two sensors."""

    instance: dg.DagsterInstance
    folder: Path
    clock: MovingClock
    to: str | None = None
    cursor: str | None = None

    @property
    def lake(self) -> Lake:
        return Lake(self.folder / "lake")

    @property
    def doors(self) -> dict[str, object]:
        setup = AlertSetup(self.folder / "alerts", None, self.to)
        return {"lake": self.lake, "clock": self.clock, "wall_clock": self.clock, "alert_setup": setup}

    def runs(
        self, job: str, *assets: object, is_noticed: bool = True, is_stopped: bool = False
    ) -> dg.SkipReason | None:
        definitions = dg.Definitions(
            assets=[each for each in assets if isinstance(each, dg.AssetsDefinition) and each.keys],
            asset_checks=[each for each in assets if isinstance(each, dg.AssetsDefinition) and not each.keys],
            jobs=[dg.define_asset_job(job)],
            executor=dg.in_process_executor,
        )
        made = definitions.resolve_job_def(job)
        result = made.execute_in_process(instance=self.instance, raise_on_error=False)
        if is_stopped:
            self.instance.report_run_canceled(result.dagster_run)
        if result.success or not is_noticed:
            return None
        (event,) = [e for e in result.all_events if e.event_type is dg.DagsterEventType.RUN_FAILURE]
        context = dg.build_run_status_sensor_context(
            sensor_name="failed_runs", dagster_event=event, dagster_instance=self.instance,
            dagster_run=result.dagster_run, resources={"lake": self.lake, "wall_clock": self.clock},
        )  # fmt: skip
        said = failed_runs(context.for_run_failure())
        assert said is None or isinstance(said, dg.SkipReason)
        return said

    def tick(self) -> str:
        context = dg.build_sensor_context(instance=self.instance, cursor=self.cursor, resources=self.doors)
        result = alerts_told(context)
        assert isinstance(result, dg.SensorResult)
        self.cursor = result.cursor
        return str(result.skip_reason.skip_message if result.skip_reason else "")

    def looks_again(self) -> str:
        self.clock.moment += LOOK_EVERY
        return self.tick()

    @property
    def alerts(self) -> list[tuple[str, str, str]]:
        rows = remembered(self.lake, ALERTS, self.clock.now()).sort("known_at", "event_time", "key")
        return rows.select("kind", "state", "subject").rows()


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.instance_for_test() as made:
        yield made


@pytest.fixture
def watched(instance: dg.DagsterInstance, tmp_path: Path) -> Watched:
    return Watched(instance, tmp_path, MovingClock(SystemClock().now()))


def test_a_failed_blocking_check_is_told_by_name_and_a_warning_is_not(watched: Watched) -> None:
    watched.runs("collect", sound, broken_check, old_check)
    assert watched.alerts == [("check.failed", "raised", "collect/answers answers_as_specified")]
    (row,) = remembered(watched.lake, ALERTS, watched.clock.now()).to_dicts()
    assert row["severity"] == "critical"
    assert "(script)alert(1)(/script)" in row["details"]


def test_a_failed_run_is_told_once_with_its_steps_and_is_over_when_its_job_succeeds(watched: Watched) -> None:
    watched.runs("train", broken)
    (row,) = remembered(watched.lake, ALERTS, watched.clock.now()).to_dicts()
    assert row["title"] == "train: a run failed, in broken"
    assert row["details"] == "ValueError: pool (img src=x onerror=alert(1)) is broken"
    watched.tick()
    watched.looks_again()
    assert watched.alerts == [("run.failed", "raised", "train")]
    watched.runs("train", sound)
    for _ in range(3):
        watched.looks_again()
    assert watched.alerts == [("run.failed", "raised", "train"), ("run.failed", "recovered", "train")]


def registry(answers: bool) -> dg.AssetsDefinition:
    """The asset `trial` as it tells of the registry."""

    @dg.asset(name="trial", check_specs=[dg.AssetCheckSpec(name="registry_answers", asset="trial")])
    def asks() -> dg.MaterializeResult:  # type: ignore[type-arg]  # with checks, Dagster takes the bare class alone
        severity = dg.AssetCheckSeverity.WARN
        told = dg.AssetCheckResult(passed=answers, severity=severity, description="a server that is down")
        return dg.MaterializeResult(check_results=[told])

    return asks


def test_a_registry_that_is_away_is_told_though_no_run_fails_and_is_over_when_it_answers(watched: Watched) -> None:
    watched.tick()
    assert watched.alerts == []
    watched.runs("serve", registry(False))
    watched.looks_again()
    assert watched.alerts == [("registry.away", "raised", "trial")]
    (row,) = remembered(watched.lake, ALERTS, watched.clock.now()).to_dicts()
    assert row["details"] == "a server that is down"
    watched.runs("serve", registry(True))
    for _ in range(3):
        watched.looks_again()
    assert watched.alerts == [("registry.away", "raised", "trial"), ("registry.away", "recovered", "trial")]


def scheduled(watched: Watched, name: str, cron: str, *, on: bool, ticked: timedelta | None) -> None:
    target = LoadableTargetOrigin(python_file="graph.py")
    origin = RemoteInstigatorOrigin(RemoteRepositoryOrigin(InProcessCodeLocationOrigin(target), "graph"), name)
    began = (watched.clock.now() - timedelta(days=30)).timestamp()
    status = InstigatorStatus.RUNNING if on else InstigatorStatus.STOPPED
    state = InstigatorState(origin, InstigatorType.SCHEDULE, status, ScheduleInstigatorData(cron, began))
    watched.instance.add_instigator_state(state)
    if ticked is not None:
        at = (watched.clock.now() - ticked).timestamp()
        watched.instance.create_tick(
            TickData(
                state.instigator_origin_id, name, InstigatorType.SCHEDULE, TickStatus.SKIPPED, at,
                selector_id=state.selector_id,
            )
        )  # fmt: skip


def test_a_schedule_that_is_on_and_missed_two_ticks_is_told_and_no_other(tmp_path: Path) -> None:
    with dg.instance_for_test() as of_its_own:
        _missing(Watched(of_its_own, tmp_path, MovingClock(SystemClock().now())))


def _missing(watched: Watched) -> None:
    now = watched.clock.now()
    watched.cursor = json.dumps({
        "looked_at": (now - LOOK_EVERY).isoformat(), "looking_since": (now - timedelta(days=9)).isoformat()
    })  # fmt: skip
    scheduled(watched, "late", "7 * * * *", on=True, ticked=timedelta(hours=3))
    scheduled(watched, "never", "*/5 * * * *", on=True, ticked=None)
    scheduled(watched, "one_late", "7 * * * *", on=True, ticked=timedelta(minutes=61))
    scheduled(watched, "weekly", "0 3 * * 0", on=True, ticked=timedelta(days=6))
    scheduled(watched, "off", "7 * * * *", on=False, ticked=timedelta(days=3))
    watched.tick()
    assert set(watched.alerts) == {("schedule.missed", "raised", name) for name in ("late", "never")}


def test_what_was_due_while_nothing_ran_is_no_alarm_after_a_start(watched: Watched) -> None:
    scheduled(watched, "frequent", "*/5 * * * *", on=True, ticked=timedelta(days=2))
    assert watched.tick().startswith("looked: 0 new")
    assert watched.looks_again().startswith("looked: 0 new")
    for _ in range(3):
        watched.looks_again()
    assert watched.alerts == [("schedule.missed", "raised", "frequent")]
    watched.clock.move(hours=20)  # a laptop slept; nobody knows yet that it is over, so it is not
    for _ in range(4):
        watched.looks_again()
    assert {state for _kind, state, _subject in watched.alerts} == {"raised"}


def test_a_run_that_somebody_stopped_is_no_failure(watched: Watched) -> None:
    assert watched.runs("train", broken, is_stopped=True) is not None
    assert watched.tick().startswith("looked: 0 new")


def test_a_failed_run_that_could_not_be_written_down_is_told_by_the_next_look(watched: Watched) -> None:
    (watched.folder / "lake").touch()  # nothing can be written
    said = watched.runs("train", broken)
    assert said is not None
    assert "could not" in str(said.skip_message)
    assert "could not look" in watched.tick()
    (watched.folder / "lake").unlink()
    assert watched.tick().startswith("looked: 1 new")
    watched.looks_again()
    assert watched.alerts == [("run.failed", "raised", "train")]


def test_a_look_finds_the_run_that_the_other_sensor_finds(watched: Watched) -> None:
    watched.runs("train", broken, is_noticed=False)
    watched.tick()
    watched.runs("collect", sound, broken_check)
    watched.looks_again()
    assert sorted(watched.alerts) == [
        ("check.failed", "raised", "collect/answers answers_as_specified"),
        ("run.failed", "raised", "train"),
    ]


def test_a_clock_that_went_ahead_and_was_set_right_stops_no_look(watched: Watched) -> None:
    right = watched.clock.now()
    watched.clock.move(days=400)
    watched.tick()
    watched.clock.moment = right
    assert watched.tick().startswith("looked: 0 new")


@pytest.mark.parametrize("cursor", ["nonsense", "[]", "{}", '{"looked_at": 3}', '{"looked_at": "2020-01-01"}'])
def test_a_cursor_that_somebody_set_stops_no_tick(watched: Watched, cursor: str) -> None:
    watched.cursor = cursor
    assert watched.tick().startswith("looked: 0 new")


def broken_table(watched: Watched, name: str) -> None:
    log = watched.folder / "lake" / name / "_delta_log"
    log.mkdir(parents=True)
    (log / f"{0:020}.json").write_text("nonsense")


def test_a_table_that_is_broken_hides_no_other_and_is_said(watched: Watched) -> None:
    broken_table(watched, "drift_reports")
    watched.runs("train", broken, is_noticed=False)
    Moves(watched.lake, None).move(Move("pool-outcome", "promote", 1, "a" * 64, "gate", "y"), at=watched.clock.now())
    said = watched.tick()
    assert said.startswith("looked: 2 new")
    assert "'drift_reports'" in said


def test_alerts_or_a_folder_that_is_broken_stops_no_tick(watched: Watched) -> None:
    watched.to = "json://127.0.0.1:1/"
    broken_table(watched, "alerts")
    (watched.folder / "alerts").touch()
    said = watched.tick()
    assert "could not look" in said
    assert "nobody is told: could not" in said
    assert watched.cursor == "{}"  # so that the next tick looks


def test_old_tables_and_moves_of_the_ledger_are_told(watched: Watched) -> None:
    now = watched.clock.now()
    answers = valid_frame(ANSWERS, n_rows=1).with_columns(
        pl.lit(now - timedelta(hours=1)).alias("event_time"),
        pl.lit(now - timedelta(hours=1)).alias("known_at"),
        pl.lit(now - timedelta(hours=1)).alias("asked_at"),
    )
    watched.lake.append(ANSWERS, answers.select(ANSWERS.schema.names()))
    Moves(watched.lake, None).move(Move("pool-outcome", "promote", 1, "a" * 64, "gate", "beats all"), at=now)
    watched.tick()
    told = {(kind, subject) for kind, _state, subject in watched.alerts}
    assert ("freshness.stale", "answers") in told
    assert ("promotion.promote", "pool-outcome") in told
    n_told = len(watched.alerts)
    watched.looks_again()
    assert len(watched.alerts) == n_told


def test_without_receivers_alerts_are_written_down_and_the_tick_says_so(watched: Watched) -> None:
    watched.runs("train", broken)
    assert "POOLCAST_ALERTS_TO names no receiver" in watched.tick()
    assert remembered(watched.lake, ALERT_DELIVERIES, watched.clock.now()).is_empty()


def test_a_wrong_rule_file_or_address_stops_no_tick_and_is_said(watched: Watched) -> None:
    watched.to = "nonsense"
    assert "number 1 of 1 is no address" in watched.tick()
    assert json.loads(watched.cursor or "")["looked_at"]


def test_a_tick_says_what_nobody_hears_of(watched: Watched) -> None:
    watched.to, now = "escalate=json://127.0.0.1:1/", watched.clock.now()
    receivers = AlertSetup(watched.folder / "alerts", None, watched.to).receivers()
    watched.lake.append(ALERT_DELIVERIES, due(watched.lake, receivers, now, Rules(), ALERTING).decisions)
    assert "is due; every receiver only waits for escalations: nobody hears of drift.harm, " in watched.tick()


@pytest.mark.slow
def test_a_tick_takes_no_second_and_people_are_told_all_the_same(
    watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    web = Web(free_port())
    watched.to = f"json://127.0.0.1:{web.port}/"
    monkeypatch.setenv("POOLCAST_ALERTS_TO", watched.to)
    monkeypatch.delenv("POOLCAST_ALERT_RULES", raising=False)
    watched.runs("train", broken)
    with web.up():
        started = time.process_time()
        assert watched.tick().endswith("a delivery was started")
        assert time.process_time() - started < 1.0
        for _ in range(600):
            if not is_delivering():
                break
            time.sleep(0.1)
    assert web.titles == ["poolcast warning: train: a run failed, in broken"]
    assert watched.looks_again().endswith("everybody was told everything that is due")
    assert (watched.folder / "logs" / "alerts.log").read_text().endswith(": 1 arrived\n")
