"""Frames that are not what their spec says are refused before anything is written."""

import math
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest
from lake_tables import NOTES, READINGS, hours, notes, ordered, readings

from pipeline.errors import InputError
from pipeline.lake import Commit, Lake

FLAWED: dict[str, tuple[pl.DataFrame, str]] = {
    "a column is missing": (readings([1]).drop("price"), r"1 columns are missing \['price'\]"),
    "a column is unknown": (readings([1]).with_columns(day=1), r"1 are unknown \['day'\]"),
    "a null": (
        readings([1, 2]).with_columns(n_trades=pl.lit(None, pl.Int64)),
        r"column 'n_trades' 2 of 2 rows are null.*'pool': '0xa'",
    ),
    "a null in the key": (
        readings([1, 2]).with_columns(pool=pl.lit(None, pl.String)),
        "column 'pool' 2 of 2 rows are null",
    ),
    "NaN": (readings([1, 2]).with_columns(price=pl.Series([1.0, math.nan])), "column 'price' 1 of 2 rows are NaN"),
    "infinity": (readings([1]).with_columns(price=-math.inf), "column 'price' 1 of 1 rows are NaN or infinite"),
    "a number as text": (readings([1]).with_columns(n_trades=pl.lit("7")), "'n_trades' is String where Int64.*'7'"),
    "a real as a count": (readings([1]).with_columns(n_trades=7.0), "'n_trades' is Float64 where Int64"),
    "a flag as a count": (readings([1]).with_columns(n_trades=True), "'n_trades' is Boolean where Int64"),
    "a count as text": (readings([1]).with_columns(pool=7), "'pool' is Int32 where String"),
    "a count that overflows": (
        readings([1]).with_columns(n_trades=pl.lit(2**63, pl.UInt64)),
        "'n_trades' is UInt64 and 1 of its values do not fit into Int64, e.g. 9223372036854775808",
    ),
    "a count that a real would round": (
        readings([1]).with_columns(price=pl.lit(2**53 + 1, pl.Int64)),
        "'price' is Int64 and 1 of its values do not fit into Float64",
    ),
    "a time without a zone": (
        readings([1]).with_columns(pl.col("event_time").dt.replace_time_zone(None)),
        "'event_time' is Datetime.*where Datetime",
    ),
    "a time in another zone": (
        readings([1]).with_columns(pl.col("event_time").dt.convert_time_zone("Europe/Berlin")),
        "'event_time' is Datetime.*Europe/Berlin",
    ),
    "a time finer than a microsecond": (
        readings([1]).with_columns(pl.col("event_time").cast(pl.Datetime("ns", "UTC")) + pl.duration(nanoseconds=1)),
        "'event_time' .* 1 of its values do not fit",
    ),
    "two rows of one key": (
        pl.concat([readings([1, 2]), readings([1], n_trades=9)]),
        r"key \('network', 'pool', 'event_time'\) 2 of 3 rows share their key",
    ),
    "a partition without a name": (readings([1], network=""), "partition column 'network' 1 of 1 rows are empty"),
    "a partition that would read as null": (readings([1], network="__HIVE_DEFAULT_PARTITION__"), "partition column"),
    "a partition too long for a folder": (readings([1], network="é" * 41), "longer than 80 bytes"),
}


@pytest.mark.parametrize("write", [Lake.append, lambda lake, table, frame: lake.replace(table, frame, hours(0, 1))])
@pytest.mark.parametrize("flaw", FLAWED)
def test_a_flawed_frame_is_refused_before_anything_is_written(
    tmp_path: Path, flaw: str, write: Callable[..., Commit]
) -> None:
    frame, message = FLAWED[flaw]
    with pytest.raises(InputError, match=f"(?s){message}") as refusal:
        write(Lake(tmp_path / "lake"), READINGS, frame)
    assert "cannot write to 'readings'" in str(refusal.value)
    assert not (tmp_path / "lake").exists()


def test_a_flawed_upsert_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="share their key"):
        Lake(tmp_path / "lake").upsert(NOTES, notes(("a", "1", "x"), ("a", "1", "y")))
    assert not (tmp_path / "lake").exists()


def test_only_append_takes_a_row_given_twice(tmp_path: Path) -> None:
    twice = pl.concat([readings([1]), readings([1])])
    with pytest.raises(InputError, match="share their key"):
        Lake(tmp_path).replace(READINGS, twice, hours(0, 1))
    assert Lake(tmp_path).append(READINGS, twice).n_rows == 1


def test_casts_that_lose_nothing_are_made(tmp_path: Path) -> None:
    lake, frame = Lake(tmp_path), readings([1, 2, 3])
    lake.append(
        READINGS,
        frame.select(
            pl.col("network").cast(pl.Categorical),
            pl.col("pool").cast(pl.Enum(["0xa"])),
            pl.col("event_time").cast(pl.Datetime("ms", "UTC")),
            pl.col("n_trades").cast(pl.UInt8),
            pl.lit(None).alias("price"),
        ),
    )
    assert ordered(lake.scan(READINGS)) == ordered(frame.with_columns(price=pl.lit(None, pl.Float64)))


def test_hostile_text_is_quoted_and_cut_in_the_message(tmp_path: Path) -> None:
    hostile = readings([1]).with_columns(pool=pl.lit("\x1b[31m\n" + "x" * 9000), price=math.inf)
    with pytest.raises(InputError) as refusal:
        Lake(tmp_path).append(READINGS, hostile)
    assert "\x1b" not in str(refusal.value)
    assert len(str(refusal.value)) < 700
