"""What is on the shelf, what gets there, and which hours it speaks of."""

import shutil
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from pipeline.calendars import HOUR, Span, floor
from pipeline.errors import InputError, UsageError
from pipeline.lake import Commit, Lake
from pipeline.pools.shelf import Shelf, content_at, replace_pools, together
from pipeline.pools.spec import PoolsSpec
from pipeline.tables import POOLS, Table

NOW = datetime(2026, 1, 1, tzinfo=UTC)
SPEC = PoolsSpec()


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    return Shelf(tmp_path / "shelf")


def copied(folder: Path, name: str) -> Path:
    return Path(shutil.copytree(folder, folder.with_name(name)))


def test_two_recordings_of_the_same_bytes_are_two_sources(shelf: Shelf, folder: Path) -> None:
    shelf.register(folder, SPEC, NOW)
    shelf.register(copied(folder, "other"), SPEC, NOW)
    told = shelf.read(SPEC, NOW)
    assert sorted(together(told).reserves["source"].unique()) == ["recording:other", "recording:sound-one"]
    hour = told[0].span.start
    assert content_at(told, hour) != content_at(told[:1], hour)


def test_registering_twice_is_registering_once(shelf: Shelf, folder: Path) -> None:
    assert shelf.register(folder, SPEC, NOW).recording == shelf.register(folder, SPEC, NOW).recording
    assert len(shelf.recordings()) == 1


def test_what_cannot_be_read_to_its_end_does_not_get_on_the_shelf(shelf: Shelf, folder: Path) -> None:
    pages = folder / "reserves.parquet"
    whole = pages.read_bytes()
    pages.write_bytes(whole[:4] + bytes(len(whole) // 2 - 4) + whole[len(whole) // 2 :])
    with pytest.raises(InputError, match="reserves"):
        shelf.register(folder, SPEC, NOW)
    assert shelf.recordings() == ()


def test_a_recording_in_which_nothing_can_be_true_is_refused_with_the_reasons(shelf: Shelf, folder: Path) -> None:
    reserves = pl.read_parquet(folder / "reserves.parquet").with_columns(base_reserve=pl.lit(float("inf")))
    reserves.write_parquet(folder / "reserves.parquet")
    with pytest.raises(InputError, match="not_finite"):
        shelf.register(folder, SPEC, NOW)


def test_a_refused_time_does_not_stretch_the_hours_a_recording_speaks_of(shelf: Shelf, folder: Path) -> None:
    reserves = pl.read_parquet(folder / "reserves.parquet")
    last = reserves["time"].max()
    assert isinstance(last, datetime)
    mad = reserves.tail(1).with_columns(
        time=pl.lit(NOW + timedelta(days=60_000)).cast(reserves.schema["time"]), block=pl.col("block") + 1
    )
    pl.concat([reserves, mad]).write_parquet(folder / "reserves.parquet")
    assert shelf.register(folder, SPEC, NOW).span.end == floor(last, HOUR) + HOUR


def test_a_recording_that_went_away_is_named_with_the_link_to_remove(shelf: Shelf, folder: Path) -> None:
    shelf.register(folder, SPEC, NOW)
    shutil.rmtree(folder)
    with pytest.raises(InputError, match=r"remove .*shelf/sound-one"):
        shelf.read(SPEC, NOW)


def test_two_simulations_of_one_seed_are_not_mixed(shelf: Shelf, folder: Path) -> None:
    (folder / "simulation.json").write_text('{"seed": 7, "spec": {}}')
    shelf.register(folder, SPEC, NOW)
    with pytest.raises(UsageError, match="simulation:7"):
        shelf.register(copied(folder, "again"), SPEC, NOW)


def test_an_empty_shelf_tells_nothing(shelf: Shelf) -> None:
    assert shelf.read(SPEC, NOW) == []
    assert together([]).reserves.is_empty()


def test_the_shelfs_content_follows_what_is_on_it(shelf: Shelf, folder: Path) -> None:
    empty = shelf.content()
    shelf.register(folder, SPEC, NOW)
    assert shelf.content() != empty
    assert shelf.content() == shelf.content()


def test_reading_judges_each_recording_by_the_same_clock(
    shelf: Shelf, folder: Path, read: Callable[..., object]
) -> None:
    shelf.register(folder, SPEC, NOW)
    assert together(shelf.read(SPEC, NOW)).quarantine.is_empty()


@dataclass(frozen=True)
class BusyLake(Lake):
    """A lake in which somebody else lists pools right before pools are replaced."""

    theirs: pl.DataFrame = field(default_factory=POOLS.empty)

    def discard(self, table: Table, sources: Collection[str], span: Span) -> Commit:
        done = super().discard(table, sources, span)
        self.append(POOLS, self.theirs)
        return done


class KilledLake(Lake):
    """A lake that is killed where rows are added."""

    def append(self, table: Table, frame: pl.DataFrame) -> Commit:
        raise KeyboardInterrupt


def test_pools_that_others_list_while_a_recording_is_brought_in_are_kept(
    shelf: Shelf, folder: Path, tmp_path: Path
) -> None:
    shelf.register(folder, SPEC, NOW)
    pools = together(shelf.read(SPEC, NOW)).pools
    theirs = pools.with_columns(source=pl.lit("geckoterminal"), watched_until=None).cast(POOLS.schema)
    lake = BusyLake(tmp_path / "lake", theirs=theirs)
    replace_pools(lake, pools)
    assert lake.scan(POOLS).collect().sort(POOLS.key).equals(pl.concat([theirs, pools]).sort(POOLS.key))
    before = lake.version(POOLS)
    replace_pools(Lake(tmp_path / "lake"), pools)
    assert lake.version(POOLS) == before


def test_killed_while_pools_are_replaced_the_next_run_brings_them_and_those_of_others_never_went(
    shelf: Shelf, folder: Path, tmp_path: Path
) -> None:
    shelf.register(folder, SPEC, NOW)
    pools = together(shelf.read(SPEC, NOW)).pools
    theirs = pools.with_columns(source=pl.lit("geckoterminal"), watched_until=None).cast(POOLS.schema)
    lake, changed = Lake(tmp_path / "lake"), pools.with_columns(dex=pl.lit("another"))
    lake.append(POOLS, pl.concat([theirs, pools]))
    with pytest.raises(KeyboardInterrupt):
        replace_pools(KilledLake(tmp_path / "lake"), changed)
    assert lake.scan(POOLS).collect().sort(POOLS.key).equals(theirs.sort(POOLS.key))
    replace_pools(lake, changed)
    assert lake.scan(POOLS).collect().sort(POOLS.key).equals(pl.concat([theirs, changed]).sort(POOLS.key))
