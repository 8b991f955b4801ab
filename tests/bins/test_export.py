import struct
import threading
from datetime import timedelta
from pathlib import Path

import polars as pl
import pytest

from pipeline.bins.export import Export, export_all, reading, update
from pipeline.bins.instruments import read_instruments
from pipeline.bins.manifest import manifest_path, read_manifest
from pipeline.bins.spec import BinsSpec
from pipeline.errors import InputError, StorageError, UsageError
from tests.bins.bins_history import tree
from tests.bins.bins_market import START, identities, made_bars
from tests.bins.watching_reader import assert_whole

SPEC = BinsSpec()
HOUR = timedelta(hours=1)


def export(bars: pl.DataFrame, directory: Path, spec: BinsSpec = SPEC) -> Export:
    return export_all(bars, identities(bars), directory, spec)


def store_of(directory: Path) -> Path:
    return directory.with_name(directory.name + ".exports")


def left_in(directory: Path) -> set[str]:
    return {entry.name for entry in store_of(directory).iterdir()}


def written_as_documented(bars: pl.DataFrame) -> dict[str, bytes]:
    """The documented format, value by value: '<f', the calendar place first, NaN for an hour without a bar."""
    calendar = [bars["event_time"].min() + h * HOUR for h in range(1000)]
    files = {}
    for (name,), rows in bars.sort("event_time").group_by("instrument"):
        known = {row["event_time"]: {**row, "factor": 1.0} for row in rows.iter_rows(named=True)}
        begin, end = calendar.index(min(known)), calendar.index(max(known))
        for field in SPEC.fields:
            found = [known[time][field] if time in known else float("nan") for time in calendar[begin : end + 1]]
            files[f"features/{name}/{field}.60min.bin"] = struct.pack(f"<{len(found) + 1}f", float(begin), *found)
    return files


def test_every_feature_file_holds_the_bytes_of_the_documented_format(tmp_path: Path) -> None:
    export(made_bars(), tmp_path / "qlib")
    found = {path: content for path, content in tree(tmp_path / "qlib").items() if path.startswith("features/")}
    assert found == written_as_documented(made_bars())


def test_the_calendar_is_every_hour_and_the_instruments_say_their_first_and_last_bar(tmp_path: Path) -> None:
    one = made_bars(("0xAbC",), 3).head(1)
    two = pl.concat([one, one.with_columns(pl.col("event_time") + 3 * HOUR)])
    two = two.with_columns(pl.col("event_time") - one["event_time"][0] + pl.lit(START))
    export(two, tmp_path / "qlib")
    files = tree(tmp_path / "qlib")
    hours = "2020-09-08 17:00:00\n2020-09-08 18:00:00\n2020-09-08 19:00:00\n2020-09-08 20:00:00\n"
    assert files["calendars/60min.txt"].decode() == hours
    assert files["instruments/all.txt"] == b"eth-0xabc-5\t2020-09-08 17:00:00\t2020-09-08 20:00:00\n"
    assert read_instruments(tmp_path / "qlib") == {"eth-0xabc-5": ("eth", "0xAbC")}


def test_days_have_no_time_of_day_unless_another_bar_length_lies_beside_them(tmp_path: Path) -> None:
    bars = made_bars(("0xa",), 60)
    days = bars.with_columns(pl.col("event_time").dt.truncate("1d")).unique("event_time")
    export(days, tmp_path / "qlib", BinsSpec(freq="day"))
    assert tree(tmp_path / "qlib")["instruments/all.txt"] == b"eth-0xa\t2020-09-08\t2020-09-11\n"
    assert tree(tmp_path / "qlib")["calendars/day.txt"] == b"2020-09-08\n2020-09-09\n2020-09-10\n2020-09-11\n"
    export(bars, tmp_path / "qlib")
    assert tree(tmp_path / "qlib")["instruments/all.txt"] == b"eth-0xa\t2020-09-08 00:00:00\t2020-09-11 04:00:00\n"


def test_an_export_says_what_it_holds(tmp_path: Path) -> None:
    bars = made_bars()
    done = export(bars, tmp_path / "qlib")
    assert_whole((tmp_path / "qlib").resolve())
    assert done.export_id == (tmp_path / "qlib").resolve().name
    assert (done.mode, done.freq, done.n_instruments, done.n_instruments_changed) == ("all", "60min", 6, 6)
    assert (done.n_bars, done.n_files_written) == (bars.height, 6 * 7)
    assert done.n_bytes == sum(p.stat().st_size for p in (tmp_path / "qlib").rglob("*.bin"))
    assert (done.first_time, done.last_time) == (bars["event_time"].min(), bars["event_time"].max())


def test_the_manifest_is_read_back_and_a_cut_or_edited_one_is_refused(tmp_path: Path) -> None:
    export(made_bars(), tmp_path / "qlib")
    raw = (tmp_path / "qlib" / manifest_path("60min")).read_bytes()
    assert read_manifest(raw, "here").to_bytes() == raw
    for wrong in (b"", raw[:-3], raw[:40], raw.replace(b"\t0\t", b"\tx\t"), b"[]\n" + raw, raw + b"\xff\n"):
        with pytest.raises(StorageError, match="cannot read the manifest 'here'"):
            read_manifest(wrong, "here")


def test_the_same_bars_again_write_nothing(tmp_path: Path) -> None:
    bars = made_bars()
    first = export(bars, tmp_path / "qlib")
    before = {p: p.lstat().st_mtime_ns for p in tmp_path.rglob("*")}
    again = [export(bars.reverse(), tmp_path / "qlib"), update(bars.tail(9), identities(bars), tmp_path / "qlib")]
    assert {p: p.lstat().st_mtime_ns for p in tmp_path.rglob("*")} == before
    for done in again:
        assert (done.export_id, done.is_written, done.n_files_written) == (first.export_id, False, 0)
        assert done.n_instruments_changed == 0


def test_a_full_export_drops_what_is_not_given_and_keeps_files_that_are_the_same(tmp_path: Path) -> None:
    bars = made_bars()
    export(bars, tmp_path / "qlib")
    kept = tmp_path / "qlib" / "features" / "eth-0xabc"
    inodes = {p.name: p.stat().st_ino for p in kept.iterdir()}
    done = export(bars.filter(pl.col("pool") != "nan"), tmp_path / "qlib")
    assert (done.n_instruments, done.n_instruments_changed, done.n_files_written) == (5, 1, 0)
    assert {p.name: p.stat().st_ino for p in kept.iterdir()} == inodes


def test_an_update_writes_only_the_files_that_change(tmp_path: Path) -> None:
    bars = made_bars()
    export(bars, tmp_path / "qlib")
    one = bars.filter(pl.col("pool") == "0xabc").head(1).with_columns(close=pl.lit(7.0))
    done = update(one, identities(bars), tmp_path / "qlib")
    assert (done.mode, done.n_files_written, done.n_instruments_changed) == ("update", 1, 1)


def test_a_lazy_frame_gives_the_same_export(tmp_path: Path) -> None:
    bars = made_bars()
    eager = export(bars, tmp_path / "eager")
    bars.write_parquet(tmp_path / "bars.parquet")
    lazy = export_all(pl.scan_parquet(tmp_path / "bars.parquet"), identities(bars), tmp_path / "lazy")
    assert lazy == eager


def test_whoever_began_with_the_export_before_reads_on(tmp_path: Path) -> None:
    ids = [export(made_bars(seed=0), tmp_path / "qlib").export_id]
    began_with = (tmp_path / "qlib").resolve()
    ids.append(export(made_bars(seed=1), tmp_path / "qlib").export_id)
    assert_whole(began_with)
    ids.append(export(made_bars(seed=2), tmp_path / "qlib").export_id)
    assert not began_with.exists()
    assert left_in(tmp_path / "qlib") == {ids[1], ids[2], "previous", "lock"}


def test_an_export_that_is_held_stays_whole_until_it_is_let_go(tmp_path: Path) -> None:
    ids = [export(made_bars(seed=0), tmp_path / "qlib").export_id]
    with reading(tmp_path / "qlib") as held:
        ids += [export(made_bars(seed=seed), tmp_path / "qlib").export_id for seed in (1, 2, 3)]
        assert held.name == ids[0]
        assert_whole(held)
        assert left_in(tmp_path / "qlib") == {ids[0], ids[2], ids[3], "previous", "lock"}
    ids.append(export(made_bars(seed=4), tmp_path / "qlib").export_id)
    assert left_in(tmp_path / "qlib") == {ids[3], ids[4], "previous", "lock"}


def test_going_back_to_bars_that_were_there_before_disturbs_nobody(tmp_path: Path) -> None:
    first = export(made_bars(seed=0), tmp_path / "qlib")
    with reading(tmp_path / "qlib") as held:
        inode = held.stat().st_ino
        export(made_bars(seed=1), tmp_path / "qlib")
        assert export(made_bars(seed=0), tmp_path / "qlib").export_id == first.export_id
        assert held.stat().st_ino == inode
        assert_whole(held)
    assert (tmp_path / "qlib").resolve() == held


def test_nothing_to_hold_is_a_storage_error(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="cannot read"), reading(tmp_path / "qlib"):
        pass


def test_two_writers_take_turns(tmp_path: Path) -> None:
    bars = made_bars()
    parts = [bars.gather_every(6, offset) for offset in range(6)]
    writers = [threading.Thread(target=update, args=(p, identities(bars), tmp_path / "qlib")) for p in parts]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert export(bars, tmp_path / "qlib").is_written is False


def test_the_calendar_may_begin_where_it_is_told_to(tmp_path: Path) -> None:
    bars, begin = made_bars(), START - timedelta(days=2)
    spec = BinsSpec(calendar_start=begin)
    done = export(bars, tmp_path / "qlib", spec)
    assert done.first_time == begin
    with pytest.raises(InputError, match="before the calendar"):
        update(bars.with_columns(pl.col("event_time") - timedelta(days=9)), identities(bars), tmp_path / "qlib", spec)
    with pytest.raises(UsageError, match="the calendar's start"):
        update(bars, identities(bars), tmp_path / "qlib")


def test_other_fields_need_a_full_export(tmp_path: Path) -> None:
    bars = made_bars()
    export(bars, tmp_path / "qlib")
    with pytest.raises(UsageError, match="mode 'all'"):
        update(bars, identities(bars), tmp_path / "qlib", BinsSpec(fields=("close",)))
    assert export(bars, tmp_path / "qlib", BinsSpec(fields=("close",))).n_files_written == 0


def test_a_name_stands_for_one_thing(tmp_path: Path) -> None:
    bars = made_bars()
    export(bars, tmp_path / "qlib")
    with pytest.raises(InputError, match="must be named anew"):
        update(bars, {name: ("other", name) for name in identities(bars)}, tmp_path / "qlib")


@pytest.mark.parametrize("target", [None, "elsewhere", "qlib.exports/mine"])
def test_a_directory_that_is_not_ours_is_left_alone(tmp_path: Path, target: str | None) -> None:
    directory = tmp_path / "qlib"
    directory.mkdir() if target is None else directory.symlink_to(target)
    for call in (export_all, update):
        with pytest.raises(UsageError, match=r"no link to an export|no export of ours"):
            call(made_bars(), identities(made_bars()), directory)
    assert [p.name for p in tmp_path.iterdir()] == ["qlib"]


def test_folders_of_somebody_else_beside_the_exports_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "qlib.exports" / "mine").mkdir(parents=True)
    with pytest.raises(UsageError, match="holds no exports of ours"):
        export(made_bars(), tmp_path / "qlib")
    export(made_bars(), tmp_path / "other")
    (tmp_path / "other.exports" / "mine").mkdir()
    (tmp_path / "other.new").write_text("mine")
    export(made_bars(seed=1), tmp_path / "other")
    assert (tmp_path / "other.exports" / "mine").is_dir()
    assert (tmp_path / "other.new").read_text() == "mine"


def test_the_whole_place_can_be_moved(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    export(made_bars(), tmp_path / "a" / "qlib")
    (tmp_path / "a").rename(tmp_path / "b")
    assert_whole((tmp_path / "b" / "qlib").resolve())
    assert not export(made_bars(), tmp_path / "b" / "qlib").is_written
