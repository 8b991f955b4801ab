"""A small sound recording, and a way to bend it."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from pipeline.pools.recording import RecordedFrames, open_recording, read_recording
from pipeline.pools.spec import PoolsSpec

START = datetime(2024, 3, 1, tzinfo=UTC)
TOLD_TIME = pl.Datetime("us", "UTC")


@pytest.fixture
def told_pools() -> pl.DataFrame:
    """Two pools with updates, one without."""
    return pl.DataFrame(
        {
            "pool": ["0xaa", "0xbb", "0xcc"],
            "network": ["eth"] * 3,
            "dex": ["swap"] * 3,
            "base_token": ["0x01", "0x02", "0x03"],
            "quote_token": ["0xee"] * 3,
            "quote_symbol": ["WETH"] * 3,
            "base_decimals": [18, 9, 6],
            "quote_decimals": [18] * 3,
            "created_at": [START] * 3,
        },
        schema_overrides={"created_at": TOLD_TIME},
    )


@pytest.fixture
def told_updates() -> pl.DataFrame:
    """Six updates in three blocks, twelve seconds apart."""
    blocks = [0, 0, 1, 1, 2, 2]
    return pl.DataFrame(
        {
            "pool": ["0xaa", "0xbb"] * 3,
            "time": [START + timedelta(seconds=12 * b) for b in blocks],
            "block": [100 + b for b in blocks],
            "tx_index": [0, 1] * 3,
            "log_index": [0] * 6,
            "base_reserve": [100.0, 1000.0, 80.0, 1100.0, 40.0, 1000.0],
            "quote_reserve": [10.0, 5.0, 12.5, 4.6, 6.25, 5.1],
        },
        schema_overrides={"time": TOLD_TIME},
    )


@pytest.fixture
def folder(tmp_path: Path, told_pools: pl.DataFrame, told_updates: pl.DataFrame) -> Path:
    """The sound recording as a folder."""
    path = tmp_path / "Sound One"
    path.mkdir()
    told_pools.write_parquet(path / "pools.parquet")
    told_updates.write_parquet(path / "reserves.parquet")
    return path


@pytest.fixture
def read(folder: Path, told_pools: pl.DataFrame, told_updates: pl.DataFrame) -> Callable[..., RecordedFrames]:
    """Write the given frames (default: the sound ones), read them back, and see that every row is accounted for."""

    def write_and_read(pools: pl.DataFrame | None = None, updates: pl.DataFrame | None = None) -> RecordedFrames:
        pools = told_pools if pools is None else pools
        updates = told_updates if updates is None else updates
        pools.write_parquet(folder / "pools.parquet")
        updates.write_parquet(folder / "reserves.parquet")
        frames = read_recording(open_recording(folder), PoolsSpec(), START + timedelta(days=1))
        refused = frames.quarantine.filter(~pl.col("reason").is_in(["decimals_not_credible", "text_cleaned"]))
        n_refused = dict(refused.group_by("table_name").len().iter_rows())
        assert frames.pools.height + n_refused.get("pools", 0) == pools.height
        assert frames.reserves.height + n_refused.get("reserves", 0) == updates.height
        assert frames.quarantine["record_id"].n_unique() == frames.quarantine.height
        return frames

    return write_and_read
