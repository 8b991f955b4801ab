"""The bulk import of a recording against the API's way: asked at grid points, record by record, the same snapshots."""

from datetime import timedelta
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal
from snapshot_oracle import PRICE_USD, chained, pool_frame, update_frame
from told_records import frame, grid_points, records_of

from pipeline.calendars import DAY, Span, ceil
from pipeline.snapshots.observed import observed_snapshots
from pipeline.snapshots.recorded import take_snapshots
from pipeline.snapshots.spec import SnapshotsSpec
from pipeline.tables import POOL_TIME_KEY, SNAPSHOTS

SPEC = SnapshotsSpec()
RECORDING = Path(__file__).parents[2] / "../shared/data/recordings/uniswap_v2_2020"
N_POOLS = 16


@pytest.fixture(scope="module")
def lives():
    """Births and chained updates of some recorded pools, over three days from the first of these births."""
    if not RECORDING.exists():
        pytest.skip("no recording beside the project")
    pools = pl.read_parquet(RECORDING / "pools.parquet").sort("created_at").slice(200, N_POOLS)
    start = pools["created_at"].min()
    told = (
        pl.scan_parquet(RECORDING / "reserves.parquet")
        .join(pools.lazy().select("pool", "created_at"), on="pool")
        .filter(pl.col("time") >= pl.col("created_at"), pl.col("time") < start + 3 * DAY)
        .sort("pool", "block", "tx_index", "log_index")
        .select("pool", "time", "base_reserve", "quote_reserve")
        .collect()
    )
    births = dict(pools.select("pool", "created_at").iter_rows())
    return births, {pool: chained(told.filter(pool=pool).drop("pool").rows()) for pool in births}


def test_a_recorded_pool_gives_the_same_snapshots_in_bulk_and_as_the_api_tells_it(lives):
    births, updates = lives
    start = ceil(min(births.values()), SPEC.grid)
    span = Span(start, start + 3 * DAY)
    bulk = take_snapshots(update_frame(updates), pool_frame(births), span, SPEC)
    moments = grid_points(span.start, span.end)
    told = [row for pool in births for row in records_of(updates[pool], births[pool], PRICE_USD, pool, moments)]
    source = pl.lit("simulation:1").alias("source")
    everything = observed_snapshots(frame(*told).with_columns(source), span, span.end, SPEC)
    asked = everything.join(visits(everything), on=POOL_TIME_KEY, how="semi").sort(SNAPSHOTS.key)
    assert asked.height > 1_000
    assert set(asked["interval_minutes"]) == {5, 15, 60, 240}
    assert_frame_equal(asked, bulk, rel_tol=1e-9, abs_tol=1e-9)


def visits(snapshots: pl.DataFrame) -> pl.DataFrame:
    """Keys of the snapshots that are taken when, of each pool, each one says when the next one is due."""
    kept = []
    for pool in snapshots.partition_by("pool"):
        due = None
        for row in pool.sort("event_time").iter_rows(named=True):
            at, step = row["event_time"], row["interval_minutes"]
            if due is None or at >= due:
                kept.append({name: row[name] for name in POOL_TIME_KEY})
                due = ceil(at + timedelta(microseconds=1), timedelta(minutes=step))
    return pl.DataFrame(kept, schema={name: snapshots.schema[name] for name in POOL_TIME_KEY})
