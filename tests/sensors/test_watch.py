"""The watch asks for runs when it should, once each, also across restarts."""

from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
import polars as pl
import pytest

from assets.hours import span_of
from pipeline.calendars import HOUR, FixedClock, Span
from pipeline.labels.spec import LabelsSpec
from pipeline.lake import Lake
from pipeline.tables import LABELS
from sensors.clockwork import every_five_minutes, every_hour, every_hour_watch, every_sunday
from sensors.labels import enough_new_labels
from tests.builders import valid_frame


def labels(n: int, source: str = "recording:a") -> pl.DataFrame:
    rows = valid_frame(LABELS, n_rows=n)
    return rows.with_columns(
        pl.lit(source).alias("source"),
        pl.lit("labelled").alias("status"),
        pl.lit("STABLE").alias("outcome"),
        pl.lit(None, pl.String).alias("censor_reason"),
        pl.lit(24, pl.Int32).alias("horizon_hours"),
        pl.format("pool-{}", pl.int_range(pl.len())).alias("pool"),
    )


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(tmp_path / "lake")


def ask(lake: Lake, cursor: str | None) -> dg.SensorResult:
    context = dg.build_sensor_context(cursor=cursor, resources={"lake": lake})
    result = enough_new_labels(context)
    assert isinstance(result, dg.SensorResult)
    return result


def test_a_thousand_new_labels_ask_for_training_of_their_source(lake: Lake) -> None:
    lake.append(LABELS, labels(1_000))
    result = ask(lake, None)
    (request,) = result.run_requests or ()
    assert request.run_key == "recording:a:1:1000"
    assert request.run_config == {"resources": {"source": {"config": {"name": "recording:a"}}}}


def test_one_label_fewer_asks_for_nothing(lake: Lake) -> None:
    lake.append(LABELS, labels(999))
    assert not ask(lake, None).run_requests


def test_the_cursor_survives_a_restart_and_nothing_is_asked_twice(lake: Lake) -> None:
    lake.append(LABELS, labels(1_000))
    cursor = ask(lake, None).cursor
    assert not ask(lake, cursor).run_requests
    lake.append(LABELS, labels(2_000))
    (request,) = ask(lake, cursor).run_requests or ()
    assert request.run_key == "recording:a:2:2000"


def test_an_empty_lake_asks_for_nothing(lake: Lake) -> None:
    assert not ask(lake, None).run_requests


@pytest.mark.parametrize(
    ("minute", "first", "last"),
    [(25, 9, 10), (54, 9, 10), (55, 9, 11), (59, 9, 11)],
)
def test_collection_asks_for_the_hours_its_answers_and_snapshots_fall_into(minute: int, first: int, last: int) -> None:
    clock = FixedClock(datetime(2024, 3, 2, 10, minute, tzinfo=UTC))
    with dg.instance_for_test() as instance:
        request = every_five_minutes(dg.build_schedule_context(instance=instance, resources={"clock": clock}))
    assert isinstance(request, dg.RunRequest)
    day = datetime(2024, 3, 2, tzinfo=UTC)
    # What is observed in the last five minutes of an hour belongs to the next hour's first grid point.
    assert span_of(request.tags) == Span(day + first * HOUR, day + (last + 1) * HOUR)


def test_labels_mature_over_the_day_in_which_they_may_still_change() -> None:
    clock = FixedClock(datetime(2024, 3, 2, 10, 7, tzinfo=UTC))
    request = every_hour(dg.build_schedule_context(resources={"clock": clock}))
    assert isinstance(request, dg.RunRequest)
    now = datetime(2024, 3, 2, 10, tzinfo=UTC)
    assert span_of(request.tags) == Span(now - LabelsSpec().maturity - HOUR, now + HOUR)


def test_the_watch_has_its_checks_look_at_this_hour_and_the_one_before_and_not_at_years() -> None:
    clock = FixedClock(datetime(2020, 9, 10, 12, 37, tzinfo=UTC))
    with dg.instance_for_test() as instance:
        request = every_hour_watch(dg.build_schedule_context(instance=instance, resources={"clock": clock}))
    assert isinstance(request, dg.RunRequest)
    assert span_of(request.tags) == Span(datetime(2020, 9, 10, 11, tzinfo=UTC), datetime(2020, 9, 10, 13, tzinfo=UTC))


def test_sunday_without_labels_says_why_nothing_is_trained(lake: Lake) -> None:
    context = dg.build_schedule_context(
        scheduled_execution_time=datetime(2024, 3, 3, 3, tzinfo=UTC), resources={"lake": lake}
    )
    assert isinstance(every_sunday(context), dg.SkipReason)


def test_sunday_with_labels_asks_once_for_that_day(lake: Lake) -> None:
    lake.append(LABELS, labels(1))
    context = dg.build_schedule_context(
        scheduled_execution_time=datetime(2024, 3, 3, 3, tzinfo=UTC), resources={"lake": lake}
    )
    request = every_sunday(context)
    assert isinstance(request, dg.RunRequest)
    assert request.run_key == "2024-03-03"
