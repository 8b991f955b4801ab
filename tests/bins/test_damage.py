"""What somebody else did to the files, and file systems that refuse: clear words, and the old state intact."""

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import polars as pl
import pytest

from pipeline.bins import files, store
from pipeline.bins.export import Export, export_all, fix, update
from pipeline.bins.spec import BinsSpec
from pipeline.errors import StorageError, StorageFullError
from tests.bins.bins_history import tree
from tests.bins.bins_market import identities, made_bars
from tests.bins.watching_reader import assert_whole

BARS = made_bars()
KNOWN = identities(BARS)
ONE = BARS.filter(pl.col("pool") == "0xabc").head(1).with_columns(close=pl.lit(7.0))
CLOSE = "features/eth-0xabc/close.60min.bin"


def lose(path: Path) -> None:
    path.unlink()


def cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size - 4)


def lengthen(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b"\0\0\0\0")


def scribble(path: Path) -> None:
    path.write_bytes(b"\1" * path.stat().st_size)


DAMAGES = (lose, cut, lengthen, scribble)


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize(
    "path", [CLOSE, "calendars/60min.txt", "instruments/all.txt", "instruments.json", "manifests/60min.tsv"]
)
def test_a_damaged_export_is_made_anew_by_a_full_one_and_refused_by_the_others(
    tmp_path: Path, path: str, damage: Callable[[Path], None]
) -> None:
    directory = tmp_path / "qlib"
    export_all(BARS, KNOWN, directory)
    whole = tree(directory)
    damage(directory / path)
    damaged = tree(tmp_path)
    for call in (update, fix):
        with pytest.raises(StorageError, match="mode 'all'"):
            call(ONE, KNOWN, directory)
    assert tree(tmp_path) == damaged
    assert export_all(BARS, KNOWN, directory).is_written
    assert tree(directory) == whole
    assert update(ONE, KNOWN, directory).n_files_written == 1


def test_the_words_name_the_file(tmp_path: Path) -> None:
    export_all(BARS, KNOWN, tmp_path / "qlib")
    (tmp_path / "qlib" / CLOSE).unlink()
    with pytest.raises(StorageError, match=CLOSE):
        update(ONE, KNOWN, tmp_path / "qlib")
    with pytest.raises(StorageError, match=CLOSE):
        update(BARS.filter(pl.col("pool") == "0xAbC").head(1).with_columns(close=pl.lit(7.0)), KNOWN, tmp_path / "qlib")


def test_a_link_that_leads_nowhere_is_mended_by_a_full_export_alone(tmp_path: Path) -> None:
    name = export_all(BARS, KNOWN, tmp_path / "qlib").export_id
    (tmp_path / "qlib.exports" / name).rename(tmp_path / "elsewhere")
    with pytest.raises(StorageError, match="mode 'all'"):
        update(ONE, KNOWN, tmp_path / "qlib")
    assert export_all(BARS, KNOWN, tmp_path / "qlib").is_written
    assert_whole((tmp_path / "qlib").resolve())


def test_another_bar_length_that_is_damaged_is_named(tmp_path: Path) -> None:
    days = BARS.with_columns(pl.col("event_time").dt.truncate("1d")).unique(["instrument", "event_time"])
    export_all(BARS, KNOWN, tmp_path / "qlib")
    export_all(days, KNOWN, tmp_path / "qlib", BinsSpec(freq="day"))
    before = tree(tmp_path / "qlib")
    (tmp_path / "qlib" / "manifests" / "60min.tsv").unlink()
    with pytest.raises(StorageError, match=r"60min\.tsv is missing.*60min anew with mode 'all'"):
        export_all(days, KNOWN, tmp_path / "qlib", BinsSpec(freq="day"))
    export_all(BARS, KNOWN, tmp_path / "qlib")
    assert tree(tmp_path / "qlib") == before


def test_a_place_that_cannot_be_written_is_a_storage_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="cannot export bins"):
        export_all(BARS, KNOWN, tmp_path / "file" / "qlib")


@pytest.mark.parametrize("number", [13, 24, 5])
def test_whatever_the_system_refuses_is_a_storage_error_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """EACCES, EMFILE, EIO: at the twentieth file."""
    export_all(BARS, KNOWN, tmp_path / "qlib")
    before, left = tree(tmp_path), iter(range(20))

    def refusing(path: str, flags: int, *rest: int, **named: int) -> int:
        if flags & os.O_CREAT and next(left, None) is None:
            raise OSError(number, os.strerror(number), path)
        return os_open(path, flags, *rest, **named)

    os_open = os.open
    monkeypatch.setattr(files.os, "open", refusing)
    with pytest.raises(StorageError, match="cannot export bins"):
        export_all(made_bars(seed=1), KNOWN, tmp_path / "qlib")
    monkeypatch.undo()
    assert tree(tmp_path) == before


@pytest.fixture(params=["size=300k", "nr_inodes=150"])
def small_disk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    """A small file system, where the one who runs the tests may mount one: too few bytes, or too few files."""
    if os.geteuid() != 0:
        pytest.skip("only root may mount a small file system")
    (tmp_path / "small").mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", request.param, "tmpfs", str(tmp_path / "small")]
    mounted = subprocess.run(mount, capture_output=True, check=False)
    if mounted.returncode:
        pytest.skip(f"no small file system can be mounted here: {mounted.stderr!r}")
    yield tmp_path / "small"
    subprocess.run(["umount", str(tmp_path / "small")], check=True)


def test_a_full_disk_is_said_so_and_the_old_state_is_intact(small_disk: Path) -> None:
    directory = small_disk / "qlib"
    few = BARS.filter(pl.col("pool").is_in(["0xabc", "nan"]))
    export_all(few, KNOWN, directory)
    before = tree(small_disk)
    more = made_bars(tuple(f"0x{at}" for at in range(30)))
    calls: list[Callable[[], Export]] = [
        lambda: export_all(more, identities(more), directory),
        lambda: update(more, identities(more), directory),
    ]
    for call in calls:
        with pytest.raises(StorageFullError, match="no space is left"):
            call()
        assert tree(small_disk) == before
    assert update(few.head(1).with_columns(close=pl.lit(3.0)), KNOWN, directory).n_files_written == 1
    assert_whole(directory.resolve())


def test_a_full_disk_that_holds_nothing_yet_holds_nothing_afterwards(small_disk: Path) -> None:
    more = made_bars(tuple(f"0x{at}" for at in range(30)))
    with pytest.raises(StorageFullError, match="no space is left"):
        export_all(more, identities(more), small_disk / "qlib")
    assert list(small_disk.iterdir()) == []


def test_an_export_is_whole_and_on_the_disk_before_it_is_put_in_force(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = export_all(BARS, KNOWN, tmp_path / "qlib").export_id
    flushed: list[dict[str, bytes]] = []

    def flush(root: Path) -> None:
        assert (tmp_path / "qlib").resolve().name == before
        flushed.append(tree(next(root.glob("tmp-next-*"))))
        really_flush(root)

    really_flush = store.flush
    monkeypatch.setattr(store, "flush", flush)
    update(ONE, KNOWN, tmp_path / "qlib")
    assert flushed == [tree(tmp_path / "qlib")]


def test_a_file_that_is_there_is_never_written_over(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"shared with an export that somebody reads")
    with pytest.raises(FileExistsError):
        files.write_new(str(tmp_path / "file"), b"new")
