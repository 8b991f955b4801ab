"""A copy of a table is whole or not there, is not touched by what is written later, and leads back to the last byte."""

import os
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from lake_tables import NOTES, READINGS, hours, notes, ordered, readings
from reshaped_tables import FIRST, NOW, old_lake

from pipeline.errors import StorageError
from pipeline.lake import Lake
from pipeline.lake.backup import copy, restore


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return old_lake(Lake(tmp_path / "lake", sync=lambda path: None), n_days=3)


def test_a_copy_costs_no_space_for_its_data_and_none_of_its_log_is_shared(lake: Lake, tmp_path: Path) -> None:
    assert copy(lake, FIRST, tmp_path / "kept") == lake.version(FIRST)
    for file in (tmp_path / "kept" / "readings").rglob("*.*"):
        if file.is_file():
            twin = lake.root / file.relative_to(tmp_path / "kept")
            assert file.samefile(twin) == ("_delta_log" not in file.parts)
    assert copy(lake, NOTES, tmp_path / "kept") is None


def test_what_happens_to_the_table_does_not_reach_the_copy_and_the_way_back_is_exact(
    lake: Lake, tmp_path: Path
) -> None:
    before, rows = content(lake.root / "readings"), ordered(lake.scan(FIRST))
    copy(lake, FIRST, tmp_path / "kept")
    lake.migrate(NOW)
    lake.compact(NOW)
    lake.vacuum(NOW, now=datetime.now(UTC) + timedelta(days=1), retention=timedelta(0))
    assert content(tmp_path / "kept" / "readings") == before
    restore(lake, FIRST, tmp_path / "kept")
    assert content(lake.root / "readings") == before
    assert ordered(Lake(lake.root).scan(FIRST)) == rows
    lake.migrate(NOW)
    assert lake.replace(NOW, NOW.empty(), hours(0, 48)).n_rows == 0
    assert content(tmp_path / "kept" / "readings") == before, "what is written after a restore does not reach it either"


def test_what_a_killed_writer_left_is_never_written_into_since_a_copy_may_share_it(tmp_path: Path) -> None:
    lake = Lake(tmp_path / "lake", sync=lambda path: None)
    lake.append(READINGS, readings([1]))
    (tmp_path / "lake/readings/day=2020-09-08/network=eth" / f"part-{2:020d}-00000.zstd.parquet").write_bytes(b"half")
    copy(lake, READINGS, tmp_path / "one")
    lake.append(READINGS, readings([2]))
    copy(lake, READINGS, tmp_path / "two")
    restore(lake, READINGS, tmp_path / "one")
    lake.append(READINGS, readings([3, 4, 5]))
    restore(lake, READINGS, tmp_path / "two")
    assert ordered(Lake(lake.root).scan(READINGS)) == ordered(readings([1, 2]))


def test_a_file_system_without_links_gets_a_copy_of_everything(
    lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*paths: object) -> None:
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", refuse)
    copy(lake, FIRST, tmp_path / "kept")
    assert content(tmp_path / "kept" / "readings") == content(lake.root / "readings")


def test_a_copy_that_a_kill_left_half_is_made_anew_and_a_whole_one_is_kept(lake: Lake, tmp_path: Path) -> None:
    half = tmp_path / "kept" / "readings.fresh"
    (half / "day=1").mkdir(parents=True)
    (half / "day=1" / "part").write_bytes(b"half")
    copy(lake, FIRST, tmp_path / "kept")
    whole = content(tmp_path / "kept")
    assert not half.exists()
    lake.migrate(NOW)
    copy(lake, NOW, tmp_path / "kept")
    assert content(tmp_path / "kept") == whole


@pytest.mark.parametrize("killed_at", ["first rename", "second rename"])
def test_a_restore_that_is_killed_can_be_repeated(
    lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, killed_at: str
) -> None:
    before = content(lake.root / "readings")
    copy(lake, FIRST, tmp_path / "kept")
    lake.migrate(NOW)
    left = {"first rename": 0, "second rename": 1}[killed_at]
    honest = Path.rename

    def rename(path: Path, target: Path) -> Path:
        nonlocal left
        if left == 0:
            raise KeyboardInterrupt
        left -= 1
        return honest(path, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", rename)
        with pytest.raises(KeyboardInterrupt):
            restore(lake, FIRST, tmp_path / "kept")
    restore(lake, FIRST, tmp_path / "kept")
    assert content(lake.root / "readings") == before
    assert sorted(path.name for path in lake.root.iterdir()) == [".locks", "readings"]


def test_a_table_that_was_not_there_is_not_there_after_a_restore(lake: Lake, tmp_path: Path) -> None:
    lake.upsert(NOTES, notes(("a", "x", "1")))
    restore(lake, NOTES, None)
    assert lake.version(NOTES) is None
    assert lake.version(FIRST) is not None


def test_a_copy_that_is_gone_is_missed_before_anything_is_touched(lake: Lake, tmp_path: Path) -> None:
    copy(lake, FIRST, tmp_path / "kept")
    shutil.rmtree(tmp_path / "kept" / "readings" / "_delta_log")
    with pytest.raises(StorageError, match="there is no copy of it"):
        restore(lake, FIRST, tmp_path / "kept")
    assert lake.scan(FIRST).collect().height > 2500
