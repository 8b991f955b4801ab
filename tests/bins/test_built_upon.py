"""Where the export before cannot be built upon everything is exported again, and the reason is said."""

import shutil
from datetime import timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from pipeline.bins import from_lake
from pipeline.bins.export import Export, export_all
from pipeline.bins.from_lake import export_from_lake
from pipeline.bins.spec import BinsSpec
from pipeline.calendars import DAY, HOUR, MINUTE
from pipeline.lake import Lake
from pipeline.tables import CANDLES
from tests.bins.bins_history import tree
from tests.bins.bins_market import candle, candles
from tests.bins.exported_lake import LONG_AFTER, NOW, SOURCE, SPEC, START, exported, in_full, lake_in


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
