"""A table that was opened before is brought up to date, never believed blindly."""

import os
import pickle
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from lake_tables import READINGS, hours, ordered, readings

from pipeline.errors import StorageError
from pipeline.lake import Lake, delta
from pipeline.lake.folder import Folder


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    lake = Lake(tmp_path / "lake", sync=lambda path: None)
    lake.append(READINGS, readings([1]))
    lake.append(READINGS, readings([2]))
    return lake


def minutes(lake: Lake) -> list[int]:
    return sorted(lake.scan(READINGS).collect()["n_trades"])


def test_what_another_process_commits_is_seen(lake: Lake) -> None:
    assert minutes(lake) == [1, 2]
    Lake(lake.root).append(READINGS, readings([3]))
    assert minutes(lake) == [1, 2, 3]
    lake.append(READINGS, readings([4]))
    assert minutes(Lake(lake.root)) == minutes(lake) == [1, 2, 3, 4]


def test_opening_again_does_not_read_the_whole_table_again(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delta, "DeltaTable", lambda *_: pytest.fail("opened anew"))
    for minute in (3, 4):
        lake.append(READINGS, readings([minute]))
        lake.replace(READINGS, readings([90 + minute]), hours(1, 2))
    assert minutes(lake) == [1, 2, 3, 4, 94]


def test_a_log_that_was_put_back_to_an_older_copy_is_read_anew(lake: Lake, tmp_path: Path) -> None:
    shutil.copytree(lake.root, tmp_path / "copy")
    lake.append(READINGS, readings([3]))
    shutil.rmtree(lake.root)
    shutil.copytree(tmp_path / "copy", lake.root)
    assert minutes(lake) == [1, 2]
    lake.append(READINGS, readings([4]))
    assert minutes(lake) == [1, 2, 4]


def test_a_table_that_was_removed_is_none_and_may_begin_again(lake: Lake) -> None:
    shutil.rmtree(lake.root / "readings")
    assert lake.version(READINGS) is None
    for minute in (7, 8):
        lake.append(READINGS, readings([minute]))
    assert minutes(lake) == [7, 8]


def test_an_entry_that_was_damaged_since_is_an_error(lake: Lake) -> None:
    assert minutes(lake) == [1, 2]
    entry = lake.root / "readings" / "_delta_log" / f"{1:020d}.json"
    os.truncate(entry, entry.stat().st_size // 2)
    with pytest.raises(StorageError, match="readings"):
        lake.scan(READINGS)


def test_threads_may_share_a_lake(lake: Lake) -> None:
    def work(first: int) -> None:
        for minute in range(first, first + 5):
            lake.append(READINGS, readings([minute]))
            assert minute in minutes(lake)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, (10, 20, 30, 40)))
    assert len(minutes(lake)) == 22


def test_a_thread_moves_no_table_on_that_another_has_opened(lake: Lake) -> None:
    folder, opened = Folder(lake.root, "readings"), delta.Opened()
    mine = opened.newest(folder)
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(opened.newest, folder).result() is not mine
    assert opened.newest(folder) is mine


def test_a_lake_that_has_opened_tables_can_be_sent_to_another_process(lake: Lake) -> None:
    sent = pickle.loads(pickle.dumps(Lake(lake.root)))  # noqa: S301
    minutes(sent)
    again = pickle.loads(pickle.dumps(sent))  # noqa: S301
    assert again == sent
    assert ordered(again.scan(READINGS)) == ordered(lake.scan(READINGS))
