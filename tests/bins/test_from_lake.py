"""An update from the lake leaves what a full export leaves, byte for byte, and reads only the days that changed."""

import hashlib
import shutil
import tempfile
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Thread
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.bins import from_lake, lake_bars
from pipeline.bins.bars import bars_of, identities_of
from pipeline.bins.export import Export, export_all
from pipeline.bins.from_lake import export_from_lake, sources_in
from pipeline.bins.instruments import instrument_name
from pipeline.bins.records import Exported
from pipeline.bins.spec import BinsSpec
from pipeline.calendars import DAY, HOUR, MINUTE, Span
from pipeline.errors import InputError, UsageError
from pipeline.lake import Lake
from pipeline.tables import BIN_EXPORTS, CANDLES, FEATURES
from tests.bins.bins_market import candle, candles

SOURCE = "recording:test"
START = datetime(2020, 9, 8, tzinfo=UTC)
NOW = datetime(2021, 1, 1, tzinfo=UTC)
LONG_AFTER = datetime(2100, 1, 1, tzinfo=UTC)
POOLS = ("0xAbC", "0xabc", "nan")
SPEC = BinsSpec()
FEATURED = BinsSpec(fields=(*SPEC.fields, "reserve_usd"))


def lake_in(folder: Path) -> Lake:
    return Lake(folder / "lake", sync=lambda _path: None)


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    """Three days of three pools, a bar every hour."""
    lake = lake_in(tmp_path)
    rows = [
        candle(START + n * HOUR, pool=pool, open=1.0 + n, high=3.0 + n, low=0.5, close=2.0 + n)
        for pool in POOLS
        for n in range(3 * 24)
    ]
    lake.append(CANDLES, candles(*rows))
    return lake


def exported(
    lake: Lake, directory: Path, spec: BinsSpec = SPEC, mode: str = "update", at: datetime = NOW, **chosen: object
) -> Exported:
    """Export and put it on record, as every caller does."""
    moment = at + MINUTE * lake.scan(BIN_EXPORTS).select(pl.len()).collect().item()
    done = export_from_lake(lake, directory, SOURCE, spec, mode=mode, known_at=moment, **chosen)  # type: ignore[arg-type]
    assert lake.append(BIN_EXPORTS, done.row(0.5)).n_rows == 1
    return done


def tree(directory: Path) -> dict[str, bytes]:
    root = directory.resolve()
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def in_full(lake: Lake, spec: BinsSpec, version: int | None = None, until: datetime = NOW) -> dict[str, bytes]:
    """The files of a full export of all that the lake holds, read in one piece into a directory of its own."""
    rows = lake.scan(CANDLES, version=version).filter(pl.col("source") == SOURCE)
    bars = bars_of(rows, spec, lake.scan(FEATURES).filter(pl.col("source") == SOURCE))
    bars = bars.filter(pl.col("event_time") + spec.step <= until)
    with tempfile.TemporaryDirectory() as folder:
        export_all(bars, identities_of(bars), Path(folder) / "qlib", spec, origin=SOURCE)
        return tree(Path(folder) / "qlib")


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


def test_what_somebody_else_puts_in_force_meanwhile_is_not_vouched_for(
    lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def and_others(bars: pl.DataFrame, *rest: Any, **more: Any) -> Export:
        done = export_all(bars, *rest, **more)
        export_all(bars.with_columns(close=pl.lit(9.0)), *rest, **more)
        return done

    monkeypatch.setattr(from_lake, "export_all", and_others)
    exported(lake, tmp_path / "qlib")
    monkeypatch.undo()
    assert exported(lake, tmp_path / "qlib").reason.startswith("the export before is not on record")
    assert tree(tmp_path / "qlib") == in_full(lake, SPEC)


@pytest.mark.parametrize("path", ["features/eth-nan/close.60min.bin", "calendars/60min.txt", "instruments/all.txt"])
@pytest.mark.parametrize("is_changed", [False, True])
def test_files_that_are_gone_are_made_anew_also_where_nothing_changed(
    lake: Lake, tmp_path: Path, path: str, is_changed: bool
) -> None:
    exported(lake, tmp_path / "qlib")
    (tmp_path / "qlib" / path).unlink()
    if is_changed:
        lake.append(CANDLES, candles(candle(START + DAY + 5 * MINUTE)))
    done = exported(lake, tmp_path / "qlib")
    assert done.reason == (f"files of the export before are missing or cut, such as {path!r}: everything was exported")
    assert tree(tmp_path / "qlib") == in_full(lake, SPEC)
    assert exported(lake, tmp_path / "qlib").reason.startswith("nothing changed")


@pytest.mark.parametrize("mode", ["all", "update", "fix"])
@pytest.mark.parametrize("chosen", [{}, {"span": Span(START, START + DAY)}])
def test_a_directory_of_another_source_is_refused_and_left_alone(
    lake: Lake, tmp_path: Path, mode: str, chosen: dict[str, Span]
) -> None:
    """Also where two sources lead to one directory's name, as `recording:x` and `recording-x` do."""
    other = [candle(START + n * HOUR, source="recording-test", close=500.0, high=600.0) for n in range(9)]
    lake.append(CANDLES, candles(*other))
    exported(lake, tmp_path / "qlib")
    before = tree(tmp_path / "qlib")
    chosen = chosen or ({"span": Span(START, START + HOUR)} if mode == "fix" else {})
    for freq in ("60min", "day"):
        if (mode, freq) == ("fix", "day"):
            continue
        with pytest.raises(UsageError, match="bars of 'recording:test', these are of 'recording-test'"):
            export_from_lake(
                lake, tmp_path / "qlib", "recording-test", BinsSpec(freq=freq), mode=mode, known_at=NOW, **chosen
            )  # type: ignore[call-overload]
    assert tree(tmp_path / "qlib") == before


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
    def told(at: datetime, usd: float) -> pl.DataFrame:
        row = dict.fromkeys(FEATURES.schema) | {"source": SOURCE, "network": "eth", "pool": "0xabc", "reserve_usd": usd}
        return pl.DataFrame([row | {"event_time": at, "known_at": at}], schema=FEATURES.schema)

    monkeypatch.setattr(lake_bars, "ROWS_AT_ONCE", 72)  # a day at once
    lake.append(FEATURES, told(START + HOUR, 1.0))
    exported(lake, tmp_path / "qlib", FEATURED)
    before = tree(tmp_path / "qlib")
    lake.append(FEATURES, told(START + DAY, 2.0))
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


@pytest.mark.parametrize(
    ("spec", "why"),
    [
        (BinsSpec(fields=("close", "volume")), "the fields were 'close,factor,high,low,open,volume,vwap'"),
        (BinsSpec(factor=2.0), "the code, the spec or the tables are others than those of the export before"),
    ],
)
def test_another_spec_exports_everything(lake: Lake, tmp_path: Path, spec: BinsSpec, why: str) -> None:
    exported(lake, tmp_path / "qlib")
    done = exported(lake, tmp_path / "qlib", spec)
    assert (done.export.mode, done.reason) == ("all", f"{why}: everything was exported")
    assert tree(tmp_path / "qlib") == in_full(lake, spec)


def test_an_export_that_is_not_on_record_is_not_built_upon(lake: Lake, tmp_path: Path) -> None:
    exported(lake, tmp_path / "qlib")
    lake.append(CANDLES, candles(candle(START + DAY, pool="new")))
    export_from_lake(lake, tmp_path / "qlib", SOURCE, SPEC, mode="update", known_at=NOW)
    done = exported(lake, tmp_path / "qlib")
    assert done.reason == "the export before is not on record: everything was exported"


def test_candles_that_were_made_anew_are_other_candles_whatever_their_version(lake: Lake, tmp_path: Path) -> None:
    exported(lake, tmp_path / "qlib")
    shutil.rmtree(lake.root / "candles")
    anew = lake_in(tmp_path)
    anew.append(CANDLES, candles(*(candle(START + n * HOUR, close=1.5, high=1.5) for n in range(72))))
    done = exported(anew, tmp_path / "qlib")
    assert done.reason.startswith("the code, the spec or the tables are others")
    assert tree(tmp_path / "qlib") == in_full(anew, SPEC)


def test_a_version_that_was_vacuumed_away_is_not_built_upon(lake: Lake, tmp_path: Path) -> None:
    exported(lake, tmp_path / "qlib")
    for n in range(25):
        lake.append(CANDLES, candles(candle(START + n * HOUR + 5 * MINUTE)))
    lake.compact(CANDLES)
    lake.vacuum(CANDLES, now=LONG_AFTER, retention=timedelta(0))
    done = exported(lake, tmp_path / "qlib")
    gone = "version 1 of the candles, or that of the features beside it, is gone: everything was exported"
    assert (done.export.mode, done.reason) == ("all", gone)
    assert tree(tmp_path / "qlib") == in_full(lake, SPEC)


def test_a_compaction_between_two_exports_changes_no_file_of_the_second(lake: Lake, tmp_path: Path) -> None:
    lake.append(CANDLES, candles(candle(START + 5 * MINUTE)))
    exported(lake, tmp_path / "qlib")
    lake.compact(CANDLES)
    lake.vacuum(CANDLES, now=LONG_AFTER, retention=timedelta(0))
    done = exported(lake, tmp_path / "qlib")
    assert (done.export.mode, done.n_days, done.export.n_files_written) == ("update", 1, 0)
    assert done.n_bars_held is None  # what lay there before cannot be counted any more


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


def test_a_selection_holds_only_what_was_asked_for_and_is_not_built_upon(lake: Lake, tmp_path: Path) -> None:
    span, name = Span(START + 30 * MINUTE, START + 5 * HOUR), instrument_name("eth", "0xabc")
    done = exported(lake, tmp_path / "qlib", mode="all", span=span, instruments=[name, "nan"])
    assert (done.export.mode, done.is_whole, done.export.n_instruments, done.export.n_bars) == ("all", False, 2, 8)
    assert (done.export.first_time, done.export.last_time) == (START + HOUR, START + 4 * HOUR)
    with pytest.raises(UsageError, match=r"no bar of \['0xother'\] \(1 of 2 asked for\)"):
        exported(lake, tmp_path / "qlib", mode="all", instruments=["0xother", "nan"])
    more = exported(lake, tmp_path / "qlib", instruments=["0xAbC"])
    assert (more.export.mode, more.export.n_instruments) == ("update", 3)
    done = exported(lake, tmp_path / "qlib")
    assert done.reason == "the export before was of a selection, or patched: everything was exported"
    assert tree(tmp_path / "qlib") == in_full(lake, SPEC)


def test_an_update_of_a_span_takes_back_what_the_lake_no_longer_holds_there(lake: Lake, tmp_path: Path) -> None:
    exported(lake, tmp_path / "qlib")
    lake.replace(CANDLES, CANDLES.empty(), Span(START + HOUR, START + 2 * HOUR))
    exported(lake, tmp_path / "qlib", span=Span(START, START + DAY))
    assert tree(tmp_path / "qlib") == in_full(lake, SPEC)


def test_a_fix_patches_the_named_bars_and_no_other(lake: Lake, tmp_path: Path) -> None:
    exported(lake, tmp_path / "qlib")
    before = tree(tmp_path / "qlib")
    revised = [candle(START + n * HOUR, pool=pool, close=50.0, high=50.0) for pool in POOLS for n in (4, 6)]
    lake.replace(CANDLES, candles(*revised), Span(START + 4 * HOUR, START + 7 * HOUR))  # no bar at 5 any more
    span, name = Span(START + 4 * HOUR, START + 6 * HOUR), instrument_name("eth", "0xAbC")
    done = exported(lake, tmp_path / "qlib", mode="fix", span=span, instruments=["0xAbC"])
    assert (done.export.mode, done.export.n_bars, done.export.n_instruments_changed) == ("fix", 1, 1)
    after, whole = tree(tmp_path / "qlib"), in_full(lake, SPEC)
    for field, there in (("close", 50.0), ("factor", 1.0)):
        path = f"features/{name}/{field}.60min.bin"
        floats = {which: memoryview(files[path]).cast("f").tolist() for which, files in
                  (("before", before), ("after", after), ("whole", whole))}  # fmt: skip
        places = pl.DataFrame(floats).fill_nan(None)
        differing = [n for n, (old, new, _) in enumerate(places.rows()) if old != new]
        assert set(differing) <= {1 + 4, 1 + 5}  # the first number is the bar's place in the calendar
        assert places["after"][5:7].to_list() == places["whole"][5:7].to_list() == [there, None]
    others = [p for p in before if p.startswith("features/") and f"/{name}/" not in p]
    assert all(before[p] == after[p] for p in others)
    exported(lake, tmp_path / "qlib")
    assert tree(tmp_path / "qlib") == whole


def test_a_fix_of_everything_or_of_nothing_is_refused(lake: Lake, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="a fix patches named bars"):
        exported(lake, tmp_path / "qlib", mode="fix")
    with pytest.raises(UsageError, match="there is nothing to fix"):
        exported(lake, tmp_path / "qlib", mode="fix", instruments=["nan"])


def test_sources_are_those_in_which_somebody_traded(lake: Lake, tmp_path: Path) -> None:
    assert sources_in(lake_in(tmp_path / "none")) == []
    lake.append(CANDLES, candles(candle(START, source="a:quiet", n_buys=0), candle(START, source="z:loud")))
    assert sources_in(lake) == [SOURCE, "z:loud"]
    with pytest.raises(InputError, match="'a:quiet' has no bar to export"):
        export_from_lake(lake, tmp_path / "qlib", "a:quiet", SPEC, mode="update", known_at=NOW)
    with pytest.raises(InputError, match="holds no 'candles'"):
        export_from_lake(lake_in(tmp_path / "none"), tmp_path / "qlib", SOURCE, SPEC, mode="update", known_at=NOW)


DAYS = 4
moments = st.integers(0, DAYS * 24 - 1)
writes = st.one_of(
    st.tuples(st.just("late"), moments, st.sampled_from([*POOLS, "new", "newer"])),
    st.tuples(st.just("revise"), moments, st.integers(1, 30)),
    st.tuples(st.just("delete"), moments, st.integers(1, 30)),
    st.tuples(st.just("feature"), moments, st.sampled_from(POOLS)),
    st.tuples(st.just("compact"), st.booleans()),
    st.tuples(st.just("export"), st.integers(1, DAYS * 24 * 60)),
)


def carry_out(lake: Lake, write: tuple[object, ...], number: int) -> None:
    match write:
        case "late", int(hour), str(pool):
            value = 1.0 + number
            row = candle(START + hour * HOUR + 10 * MINUTE, pool=pool, high=value + 9, close=value, volume_quote=value)
            lake.append(CANDLES, candles(row, row | {"source": "simulation:1"}))
        case "revise" | "delete" as kind, int(hour), int(length):
            span = Span(START + hour * HOUR, START + (hour + length) * HOUR)
            kept = lake.scan(CANDLES, span).with_columns(pl.col("close", "high") + number).collect()
            lake.replace(CANDLES, kept if kind == "revise" else CANDLES.empty(), span)
        case "feature", int(hour), str(pool):
            at = START + hour * HOUR
            row = dict.fromkeys(FEATURES.schema) | {"source": SOURCE, "network": "eth", "pool": pool}
            told = row | {"event_time": at, "known_at": at, "reserve_usd": float(number)}
            lake.append(FEATURES, pl.DataFrame([told], schema=FEATURES.schema))
        case "compact", bool(is_vacuumed):
            lake.compact(CANDLES)
            if is_vacuumed:
                lake.vacuum(CANDLES, now=LONG_AFTER, retention=timedelta(0))


@settings(max_examples=25)
@given(
    spec=st.sampled_from([FEATURED, BinsSpec(freq="15min"), BinsSpec(freq="day")]),
    first=st.sets(moments, min_size=1, max_size=12),
    history=st.lists(writes, min_size=2, max_size=9),
)
def test_after_any_history_an_update_leaves_what_a_full_export_leaves(
    spec: BinsSpec, first: set[int], history: list[tuple[object, ...]]
) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        lake = lake_in(folder)
        lake.append(CANDLES, candles(*(candle(START + n * HOUR, pool=POOLS[n % 3]) for n in first)))
        exported(lake, folder / "qlib", spec)
        for number, write in enumerate([*history, ("export", 10**6)]):
            carry_out(lake, write, number)
            if write[0] != "export":
                continue
            until = START + int(write[1]) * MINUTE
            ends = pl.col("event_time") + spec.step
            held = bars_of(lake.scan(CANDLES, sources=[SOURCE]), replace(spec, fields=("close",)))
            if held.filter(ends <= until).height:
                done = exported(lake, folder / "qlib", spec, at=until)
                assert done.is_whole
                assert tree(folder / "qlib") == in_full(lake, spec, until=done.at.until)
                assert done.n_bars_held in (None, held.filter(ends <= done.at.until).height)
