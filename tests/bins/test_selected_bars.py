"""What is asked for by name: sources, spans, instruments, and patches of them."""

from pathlib import Path

import polars as pl
import pytest

from pipeline.bins.from_lake import export_from_lake, sources_in
from pipeline.bins.instruments import instrument_name
from pipeline.bins.spec import BinsSpec
from pipeline.calendars import DAY, HOUR, MINUTE, Span
from pipeline.errors import InputError, UsageError
from pipeline.lake import Lake
from pipeline.tables import CANDLES
from tests.bins.bins_history import tree
from tests.bins.bins_market import candle, candles
from tests.bins.exported_lake import NOW, POOLS, SOURCE, SPEC, START, exported, in_full, lake_in


def test_sources_are_those_in_which_somebody_traded(lake: Lake, tmp_path: Path) -> None:
    assert sources_in(lake_in(tmp_path / "none")) == []
    lake.append(CANDLES, candles(candle(START, source="a:quiet", n_buys=0), candle(START, source="z:loud")))
    assert sources_in(lake) == [SOURCE, "z:loud"]
    with pytest.raises(InputError, match="'a:quiet' has no bar to export"):
        export_from_lake(lake, tmp_path / "qlib", "a:quiet", SPEC, mode="update", known_at=NOW)
    with pytest.raises(InputError, match="holds no 'candles'"):
        export_from_lake(lake_in(tmp_path / "none"), tmp_path / "qlib", SOURCE, SPEC, mode="update", known_at=NOW)


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
