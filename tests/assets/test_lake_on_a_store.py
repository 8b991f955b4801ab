"""The hourly assets over an object store give the rows that they give over a folder."""

from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
import pytest

from assets import features, labels, pools, snapshots
from assets.hours import range_tags
from pipeline.calendars import HOUR, FixedClock, Span
from pipeline.lake import Lake
from pipeline.lake.bucket import Bucket
from pipeline.pools.shelf import Shelf, Told
from pipeline.pools.simulator import simulate, write_recording
from pipeline.pools.spec import PoolsSpec, SimulationSpec
from pipeline.tables import CANDLES, FEATURES, LABELS, PARTITIONS, SNAPSHOTS, TABLES
from resources.doors import doors
from resources.settings import Settings
from tests.object_store import Store

# Dagster's own, where it stores the verdict of a check.
pytestmark = pytest.mark.filterwarnings("ignore:datetime.datetime.utcfromtimestamp:DeprecationWarning")

NOW = datetime(2026, 1, 1, tzinfo=UTC)
HOURS = 3 * HOUR
SIMULATION = SimulationSpec(n_pools=8, days=3, birth_days=1)
GRAPH = [
    pools.reserves, pools.pools, pools.candles, snapshots.snapshots, *features.FAMILY_ASSETS, features.features,
    labels.labels,
]  # fmt: skip


def materialised(lake: Lake, shelf: Shelf, told: Told) -> dg.ExecuteInProcessResult:
    clock = FixedClock(told.span.end)
    others = doors(Settings(shelf.folder))
    resources = {**others, "lake": lake, "shelf": shelf, "clock": clock, "wall_clock": clock}
    return dg.materialize(GRAPH, resources=resources, tags=range_tags(Span(told.span.start, told.span.start + HOURS)))


@pytest.mark.slow
def test_hours_over_an_object_store_are_those_over_a_folder(
    object_store: Store, bucket: Bucket, tmp_path: Path
) -> None:
    shelf = Shelf(tmp_path / "shelf")
    recording = shelf.folder / "simulated"
    write_recording(simulate(SIMULATION, 3), recording, SIMULATION, 3)
    told = shelf.register(recording, PoolsSpec(), NOW)
    local, remote = Lake(tmp_path / "lake", sync=lambda path: None), Lake(bucket)
    for lake in (local, remote):
        assert materialised(lake, shelf, told).success
    for table in TABLES.values():
        here, there = (lake.scan(table).collect().sort(table.key) for lake in (local, remote))
        assert here.equals(there), table.name
    for table in (CANDLES, SNAPSHOTS, FEATURES, LABELS):
        assert not remote.scan(table).collect().is_empty(), table.name
    before = remote.version(PARTITIONS)
    assert materialised(remote, shelf, told).success
    assert remote.version(PARTITIONS) == before, "what is on record is not computed again"
