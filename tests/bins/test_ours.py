"""Only what is ours is swept, a lock is always let go, and bars of two origins never share a directory."""

import hashlib
from pathlib import Path

import polars as pl
import pytest

from pipeline.bins import store
from pipeline.bins.export import export_all, fix, reading, update
from pipeline.bins.manifest import manifest_path
from pipeline.bins.spec import BinsSpec
from pipeline.errors import InputError, StorageError, UsageError
from tests.bins.bins_history import tree
from tests.bins.bins_market import identities, made_bars

BARS = made_bars()
KNOWN = identities(BARS)
DAY = BinsSpec(freq="day")
DAYS = BARS.with_columns(pl.col("event_time").dt.truncate("1d")).unique(["instrument", "event_time"])


def export(directory: Path, seed: int = 0, origin: str = "") -> str:
    return export_all(made_bars(seed=seed), KNOWN, directory, origin=origin).export_id


def test_stray_files_neither_fail_a_run_nor_hold_its_lock(tmp_path: Path) -> None:
    exports = tmp_path / "qlib.exports"
    for seed in range(4):
        export(tmp_path / "qlib", seed)
        (tmp_path / "qlib/features/.DS_Store").write_text("stray")
        (tmp_path / "qlib/features/eth-0xabc/deep/er").mkdir(parents=True)
        (tmp_path / "qlib/features/eth-0xabc/link").symlink_to(tmp_path)
        (tmp_path / "qlib/features/away").symlink_to(tmp_path)
        (exports / f"tmp-{seed}").write_text("stray")
        (exports / f"tmp-next-{seed:032x}").write_text("stray")
    left = {path.name for path in exports.iterdir() if not path.name.startswith("tmp-")}
    assert len(left) == 4
    assert sum(path.name.startswith("tmp-") for path in exports.iterdir()) == 8


def test_a_lock_is_let_go_and_the_export_counts_where_nothing_can_be_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    export(tmp_path / "qlib")

    def refuse(path: Path) -> None:
        raise PermissionError(13, "no", str(path))

    monkeypatch.setattr(store, "remove_tree", refuse)
    ids = [export(tmp_path / "qlib", seed) for seed in (1, 2, 3)]
    monkeypatch.undo()
    assert (tmp_path / "qlib").resolve().name == ids[-1]
    last = export(tmp_path / "qlib", 4)
    assert {p.name for p in (tmp_path / "qlib.exports").iterdir()} == {last, ids[-1], "previous", "lock"}


def test_a_failing_sweep_lets_the_lock_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: object) -> None:
        raise RuntimeError("stopped")

    monkeypatch.setattr(store.Store, "_sweep", fail)
    for _ in range(2):
        with pytest.raises(RuntimeError, match="stopped"):
            export(tmp_path / "qlib")


def test_exports_behind_a_link_are_refused(tmp_path: Path) -> None:
    export(tmp_path / "one")
    (tmp_path / "two.exports").symlink_to("one.exports")
    before = tree(tmp_path)
    with pytest.raises(UsageError, match="is a link"):
        export(tmp_path / "two", 1)
    assert tree(tmp_path) == before


@pytest.mark.parametrize("content", ["", "1234", "exports of poolcast\nnot"])
def test_a_folder_that_only_looks_like_ours_is_left_alone(tmp_path: Path, content: str) -> None:
    exports = tmp_path / "qlib.exports"
    for name in ("tmp-photos", "a" * 64):
        (exports / name).mkdir(parents=True)
        (exports / name / "x").write_text("mine")
    (exports / "lock").write_text(content)
    before = tree(tmp_path)
    with pytest.raises(UsageError, match="holds no exports of ours"):
        export(tmp_path / "qlib")
    assert tree(tmp_path) == before


def test_a_file_where_the_exports_would_be_is_refused(tmp_path: Path) -> None:
    (tmp_path / "qlib.exports").write_text("mine")
    with pytest.raises(UsageError, match="holds no exports of ours"):
        export(tmp_path / "qlib")


def test_folders_with_other_names_among_ours_stay(tmp_path: Path) -> None:
    export(tmp_path / "qlib")
    for name in ("tmp-photos", "tmp-next-mine", "tmp-gone-mine", "A" * 64):
        (tmp_path / "qlib.exports" / name).mkdir()
    export(tmp_path / "qlib", 1)
    assert len(list((tmp_path / "qlib.exports").iterdir())) == 4 + 4


def test_a_kill_before_the_lock_was_marked_does_no_harm(tmp_path: Path) -> None:
    (tmp_path / "qlib.exports").mkdir()
    (tmp_path / "qlib.exports/lock").write_text("")
    export(tmp_path / "qlib")
    (tmp_path / "qlib").unlink()
    export(tmp_path / "qlib")


def test_exports_whose_lock_bears_no_mark_are_known_by_the_link(tmp_path: Path) -> None:
    export(tmp_path / "qlib")
    (tmp_path / "qlib.exports/lock").write_text("")
    export(tmp_path / "qlib", 1)
    (tmp_path / "qlib").unlink()
    export(tmp_path / "qlib", 2)


def test_an_empty_folder_that_was_there_is_not_removed(tmp_path: Path) -> None:
    (tmp_path / "qlib.exports").mkdir()
    with pytest.raises(InputError, match="twice"):
        export_all(pl.concat([BARS, BARS]), KNOWN, tmp_path / "qlib")
    assert (tmp_path / "qlib.exports").is_dir()


def test_a_directory_within_an_export_is_refused(tmp_path: Path) -> None:
    export(tmp_path / "qlib")
    before = tree(tmp_path)
    (tmp_path / "way").symlink_to("qlib/features")
    for place in (tmp_path / "qlib" / "sub", tmp_path / "qlib/features/a", tmp_path / "way" / "sub"):
        with pytest.raises(UsageError, match="lies within the export"):
            export(place)
    (tmp_path / "way").unlink()
    assert tree(tmp_path) == before


def test_a_path_with_a_zero_byte_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError):
        export(tmp_path / "a\0b")
    with pytest.raises(UsageError), reading(tmp_path / "a\0b"):
        pass


def test_bars_of_two_origins_never_lie_beside_each_other(tmp_path: Path) -> None:
    directory = tmp_path / "qlib"
    export(directory, origin="lake:a")
    before = tree(tmp_path)
    for call in (update, fix):
        for origin in ("lake:b", ""):
            with pytest.raises(UsageError, match=f"60min bars of 'lake:a', these are of '{origin}'"):
                call(BARS, KNOWN, directory, origin=origin)
    for call in (export_all, update):
        with pytest.raises(UsageError, match="60min bars of 'lake:a', these are of 'lake:b'"):
            call(DAYS, KNOWN, directory, DAY, origin="lake:b")
    assert tree(tmp_path) == before
    export_all(DAYS, KNOWN, directory, DAY, origin="lake:a")
    with pytest.raises(UsageError, match="day bars of 'lake:a', these are of 'lake:b'"):
        export(directory, origin="lake:b")
    assert not update(BARS, KNOWN, directory, origin="lake:a").is_written
    export(tmp_path / "alone", origin="lake:a")
    assert export(tmp_path / "alone", origin="lake:b") != export(tmp_path / "alone", origin="lake:a")


def test_another_factor_needs_a_full_export(tmp_path: Path) -> None:
    export(tmp_path / "qlib")
    for call in (update, fix):
        with pytest.raises(UsageError, match=r"the factor 1\.0, asked for were .* 2\.0"):
            call(BARS.head(1), KNOWN, tmp_path / "qlib", BinsSpec(factor=2.0))
    assert export_all(BARS, KNOWN, tmp_path / "qlib", BinsSpec(factor=2.0)).n_files_written == 6


def test_an_export_is_named_by_what_is_in_force_also_where_nothing_was_written(tmp_path: Path) -> None:
    directory = tmp_path / "qlib"
    done = [export_all(BARS, KNOWN, directory), update(BARS, KNOWN, directory), fix(BARS, KNOWN, directory)]
    done += [export_all(DAYS, KNOWN, directory, DAY), export_all(BARS, KNOWN, directory)]
    assert [one.is_written for one in done] == [True, False, False, True, False]
    assert {one.content_id for one in done if one.freq == "60min"} == {hashed(directory / manifest_path("60min"))}
    assert done[3].content_id == hashed(directory / manifest_path("day"))
    assert done[3].export_id == done[4].export_id == directory.resolve().name


def hashed(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_words_of_a_storage_error_name_the_place(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="cannot export bins"):
        export(tmp_path / ("x" * 250))
