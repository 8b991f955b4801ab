"""Compaction and vacuum: what goes, and what must stay."""

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from deltalake import DeltaTable
from lake_tables import READINGS, START, hours, ordered, readings

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
    (gone,) = lake.vacuum(READINGS, now=now, retention=timedelta(hours=2))
    assert gone.path == old.relative_to(lake.root / "readings").as_posix()
    assert not old.exists()
    assert young.exists()


def test_vacuum_never_touches_a_log_without_a_checkpoint(lake: Lake) -> None:
    for minute in range(3):
        lake.append(READINGS, readings([minute]))
    log = lake.root / "readings" / "_delta_log"
    before = sorted(log.iterdir())
    lake.vacuum(READINGS, now=LATER, retention=timedelta(0))
    assert sorted(log.iterdir()) == before


def grown(lake: Lake, n_commits: int) -> list[str]:
    """The names in the log of a table with so many commits, a checkpoint every twenty."""
    for trades in range(1, n_commits + 1):
        lake.replace(READINGS, readings([1], n_trades=trades), hours(0, 1))
    return names(lake)


def names(lake: Lake) -> list[str]:
    return sorted(path.name for path in (lake.root / "readings" / "_delta_log").iterdir())


def test_vacuum_clears_the_log_of_what_no_version_in_use_needs(lake: Lake) -> None:
    before = grown(lake, 45)
    gone = lake.vacuum(READINGS, now=LATER, retention=timedelta(0), keep_versions={3, 27})
    left = [int(name[:20]) for name in names(lake) if name.endswith(".json")]
    assert left == [*range(0, 4), *range(20, 28), *range(40, 46)]
    of_log = [file.path.partition("_delta_log/")[2] for file in gone if file.path.startswith("_delta_log/")]
    assert set(of_log) == set(before) - set(names(lake))
    for version in (3, 27, 45):
        assert ordered(Lake(lake.root).scan(READINGS, version=version)) == ordered(readings([1], n_trades=version))
    with pytest.raises(StorageError, match="version 12"):
        lake.scan(READINGS, version=12)
    assert lake.replace(READINGS, readings([1], n_trades=99), hours(0, 1)).version == 46
    assert lake.vacuum(READINGS, now=LATER, retention=timedelta(0), keep_versions={3, 27, 45}) == ()


def test_vacuum_leaves_the_log_of_what_was_in_use_within_the_retention(lake: Lake) -> None:
    before = grown(lake, 45)
    for path in (lake.root / "readings").rglob("*.*"):
        os.utime(path, (0, 0))  # written long ago: only the log says when a version was replaced
    assert lake.vacuum(READINGS, now=datetime.now(UTC), retention=timedelta(hours=1)) == ()
    assert names(lake) == before


def test_a_vacuum_that_was_killed_is_finished_by_the_next(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    grown(lake, 45)
    unlink, left = Path.unlink, [60]

    def die(path: Path) -> None:
        left[0] -= 1
        if not left[0]:
            raise KeyboardInterrupt
        unlink(path)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", die)
        with pytest.raises(KeyboardInterrupt):
            lake.vacuum(READINGS, now=LATER, retention=timedelta(0))
    fresh = Lake(lake.root, sync=lambda path: None)
    assert ordered(fresh.scan(READINGS)) == ordered(readings([1], n_trades=45))
    assert fresh.vacuum(READINGS, now=LATER, retention=timedelta(0))
    assert {path.parent.name for path in files(lake)} == {"_delta_log", "network=eth"}
    assert len(files(lake)) == 2, "a checkpoint and the newest rows"
    assert min(int(name[:20]) for name in names(lake) if name.endswith(".json")) == 40


def test_a_dry_vacuum_says_what_would_go_and_deletes_nothing(lake: Lake) -> None:
    before = grown(lake, 25), files(lake)
    told = lake.vacuum(READINGS, now=LATER, retention=timedelta(0), is_dry=True)
    assert before == (names(lake), files(lake))
    assert lake.vacuum(READINGS, now=LATER, retention=timedelta(0)) == told


def test_the_status_is_told_by_the_log_alone(lake: Lake) -> None:
    assert lake.status(READINGS) is None
    lake.append(READINGS, readings([1, 2, 1500]))
    lake.append(READINGS, readings([5]))
    for path in files(lake):
        path.write_bytes(b"")
    told = lake.status(READINGS)
    assert told is not None
    assert (told.version, told.n_rows, told.n_files, told.n_mergeable, told.n_days) == (2, 4, 3, 2, 2)
    assert (told.first, told.last) == (START + timedelta(minutes=1), START + timedelta(minutes=1500))
    assert told.n_bytes > 1000


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
