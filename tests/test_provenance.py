"""Unchanged hours are not computed again; changed ones always are."""

import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from pipeline.calendars import HOUR, Span
from pipeline.errors import UsageError
from pipeline.lake import Lake
from pipeline.provenance import (
    Input,
    Recipe,
    Refreshed,
    code_of,
    expire,
    fingerprints,
    record_hours,
    refresh,
    rows_on_record,
    stale_hours,
    void,
)
from pipeline.provenance.code import ONLY_TELL
from pipeline.tables import ANSWERS, FEATURES, PARTITIONS, POOLS, SNAPSHOTS
from tests.builders import valid_frame

ROOT = Path(__file__).parents[1]
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
        patch.setattr("pipeline.provenance.refreshing.record", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            refresh(lake, RECIPE, DAY, compute)
    assert lake.scan(FEATURES).collect().height == 2
    assert refresh(lake, RECIPE, DAY, compute) == Refreshed(24, 0, 2)
    assert lake.scan(FEATURES).collect().height == 2


def test_finished_pieces_of_a_killed_refresh_are_left_alone(lake: Lake) -> None:
    calls: list[Span] = []

    def dies_in_the_third(span: Span) -> pl.DataFrame:
        calls.append(span)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return compute(span)

    with pytest.raises(KeyboardInterrupt):
        refresh(lake, RECIPE, DAY, dies_in_the_third, piece=6 * HOUR)
    assert refresh(lake, RECIPE, DAY, compute) == Refreshed(12, 12, 2)


def test_a_deleted_table_is_computed_again(lake: Lake, tmp_path: Path) -> None:
    refresh(lake, RECIPE, DAY, compute)
    (tmp_path / "lake" / "features").rename(tmp_path / "gone")
    assert refresh(lake, RECIPE, DAY, compute) == Refreshed(24, 0, 2)


def test_an_input_of_all_time_makes_later_hours_stale_and_leaves_earlier_ones_alone(lake: Lake) -> None:
    recipe = Recipe("features", (Input("snapshots", back=timedelta(days=3650)),), "code")
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


def at(*hours: int) -> list[datetime]:
    return [START + hour * HOUR for hour in hours]


def on_record(lake: Lake, name: str) -> dict[int, tuple[str, str, int]]:
    """Fingerprint, content and rows by the hour's number."""
    rows = lake.scan(PARTITIONS).filter(pl.col("table_name") == name).collect()
    told = rows.select("hour", "fingerprint", "content_hash", "n_rows").iter_rows()
    return {(hour - START) // HOUR: (print_, content, n_rows) for hour, print_, content, n_rows in told}


def test_a_piece_may_be_asked_for(lake: Lake) -> None:
    spans: list[Span] = []
    refresh(lake, RECIPE, DAY, compute, progress=lambda span, _rows: spans.append(span), piece=5 * HOUR)
    assert [(span.end - span.start) // HOUR for span in spans] == [5, 5, 5, 5, 4]


def test_code_that_no_row_depends_on_may_be_left_out_by_name() -> None:
    whole, part = code_of("snapshots"), code_of("snapshots", without=["schedule"])
    assert whole != part
    assert part == code_of("snapshots", without=("schedule",))
    with pytest.raises(UsageError, match="'scheduled'"):
        code_of("snapshots", without=["scheduled"])


def test_what_judges_rows_and_nothing_else_of_the_expectations_changes_fingerprints() -> None:
    """A module that decides which rows are written and is left out would leave hours as they are that are stale."""
    code = (
        "import sys, pipeline.expectations.triage\n"
        "print(*(name for name in sys.modules if name.startswith('pipeline.expectations.')))"
    )
    said = subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    judge = {name.rpartition(".")[2] for name in said.split()}
    there = {path.stem for path in (ROOT / "pipeline" / "expectations").glob("*.py")} - {"__init__"}
    assert there - judge == set(ONLY_TELL)


def test_hours_that_were_filled_by_appends_are_put_on_record_as_replaced_ones_are(lake: Lake) -> None:
    replaced = on_record(lake, "snapshots")
    record_hours(lake, SNAPSHOTS, at(3, 4, 10))
    told = on_record(lake, "snapshots")
    assert {hour: told[hour][1:] for hour in (3, 4, 10)} == {hour: replaced[hour][1:] for hour in (3, 4, 10)}
    assert [told[hour][2] for hour in (3, 4, 10)] == [1, 0, 1]


def test_an_hour_on_record_changes_with_the_columns_that_count_and_no_other(lake: Lake) -> None:
    told = rows_at(ANSWERS, 3)
    prints = []
    for frame in (told, told.with_columns(body=pl.lit(b"other")), told.with_columns(sha256=pl.lit("other"))):
        lake.replace(ANSWERS, frame, DAY)
        record_hours(lake, ANSWERS, at(3), columns=["answer_id", "sha256"])
        prints.append(fingerprints(lake, Recipe("raw_pools", (Input("answers"),), "code"), DAY))
    assert prints[0] == prints[1] != prints[2]
    assert [hour.hour for hour in prints[0] if prints[0][hour] != prints[2][hour]] == [3]


def test_pools_are_on_record_by_the_hour_of_their_birth(lake: Lake) -> None:
    born = valid_frame(POOLS, n_rows=1)
    lake.append(POOLS, born.with_columns(created_at=pl.lit(at(5)[0]).cast(POOLS.schema["created_at"])))
    record_hours(lake, POOLS, at(5))
    assert {hour: n for hour, (_, _, n) in on_record(lake, "pools").items()} == {5: 1}


def let_go(lake: Lake, *hours: int) -> None:
    """Snapshots of these hours expire."""
    expire(lake, SNAPSHOTS, dict.fromkeys(at(*hours), 0))
    for hour in at(*hours):
        lake.replace(SNAPSHOTS, SNAPSHOTS.empty(), Span(hour, hour + HOUR))


def test_what_was_made_from_an_expired_hour_outlives_a_change_of_code(lake: Lake) -> None:
    refresh(lake, RECIPE, DAY, compute)
    let_go(lake, 3)
    assert stale_hours(lake, RECIPE, DAY) == [], "nothing changed for what was made from it"
    changed = Recipe("features", RECIPE.inputs, "other code")
    assert [h.hour for h in stale_hours(lake, changed, DAY)] == [0, 1, 2, *range(6, 24)]

    def from_what_is_left(span: Span) -> pl.DataFrame:
        return compute(span).filter(pl.col("event_time") >= START + 6 * HOUR)

    assert refresh(lake, changed, DAY, from_what_is_left) == Refreshed(21, 3, 2)
    assert sorted(lake.scan(FEATURES).collect()["event_time"].dt.hour()) == [3, 10]


def test_an_expired_hour_is_not_computed_again_itself(lake: Lake) -> None:
    let_go(lake, 3)
    put_snapshots(lake, 3, 10, code="other code")
    assert sorted(lake.scan(SNAPSHOTS).collect()["event_time"].dt.hour()) == [10]
    assert rows_on_record(lake, "snapshots") == 1


def test_an_expired_hour_stays_marked_whatever_is_put_on_record_later(lake: Lake) -> None:
    before = on_record(lake, "snapshots")[3]
    let_go(lake, 3)
    lake.replace(SNAPSHOTS, rows_at(SNAPSHOTS, 3, 10), DAY)
    record_hours(lake, SNAPSHOTS, at(3, 10))
    void(lake, "snapshots", DAY)
    told = on_record(lake, "snapshots")
    assert told[3] == ("expired", before[1], 0)
    assert told[10][0] == "void"


def test_an_hour_that_was_never_on_record_may_expire(lake: Lake) -> None:
    expire(lake, SNAPSHOTS, dict.fromkeys(at(30), 2))
    assert on_record(lake, "snapshots")[30] == ("expired", "0", 2)
    expire(lake, SNAPSHOTS, {})
