"""Which rows of which table somebody should know of, and in which words."""

from datetime import timedelta

import polars as pl
import pytest

from pipeline.calendars import DAY, HOUR, MINUTE
from pipeline.errors import UsageError
from pipeline.monitoring.alerts.events import KINDS, Event, rows_of
from pipeline.monitoring.alerts.sources import (
    FailedRun,
    Ticking,
    below_floor,
    drifted,
    failed,
    missed,
    moves,
    stale,
)
from pipeline.monitoring.alerts.spec import AlertsSpec
from pipeline.monitoring.status import drift_health
from pipeline.tables import ALERTS, DEPLOYMENTS, DRIFT_REPORTS, QUALITY_REPORTS, Table
from tests.builders import valid_frame
from tests.monitoring.alert_bench import NOON, event

SPEC = AlertsSpec()


def row(table: Table, **values: object) -> pl.DataFrame:
    changed = [pl.lit(value, table.schema[name]).alias(name) for name, value in values.items()]
    return valid_frame(table, n_rows=1).with_columns(changed).select(table.schema.names())


def report(kind: str, *, subject: str = "all", is_drifted: bool = True, ago: float = 1, **more: object) -> pl.DataFrame:
    return row(
        DRIFT_REPORTS, known_at=NOON - ago * HOUR, kind=kind, subject=subject, is_drifted=is_drifted,
        model_name="pool-outcome", model_version=3, source="s", **more,
    )  # fmt: skip


def test_an_alarm_names_the_five_features_that_moved_most() -> None:
    features = [report("feature", subject=f"feature_{n}", js=n / 10, q_value=0.01) for n in range(1, 8)]
    calm = report("feature", subject="calm", js=0.9, is_drifted=False)
    looked = drifted(
        pl.concat([report("alarm", subject="stands", words="loss 1.20 against 0.85"), calm, *features]), NOON, SPEC
    )
    (found,) = looked.found
    assert found.details[0] == "loss 1.20 against 0.85"
    assert [line.split(":")[0] for line in found.details[1:6]] == [f"feature_{n}" for n in (7, 6, 5, 4, 3)]
    assert found.details[1] == "feature_7: js 0.7, q 0.01"
    assert found.details[6] == "and 2 more"
    assert found.key == "drift.harm:pool-outcome version 3"


def test_the_last_report_counts_and_an_old_one_says_nothing() -> None:
    spoke, silent = report("alarm", subject="stands", ago=2), report("alarm", subject="stands", ago=1, is_drifted=False)
    assert drifted(pl.concat([spoke, silent]), NOON, SPEC).found == ()
    assert drifted(pl.concat([spoke, silent]), NOON, SPEC).kinds == {"drift.harm"}
    assert drifted(report("alarm", subject="stands", ago=30), NOON, SPEC).kinds == frozenset()
    assert drifted(DRIFT_REPORTS.empty(), NOON, SPEC).kinds == frozenset()
    assert drifted(report("feature"), NOON, SPEC).found == ()


def test_a_shift_with_harm_that_one_report_saw_is_told_once_the_alarm_stands() -> None:
    seen, asks = report("alarm", subject="seen"), report("alarm", subject="asks")
    glimpse = pl.concat([seen, report("alarm", subject="stands", is_drifted=False)])
    assert drifted(glimpse, NOON, SPEC).found == ()
    assert not any(one.is_alarm for one in drift_health(glimpse))
    standing = pl.concat([seen, asks, report("alarm", subject="stands")])
    assert len(drifted(standing, NOON, SPEC).found) == 1
    assert all(one.is_alarm for one in drift_health(standing))


def test_quality_is_told_once_it_is_confirmed_to_be_below_its_floor() -> None:
    def scores(*points: float) -> pl.DataFrame:
        told = [
            row(QUALITY_REPORTS, known_at=NOON - (len(points) - n) * HOUR, source="s", table_name="features",
                part="score", subject="all", score=score)
            for n, score in enumerate(points)
        ]  # fmt: skip
        return pl.concat(told)

    assert below_floor(scores(40.0), NOON).found == ()
    (found,) = below_floor(scores(40.0, 41.0, 42.0), NOON).found
    assert found.title == "features: quality is 42.0 of 100, the floor is 70"
    assert below_floor(scores(40.0, 41.0, 42.0, 90.0, 90.0, 90.0), NOON).found == ()
    assert below_floor(QUALITY_REPORTS.empty(), NOON).kinds == frozenset()


@pytest.mark.parametrize("action", [kind.split(".")[1] for kind in KINDS if kind.startswith("promotion.")])
def test_every_move_of_the_ledger_has_words(action: str) -> None:
    ledger = row(DEPLOYMENTS, known_at=NOON, action=action, reason="<b>why</b>", model_name="pool-outcome")
    (found,) = moves(ledger, NOON, SPEC)
    assert found.kind == f"promotion.{action}"
    (kept,) = rows_of([found], NOON).to_dicts()
    assert "(b)why(/b)" in kept["details"]
    assert moves(ledger, NOON + 2 * DAY, SPEC) == []


def test_an_action_of_the_ledger_that_has_no_kind_would_be_noticed_here() -> None:
    assert {f"promotion.{action}" for action in DEPLOYMENTS.column("action").values or ()} <= set(KINDS)


def test_a_table_is_old_beyond_its_bound_and_where_it_has_no_row() -> None:
    ages = {"answers": 16 * MINUTE, "tokens": 59 * MINUTE, "trades": None}
    oldest = {"answers": 15 * MINUTE, "tokens": HOUR, "trades": HOUR}
    assert [found.subject for found in stale(ages, oldest, NOON).found] == ["answers", "trades"]
    assert ["is not being asked" in found.body for found in stale(ages, oldest, NOON).found] == [True, False]
    assert stale({}, oldest, NOON).kinds == {"freshness.stale"}


@pytest.mark.parametrize(
    ("since", "is_missed"), [(None, False), (5, False), (61, False), (119, False), (121, True), (600, True)]
)
def test_two_ticks_in_a_row_are_missed_and_one_is_not(since: float | None, is_missed: bool) -> None:
    moment = None if since is None else NOON - since * MINUTE
    expected = [NOON - n * HOUR for n in range(1, 4)]
    assert bool(missed([Ticking("hourly", expected, moment)], NOON).found) is is_missed


def test_a_tick_that_is_only_just_due_is_not_missed() -> None:
    expected = [NOON - MINUTE, NOON - 61 * MINUTE, NOON - 121 * MINUTE]
    assert not missed([Ticking("hourly", expected, NOON - 100 * MINUTE)], NOON).found


def test_what_was_due_before_anybody_watched_begins_nothing_and_ends_nothing() -> None:
    late = Ticking("hourly", [NOON - n * HOUR for n in range(1, 4)], NOON - 600 * MINUTE)
    looked = missed([late], NOON, watched_since=NOON - 30 * MINUTE)
    assert (looked.found, looked.still) == ((), frozenset({"schedule.missed:hourly"}))
    assert missed([late], NOON, watched_since=NOON - 121 * MINUTE).found


def test_a_failed_run_is_one_event_and_its_failed_checks_are_one_each() -> None:
    run = FailedRun("f" * 36, "collect", NOON, steps=("answers",), error="boom")
    assert [found.kind for found in failed(run)] == ["run.failed"]
    checked = FailedRun("f" * 36, "collect", NOON, checks=(("a one", "words"), ("b two", "")))
    assert [found.kind for found in failed(checked)] == ["check.failed"] * 2
    assert len({found.alert_id for found in failed(checked)}) == 2


def test_the_same_event_is_one_row_however_often_it_is_noticed() -> None:
    assert rows_of([event(), event()], NOON).height == 1
    assert rows_of([event(), event(mark="another run")], NOON).height == 2
    assert rows_of([event()], NOON + timedelta(hours=1))["alert_id"].item() == event().alert_id
    assert rows_of([], NOON).schema == ALERTS.schema


def test_an_event_of_a_kind_nobody_knows_is_refused() -> None:
    with pytest.raises(UsageError, match="no kind of event 'nonsense'"):
        Event("nonsense", "x", "t", "b", NOON)
