from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest

from pipeline.pools.candles import candles
from pipeline.pools.recording import RecordedFrames, describe, open_recording, read_recording
from pipeline.pools.spec import PoolsSpec

FOLDER = Path(__file__).parents[2] / "../shared/data/recordings/uniswap_v2_2020"
pytestmark = pytest.mark.skipif(not FOLDER.is_dir(), reason="the recorded data is not beside this checkout")


@pytest.fixture(scope="module")
def frames() -> RecordedFrames:
    return read_recording(open_recording(FOLDER), PoolsSpec(), datetime(2025, 1, 1, tzinfo=UTC))


def test_every_row_of_the_recording_is_stored_or_quarantined(frames: RecordedFrames) -> None:
    refused = frames.quarantine.filter(pl.col("table_name") == "reserves").height
    assert frames.pools.height == 5_623
    assert frames.reserves.height + refused == 1_412_279
    assert describe(frames)["quarantined"] == {
        "pools: decimals_not_credible": 5,
        "reserves: clock_stood_still": 11_865,
        "reserves: not_finite": 41,
    }


def test_what_is_kept_is_finite_in_order_and_linked(frames: RecordedFrames) -> None:
    raw = frames.reserves
    assert raw["event_time"].is_sorted()
    assert raw.select(pl.col("base_reserve", "quote_reserve").is_finite().all()).row(0) == (True, True)
    assert raw["pool"].n_unique() == 5_617
    assert raw["base_reserve_before"].null_count() == 5_596  # 21 pools began while the clock stood still


def test_candles_count_every_trade_once(frames: RecordedFrames) -> None:
    bars = candles(frames.reserves, frames.pools, PoolsSpec())
    base = pl.col("base_reserve") - pl.col("base_reserve_before")
    quote = pl.col("quote_reserve") - pl.col("quote_reserve_before")
    n_trades = frames.reserves.select(((base.sign() * quote.sign()) == -1).sum()).item()
    assert bars["n_buys"].sum() + bars["n_sells"].sum() == n_trades > 1_300_000
    assert bars.select("pool", "event_time").is_unique().all()
