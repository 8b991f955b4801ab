import hashlib
import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest

from pipeline.errors import InputError
from pipeline.pools.recording import RecordedFrames, describe, open_recording, read_recording
from pipeline.pools.spec import PoolsSpec
from pipeline.tables import POOLS, QUARANTINE, RESERVES

Read = Callable[..., RecordedFrames]


def test_a_recording_is_named_after_its_folder_and_hashed_by_its_bytes(folder: Path) -> None:
    recording = open_recording(folder)
    told = (folder / "pools.parquet").read_bytes() + (folder / "reserves.parquet").read_bytes()
    assert (recording.name, recording.source) == ("sound-one", "recording:sound-one")
    assert recording.sha256 == hashlib.sha256(told).hexdigest()


def test_a_simulation_is_named_by_its_seed_and_a_broken_note_of_it_is_refused(folder: Path) -> None:
    (folder / "simulation.json").write_text('{"seed": 7, "spec": {}}')
    assert open_recording(folder).source == "simulation:7"
    for broken in ("", "[]", "{}", '{"seed": true}', '{"seed": "7"}', '{"seed": -1}'):
        (folder / "simulation.json").write_text(broken)
        with pytest.raises(InputError, match=r"simulation\.json"):
            open_recording(folder)


def test_the_frames_are_exactly_the_tables(read: Read) -> None:
    frames = read()
    assert frames.reserves.schema == RESERVES.schema
    assert frames.pools.schema == POOLS.schema
    assert frames.quarantine.schema == QUARANTINE.schema
    assert frames.quarantine.is_empty()


def test_the_reserves_before_are_those_of_the_pools_previous_update(read: Read) -> None:
    of_a = read().reserves.filter(pl.col("pool") == "0xaa")
    assert of_a["base_reserve_before"].to_list() == [None, 100.0, 80.0]
    assert of_a["quote_reserve_before"].to_list() == [None, 10.0, 12.5]


def test_a_pool_without_updates_stays(read: Read) -> None:
    frames = read()
    assert frames.pools["pool"].to_list() == ["0xaa", "0xbb", "0xcc"]
    assert describe(frames)["n_pools_without_updates"] == 1


def test_every_pool_is_watched_until_the_last_update_of_all_and_priced_nominally(read: Read) -> None:
    frames = read()
    assert frames.pools["watched_until"].unique().to_list() == [frames.reserves["event_time"].max()]
    assert frames.pools.select("quote_price_usd", "is_quote_price_nominal").unique().rows() == [(375.0, True)]


def test_an_unknown_quote_token_has_no_price_rather_than_a_wrong_one(read: Read, told_pools: pl.DataFrame) -> None:
    frames = read(pools=told_pools.with_columns(quote_symbol=pl.Series(["WETH", "DOGE", None])))
    assert frames.pools["quote_price_usd"].to_list() == [375.0, None, None]
    assert frames.pools["is_quote_price_nominal"].to_list() == [True, False, False]


def test_rows_out_of_order_are_sorted_not_refused(read: Read, told_updates: pl.DataFrame) -> None:
    assert read(updates=told_updates.reverse()).reserves.equals(read().reserves)


def test_a_description_can_be_written_as_json(read: Read, told_updates: pl.DataFrame) -> None:
    said = describe(read(updates=told_updates.with_columns(base_reserve=pl.lit(float("nan")))))
    assert json.loads(json.dumps(said))["quarantined"] == {"reserves: not_finite": 6}
    assert said["n_updates"] == 0
    assert said["last_time"] is None


def test_a_missing_folder_and_a_missing_file_are_named(folder: Path) -> None:
    with pytest.raises(InputError, match=r"no recording at.*nowhere"):
        open_recording(folder / "nowhere")
    (folder / "reserves.parquet").unlink()
    with pytest.raises(InputError, match=r"no file 'reserves\.parquet'"):
        open_recording(folder)


@pytest.mark.parametrize("file", ["pools.parquet", "reserves.parquet"])
def test_an_empty_or_truncated_file_is_a_clear_error_wherever_it_was_cut(folder: Path, file: str) -> None:
    whole = (folder / file).read_bytes()
    for length in (0, 1, 3, 4, 11, len(whole) // 2, len(whole) - 9, len(whole) - 1):
        (folder / file).write_bytes(whole[:length])
        with pytest.raises(InputError, match=file):
            open_recording(folder)


@pytest.mark.parametrize("file", ["pools.parquet", "reserves.parquet"])
def test_a_file_whose_pages_are_damaged_is_a_clear_error(folder: Path, file: str) -> None:
    whole = bytearray((folder / file).read_bytes())
    whole[4:60] = b"\xff" * 56
    (folder / file).write_bytes(whole)
    with pytest.raises(InputError, match=file):
        read_recording(open_recording(folder), PoolsSpec(), datetime(2025, 1, 1, tzinfo=UTC))


def test_a_file_without_rows_is_a_clear_error(folder: Path, told_updates: pl.DataFrame) -> None:
    told_updates.clear().write_parquet(folder / "reserves.parquet")
    with pytest.raises(InputError, match="no rows"):
        open_recording(folder)


def test_a_missing_column_is_named(folder: Path, told_updates: pl.DataFrame) -> None:
    told_updates.drop("log_index").write_parquet(folder / "reserves.parquet")
    with pytest.raises(InputError, match=r"reserves\.parquet.*lacks the columns \['log_index'\]"):
        open_recording(folder)


@pytest.mark.parametrize(
    ("column", "dtype"),
    [("block", pl.String), ("base_reserve", pl.String), ("time", pl.Datetime("us")), ("time", pl.Int64)],
)
def test_a_column_of_another_kind_is_named(
    folder: Path, told_updates: pl.DataFrame, column: str, dtype: pl.DataType
) -> None:
    wrong = told_updates[column].dt.replace_time_zone(None) if dtype == pl.Datetime("us") else told_updates[column]
    told_updates.with_columns(wrong.cast(dtype)).write_parquet(folder / "reserves.parquet")
    with pytest.raises(InputError, match=f"column '{column}' of .*reserves"):
        open_recording(folder)


def test_narrow_whole_numbers_and_other_time_units_are_welcome(read: Read, told_updates: pl.DataFrame) -> None:
    narrow = told_updates.with_columns(
        pl.col("block").cast(pl.UInt32), pl.col("tx_index").cast(pl.Int16), pl.col("time").dt.cast_time_unit("ms")
    )
    assert read(updates=narrow).reserves.equals(read().reserves)


def test_a_pool_that_is_noted_for_two_things_is_one_pool(read: Read, told_pools: pl.DataFrame) -> None:
    strange = told_pools.with_columns(base_decimals=pl.lit(-1, pl.Int64), quote_symbol=pl.lit("WE\u200bTH")).head(2)
    frames = read(pools=pl.concat([strange.cast(told_pools.schema), told_pools.tail(-2)]))
    assert frames.quarantine.height == 4
    assert describe(frames)["n_pools_noted"] == 2


def test_the_quarantine_names_a_pool_of_the_longest_address_by_all_of_it(
    read: Read, told_pools: pl.DataFrame, told_updates: pl.DataFrame
) -> None:
    first, longest = told_pools["pool"][0], "0x" + "ab" * 63
    pools, updates = (
        frame.with_columns(pl.when(pl.col("pool") == first).then(pl.lit(longest)).otherwise("pool").alias("pool"))
        for frame in (told_pools, told_updates)
    )
    frames = read(pools=pools, updates=updates.with_columns(base_reserve=pl.lit(float("nan"))))
    assert longest in frames.quarantine["pool"].to_list()
