"""What disks do: forget what was not synced, run full, lose and damage files."""

import contextlib
import os
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import polars as pl
import pytest
from deltalake import DeltaTable
from deltalake.exceptions import DeltaError
from lake_tables import NOTES, READINGS, START, hours, notes, ordered, readings

from pipeline.calendars import Span
from pipeline.errors import StorageError, StorageFullError
from pipeline.lake import Lake
from pipeline.lake.disk import storage_error
from pipeline.lake.log import CHECKPOINT_EVERY


@dataclass
class Recorder:
    """Stands in for fsync, and notes what had been written when it was called."""

    paths: list[Path] = field(default_factory=list)

    def __call__(self, path: Path) -> None:
        assert path.exists()
        self.paths.append(path)


def synced(root: Path, act: Callable[[Lake], object]) -> list[Path]:
    """The paths below `root` that `act` brought to the disk, in order."""
    recorder = Recorder()
    act(Lake(root, sync=recorder))
    return [path.relative_to(root) for path in recorder.paths if path == root or root in path.parents]


WRITES: dict[str, Callable[[Lake], object]] = {
    "append": lambda lake: lake.append(READINGS, readings([5, 1500], network="bsc")),
    "replace": lambda lake: lake.replace(READINGS, readings([5, 1500], network="bsc"), hours(0, 48)),
    "compact": lambda lake: lake.compact(READINGS),
}


@pytest.mark.parametrize("verb", WRITES)
def test_every_commit_brings_its_files_its_log_entry_and_their_folders_to_the_disk(tmp_path: Path, verb: str) -> None:
    for minute in (1, 2):
        Lake(tmp_path).append(READINGS, readings([minute]))
    before = set(DeltaTable(tmp_path / "readings").file_uris())
    paths = synced(tmp_path, WRITES[verb])
    after = DeltaTable(tmp_path / "readings")
    added = {Path(uri).relative_to(tmp_path) for uri in set(after.file_uris()) - before}
    entry = Path("readings/_delta_log") / f"{after.version():020d}.json"
    assert added
    assert {*added, entry} <= set(paths)
    for path in (*added, entry):
        last = {synced_path: place for place, synced_path in enumerate(paths)}
        assert all(last[path] < last[folder] for folder in path.parents if folder.name)
    assert max(map(paths.index, added)) < paths.index(entry), "files are safe before the entry that names them"


def test_the_first_commit_also_brings_the_root_and_its_name_to_the_disk(tmp_path: Path) -> None:
    recorder = Recorder()
    Lake(tmp_path / "lake", sync=recorder).append(READINGS, readings([1]))
    assert {tmp_path, tmp_path / "lake", tmp_path / "lake" / "readings"} <= set(recorder.paths)


def test_a_commit_whose_writer_died_before_the_sync_is_synced_by_the_next(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    lake.append(READINGS, readings([0]))

    def die(path: Path) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Lake(tmp_path, sync=die).append(READINGS, readings([1]))
    paths = synced(tmp_path, lambda lake: lake.append(READINGS, readings([1])))
    assert Path("readings/_delta_log/00000000000000000002.json") in paths
    assert sum(path.suffix == ".parquet" for path in paths) == 1
    assert synced(tmp_path, lambda lake: lake.append(READINGS, readings([1]))) == []


def test_a_checkpoint_is_brought_to_the_disk(tmp_path: Path) -> None:
    lake = Lake(tmp_path, sync=lambda path: None)
    for minute in range(1, CHECKPOINT_EVERY):
        lake.append(READINGS, readings([minute]))
    paths = synced(tmp_path, lambda lake: lake.append(READINGS, readings([0])))
    assert Path(f"readings/_delta_log/{CHECKPOINT_EVERY:020d}.checkpoint.parquet") in paths
    assert Path("readings/_delta_log/_last_checkpoint") in paths


def test_a_sync_that_fails_is_not_acknowledged(tmp_path: Path) -> None:
    def fail(path: Path) -> None:
        raise OSError(5, "Input/output error")

    with pytest.raises(StorageError, match="Input/output error"):
        Lake(tmp_path, sync=fail).append(READINGS, readings([1]))
    lake = Lake(tmp_path)
    lake.append(READINGS, readings([1]))
    assert ordered(lake.scan(READINGS)) == ordered(readings([1]))


@pytest.mark.parametrize(
    "error",
    [
        OSError(28, "No space left on device"),
        OSError(122, "Disk quota exceeded"),
        OSError("Generic LocalFileSystem error: No space left on device (os error 28)"),
        DeltaError("Failed to parse parquet: External: Unable to copy data to file: (os error 28)"),
        DeltaError("Transaction failed: Disk quota exceeded (os error 122)"),
    ],
)
def test_every_form_of_a_full_disk_is_one_error(error: Exception) -> None:
    mapped = storage_error("append to 'readings'", error)
    assert type(mapped) is StorageFullError
    assert "could not append to 'readings': the disk is full" in str(mapped)


def test_other_failures_are_not_taken_for_a_full_disk() -> None:
    assert type(storage_error("x", OSError(5, "Input/output error"))) is StorageError
    assert type(storage_error("x", DeltaError("rows 128, os error 2"))) is StorageError


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 3 MB, where the one who runs the tests may mount one."""
    folder = tmp_path / "small"
    folder.mkdir()
    if os.geteuid() != 0:
        pytest.skip("only root may mount a small file system")
    mount = ["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(folder)]
    mounted = subprocess.run(mount, capture_output=True, check=False)
    if mounted.returncode:
        pytest.skip(f"no small file system can be mounted here: {mounted.stderr!r}")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def big(n_rows: int) -> pl.DataFrame:
    """Rows that hardly compress."""
    noise = pl.int_range(n_rows, eager=True).hash(seed=1)
    one = readings([1])
    return pl.DataFrame({"pool": noise.cast(pl.String), "price": noise.hash(seed=2).cast(pl.Float64)}).join(
        one.select("network", "event_time", "n_trades"), how="cross"
    )


def fill(path: Path) -> None:
    """Write to the file until the disk is full."""
    with contextlib.suppress(OSError), path.open("wb", buffering=0) as file:
        while file.write(b"x" * 4096):
            pass


@pytest.mark.slow
def test_a_full_disk_is_a_clear_error_and_costs_no_row(small_disk: Path) -> None:
    lake, frame = Lake(small_disk / "lake"), readings(range(100))
    lake.append(READINGS, frame)
    for write in (
        lambda: lake.append(READINGS, big(200_000)),
        lambda: lake.replace(READINGS, big(200_000), hours(0, 1)),
    ):
        with pytest.raises(StorageFullError, match="the disk is full"):
            write()
        assert ordered(lake.scan(READINGS)) == ordered(frame)
    filler = small_disk / "filler"
    fill(filler)
    with pytest.raises(StorageFullError, match="the disk is full"):
        lake.append(READINGS, readings([200]))
    with pytest.raises(StorageFullError, match="the disk is full"):
        lake.upsert(NOTES, notes(("a", "1", "x")))
    assert ordered(lake.scan(READINGS)) == ordered(frame)
    assert lake.version(NOTES) is None
    filler.unlink()
    lake.append(READINGS, readings([200]))
    lake.upsert(NOTES, notes(("a", "1", "x")))
    assert ordered(lake.scan(READINGS)) == ordered(pl.concat([frame, readings([200])]))


def entry(root: Path, version: int) -> Path:
    return root / "readings" / "_delta_log" / f"{version:020d}.json"


def a_data_file(root: Path) -> Path:
    return sorted((root / "readings").rglob("*.parquet"))[0]


def truncate(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


DAMAGES: dict[str, Callable[[Path], object]] = {
    "the newest entry is cut": lambda root: truncate(entry(root, 3)),
    "the newest entry is empty": lambda root: os.truncate(entry(root, 3), 0),
    "an entry is cut": lambda root: truncate(entry(root, 1)),
    "an entry is empty": lambda root: os.truncate(entry(root, 1), 0),
    "an entry is noise": lambda root: entry(root, 2).write_bytes(b"\x00\xff\x13" * 50),
    "an entry is gone": lambda root: entry(root, 2).unlink(),
    "the first entry is gone": lambda root: entry(root, 0).unlink(),
    "the log is gone": lambda root: [path.unlink() for path in entry(root, 0).parent.iterdir()],
    "a data file is cut": lambda root: truncate(a_data_file(root)),
    "a data file is empty": lambda root: os.truncate(a_data_file(root), 0),
    "a data file is gone": lambda root: a_data_file(root).unlink(),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_table_is_a_storage_error_and_never_fewer_rows(tmp_path: Path, damage: str) -> None:
    lake = Lake(tmp_path)
    for minute in range(3):
        lake.append(READINGS, readings([minute]))
    DAMAGES[damage](tmp_path)
    with pytest.raises(StorageError, match="readings"):
        lake.scan(READINGS)
    with pytest.raises(StorageError, match="readings"):
        lake.append(READINGS, readings([9]))


def test_a_data_file_of_noise_is_found_by_the_writer(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    lake.append(READINGS, readings(range(50)))
    path = a_data_file(tmp_path)
    path.write_bytes(b"\x07" * path.stat().st_size)
    with pytest.raises(StorageError, match="readings"):
        lake.replace(READINGS, readings([3]), Span(START, START + timedelta(minutes=30)))


def test_what_a_writer_killed_while_making_the_table_left_is_no_table(tmp_path: Path) -> None:
    (tmp_path / "readings" / "_delta_log").mkdir(parents=True)
    (tmp_path / "readings" / "_delta_log" / "00000000000000000000.json#1").write_bytes(b"{")
    lake = Lake(tmp_path)
    assert lake.version(READINGS) is None
    lake.append(READINGS, readings([1]))
    assert ordered(lake.scan(READINGS)) == ordered(readings([1]))


def test_a_table_written_under_another_spec_is_refused(tmp_path: Path) -> None:
    pl.DataFrame({"network": ["eth"]}).write_delta(tmp_path / "readings")
    with pytest.raises(StorageError, match="neither this version of the code nor an older one"):
        Lake(tmp_path).scan(READINGS)
