"""A directory of several bar lengths, or one that somebody touched: what is ours is mended, what is not is left."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from pipeline.bins.export import Export, export_all, fix, update
from pipeline.bins.manifest import missing_files
from pipeline.bins.spec import BinsSpec
from pipeline.errors import StorageError
from tests.bins.bins_history import tree
from tests.bins.bins_market import identities, made_bars

HOURS = made_bars()
DAYS = HOURS.with_columns(pl.col("event_time").dt.truncate("1d")).unique(["instrument", "event_time"])
KNOWN = identities(HOURS)
DAY = BinsSpec(freq="day")
ONE = HOURS.filter(pl.col("pool") == "0xabc").head(1).with_columns(close=pl.lit(7.0))
OTHER = HOURS.filter(pl.col("pool") == "0xAbC").head(1).with_columns(close=pl.lit(7.0))
CLOSE = "features/eth-0xabc/close.60min.bin"


def hours(directory: Path, *, drop_damaged: bool = False) -> Export:
    return export_all(HOURS, KNOWN, directory, drop_damaged=drop_damaged)


def days(directory: Path, *, drop_damaged: bool = False) -> Export:
    return export_all(DAYS, KNOWN, directory, DAY, drop_damaged=drop_damaged)


@pytest.fixture
def both(tmp_path: Path) -> Path:
    hours(tmp_path / "qlib")
    days(tmp_path / "qlib")
    return tmp_path / "qlib"


def other_value(path: Path) -> None:
    raw = bytearray(path.read_bytes())
    raw[9] ^= 1
    path.write_bytes(raw)


def link_elsewhere(path: Path) -> None:
    path.rename(path.parents[4] / "elsewhere")
    path.symlink_to(path.parents[4] / "elsewhere")


def folder_instead(path: Path) -> None:
    path.unlink()
    path.mkdir()


def cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size - 4)


@pytest.mark.parametrize("damage", [other_value, link_elsewhere, folder_instead, cut])
def test_an_instrument_that_is_not_what_was_written_is_never_built_upon(
    tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    hours(tmp_path / "qlib")
    whole = tree(tmp_path / "qlib")
    damage(tmp_path / "qlib" / CLOSE)
    for call in (update, fix):
        with pytest.raises(StorageError, match="mode 'all'"):
            call(ONE, KNOWN, tmp_path / "qlib")
    assert hours(tmp_path / "qlib").is_written
    assert tree(tmp_path / "qlib") == whole
    assert not (tmp_path / "qlib" / CLOSE).is_symlink()


@pytest.mark.parametrize("damage", [link_elsewhere, folder_instead, cut])
def test_a_file_that_is_taken_over_must_be_in_its_place(tmp_path: Path, damage: Callable[[Path], None]) -> None:
    hours(tmp_path / "qlib")
    damage(tmp_path / "qlib" / CLOSE)
    with pytest.raises(StorageError, match=CLOSE):
        update(OTHER, KNOWN, tmp_path / "qlib")


def test_files_that_are_missing_are_told_at_a_look(both: Path) -> None:
    assert missing_files(both, "60min") == missing_files(both, "day") == []
    cut(both / CLOSE)
    assert missing_files(both, "60min") == [CLOSE]
    assert missing_files(both, "day") == []
    shutil.rmtree(both / "features")
    assert len(missing_files(both, "day")) == 5
    assert missing_files(both, "5min") == ["calendars/5min.txt", "manifests/5min.tsv"]
    other_value(both / "calendars/day.txt")
    assert "calendars/day.txt" in missing_files(both, "60min")
    with pytest.raises(StorageError, match="cannot read"):
        missing_files(both.with_name("nothing"), "day")


def test_a_map_that_is_lost_is_made_anew_of_the_names_that_are_given(both: Path) -> None:
    whole = tree(both)
    (both / "instruments.json").unlink()
    some = HOURS.filter(pl.col("pool") == "nan")
    with pytest.raises(StorageError, match=r"instruments\.json \(say in `identities` what .* drop_damaged=True"):
        export_all(some, identities(some), both)
    hours(both)
    assert tree(both) == whole


def test_two_damaged_bar_lengths_do_not_stand_in_each_other_s_way(both: Path) -> None:
    whole = tree(both)
    shutil.rmtree(both / "features" / "eth-0xabc")
    for call, other in ((hours, "day"), (days, "60min")):
        with pytest.raises(StorageError, match=f"export {other} anew with mode 'all', or, .*drop_damaged=True"):
            call(both)
    hours(both, drop_damaged=True)
    assert not any("day" in path for path in tree(both))
    days(both)
    assert tree(both) == whole


def test_a_bar_length_that_is_whole_is_kept_also_where_damage_may_be_dropped(both: Path) -> None:
    whole = tree(both)
    cut(both / CLOSE)
    hours(both, drop_damaged=True)
    assert tree(both) == whole


def test_a_manifest_that_was_changed_is_not_carried_over_and_one_that_was_not_is(both: Path) -> None:
    whole, path = tree(both), both / "manifests" / "60min.tsv"
    raw = path.read_bytes()
    path.write_bytes(raw[:-2] + (b"0" if raw[-2:-1] != b"0" else b"1") + raw[-1:])
    with pytest.raises(StorageError, match=r"60min\.tsv, or a file of .* export 60min anew"):
        days(both)
    hours(both)
    assert tree(both) == whole


@pytest.mark.parametrize("mode", ["all", "update", "fix"])
def test_lists_of_instruments_of_somebody_else_stay(tmp_path: Path, mode: str) -> None:
    ids = [hours(tmp_path / name).export_id for name in ("qlib", "bare")]
    mine = tmp_path / "qlib/instruments/top.txt"
    mine.write_text("eth-0xabc\t2020-09-08\t2020-09-09\n")
    (tmp_path / "qlib/instruments/linked.txt").symlink_to("top.txt")
    bars = pl.concat([ONE, HOURS]).unique(["instrument", "event_time"], keep="first") if mode == "all" else ONE
    for at in range(3):
        given = bars.with_columns(close=pl.col("close") + at % 2)
        call = {"all": export_all, "update": update, "fix": fix}[mode]
        ids += [call(given, KNOWN, tmp_path / name).export_id for name in ("qlib", "bare")]
        assert mine.read_text() == "eth-0xabc\t2020-09-08\t2020-09-09\n"
        assert (tmp_path / "qlib/instruments/linked.txt").readlink() == Path("top.txt")
    assert ids[::2] == ids[1::2]
    theirs = {"instruments/top.txt", "instruments/linked.txt"}
    assert {p: c for p, c in tree(tmp_path / "qlib").items() if p not in theirs} == tree(tmp_path / "bare")
