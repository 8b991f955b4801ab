"""The watchmen of collection: pools that wait, hours that are behind what was told."""

import gzip
import re
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import dagster as dg
import polars as pl
import pytest

from assets.hours import span_of
from assets.pools import RAW, TOLD_CANDLES, TOLD_TOKENS, TOLD_TRADES
from pipeline.calendars import HOUR, FixedClock, Span, SystemClock
from pipeline.labels.spec import LabelsSpec
from pipeline.lake import Lake
from pipeline.pools.collecting_spec import CollectionSpec, SamplerSpec
from pipeline.pools.collector_setup import CollectorSetup
from pipeline.pools.memory import Memory
from pipeline.pools.shelf import Shelf
from pipeline.pools.watch import Watch
from pipeline.provenance import mark, record_hours, refresh, unmarked
from pipeline.tables import ANSWERS, TOKENS
from sensors.clockwork import every_five_minutes
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


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.instance_for_test() as made:
        yield made


def asking(instance: dg.DagsterInstance, job: str, status: str = "STARTED") -> None:
    """Let a run of the job be under way, or wait."""
    instance.add_run(dg.DagsterRun(job_name=job, run_id=str(uuid4()), status=dg.DagsterRunStatus(status)))


def waiting(setup: CollectorSetup, at: float, instance: dg.DagsterInstance) -> dg.RunRequest | dg.SkipReason:
    resources = {"clock": FixedClock(minutes(at)), "collector": setup}
    asked = pools_waiting(dg.build_sensor_context(instance=instance, resources=resources))
    assert isinstance(asked, dg.RunRequest | dg.SkipReason)
    return asked


def test_nobody_waits_before_anything_was_collected(setup: CollectorSetup, instance: dg.DagsterInstance) -> None:
    assert isinstance(waiting(setup, 0, instance), dg.SkipReason)
    assert not setup.memory_file.exists()


def test_a_call_full_of_pools_that_nobody_visits_is_worth_a_run_and_one_less_is_not(
    setup: CollectorSetup, instance: dg.DagsterInstance
) -> None:
    n_worth = CollectionSpec().waiting_pools
    watch_of(setup).take_in(records(*(observed(f"0x{n}", 1) for n in range(n_worth - 1))))
    assert isinstance(waiting(setup, 30, instance), dg.SkipReason)
    watch_of(setup).take_in(records(observed("0xlast", 1)))
    assert isinstance(waiting(setup, 10, instance), dg.SkipReason)  # due only now
    asked = waiting(setup, 16, instance)
    assert isinstance(asked, dg.RunRequest)
    assert asked.tags["poolcast/trigger"] == f"{n_worth} pools waiting"
    assert waiting(setup, 17, instance).run_key == asked.run_key  # type: ignore[union-attr]  # one grid point is asked for once
    assert waiting(setup, 21, instance).run_key != asked.run_key  # type: ignore[union-attr]


def test_nobody_is_sent_after_a_run_that_is_under_way(setup: CollectorSetup, instance: dg.DagsterInstance) -> None:
    watch_of(setup).take_in(records(*(observed(f"0x{n}", 1) for n in range(50))))
    assert isinstance(waiting(setup, 30, instance), dg.RunRequest)
    asking(instance, "collect")
    assert isinstance(waiting(setup, 30, instance), dg.SkipReason)


def test_the_schedule_asks_for_the_next_grid_point_while_the_run_of_the_last_one_still_works(
    instance: dg.DagsterInstance,
) -> None:
    def tick() -> dg.RunRequest | dg.SkipReason:
        clock = {"clock": FixedClock(minutes(30))}
        asked = every_five_minutes(dg.build_schedule_context(instance=instance, resources=clock))
        assert isinstance(asked, dg.RunRequest | dg.SkipReason)
        return asked

    asking(instance, "collect")
    assert isinstance(tick(), dg.RunRequest)
    asking(instance, "collect", "STARTING")
    assert isinstance(tick(), dg.SkipReason)


def behind(lake: Lake, at: float) -> tuple[str, Span] | None:
    with dg.instance_for_test() as instance:
        resources = {"clock": FixedClock(minutes(at)), "lake": lake, "shelf": Shelf(lake.root / "none")}
        asked = hours_to_catch_up(dg.build_sensor_context(instance=instance, resources=resources))
    if isinstance(asked, dg.SkipReason):
        return None
    assert isinstance(asked, dg.RunRequest)
    span = span_of(asked.tags)
    assert span is not None
    return str(asked.run_key), span


def answers(lake: Lake, at: float) -> None:
    rows = valid_frame(ANSWERS, n_rows=1).with_columns(
        pl.lit(minutes(at)).alias("event_time"), pl.lit(minutes(at)).alias("known_at"),
        pl.lit(f"answer-{at}").alias("answer_id"), pl.lit(gzip.compress(b"{}")).alias("body"),
    )  # fmt: skip
    lake.append(ANSWERS, rows.select(ANSWERS.schema.names()))
    record_hours(lake, ANSWERS, [minutes(at).replace(minute=0)], columns=["event_time", "answer_id"])


HOUR_OF_BIRTH = Span(BIRTH, BIRTH + HOUR)


def test_an_hour_is_behind_until_every_step_has_followed_and_is_asked_for_again_after_an_hour(tmp_path: Path) -> None:
    lake = Lake(tmp_path / "lake")
    assert behind(lake, 300) is None
    answers(lake, 5)
    key, span = behind(lake, 300) or ("", None)
    assert span == HOUR_OF_BIRTH
    assert {"raw_pools", "tokens", "trades told", "raw_candles told"} <= set(
        re.findall(r"([a-z_]+(?: told)?) [0-9a-f]{16}", key)
    )
    assert behind(lake, 310) == (key, span)
    again, _ = behind(lake, 360) or ("", None)
    assert again != key
    for recipe in (TOLD_TRADES, TOLD_CANDLES):
        mark(lake, recipe, HOUR_OF_BIRTH)
    refresh(
        lake,
        TOLD_TOKENS,
        HOUR_OF_BIRTH,
        lambda _span: valid_frame(TOKENS, n_rows=1).with_columns(
            pl.lit(minutes(5)).alias("event_time"), pl.lit(minutes(5)).alias("known_at")
        ),
    )
    refresh(lake, RAW, HOUR_OF_BIRTH, lambda _span: records(observed("0xa", 5)))
    # The bars and the snapshots of that hour follow, and the labels that may have waited for the snapshots.
    key, span = behind(lake, 300) or ("", None)
    assert key.split()[::2][:2] == ["candles", "snapshots"]
    assert span == Span(BIRTH - 37 * HOUR, BIRTH + HOUR)


def test_an_answer_that_comes_later_puts_its_hour_behind_again(tmp_path: Path) -> None:
    lake = Lake(tmp_path / "lake")
    answers(lake, 5)
    mark(lake, TOLD_TRADES, HOUR_OF_BIRTH)
    assert unmarked(lake, TOLD_TRADES, HOUR_OF_BIRTH) == []
    answers(lake, 7)
    assert unmarked(lake, TOLD_TRADES, HOUR_OF_BIRTH) == [BIRTH]


def test_the_hour_that_is_collected_now_is_not_behind(tmp_path: Path) -> None:
    lake = Lake(tmp_path / "lake")
    answers(lake, 5)
    assert behind(lake, 70) is None
    assert behind(lake, 130) is not None
