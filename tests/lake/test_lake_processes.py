"""Several processes at one table at once, through the lake and beside it."""

from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import polars as pl
import pytest
from deltalake import DeltaTable, write_deltalake
from lake_tables import NOTES, READINGS, hours, notes, ordered, readings

from pipeline.errors import CommitConflictError
from pipeline.lake import Commit, Lake, delta, store
from pipeline.lake.rows import with_day

WRITERS = 4
BATCHES = 6


def write(lake: Lake, writer: int, n_batches: int = BATCHES) -> int:
    """Append overlapping batches, replace an hour of one's own and upsert shared notes; gives the rows appended."""
    n_rows = 0
    for batch in range(n_batches):
        n_rows += lake.append(READINGS, readings(range(batch * 10, batch * 10 + 15 + writer))).n_rows
        own = readings(range(1440 + 60 * writer, 1500 + 60 * writer), pool="own", n_trades=batch)
        lake.replace(READINGS, own, hours(24 + writer, 25 + writer))
        lake.upsert(NOTES, notes(("shared", "x", "same"), ("shared", f"{writer}-{batch}", None)))
    return n_rows


@pytest.mark.slow
def test_four_processes_at_one_table_lose_and_double_nothing(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    with ProcessPoolExecutor(WRITERS, mp_context=get_context("spawn")) as pool:
        n_rows = list(pool.map(write, [lake] * WRITERS, range(WRITERS)))
    expected = readings(range((BATCHES - 1) * 10 + 15 + WRITERS - 1))
    own = [
        readings(range(1440 + 60 * writer, 1500 + 60 * writer), pool="own", n_trades=BATCHES - 1)
        for writer in range(WRITERS)
    ]
    assert sum(n_rows) == len(expected), "each row was written by exactly one of them"
    assert ordered(lake.scan(READINGS)) == ordered(pl.concat([expected, *own]))
    assert lake.scan(NOTES).collect().height == 1 + WRITERS * BATCHES


def intruding(monkeypatch: pytest.MonkeyPatch, root: Path, times: int) -> list[int]:
    """Let a writer that takes no lock replace the same day just before each of our next `times` commits.

    What it writes meets the hour that we replace, and the hour before.
    """
    left, commit = [times], delta.commit

    def commit_late(found: DeltaTable, *args: object) -> None:
        if left[0] > 0:
            left[0] -= 1
            foreign = with_day(READINGS, readings([7, 70], n_trades=left[0]))
            write_deltalake(root / "readings", foreign, mode="overwrite", predicate="day = '2020-09-08'")
        commit(found, *args)

    monkeypatch.setattr(delta, "commit", commit_late)
    monkeypatch.setattr(store, "_FIRST_PAUSE_S", 0.0001)
    return left


def test_a_change_is_planned_anew_when_another_writer_came_between(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake = Lake(tmp_path)
    lake.append(READINGS, readings(range(62)))
    left = intruding(monkeypatch, tmp_path, 2)
    assert lake.replace(READINGS, readings([65]), hours(1, 2)) == Commit(4, 1)
    assert left == [0]
    assert ordered(lake.scan(READINGS)) == ordered(pl.concat([readings([7], n_trades=0), readings([65])]))


def test_a_writer_that_keeps_coming_between_is_a_conflict(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lake = Lake(tmp_path)
    lake.append(READINGS, readings(range(62)))
    intruding(monkeypatch, tmp_path, 99)
    with pytest.raises(CommitConflictError, match=r"'readings'.*6 attempts"):
        lake.replace(READINGS, readings([65]), hours(1, 2))
    assert lake.scan(READINGS, hours(1, 2)).collect()["event_time"].dt.minute().to_list() == [10]
