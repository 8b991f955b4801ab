"""An update from the lake leaves what a full export leaves, byte for byte, and reads only the days that changed."""

import hashlib
from dataclasses import replace
from pathlib import Path
from threading import Thread

import pytest

from pipeline.bins import lake_bars
from pipeline.bins.instruments import instrument_name
from pipeline.bins.spec import BinsSpec
from pipeline.calendars import DAY, HOUR, MINUTE, Span
from pipeline.errors import InputError
from pipeline.lake import Lake
from pipeline.tables import CANDLES, FEATURES
from tests.bins.bins_history import tree
from tests.bins.bins_market import candle, candles
from tests.bins.exported_lake import FEATURED, NOW, POOLS, SPEC, START, exported, in_full, reserve_told


def test_the_first_export_is_of_everything_and_says_why(lake: Lake, tmp_path: Path) -> None:
    done = exported(lake, tmp_path / "qlib")
    assert (done.export.mode, done.reason) == ("all", "there was no export at this bar length: everything was exported")
    assert (done.n_days, done.n_bars_held, done.is_whole) == (3, 3 * 72, True)
    assert tree(tmp_path / "qlib") == in_full(lake, SPEC)


def test_where_nothing_changed_nothing_is_read_or_written(lake: Lake, tmp_path: Path) -> None:
    first = exported(lake, tmp_path / "qlib")
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "qlib.exports").rglob("*") if path.is_file()}
    again = exported(lake, tmp_path / "qlib")
    assert (again.export.mode, again.reason, again.n_days) == (
        "update",
        "nothing changed since version 1 of the candles",
        0,
    )
    assert replace(again.export, mode="all", n_instruments_changed=3, n_bars=216, n_files_written=21,
                   is_written=True) == first.export  # fmt: skip
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert again.n_bars_held == 216


def test_what_is_put_on_record_is_what_was_written_and_what_is_in_force(lake: Lake, tmp_path: Path) -> None:
    exported(lake, tmp_path / "qlib")
    exported(lake, tmp_path / "qlib", BinsSpec(freq="day"))
    again = exported(lake, tmp_path / "qlib")
    assert again.reason.startswith("nothing changed")
    assert again.export.export_id == (tmp_path / "qlib").resolve().name
    manifest = (tmp_path / "qlib/manifests/60min.tsv").read_bytes()
    assert again.export.content_id == hashlib.sha256(manifest).hexdigest()


def test_a_late_bar_costs_its_day_and_its_instrument(lake: Lake, tmp_path: Path) -> None:
    exported(lake, tmp_path / "qlib")
    lake.append(CANDLES, candles(candle(START + DAY + 5 * MINUTE, pool="nan", close=77.0, high=77.0)))
    done = exported(lake, tmp_path / "qlib")
    assert (done.export.mode, done.reason) == ("update", "1 day may have changed since version 1 of the candles")
    assert (done.n_days, done.export.n_bars, done.export.n_instruments_changed) == (1, 72, 1)
    assert (done.worked_on, done.n_bars_held) == (Span(START + DAY, START + 2 * DAY), 216)
    assert tree(tmp_path / "qlib") == in_full(lake, SPEC)


def test_bars_that_were_taken_back_go_and_with_the_last_the_instrument(lake: Lake, tmp_path: Path) -> None:
    lake.append(CANDLES, candles(candle(START + 3 * DAY, pool="alone")))
    assert exported(lake, tmp_path / "qlib").export.n_instruments == 4
    lake.replace(CANDLES, CANDLES.empty(), Span(START + 2 * DAY + HOUR, START + 4 * DAY))
    done = exported(lake, tmp_path / "qlib")
    assert (done.export.mode, done.export.n_instruments, done.n_bars_held) == ("update", 3, 3 * 49)
    assert done.export.last_time == START + 2 * DAY
    assert tree(tmp_path / "qlib") == in_full(lake, SPEC)


def test_when_all_bars_are_taken_back_the_last_export_stays(lake: Lake, tmp_path: Path) -> None:
    exported(lake, tmp_path / "qlib")
    before = tree(tmp_path / "qlib")
    lake.replace(CANDLES, CANDLES.empty(), Span(START, START + 3 * DAY))
    with pytest.raises(InputError, match="no 60min bar would be left"):
        exported(lake, tmp_path / "qlib")
    assert tree(tmp_path / "qlib") == before


def test_a_feature_at_midnight_changes_the_last_bar_of_the_day_before(
    lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lake_bars, "ROWS_AT_ONCE", 72)  # a day at once
    lake.append(FEATURES, reserve_told(START + HOUR, "0xabc", 1.0))
    exported(lake, tmp_path / "qlib", FEATURED)
    before = tree(tmp_path / "qlib")
    lake.append(FEATURES, reserve_told(START + DAY, "0xabc", 2.0))
    done = exported(lake, tmp_path / "qlib", FEATURED)
    assert (done.export.mode, done.n_days, done.export.n_instruments_changed) == ("update", 2, 1)
    after = tree(tmp_path / "qlib")
    assert after == in_full(lake, FEATURED)
    path = f"features/{instrument_name('eth', '0xabc')}/reserve_usd.60min.bin"
    assert before[path] != after[path]


def test_a_bar_that_is_not_over_is_left_out_until_it_is(lake: Lake, tmp_path: Path) -> None:
    running = START + 2 * DAY + 90 * MINUTE
    done = exported(lake, tmp_path / "qlib", at=running)
    assert (done.export.last_time, done.n_bars_held) == (START + 2 * DAY, 3 * 49)
    done = exported(lake, tmp_path / "qlib", at=running + HOUR)  # nothing was written to the lake meanwhile
    assert (done.export.mode, done.n_days, done.export.last_time) == ("update", 1, START + 2 * DAY + HOUR)
    assert done.n_bars_held == 3 * 50
    assert tree(tmp_path / "qlib") == in_full(lake, SPEC, until=running + HOUR)
    done = exported(lake, tmp_path / "qlib", at=running)  # whose clock goes back, as a replay's
    assert tree(tmp_path / "qlib") == in_full(lake, SPEC, until=running)
    assert (done.export.mode, done.n_bars_held) == ("update", 3 * 49)


def test_another_bar_length_in_the_same_directory_is_no_reason_to_export_everything(lake: Lake, tmp_path: Path) -> None:
    daily = BinsSpec(freq="day")
    exported(lake, tmp_path / "qlib")
    assert exported(lake, tmp_path / "qlib", daily).export.mode == "all"
    lake.append(CANDLES, candles(candle(START + 3 * DAY)))
    for spec in (SPEC, daily):
        done = exported(lake, tmp_path / "qlib", spec)
        assert (done.export.mode, done.export.freq, done.n_days) == ("update", spec.freq, 1)


def test_of_two_exports_at_once_the_second_begins_when_the_first_is_done(lake: Lake, tmp_path: Path) -> None:
    """Else the first would put what it has read before beside what the second has learned since."""
    exported(lake, tmp_path / "qlib")
    late = [candle(START + DAY + 5 * MINUTE, pool=pool, close=70.0, high=70.0) for pool in POOLS[:2]]
    lake.append(CANDLES, candles(late[0]))
    others: list[Thread] = []

    def meanwhile(_span: Span, _n_bars: int) -> None:
        lake.append(CANDLES, candles(late[1]))
        others.append(Thread(target=exported, args=(lake, tmp_path / "qlib"), kwargs={"at": NOW + HOUR}))
        others[0].start()
        others[0].join(2)

    exported(lake, tmp_path / "qlib", progress=meanwhile)
    others[0].join()
    assert tree(tmp_path / "qlib") == in_full(lake, SPEC)
    assert exported(lake, tmp_path / "qlib", at=NOW + 2 * HOUR).reason.startswith("nothing changed since version 3")


def test_what_is_written_to_the_lake_meanwhile_is_left_to_the_next_export(
    lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def meanwhile(_span: Span, _n_bars: int) -> None:
        lake.append(CANDLES, candles(candle(START + 2 * DAY + 5 * MINUTE, high=99.0)))

    monkeypatch.setattr(lake_bars, "ROWS_AT_ONCE", 72)  # a day at once
    done = exported(lake, tmp_path / "qlib", progress=meanwhile)
    assert (done.at.candles_version, lake.version(CANDLES)) == (1, 2)
    assert tree(tmp_path / "qlib") == in_full(lake, SPEC, version=1) != in_full(lake, SPEC)
    assert exported(lake, tmp_path / "qlib").n_days == 1
    assert tree(tmp_path / "qlib") == in_full(lake, SPEC)


@pytest.mark.parametrize(
    ("rows_at_once", "days"), [(150, [(0, 2), (2, 3)]), (40, [(0, 1)] * 2 + [(1, 2)] * 2 + [(2, 3)] * 2)]
)
def test_a_large_lake_is_read_in_pieces_of_whole_days_and_of_a_large_day_a_share_of_its_pools(
    lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rows_at_once: int, days: list[tuple[int, int]]
) -> None:
    pieces: list[tuple[Span, int]] = []
    monkeypatch.setattr(lake_bars, "ROWS_AT_ONCE", rows_at_once)
    exported(lake, tmp_path / "qlib", progress=lambda *piece: pieces.append(piece))
    assert [span for span, _ in pieces] == [Span(START + first * DAY, START + last * DAY) for first, last in days]
    assert max(n_bars for _, n_bars in pieces) < 216
    assert tree(tmp_path / "qlib") == in_full(lake, SPEC)
