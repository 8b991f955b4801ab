"""A verb opens and rewrites the files that its rows meet, and no other."""

from datetime import timedelta
from pathlib import Path

import polars as pl
import pytest
from deltalake import DeltaTable
from lake_tables import READINGS, START, hours, ordered, readings

from pipeline.calendars import DAY, HOUR, MINUTE, Span
from pipeline.errors import StorageError, UsageError
from pipeline.lake import Commit, Lake, plans
from pipeline.tables import ANSWERS, POOLS, QUARANTINE, SNAPSHOTS, Table
from tests.builders import valid_frame


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(tmp_path, sync=lambda path: None)


def files(lake: Lake, table: Table = READINGS) -> set[Path]:
    return {Path(uri) for uri in DeltaTable(lake.root / table.name).file_uris()}


def make_unreadable(paths: set[Path]) -> None:
    """Noise of the same length: whoever opens one of the files fails."""
    for path in paths:
        path.write_bytes(b"\x07" * path.stat().st_size)


def moved(table: Table, frame: pl.DataFrame, by: timedelta) -> pl.DataFrame:
    return frame.with_columns(pl.col(table.time) + by)


def told_by(source: str, minutes: list[int]) -> pl.DataFrame:
    frame = valid_frame(SNAPSHOTS, n_rows=len(minutes))
    times = pl.Series("event_time", [START + minute * MINUTE for minute in minutes], SNAPSHOTS.schema["event_time"])
    return frame.with_columns(times, pl.lit(source).alias("source"))


def test_replacing_the_running_hour_rewrites_that_hour_only(lake: Lake) -> None:
    for hour in range(5):
        lake.replace(READINGS, readings(range(hour * 60, hour * 60 + 60)), hours(hour, hour + 1))
    before = files(lake)
    lake.replace(READINGS, readings([250], n_trades=-1), hours(4, 5))
    assert len(before - files(lake)) == len(files(lake) - before) == 1


def test_a_merged_day_is_cut_once_and_not_rewritten_with_every_replacement(lake: Lake) -> None:
    lake.append(READINGS, readings(range(0, 1440, 10)))
    lake.replace(READINGS, readings([600], n_trades=-1), hours(10, 11))
    cut = files(lake)
    assert len(cut) == 3, "what was before, what came after, and the hour itself"
    lake.replace(READINGS, readings([605], n_trades=-1), hours(10, 11))
    assert len(files(lake) & cut) == 2
    left = [*range(0, 600, 10), *range(660, 1440, 10)]
    assert ordered(lake.scan(READINGS)) == ordered(pl.concat([readings(left), readings([605], n_trades=-1)]))


def test_a_file_within_the_span_goes_unread(lake: Lake) -> None:
    lake.append(READINGS, readings([5, 50]))
    make_unreadable(files(lake))
    lake.replace(READINGS, readings([7]), hours(0, 1))
    assert ordered(lake.scan(READINGS)) == ordered(readings([7]))


def test_what_is_carried_over_stays_sorted(lake: Lake) -> None:
    lake.append(READINGS, pl.concat([readings(range(120), pool=pool) for pool in ("0xc", "0xa", "0xb")]))
    lake.replace(READINGS, READINGS.empty(), hours(1, 2))
    for path in files(lake):
        rows = pl.read_parquet(path, hive_partitioning=False)
        assert rows.rows() == rows.sort("pool", "event_time").rows()


@pytest.mark.parametrize("odd_us", [-1, 0, 1, 999, 1000])
def test_a_span_that_ends_within_a_millisecond_takes_no_row_too_many(lake: Lake, odd_us: int) -> None:
    at = [START + timedelta(microseconds=n) for n in (-1000, -1, 0, 1, 999, 1000)]
    rows = readings([0] * len(at)).with_columns(pl.Series("event_time", at, READINGS.schema["event_time"]))
    lake.append(READINGS, rows)
    span = Span(START - HOUR, START + timedelta(microseconds=odd_us))
    lake.replace(READINGS, READINGS.empty(), span)
    assert sorted(lake.scan(READINGS).collect()["event_time"]) == [moment for moment in at if moment >= span.end]


def test_appending_opens_the_files_of_its_own_time_only(lake: Lake) -> None:
    for minutes in ([1, 2], [100, 110], [1500]):
        lake.append(READINGS, readings(minutes))
    same_time = {path for path in files(lake) if pl.read_parquet(path)["n_trades"].max() == 110}
    make_unreadable(files(lake) - same_time)
    assert lake.append(READINGS, readings([105, 110])).n_rows == 1
    make_unreadable(same_time)
    with pytest.raises(StorageError, match="readings"):
        lake.append(READINGS, readings([109]))


def test_an_answer_is_looked_for_where_its_own_moment_is(lake: Lake) -> None:
    told = valid_frame(ANSWERS, n_rows=4)
    lake.append(ANSWERS, told)
    lake.append(ANSWERS, moved(ANSWERS, told, -3 * DAY).with_columns(answer_id=pl.col("answer_id") + "x"))
    make_unreadable({path for path in files(lake, ANSWERS) if "day=2020-09-05" in str(path)})
    assert lake.append(ANSWERS, told).n_rows == 0


def test_a_pool_is_stored_once_though_its_birth_is_corrected_by_days(lake: Lake) -> None:
    told = valid_frame(POOLS, n_rows=3)
    lake.append(POOLS, told)
    for by in (8 * DAY, -8 * DAY):
        assert lake.append(POOLS, moved(POOLS, told, by)).n_rows == 0
    lake.append(POOLS, moved(POOLS, told, -30 * DAY).with_columns(pool=pl.col("pool") + "x"))
    make_unreadable({path for path in files(lake, POOLS) if "day=2020-08" in str(path)})
    assert lake.append(POOLS, told).n_rows == 0, "a pool of a month ago was not opened"


def test_only_the_rows_of_some_sources_are_read_and_only_where_they_may_be(lake: Lake) -> None:
    lake.append(SNAPSHOTS, told_by("recording:a", [1, 2]))
    lake.append(SNAPSHOTS, pl.concat([told_by("geckoterminal", [3]), told_by("simulation:7", [4])]))
    recorded = next(path for path in files(lake, SNAPSHOTS) if pl.read_parquet(path)["source"][0] == "recording:a")
    make_unreadable({recorded})
    assert lake.scan(SNAPSHOTS, sources=["geckoterminal"]).collect()["source"].to_list() == ["geckoterminal"]
    assert lake.scan(SNAPSHOTS, sources=["kraken"]).collect().is_empty()
    assert lake.scan(SNAPSHOTS, sources=[]).collect().is_empty()


def test_discarding_takes_the_rows_of_a_source_in_a_span_and_no_other(lake: Lake) -> None:
    mixed = pl.concat([told_by("geckoterminal", [1, 70, 130]), told_by("recording:a", [2, 71, 131])])
    lake.append(SNAPSHOTS, mixed)
    lake.append(SNAPSHOTS, told_by("geckoterminal", [65, 66]))
    assert lake.discard(SNAPSHOTS, ["geckoterminal"], hours(1, 2)) == Commit(3, 3)
    gone = (pl.col("source") == "geckoterminal") & pl.col("event_time").is_between(
        START + HOUR, START + 2 * HOUR, closed="left"
    )
    assert ordered(lake.scan(SNAPSHOTS)) == ordered(mixed.filter(~gone))
    assert lake.discard(SNAPSHOTS, ["geckoterminal"], hours(1, 2)) == Commit(3, 0)
    assert ordered(lake.scan(SNAPSHOTS, version=1)) == ordered(mixed)


def test_discarding_spares_the_other_sources_rows_of_a_file_that_lies_in_the_span(lake: Lake) -> None:
    recorded = told_by("recording:a", [2, 3])
    lake.append(SNAPSHOTS, pl.concat([told_by("geckoterminal", [1, 4]), recorded]))
    assert lake.discard(SNAPSHOTS, ["geckoterminal"], hours(0, 1)).n_rows == 2
    assert ordered(lake.scan(SNAPSHOTS)) == ordered(recorded)


def test_discarding_where_nothing_is_due_opens_no_file(lake: Lake) -> None:
    assert lake.discard(SNAPSHOTS, ["geckoterminal"], hours(0, 9)) == Commit(None, 0)
    lake.append(SNAPSHOTS, told_by("recording:a", [1, 2]))
    lake.append(SNAPSHOTS, told_by("geckoterminal", [600]))
    make_unreadable(files(lake, SNAPSHOTS))
    assert lake.discard(SNAPSHOTS, ["geckoterminal"], hours(0, 9)) == Commit(2, 0)


def test_discarding_needs_a_time_and_a_source(lake: Lake) -> None:
    with pytest.raises(UsageError, match="does not follow time"):
        lake.discard(QUARANTINE, ["geckoterminal"], hours(0, 1))
    with pytest.raises(UsageError, match="no column 'source'"):
        lake.discard(READINGS, ["geckoterminal"], hours(0, 1))


def test_merged_files_are_sorted_and_say_where_in_time_they_lie(lake: Lake) -> None:
    for hour in (3, 1, 2):
        rows = [readings([hour * 60, hour * 60 + 7], pool=pool) for pool in ("0xb", "0xa")]
        lake.append(READINGS, pl.concat(rows))
    lake.append(READINGS, readings([1500]))
    lake.compact(READINGS)
    merged = {len(pl.read_parquet(path)): path for path in files(lake)}
    rows = pl.read_parquet(merged[12], hive_partitioning=False)
    assert rows.rows() == rows.sort("pool", "event_time").rows()
    make_unreadable(files(lake))
    assert lake.scan(READINGS, hours(4, 24)).collect().is_empty(), "the log says that they end before"


def test_a_large_compaction_takes_several_commits_and_ends(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plans, "BATCH_BYTES", 1)
    for minute in range(4):
        lake.append(READINGS, readings([minute, minute + 1440, minute + 2880]))
    before, told = ordered(lake.scan(READINGS)), []
    assert lake.compact(READINGS, progress=told.append) == Commit(7, 0)
    assert told == pytest.approx([1 / 3, 2 / 3, 1])
    assert ordered(lake.scan(READINGS)) == before
    assert len(files(lake)) == 3


def test_merging_leaves_large_files_alone_and_makes_none_much_larger(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    for minute in range(6):
        lake.append(READINGS, readings([minute]))
    size = next(iter(files(lake))).stat().st_size
    monkeypatch.setattr(plans, "TARGET_BYTES", 3 * size)
    lake.compact(READINGS)
    assert len(files(lake)) == 2
    monkeypatch.setattr(plans, "TARGET_BYTES", 2 * size)
    before = files(lake)
    lake.append(READINGS, readings([100]))
    lake.compact(READINGS)
    assert before < files(lake)
