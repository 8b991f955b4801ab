"""What goes wrong with an object store is said in words, within seconds, and never with a key in them."""

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from traceback import format_exception

import polars as pl
import pytest
from deltalake import DeltaTable
from lake_tables import NOTES, READINGS, hours, notes, ordered, readings

from pipeline.cli import main
from pipeline.errors import PermanentError, StorageError, StoreAwayError, TransientError
from pipeline.lake import Lake
from pipeline.lake.bucket import Bucket
from pipeline.lake.disk import reporting
from pipeline.lake.failures import in_words
from pipeline.lake.query import query
from pipeline.tables import POOLS, QUARANTINE
from tests.builders import valid_frame
from tests.object_store import KEY, SECRET, Store

ACTS: dict[str, Callable[[Lake], object]] = {
    "scan": lambda lake: lake.scan(READINGS),
    "append": lambda lake: lake.append(READINGS, readings([1])),
    "status": lambda lake: lake.status(READINGS),
    "vacuum": lambda lake: lake.vacuum(READINGS, now=datetime.now(UTC), retention=timedelta(0)),
}


@pytest.mark.parametrize("act", ACTS)
def test_a_bucket_that_is_not_there(bucket: Bucket, act: str) -> None:
    lake = Lake(Bucket("s3://no-such-bucket/lake", bucket.locks, is_plain=True))
    with pytest.raises(StorageError, match="there is no such bucket"):
        ACTS[act](lake)


@pytest.mark.parametrize("act", ACTS)
def test_keys_that_the_store_does_not_accept_are_not_repeated(
    bucket: Bucket, act: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "planted-key")
    with pytest.raises(StorageError, match="does not accept the signature") as caught:
        ACTS[act](Lake(bucket))
    told = "".join([*format_exception(caught.value), *capfd.readouterr()])
    assert not [secret for secret in ("planted-key", SECRET, KEY) if secret in told]


def test_of_a_refusal_only_its_code_is_understood(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "planted-key")
    with pytest.raises(StorageError, match="does not accept the signature") as caught, reporting("list"):
        list(Bucket("s3://lake/other", bucket.locks, is_plain=True).lying())
    assert "planted-key" not in "".join(format_exception(caught.value))


@pytest.mark.parametrize("act", ACTS)
def test_no_keys_at_all(bucket: Bucket, act: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    begin = time.monotonic()
    with pytest.raises(StorageError, match="there are no keys to the store"):
        ACTS[act](Lake(bucket))
    assert time.monotonic() - begin < 15


@pytest.mark.parametrize("act", ["append", "scan"])
def test_a_store_that_is_away_is_told_within_seconds_and_may_come_back(
    object_store: Store, bucket: Bucket, act: str
) -> None:
    lake = Lake(bucket)
    lake.append(READINGS, readings([0]))
    object_store.say("stop")
    begin = time.monotonic()
    try:
        with pytest.raises(StoreAwayError, match=r"did not answer.*Connection refused"):
            ACTS[act](lake)
        assert time.monotonic() - begin < 20
    finally:
        object_store.say("start")
    assert lake.append(READINGS, readings([0, 1])).n_rows == 1


def test_a_store_that_is_away_is_worth_another_try_and_a_missing_bucket_is_not() -> None:
    assert issubclass(StoreAwayError, TransientError)
    assert issubclass(StorageError, PermanentError)


def test_a_file_that_is_lost_or_another_is_never_fewer_rows(bucket: Bucket) -> None:
    lake, place = Lake(bucket), bucket.at("readings")
    lake.append(READINGS, readings([1, 1500]))
    first, second = (next(place.lying(f"day=2020-09-0{day}")).path for day in (8, 9))
    place.write(first, readings(range(9)).drop("network"))
    place.delete(second)
    with pytest.raises(StorageError, match="bytes where its log says"):
        lake.scan(READINGS, hours(0, 1), version=1)
    with pytest.raises(StorageError, match="which is not there"):
        lake.scan(READINGS, hours(24, 26), version=1)
    with pytest.raises(StorageError, match="which is not there"):
        lake.append(READINGS, readings([1500, 1501]))
    with pytest.raises(StorageError, match="could not count: a file that its log names"), reporting("count"):
        lake.scan(READINGS, hours(24, 26)).collect()
    assert lake.scan(READINGS, hours(50, 51)).collect().is_empty()


def test_a_store_that_goes_away_before_a_scan_is_collected_is_told_in_words(
    object_store: Store, bucket: Bucket
) -> None:
    lake = Lake(bucket)
    lake.append(READINGS, readings([1]))
    rows = lake.scan(READINGS)
    object_store.say("stop")
    try:
        with pytest.raises(StoreAwayError, match=r"could not count: .*Connection refused"), in_words("count"):
            rows.collect()
    finally:
        object_store.say("start")
    with pytest.raises(pl.exceptions.ColumnNotFoundError), in_words("count"):
        rows.select("no such column").collect()


def test_the_command_line_says_in_words_what_is_lost(
    bucket: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    lake, place = Lake(bucket), bucket.at("quarantine")
    lake.append(QUARANTINE, valid_frame(QUARANTINE, n_rows=5))
    place.delete(next(file.path for file in place.lying() if file.path.endswith(".parquet")))
    monkeypatch.setenv("POOLCAST_LAKE_URL", bucket.uri)
    monkeypatch.setattr("sys.argv", ["poolcast", "quality", "quarantine", "list", "--data-dir", str(tmp_path)])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 1
    told = capfd.readouterr().err
    assert "could not read the lake: a file that its log names is not there" in told
    assert "Generic S3" not in told


def test_a_table_whose_log_is_gone_is_not_taken_for_an_empty_one(bucket: Bucket) -> None:
    lake, place = Lake(bucket), bucket.at("readings")
    lake.append(READINGS, readings([1]))
    for file in place.lying("_delta_log"):
        place.delete(file.path)
    with pytest.raises(StorageError, match="no log of what is valid"):
        Lake(bucket).scan(READINGS)


def test_a_log_that_was_put_back_to_an_older_state_is_read_anew(bucket: Bucket) -> None:
    lake, place = Lake(bucket), bucket.at("readings")
    for minute in (1, 2):
        lake.append(READINGS, readings([minute]))
    place.delete(f"_delta_log/{2:020d}.json")
    assert ordered(lake.scan(READINGS)) == ordered(readings([1]))
    lake.append(READINGS, readings([3]))
    assert ordered(lake.scan(READINGS)) == ordered(readings([1, 3]))


def test_compaction_and_vacuum_keep_what_is_needed_and_the_log_is_cleared(bucket: Bucket) -> None:
    lake, place = Lake(bucket), bucket.at("readings")
    for trades in range(1, 23):
        lake.replace(READINGS, readings([1], n_trades=trades), hours(0, 1))
    assert [file.path for file in place.lying("_delta_log") if file.path.endswith(".checkpoint.parquet")]
    lake.append(READINGS, readings([2]))
    lake.compact(READINGS)
    rows = ordered(lake.scan(READINGS))
    gone = lake.vacuum(READINGS, now=datetime(2100, 1, 1, tzinfo=UTC), retention=timedelta(0), keep_versions={3})
    assert len(gone) > 20
    assert ordered(Lake(bucket).scan(READINGS)) == rows
    assert ordered(lake.scan(READINGS, version=3)) == ordered(readings([1], n_trades=3))
    with pytest.raises(StorageError, match=r"vacuumed|version 9"):
        lake.scan(READINGS, version=9)
    data = {file.path for file in place.lying() if "_delta_log" not in file.path}
    assert data == {*lake.listing(READINGS).files["path"], *lake.listing(READINGS, version=3).files["path"]}  # type: ignore[union-attr]
    assert DeltaTable(place.uri, storage_options=place.options).version() == lake.version(READINGS)


def test_a_vacuum_leaves_alone_what_a_writer_without_a_lock_may_be_at(bucket: Bucket) -> None:
    lake, place = Lake(bucket), bucket.at("readings")
    lake.append(READINGS, readings([1]))
    half = place.write("day=2020-09-08/network=eth/part-of-another.parquet", readings([2]).drop("network"))
    for hours_on, gone in ((0.9, 0), (1.1, 1)):
        now = datetime.now(UTC) + timedelta(hours=hours_on)
        assert [file.path for file in lake.vacuum(READINGS, now=now, retention=timedelta(0))] == [half.path] * gone


def test_sql_sees_the_tables_and_a_folder_with_an_odd_name(bucket: Bucket) -> None:
    lake = Lake(bucket)
    frame = valid_frame(POOLS, n_rows=5)
    lake.append(POOLS, frame)
    lake.append(POOLS, frame.with_columns(network=pl.lit("b's /é%")))
    assert query(lake, "SELECT count(*) AS n FROM pools").item() == 10
    assert query(lake, "SELECT count(*) AS n FROM pools WHERE network = 'b''s /é%'").item() == 5
    assert query(lake, "SELECT count(*) AS n FROM labels").item() == 0
    lake.upsert(NOTES, notes(('it\'s "b"/%', "1", "z")))
    assert ordered(lake.scan(NOTES)) == [('it\'s "b"/%', "1", "z")]
