"""Unchanged hours are not computed again; changed ones always are."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from pipeline.calendars import HOUR, Span
from pipeline.lake import Lake
from pipeline.provenance import EVER, Input, Recipe, Refreshed, refresh, stale_hours, void
from pipeline.tables import FEATURES, SNAPSHOTS
from tests.builders import valid_frame

START = datetime(2024, 3, 1, tzinfo=UTC)
DAY = Span(START, START + 24 * HOUR)
RECIPE = Recipe("features", (Input("snapshots", back=timedelta(hours=2)),), "code")


def rows_at(table, *hours: int) -> pl.DataFrame:
    times = [START + h * HOUR + timedelta(minutes=10) for h in hours]
    frame = valid_frame(table, n_rows=len(times))
    return frame.with_columns(pl.Series("event_time", times, dtype=table.schema["event_time"])).with_columns(
        pl.col("event_time").alias("known_at")
    )


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    lake = Lake(tmp_path / "lake")
    put_snapshots(lake, 3, 10)
    return lake


def put_snapshots(lake: Lake, *hours: int, code: str = "snap") -> None:
    rows = rows_at(SNAPSHOTS, *hours)
    recipe = Recipe(
        "snapshots", (), code, depends_on=lambda hour: str([t for t in rows["event_time"] if hour <= t < hour + HOUR])
    )
    refresh(
        lake,
        recipe,
        DAY,
        lambda span: rows.filter(pl.col("event_time").is_between(span.start, span.end, closed="left")),
    )


def compute(span: Span) -> pl.DataFrame:
    return rows_at(FEATURES, *[h for h in (3, 10) if span.start <= START + h * HOUR < span.end])


def test_a_second_refresh_computes_nothing(lake: Lake) -> None:
    first = refresh(lake, RECIPE, DAY, compute)
    second = refresh(lake, RECIPE, DAY, lambda _span: pytest.fail("computed again"))
    assert first == Refreshed(24, 0, 2)
    assert second == Refreshed(0, 24, 2)


def test_a_changed_input_makes_exactly_the_hours_stale_that_could_read_it(lake: Lake) -> None:
    refresh(lake, RECIPE, DAY, compute)
    put_snapshots(lake, 3, 10, 15)
    assert [h.hour for h in stale_hours(lake, RECIPE, DAY)] == [15, 16, 17]


def test_a_withdrawn_input_makes_its_hours_stale(lake: Lake) -> None:
    refresh(lake, RECIPE, DAY, compute)
    put_snapshots(lake, 10)
    assert [h.hour for h in stale_hours(lake, RECIPE, DAY)] == [3, 4, 5]


def test_changed_code_makes_every_hour_stale(lake: Lake) -> None:
    refresh(lake, RECIPE, DAY, compute)
    changed = Recipe("features", RECIPE.inputs, "other code")
    assert len(stale_hours(lake, changed, DAY)) == 24


def test_a_kill_between_table_and_record_only_costs_computing_again(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("pipeline.provenance.record", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            refresh(lake, RECIPE, DAY, compute)
    assert lake.scan(FEATURES).collect().height == 2
    assert refresh(lake, RECIPE, DAY, compute) == Refreshed(24, 0, 2)
    assert lake.scan(FEATURES).collect().height == 2


def test_finished_pieces_of_a_killed_refresh_are_left_alone(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.provenance.PIECE", 6 * HOUR)
    calls: list[Span] = []

    def dies_in_the_third(span: Span) -> pl.DataFrame:
        calls.append(span)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return compute(span)

    with pytest.raises(KeyboardInterrupt):
        refresh(lake, RECIPE, DAY, dies_in_the_third)
    assert refresh(lake, RECIPE, DAY, compute) == Refreshed(12, 12, 2)


def test_a_deleted_table_is_computed_again(lake: Lake, tmp_path: Path) -> None:
    refresh(lake, RECIPE, DAY, compute)
    (tmp_path / "lake" / "features").rename(tmp_path / "gone")
    assert refresh(lake, RECIPE, DAY, compute) == Refreshed(24, 0, 2)


def test_an_input_of_all_time_makes_later_hours_stale_and_leaves_earlier_ones_alone(lake: Lake) -> None:
    recipe = Recipe("features", (Input("snapshots", back=EVER),), "code")
    refresh(lake, recipe, DAY, compute)
    put_snapshots(lake, 3, 10, 15)
    assert [h.hour for h in stale_hours(lake, recipe, DAY)] == list(range(15, 24))


def test_rows_that_somebody_deleted_are_computed_again(lake: Lake) -> None:
    refresh(lake, RECIPE, DAY, compute)
    lake.replace(FEATURES, FEATURES.empty(), Span(START + 3 * HOUR, START + 4 * HOUR))
    assert refresh(lake, RECIPE, DAY, compute) == Refreshed(1, 23, 2)
    assert lake.scan(FEATURES).collect().height == 2


def test_hours_that_were_found_unsound_are_computed_again(lake: Lake) -> None:
    refresh(lake, RECIPE, DAY, compute)
    void(lake, "features", Span(START + 9 * HOUR, START + 12 * HOUR))
    assert refresh(lake, RECIPE, DAY, compute) == Refreshed(3, 21, 2)
