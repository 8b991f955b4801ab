"""The nightly upkeep as Dagster runs it: what is past its term goes, small files are merged, pinned versions stay."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import polars as pl
import pytest

from assets.upkeep import SPEC, maintain
from pipeline.calendars import DAY, FixedClock, floor
from pipeline.errors import StorageError
from pipeline.lake import Lake
from pipeline.tables import CANDLES, SNAPSHOTS, TRAINING_SETS, Table
from tests.builders import valid_frame

# Files are dated by the machine's clock: seen from here, all that a test writes is older than any reader.
NOW = floor(datetime.now(UTC), DAY) + 30 * DAY
LIVE = SPEC.live_sources[0]
pytestmark = pytest.mark.filterwarnings("ignore:datetime.datetime.utcfromtimestamp:DeprecationWarning")


def told_at(table: Table, moment: datetime) -> pl.DataFrame:
    """One row that was told live."""
    times = {name: pl.lit(moment).cast(table.schema[name]) for name in ("event_time", "known_at")}
    return valid_frame(table, n_rows=1).with_columns(source=pl.lit(LIVE), **times)


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    """Of each table a row past its term, and two files of one day."""
    lake = Lake(tmp_path / "lake", sync=lambda path: None)
    for table in (SNAPSHOTS, CANDLES):
        for age in (SPEC.rows_days * DAY + DAY, 2 * DAY, 2 * DAY - timedelta(minutes=5)):
            lake.append(table, told_at(table, NOW - age))
    told = valid_frame(TRAINING_SETS, n_rows=1)
    lake.append(TRAINING_SETS, told.with_columns(lake_versions=pl.lit('{"candles": 3}')))
    return lake


def tidied(lake: Lake) -> dg.ExecuteInProcessResult:
    return maintain.execute_in_process(resources={"lake": lake, "wall_clock": FixedClock(NOW)})


def test_what_is_past_its_term_goes_and_what_is_left_of_a_day_is_one_file(lake: Lake) -> None:
    assert tidied(lake).success
    for table in (SNAPSHOTS, CANDLES):
        assert lake.scan(table).collect()["event_time"].min() == NOW - 2 * DAY
        assert lake.status(table).n_files == 1  # type: ignore[union-attr]
        assert lake.scan(table).collect().height == 2


def test_a_version_that_a_training_set_was_read_from_stays_readable_and_others_do_not(lake: Lake) -> None:
    tidied(lake)
    assert lake.scan(CANDLES, version=3).collect().height == 3
    with pytest.raises(StorageError, match="vacuumed"):
        lake.scan(SNAPSHOTS, version=3)


def test_a_second_night_changes_nothing(lake: Lake) -> None:
    tidied(lake)
    before = {table.name: lake.version(table) for table in (SNAPSHOTS, CANDLES, TRAINING_SETS)}
    assert tidied(lake).success
    assert before == {table.name: lake.version(table) for table in (SNAPSHOTS, CANDLES, TRAINING_SETS)}
