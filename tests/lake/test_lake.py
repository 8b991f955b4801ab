"""The lake's verbs, one writer, a healthy disk."""

import os
import pickle
import shutil
from datetime import timedelta
from pathlib import Path

import polars as pl
import pytest
from deltalake import DeltaTable
from lake_tables import NOTES, READINGS, START, hours, notes, ordered, readings

from pipeline.calendars import HOUR, Span
from pipeline.errors import StorageError, UsageError
from pipeline.lake import Commit, Lake
from pipeline.lake.log import CHECKPOINT_EVERY
from pipeline.tables import PARTITIONS, QUARANTINE, RESERVES, TABLES, Table


@pytest.fixture(params=["folder", "bucket"])
def lake(request: pytest.FixtureRequest, tmp_path: Path) -> Lake:
    """What a verb promises it promises in a folder and on an object store."""
    return Lake(tmp_path / "lake" if request.param == "folder" else request.getfixturevalue("bucket"))


in_a_folder = pytest.mark.parametrize("lake", ["folder"], indirect=True)
"""For what is said of files and folders themselves, and for what would only be slower on a store."""


def opened(lake: Lake, table: Table) -> DeltaTable:
    """The table as others open it."""
    where = lake.root
    if isinstance(where, Path):
        return DeltaTable(where / table.name)
    return DeltaTable(where.at(table.name).uri, storage_options=where.options)


@in_a_folder
def test_an_absent_table_is_an_empty_one_with_the_columns_of_its_spec(lake: Lake) -> None:
    for table in TABLES.values():
        assert lake.scan(table).collect().schema == table.schema
        assert lake.version(table) is None
    assert not lake.root.exists()


def test_rows_come_back_as_they_were_written_without_the_day(lake: Lake) -> None:
    frame = readings(range(0, 3000, 50))
    assert lake.append(READINGS, frame.select(reversed(frame.columns))) == Commit(1, 60)
    assert lake.scan(READINGS).collect_schema() == READINGS.schema
    assert ordered(lake.scan(READINGS)) == ordered(frame)


def test_appending_again_writes_nothing(lake: Lake) -> None:
    lake.append(READINGS, readings(range(10)))
    assert lake.append(READINGS, readings(range(10))) == Commit(1, 0)
    assert lake.append(READINGS, readings(range(5, 15))) == Commit(2, 5)
    assert ordered(lake.scan(READINGS)) == ordered(readings(range(15)))


def test_appending_never_changes_a_stored_row(lake: Lake) -> None:
    lake.append(READINGS, readings([1, 2]))
    lake.append(READINGS, readings([2, 3], n_trades=99))
    assert lake.scan(READINGS).sort("event_time").collect()["n_trades"].to_list() == [1, 2, 99]


def test_equal_rows_of_an_appended_frame_count_once(lake: Lake) -> None:
    assert lake.append(READINGS, pl.concat([readings([1, 2]), readings([2])])) == Commit(1, 2)


def test_a_stored_key_is_found_on_whatever_day_it_lies_when_time_is_not_in_the_key(lake: Lake) -> None:
    row = {name: "x" for name, dtype in RESERVES.schema.items() if dtype == pl.String}
    row |= dict.fromkeys([n for n, d in RESERVES.schema.items() if d.is_numeric()], 1)
    row |= {"event_time": START, "known_at": START}
    told = pl.DataFrame([row], schema=RESERVES.schema)
    lake.append(RESERVES, told)
    later = told.with_columns(pl.col("event_time") + timedelta(days=3))
    assert lake.append(RESERVES, later).n_rows == 0


def test_an_empty_frame_makes_no_table_and_no_version(lake: Lake) -> None:
    assert lake.append(READINGS, READINGS.empty()) == Commit(None, 0)
    assert lake.replace(READINGS, READINGS.empty(), hours(0, 1)) == Commit(None, 0)
    assert lake.upsert(NOTES, NOTES.empty()) == Commit(None, 0)
    lake.append(READINGS, readings([1]))
    assert lake.append(READINGS, READINGS.empty()) == Commit(1, 0)
    assert lake.replace(READINGS, READINGS.empty(), hours(1, 2)) == Commit(1, 0)


def test_a_span_is_half_open_to_the_microsecond(lake: Lake) -> None:
    instants = [START + timedelta(microseconds=n) for n in (-1, 0, 1499, 1500, 1501)]
    lake.append(
        READINGS, readings([0]).select(pl.exclude("event_time"), event_time=pl.lit(instants)).explode("event_time")
    )
    for first in range(5):
        for last in range(first, 5):
            span = Span(instants[first], instants[last])
            found = lake.scan(READINGS, span).sort("event_time").collect()["event_time"].to_list()
            assert found == instants[first:last], span


def test_a_scan_of_one_hour_opens_the_files_of_its_day_only(lake: Lake) -> None:
    lake.append(READINGS, readings(range(0, 5 * 1440, 60)))
    lazy = lake.scan(READINGS, hours(30, 31))
    assert lazy.explain().count(".parquet") == 1
    assert "day=2020-09-09" in lazy.explain()
    assert lazy.collect().height == 1


def test_a_scan_sees_the_version_of_its_call_whatever_is_committed_before_it_is_collected(lake: Lake) -> None:
    lake.append(READINGS, readings([1]))
    early = lake.scan(READINGS)
    lake.replace(READINGS, readings([2, 3]), hours(0, 1))
    assert ordered(early) == ordered(readings([1]))


@in_a_folder
def test_old_versions_stay_readable_after_many_commits_and_a_checkpoint(lake: Lake) -> None:
    lake = Lake(lake.root, sync=lambda path: None)
    for minute in range(2 * CHECKPOINT_EVERY + 2):
        assert lake.append(READINGS, readings([minute])).version == minute + 1
        for path in (lake.root / "readings" / "_delta_log").glob("*.json"):
            os.utime(path, (0, 0))  # far past the age at which deltalake clears the log away
    assert list((lake.root / "readings" / "_delta_log").glob("*.checkpoint.parquet"))
    for version in (1, CHECKPOINT_EVERY - 1, CHECKPOINT_EVERY, CHECKPOINT_EVERY + 1, 2 * CHECKPOINT_EVERY + 1):
        assert ordered(lake.scan(READINGS, version=version)) == ordered(readings(range(version)))


def test_a_version_that_was_never_written_is_refused(lake: Lake) -> None:
    with pytest.raises(StorageError, match="no version 3"):
        lake.scan(READINGS, version=3)
    lake.append(READINGS, readings([1]))
    with pytest.raises(StorageError, match="version 3 of 'readings'"):
        lake.scan(READINGS, version=3)
    with pytest.raises(StorageError, match="no version -1"):
        lake.scan(READINGS, version=-1)


def test_replacing_a_span_leaves_everything_else_alone(lake: Lake) -> None:
    before = readings(range(0, 4320, 30))
    lake.append(READINGS, before)
    lake.append(READINGS, readings(range(0, 4320, 30), network="bsc"))
    new = readings(range(601, 700, 7), pool="0xb", n_trades=-1)
    assert lake.replace(READINGS, new, hours(10, 12)) == Commit(3, 15)
    assert ordered(lake.scan(READINGS, hours(10, 12))) == ordered(new)
    outside = pl.concat([before, readings(range(0, 4320, 30), network="bsc")]).filter(
        ~pl.col("event_time").is_between(START + 10 * HOUR, START + 12 * HOUR, closed="left")
    )
    assert ordered(lake.scan(READINGS)) == ordered(pl.concat([outside, new]))


def test_replacing_across_days_keeps_the_edges_and_drops_the_middle(lake: Lake) -> None:
    lake.append(READINGS, readings(range(0, 5 * 1440, 60)))
    lake.replace(READINGS, readings([1500]), Span(START + 10 * HOUR, START + 80 * HOUR))
    left = [*range(0, 600, 60), 1500, *range(4800, 5 * 1440, 60)]
    assert ordered(lake.scan(READINGS)) == ordered(readings(left))


def test_replacing_with_the_same_frame_twice_is_replacing_once(lake: Lake) -> None:
    for _ in range(2):
        lake.replace(READINGS, readings(range(60)), hours(0, 1))
    assert ordered(lake.scan(READINGS)) == ordered(readings(range(60)))


def test_replacing_with_an_empty_frame_deletes(lake: Lake) -> None:
    lake.append(READINGS, readings(range(120)))
    assert lake.replace(READINGS, READINGS.empty(), hours(0, 1)) == Commit(2, 0)
    assert ordered(lake.scan(READINGS)) == ordered(readings(range(60, 120)))
    lake.replace(READINGS, READINGS.empty(), hours(0, 24))
    assert lake.scan(READINGS).collect().is_empty()


@in_a_folder
@pytest.mark.parametrize("minute", [59, 120])
def test_replacing_refuses_rows_outside_the_span_before_writing(lake: Lake, minute: int) -> None:
    with pytest.raises(UsageError, match="1 of 2 rows lie outside"):
        lake.replace(READINGS, readings([60, minute]), hours(1, 2))
    assert not lake.root.exists()


def test_a_table_laid_out_by_time_but_not_by_day_can_be_replaced_by_span(lake: Lake) -> None:
    row = {"table_name": "it's", "hour": START, "fingerprint": "f", "content_hash": "c", "n_rows": 1}
    frame = pl.DataFrame([row, row | {"hour": START + HOUR}], schema=PARTITIONS.schema)
    lake.append(PARTITIONS, frame)
    lake.replace(PARTITIONS, frame[:1].with_columns(n_rows=pl.lit(7)), hours(0, 1))
    assert lake.scan(PARTITIONS).sort("hour").collect()["n_rows"].to_list() == [7, 1]


def test_tables_that_do_not_follow_time_take_no_span(lake: Lake) -> None:
    with pytest.raises(UsageError, match="does not follow time"):
        lake.scan(QUARANTINE, hours(0, 1))
    with pytest.raises(UsageError, match="does not follow time"):
        lake.replace(NOTES, notes(), hours(0, 1))


def test_upserting_inserts_and_overwrites_by_key(lake: Lake) -> None:
    lake.upsert(NOTES, notes(("a", "1", "x"), ("a", "2", "y"), ("b", "1", "z")))
    done = lake.upsert(NOTES, notes(("a", "2", None), ("c", "1", "w"), ("a", "1", "x")))
    assert done == Commit(2, 2)
    assert set(lake.scan(NOTES).collect().rows()) == {
        ("a", "1", "x"), ("a", "2", None), ("b", "1", "z"), ("c", "1", "w"),
    }  # fmt: skip


def test_upserting_what_is_there_commits_nothing(lake: Lake) -> None:
    frame = notes(("a", "1", "x"), ("b", "1", None))
    lake.upsert(NOTES, frame)
    assert lake.upsert(NOTES, frame[1:]) == Commit(1, 0)


@in_a_folder
def test_upserting_leaves_the_files_of_other_partitions_alone(lake: Lake) -> None:
    lake.upsert(NOTES, notes(("a", "1", "x"), ('it\'s "b"/%', "1", "z")))
    files = {path: path.stat().st_mtime_ns for path in (lake.root / "notes").rglob("topic=it*/*.parquet")}
    lake.upsert(NOTES, notes(("a", "1", "y")))
    assert len(files) == 1
    used = {Path(uri) for uri in DeltaTable(lake.root / "notes").file_uris()}
    assert used > set(files)
    lake.upsert(NOTES, notes(('it\'s "b"/%', "1", "v")))
    assert ordered(lake.scan(NOTES)) == [("a", "1", "y"), ('it\'s "b"/%', "1", "v")]


def test_a_table_laid_out_by_day_cannot_be_upserted(lake: Lake) -> None:
    with pytest.raises(UsageError, match="replace a span"):
        lake.upsert(READINGS, readings([1]))


@pytest.mark.parametrize("network", ["a b", "a/b", "é%=", "it's", "..", "<b>x</b>\n\u2028\x85", "null", "é" * 40])
def test_partition_values_may_hold_any_text(lake: Lake, network: str) -> None:
    frame = pl.concat([readings([1, 2], network=network, pool=network), readings([1])])
    lake.append(READINGS, frame)
    assert lake.append(READINGS, frame).n_rows == 0
    lake.replace(READINGS, frame, hours(0, 1))
    assert ordered(lake.scan(READINGS)) == ordered(frame)
    assert lake.scan(READINGS).filter(pl.col("network") == network).collect().height == 2
    if isinstance(lake.root, Path):
        assert [path.name for path in lake.root.iterdir() if path.is_dir()] != []
        assert not list(lake.root.parent.glob("*.parquet"))


@in_a_folder
def test_rows_lie_sorted_by_place_and_time_in_files_compressed_with_zstd(lake: Lake) -> None:
    frame = pl.concat([readings(range(0, 60, 7), pool=pool) for pool in ("0xc", "0xa", "0xb")])
    lake.append(READINGS, frame.sample(fraction=1, shuffle=True, seed=1))
    lake.replace(
        READINGS, readings([30], pool="0xb"), Span(START + timedelta(minutes=30), START + timedelta(minutes=31))
    )
    for uri in DeltaTable(lake.root / "readings").file_uris():
        rows = pl.read_parquet(uri, hive_partitioning=False)
        assert rows.rows() == rows.sort("pool", "event_time").rows()
        assert uri.endswith(".zstd.parquet")


def test_every_engine_can_read_the_tables(lake: Lake) -> None:
    lake.append(READINGS, readings([1]))
    lake.replace(READINGS, readings([2]), hours(0, 1))
    lake.compact(READINGS)
    lake.append(READINGS, readings([5], network="b's /é%"))
    foreign = pl.DataFrame(pl.from_arrow(opened(lake, READINGS).to_pyarrow_table()))
    assert ordered(foreign.select(READINGS.schema.names())) == ordered(lake.scan(READINGS))
    plain = None if isinstance(lake.root, Path) else {"allow_http": "true"}
    theirs = pl.scan_delta(opened(lake, READINGS).table_uri, storage_options=plain, credential_provider=None)
    assert ordered(theirs.drop("day")) == ordered(lake.scan(READINGS))
    protocol = opened(lake, READINGS).protocol()
    assert (protocol.min_reader_version, protocol.min_writer_version) == (1, 2)


def test_a_lake_can_be_sent_to_another_process(lake: Lake) -> None:
    assert pickle.loads(pickle.dumps(lake)) == lake  # noqa: S301


def test_two_listings_tell_which_files_two_versions_share(lake: Lake) -> None:
    lake.append(READINGS, readings([0]))
    lake.append(READINGS, readings([1500]))
    older, newer = (lake.listing(READINGS, version=version) for version in (1, 2))
    assert older is not None
    assert newer is not None
    assert set(older.files["path"]) < set(newer.files["path"])
    assert newer.files.equals(lake.listing(READINGS).files)  # type: ignore[union-attr]
    with pytest.raises(StorageError, match="version 9"):
        lake.listing(READINGS, version=9)


@in_a_folder
def test_a_table_that_was_made_anew_is_another(lake: Lake) -> None:
    assert lake.identity(READINGS) is None
    lake.append(READINGS, readings([0]))
    first = lake.identity(READINGS)
    lake.append(READINGS, readings([1]))
    assert lake.identity(READINGS) == first
    shutil.rmtree(lake.root / READINGS.name)
    lake = Lake(lake.root)
    lake.append(READINGS, readings([0]))
    assert lake.identity(READINGS) not in (None, first)
