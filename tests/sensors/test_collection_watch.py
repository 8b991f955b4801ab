"""The watchmen of collection: pools that wait, hours that are behind what was told."""

import gzip
from datetime import timedelta
from pathlib import Path

import dagster as dg
import polars as pl
import pytest

from assets.hours import span_of
from assets.pools import RAW
from pipeline.calendars import HOUR, FixedClock, Span, SystemClock
from pipeline.labels.spec import LabelsSpec
from pipeline.lake import Lake
from pipeline.pools.collecting_spec import CollectionSpec, SamplerSpec
from pipeline.pools.collector_setup import CollectorSetup
from pipeline.pools.memory import Memory
from pipeline.pools.shelf import Shelf
from pipeline.pools.watch import Watch
from pipeline.provenance import record_hours, refresh
from pipeline.tables import ANSWERS
from sensors.collection import hours_to_catch_up, pools_waiting
from tests.builders import valid_frame
from tests.pools.api_records import BIRTH, SOURCE, minutes, observed, records


@pytest.fixture
def setup(tmp_path: Path) -> CollectorSetup:
    return CollectorSetup(
        base_url="http://127.0.0.1:9", source=SOURCE, timer=SystemClock(), folder=tmp_path, networks=("eth",),
        bands=LabelsSpec(),
    )  # fmt: skip


def watch_of(setup: CollectorSetup) -> Watch:
    return Watch(Memory(setup.memory_file), SOURCE, SamplerSpec(), CollectionSpec())


def waiting(setup: CollectorSetup, at: float) -> dg.RunRequest | dg.SkipReason:
    context = dg.build_sensor_context(resources={"clock": FixedClock(minutes(at)), "collector": setup})
    asked = pools_waiting(context)
    assert isinstance(asked, dg.RunRequest | dg.SkipReason)
    return asked


def test_nobody_waits_before_anything_was_collected(setup: CollectorSetup) -> None:
    assert isinstance(waiting(setup, 0), dg.SkipReason)
    assert not setup.memory_file.exists()


def test_a_call_full_of_pools_that_nobody_visits_is_worth_a_run_and_one_less_is_not(setup: CollectorSetup) -> None:
    n_worth = CollectionSpec().waiting_pools
    watch_of(setup).take_in(records(*(observed(f"0x{n}", 1) for n in range(n_worth - 1))))
    assert isinstance(waiting(setup, 30), dg.SkipReason)
    watch_of(setup).take_in(records(observed("0xlast", 1)))
    assert isinstance(waiting(setup, 10), dg.SkipReason)  # due only now
    asked = waiting(setup, 16)
    assert isinstance(asked, dg.RunRequest)
    assert asked.tags["poolcast/trigger"] == f"{n_worth} pools waiting"
    assert waiting(setup, 17).run_key == asked.run_key  # type: ignore[union-attr]  # one grid point is asked for once
    assert waiting(setup, 21).run_key != asked.run_key  # type: ignore[union-attr]


def behind(lake: Lake, at: float) -> list[tuple[str | None, Span | None]]:
    context = dg.build_sensor_context(
        resources={"clock": FixedClock(minutes(at)), "lake": lake, "shelf": Shelf(lake.root / "none")}
    )
    asked = hours_to_catch_up(context)
    if isinstance(asked, dg.SkipReason):
        return []
    assert isinstance(asked, dg.SensorResult)
    return [(request.run_key, span_of(request.tags)) for request in asked.run_requests or ()]


def answers(lake: Lake, at: float) -> None:
    rows = valid_frame(ANSWERS, n_rows=1).with_columns(
        pl.lit(minutes(at)).alias("event_time"), pl.lit(minutes(at)).alias("known_at"),
        pl.lit(f"answer-{at}").alias("answer_id"), pl.lit(gzip.compress(b"{}")).alias("body"),
    )  # fmt: skip
    lake.append(ANSWERS, rows.select(ANSWERS.schema.names()))
    record_hours(lake, ANSWERS, [minutes(at).replace(minute=0)], columns=["event_time", "answer_id"])


def test_an_hour_is_behind_when_answers_came_after_it_was_parsed_and_asked_for_once(tmp_path: Path) -> None:
    lake = Lake(tmp_path / "lake")
    assert behind(lake, 300) == []
    answers(lake, 5)
    ((key, span),) = behind(lake, 300)
    assert span == Span(BIRTH, BIRTH + HOUR)
    assert behind(lake, 310) == [(key, span)]
    refresh(lake, RAW, Span(BIRTH, BIRTH + HOUR), lambda _span: records(observed("0xa", 5)))
    # The bars of that hour and the labels of the day before it follow.
    ((bars, before),) = behind(lake, 300)
    assert str(bars).startswith("candles")
    assert before == Span(BIRTH - 25 * HOUR, BIRTH + HOUR)
    answers(lake, 7)
    assert {str(name).partition(" ")[0] for name, _ in behind(lake, 300)} == {"raw_pools", "candles"}
    assert behind(lake, 300)[0][0] != key


def test_the_hour_that_is_collected_now_is_not_behind(tmp_path: Path) -> None:
    lake = Lake(tmp_path / "lake")
    answers(lake, 5)
    assert behind(lake, 70) == []
    assert len(behind(lake, 70 + timedelta(hours=1) / timedelta(minutes=1))) == 1
