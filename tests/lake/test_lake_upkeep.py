"""Compaction and vacuum: what goes, and what must stay."""

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from deltalake import DeltaTable
from lake_tables import READINGS, hours, ordered, readings

from pipeline.errors import StorageError, UsageError
from pipeline.lake import Commit, Lake

LATER = datetime(2100, 1, 1, tzinfo=UTC)


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(tmp_path, sync=lambda path: None)


def files(lake: Lake) -> set[Path]:
    return set((lake.root / "readings").rglob("*.parquet"))


def test_compaction_merges_files_and_keeps_every_row(lake: Lake) -> None:
    for minute in range(0, 12):
        lake.append(READINGS, readings([minute, minute + 1440]))
    before = ordered(lake.scan(READINGS))
    assert lake.compact(READINGS) == Commit(13, 0)
    assert len(DeltaTable(lake.root / "readings").file_uris()) == 2
    assert ordered(lake.scan(READINGS)) == before
    assert ordered(lake.scan(READINGS, version=12)) == before
    assert lake.append(READINGS, readings([5])).n_rows == 0


def test_compacting_a_compact_or_absent_table_commits_nothing(lake: Lake) -> None:
    assert lake.compact(READINGS) == Commit(None, 0)
    lake.append(READINGS, readings([1]))
    assert lake.compact(READINGS) == Commit(1, 0)


def test_vacuum_leaves_the_newest_version_and_no_other_file(lake: Lake) -> None:
    for trades in (1, 2, 3):
        lake.replace(READINGS, readings([1, 1500], n_trades=trades), hours(0, 48))
    gone = lake.vacuum(READINGS, now=LATER, retention=timedelta(days=7))
    assert len(gone) == 4
    assert files(lake) == {Path(uri) for uri in DeltaTable(lake.root / "readings").file_uris()}
    assert ordered(lake.scan(READINGS)) == ordered(readings([1, 1500], n_trades=3))
    with pytest.raises(StorageError, match="vacuumed"):
        lake.scan(READINGS, version=1)


def test_vacuum_keeps_what_pinned_versions_need(lake: Lake) -> None:
    for trades in (1, 2, 3, 4):
        lake.replace(READINGS, readings([1], n_trades=trades), hours(0, 1))
    lake.compact(READINGS)
    lake.vacuum(READINGS, now=LATER, retention=timedelta(0), keep_versions={3, 1})
    for version in (1, 3, 4):
        assert ordered(lake.scan(READINGS, version=version)) == ordered(readings([1], n_trades=version))
    with pytest.raises(StorageError, match="vacuumed"):
        lake.scan(READINGS, version=2)


def test_vacuum_keeps_what_was_the_newest_within_the_retention(lake: Lake) -> None:
    for trades in (1, 2, 3):
        lake.replace(READINGS, readings([1], n_trades=trades), hours(0, 1))
    for path in files(lake):
        os.utime(path, (0, 0))  # written long ago: only the log says that they were replaced just now
    now = datetime.now(UTC)
    assert lake.vacuum(READINGS, now=now, retention=timedelta(hours=1)) == ()
    for version in (1, 2, 3):
        assert ordered(lake.scan(READINGS, version=version)) == ordered(readings([1], n_trades=version))
    assert len(lake.vacuum(READINGS, now=now + timedelta(hours=2), retention=timedelta(hours=1))) == 2


def test_vacuum_removes_what_a_killed_writer_left_once_it_is_old(lake: Lake) -> None:
    lake.append(READINGS, readings([1]))
    folder = next(iter(files(lake))).parent
    old, young = folder / "part-x.zstd.parquet#1", folder / "part-y.zstd.parquet"
    now = datetime.now(UTC)
    for path, age in ((old, 3), (young, 1)):
        path.write_bytes(b"PAR1")
        at = (now - timedelta(hours=age)).timestamp()
        os.utime(path, (at, at))
    assert ordered(lake.scan(READINGS)) == ordered(readings([1]))
    assert lake.vacuum(READINGS, now=now, retention=timedelta(hours=2)) == (old,)
    assert young.exists()


def test_vacuum_never_touches_the_log(lake: Lake) -> None:
    for minute in range(3):
        lake.append(READINGS, readings([minute]))
    log = lake.root / "readings" / "_delta_log"
    before = sorted(log.iterdir())
    lake.vacuum(READINGS, now=LATER, retention=timedelta(0))
    assert sorted(log.iterdir()) == before


def test_vacuum_keeps_files_in_folders_with_odd_names(lake: Lake) -> None:
    frame = readings([1], network="a b/%c=é")
    lake.append(READINGS, frame)
    assert lake.vacuum(READINGS, now=LATER, retention=timedelta(0)) == ()
    assert ordered(lake.scan(READINGS)) == ordered(frame)


def test_vacuum_refuses_what_makes_no_sense_before_it_deletes(lake: Lake) -> None:
    assert lake.vacuum(READINGS, now=LATER, retention=timedelta(0)) == ()
    for trades in (1, 2):
        lake.replace(READINGS, readings([1], n_trades=trades), hours(0, 1))
    before = files(lake)
    with pytest.raises(UsageError, match="negative"):
        lake.vacuum(READINGS, now=LATER, retention=timedelta(days=-1))
    with pytest.raises(UsageError, match="UTC"):
        lake.vacuum(READINGS, now=datetime(2100, 1, 1), retention=timedelta(0))  # noqa: DTZ001
    with pytest.raises(StorageError, match="version 77"):
        lake.vacuum(READINGS, now=LATER, retention=timedelta(0), keep_versions=[77])
    assert files(lake) == before
