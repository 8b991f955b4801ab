"""The asset of the bins: one provider directory a source, brought up to date, every run on record."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
import pytest

from assets.bins import qlib_bins
from pipeline.bins.instruments import read_instruments
from pipeline.calendars import DAY, HOUR, FixedClock
from pipeline.expectations.verdict import validate
from pipeline.lake import Lake
from pipeline.tables import BIN_EXPORTS, CANDLES
from tests.bins.bins_market import candle, candles

START = datetime(2020, 9, 8, tzinfo=UTC)
NOW = datetime(2021, 1, 1, tzinfo=UTC)
SOURCES = ("recording:test", "simulation:7")


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    lake = Lake(tmp_path / "lake")
    bars = [candle(START + n * HOUR, source=source, pool=pool) for n in range(48) for source, pool in
            zip(SOURCES, ("0xAb", "0xab"), strict=True)]  # fmt: skip
    lake.append(CANDLES, candles(*bars, candle(START, source="a:quiet", n_buys=0)))
    return lake


def materialised(lake: Lake, later: timedelta = timedelta(0), **config: object) -> dict[str, Any]:
    """The metadata of a materialisation."""
    result = dg.materialize(
        [qlib_bins],
        resources={"lake": lake, "qlib": lake.root.parent / "qlib", "clock": FixedClock(NOW + later)},
        run_config={"ops": {"qlib_bins": {"config": config}}},
    )
    (done,) = result.asset_materializations_for_node("qlib_bins")
    return {key: value.value for key, value in done.metadata.items()}


def on_record(lake: Lake) -> pl.DataFrame:
    return lake.scan(BIN_EXPORTS).collect().sort("known_at", "source")


def test_each_source_in_which_somebody_traded_has_a_directory_and_a_row(lake: Lake, tmp_path: Path) -> None:
    said = materialised(lake)
    assert sorted(p.name for p in (tmp_path / "qlib").iterdir() if p.is_symlink()) == ["recording-test", "simulation-7"]
    assert set(read_instruments(tmp_path / "qlib/recording-test").values()) == {("eth", "0xAb")}
    rows = on_record(lake)
    assert validate(BIN_EXPORTS, rows).is_passed
    assert rows["source"].to_list() == list(SOURCES)
    assert rows["directory"].to_list() == ["recording-test", "simulation-7"]
    assert rows["export_id"].to_list() == [(tmp_path / "qlib" / name).resolve().name for name in rows["directory"]]
    assert (rows["mode"].unique().to_list(), rows["seconds"].min() > 0) == (["all"], True)
    assert (said["bars"], said["dagster/row_count"], said["bars_read"], said["instruments"]) == (96, 96, 96, 2)
    assert (said["bytes"], said["files_written"], said["days_read"]) == (2 * 7 * 49 * 4, 14, 4)
    assert [record.data["source"] for record in said["exports"].records] == list(SOURCES)


def test_the_next_run_reads_only_what_changed_and_says_so(lake: Lake) -> None:
    materialised(lake)
    lake.append(CANDLES, candles(candle(START + 2 * DAY, source=SOURCES[0], pool="0xAb")))
    said = materialised(lake, HOUR)
    assert (said["bars"], said["bars_read"], said["days_read"], said["instruments_changed"]) == (97, 1, 1, 1)
    assert [record.data["reason"] for record in said["exports"].records] == [
        "1 day may have changed since version 1 of the candles", "nothing changed since version 1 of the candles",
    ]  # fmt: skip
    assert on_record(lake)["lake_version"].to_list() == [1, 1, 2, 2]
    assert validate(BIN_EXPORTS, on_record(lake)).is_passed


def test_the_same_run_again_is_one_row(lake: Lake) -> None:
    first = materialised(lake)
    assert materialised(lake)["bars"] == first["bars"]
    assert on_record(lake).height == len(SOURCES)


def test_a_run_may_ask_for_another_bar_length_other_fields_and_everything(lake: Lake, tmp_path: Path) -> None:
    materialised(lake)
    said = materialised(lake, HOUR, freq="day", fields=["close", "factor", "reserve_usd"], mode="all")
    assert (said["bars"], said["bytes"]) == (4, 2 * 3 * 3 * 4)
    held = tmp_path / "qlib/simulation-7"
    assert sorted(p.name for p in (held / "calendars").iterdir()) == ["60min.txt", "day.txt"]
    assert on_record(lake)["freq"].to_list() == ["60min", "60min", "day", "day"]


def test_a_source_that_fails_keeps_no_other_from_being_exported_and_fails_the_run(lake: Lake, tmp_path: Path) -> None:
    (tmp_path / "qlib/recording-test").mkdir(parents=True)
    (tmp_path / "qlib/recording-test/mine.txt").touch()
    with pytest.raises(dg.Failure, match=r"1 of 2 exports failed: recording:test: .*no link to an export"):
        materialised(lake)
    assert on_record(lake)["source"].to_list() == ["simulation:7"]
    assert (tmp_path / "qlib/simulation-7/calendars/60min.txt").exists()
    assert [path.name for path in (tmp_path / "qlib/recording-test").iterdir()] == ["mine.txt"]


def test_two_sources_that_lead_to_one_directory_are_not_mixed(lake: Lake, tmp_path: Path) -> None:
    lake.append(CANDLES, candles(candle(START, source="recording-test", close=500.0, high=600.0)))
    with pytest.raises(dg.Failure, match=r"recording:test: .* holds 60min bars of 'recording-test'"):
        materialised(lake)
    with pytest.raises(dg.Failure, match="1 of 3 exports failed"):
        materialised(lake, HOUR)
    assert set(on_record(lake)["source"]) == {"recording-test", "simulation:7"}


def test_without_candles_there_is_nothing_to_do(tmp_path: Path) -> None:
    assert materialised(Lake(tmp_path / "lake"))["bars"] == 0
