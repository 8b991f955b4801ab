"""What QLib answers over all instruments of a real recording is what the lake holds, to the last bit."""

import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from pipeline.bins.bars import bars_of
from pipeline.bins.from_lake import export_from_lake
from pipeline.bins.spec import BinsSpec
from pipeline.lake import Lake
from pipeline.pools.candles import candles
from pipeline.pools.recording import open_recording, read_recording
from pipeline.pools.spec import PoolsSpec
from pipeline.tables import CANDLES

RECORDING = Path(__file__).parents[2] / "../shared/data/recordings/uniswap_v2_2020"
NOW = datetime(2025, 1, 1, tzinfo=UTC)
SPEC = BinsSpec()


@pytest.mark.slow
@pytest.mark.skipif(not RECORDING.is_dir(), reason="the recorded data is not beside the project")
def test_qlib_answers_what_the_lake_holds_over_every_pool_of_the_recording(tmp_path: Path) -> None:
    recording = open_recording(RECORDING)
    told = read_recording(recording, PoolsSpec(), NOW)
    lake = Lake(tmp_path / "lake", sync=lambda _path: None)
    lake.append(CANDLES, candles(told.reserves, told.pools, PoolsSpec()))
    done = export_from_lake(lake, tmp_path / "qlib", recording.source, SPEC, mode="update", known_at=NOW)
    ours = bars_of(lake.scan(CANDLES), SPEC).with_columns(factor=pl.lit(1.0))
    assert ours["pool"].n_unique() == done.export.n_instruments > 5_000

    reader = Path(__file__).with_name("qlib_traded_reader.py")
    call = [sys.executable, reader, tmp_path / "qlib", tmp_path / "found.parquet"]
    answered = subprocess.run(call, capture_output=True, text=True, check=False)
    assert answered.returncode == 0, answered.stderr[-2000:]
    theirs = pl.read_parquet(tmp_path / "found.parquet").sort("instrument", "datetime")

    ours = ours.sort("instrument", "event_time")
    spans = ours.group_by("instrument").agg(pl.col("event_time").max() - pl.col("event_time").min())
    assert int(answered.stdout.split()[-1]) == spans["event_time"].dt.total_hours().sum() + spans.height
    assert theirs["instrument"].equals(ours["instrument"])
    times = ours["event_time"].dt.replace_time_zone(None)
    assert (theirs["datetime"].cast(times.dtype) == times).all()
    lost = 0
    for field in SPEC.fields:
        expected = ours[field].fill_null(float("nan")).to_numpy()
        found = theirs[field].fill_null(float("nan")).to_numpy()
        assert found.dtype == np.float32
        with np.errstate(over="ignore", under="ignore"):
            single = expected.astype(np.float32)
        is_lost = np.isinf(single) | ((single == 0) & (expected != 0))
        lost += int(is_lost.sum())
        single[is_lost] = np.nan
        np.testing.assert_array_equal(np.isnan(found), np.isnan(single))
        np.testing.assert_array_equal(found.view("u4")[~np.isnan(found)], single.view("u4")[~np.isnan(single)])
    assert lost == done.export.n_unrepresentable < 10
