"""Bars that are no sound series are refused in words, before anything is written."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from pipeline.bins.export import export_all, fix, update
from pipeline.bins.spec import BinsSpec
from pipeline.calendars import Span
from pipeline.errors import InputError, PoolcastError, UsageError
from tests.bins.bins_history import tree
from tests.bins.bins_market import START, identities, made_bars

SPEC = BinsSpec()
GOOD = made_bars()
KNOWN = identities(GOOD)
VALUES = ("open", "high", "low", "close", "volume", "vwap")


def at(*times: datetime, **values: object) -> pl.DataFrame:
    """Bars of one instrument."""
    time = [pl.lit(t, pl.Datetime("us", "UTC")).alias("event_time") for t in times]
    return pl.concat([GOOD.head(1).with_columns(t, **{k: pl.lit(v) for k, v in values.items()}) for t in time])


BAD: dict[str, tuple[pl.DataFrame, str]] = {
    "no rows": (GOOD.clear(), "not one bar"),
    "no column of a field": (GOOD.drop("vwap"), "without the columns .'vwap'."),
    "no instrument": (GOOD.drop("instrument"), "without the columns .'instrument'."),
    "no time": (GOOD.drop("event_time"), "without the columns .'event_time'."),
    "naive times": (GOOD.with_columns(pl.col("event_time").dt.replace_time_zone(None)), "must be a UTC time"),
    "another zone": (GOOD.with_columns(pl.col("event_time").dt.convert_time_zone("Asia/Tokyo")), "must be a UTC time"),
    "text for a time": (GOOD.with_columns(pl.col("event_time").cast(pl.String)), "must be a UTC time"),
    "text for a number": (GOOD.with_columns(pl.col("close").cast(pl.String)), "every field a number"),
    "truth for a number": (GOOD.with_columns(close=pl.lit(value=True)), "every field a number"),
    "a number for a name": (GOOD.with_columns(instrument=pl.lit(1)), "instrument must be text"),
    "a null name": (GOOD.with_columns(instrument=pl.lit(None, pl.String)), "without an instrument"),
    "a null time": (GOOD.with_columns(event_time=pl.lit(None, GOOD["event_time"].dtype)), "without a time"),
    "off the grid": (at(START + timedelta(minutes=5)), "do not start on the UTC grid"),
    "off the grid by a nanosecond": (
        GOOD.with_columns(pl.col("event_time").cast(pl.Datetime("ns", "UTC")) + pl.duration(nanoseconds=1)),
        "do not start on the UTC grid",
    ),
    "infinite": (at(START, close=float("inf")), r"infinite values, counted by field: \{'close': 1\}.*eth-0xabc-5"),
    "infinite below": (at(START, low=float("-inf")), r"infinite values, counted by field: \{'low': 1\}"),
    "twice": (pl.concat([GOOD, GOOD.head(2)]), "2 bars are there twice"),
    "an unsafe name": (GOOD.with_columns(instrument=pl.lit("../up")), "no safe folder"),
    "capitals": (GOOD.with_columns(instrument=pl.lit("ABC")), "no safe folder"),
    "a name nobody knows": (GOOD.with_columns(instrument=pl.lit("who")), "without an identity, such as .'who'."),
    "a time QLib cannot tell": (at(datetime(1600, 1, 1, tzinfo=UTC)), "QLib cannot tell"),
    "a time far ahead": (at(datetime(9998, 1, 1, tzinfo=UTC)), "QLib cannot tell"),
}


@pytest.fixture(params=["nothing", "an export"])
def directory(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    """Where nothing is yet, or an export: whatever a test does there leaves no trace."""
    if request.param == "an export":
        export_all(GOOD, KNOWN, tmp_path / "qlib")
    before = {p.relative_to(tmp_path): p.lstat().st_mtime_ns for p in tmp_path.rglob("*")}
    yield tmp_path / "qlib"
    assert {p.relative_to(tmp_path): p.lstat().st_mtime_ns for p in tmp_path.rglob("*")} == before


@pytest.mark.parametrize("name", BAD)
def test_bars_that_are_no_series_are_refused_without_a_trace(directory: Path, name: str) -> None:
    bars, words = BAD[name]
    for call in (export_all, update):
        for frame in (bars, bars.lazy()):
            with pytest.raises(InputError, match=words):
                call(frame, KNOWN, directory)


def test_a_calendar_that_no_bin_can_number_is_refused(directory: Path) -> None:
    early_and_late = pl.concat([at(datetime(1700, 1, 1, tzinfo=UTC)), GOOD])
    with pytest.raises(InputError, match="a bin can number 16777216"):
        export_all(early_and_late, KNOWN, directory, BinsSpec(freq="5min"))


def test_an_update_that_would_make_the_calendar_too_long_is_refused(tmp_path: Path) -> None:
    spec = BinsSpec(largest_index=200)
    export_all(GOOD, KNOWN, tmp_path / "qlib", spec)
    before = tree(tmp_path)
    for hours in (-250, 250):
        with pytest.raises(InputError, match="a bin can number 200"):
            update(at(START + timedelta(hours=hours)), KNOWN, tmp_path / "qlib", spec)
    assert tree(tmp_path) == before


def test_the_largest_index_itself_is_still_written(tmp_path: Path) -> None:
    two = at(START, START + timedelta(hours=4))
    assert export_all(two, KNOWN, tmp_path / "qlib", BinsSpec(largest_index=4)).n_bars == 2
    with pytest.raises(InputError, match="a bin can number 3"):
        export_all(two, KNOWN, tmp_path / "other", BinsSpec(largest_index=3))


def test_the_standard_limit_is_where_float32_stops_being_exact() -> None:
    assert int(np.float32(SPEC.largest_index)) == SPEC.largest_index
    assert int(np.float32(SPEC.largest_index + 1)) != SPEC.largest_index + 1


@pytest.mark.parametrize(("price", "n_lost"), [(None, 0), (float("nan"), 0), (1e39, 1), (-1e39, 1), (1e-60, 1)])
def test_a_missing_value_is_nan_and_one_that_float32_cannot_hold_is_nan_and_counted(
    tmp_path: Path, price: float | None, n_lost: int
) -> None:
    done = export_all(at(START, close=price), KNOWN, tmp_path / "qlib")
    assert done.n_unrepresentable == n_lost
    assert np.isnan(np.fromfile(tmp_path / "qlib/features/eth-0xabc-5/close.60min.bin", "<f4")[1])


def test_every_nan_has_the_same_bytes(tmp_path: Path) -> None:
    odd = np.array([-float("nan")]).view("u8") | 12345
    for name, value in (("a", float("nan")), ("b", float(odd.view("f8")[0]))):
        bars = at(START).with_columns(pl.Series("close", [value]))
        export_all(bars, KNOWN, tmp_path / name)
    assert tree(tmp_path / "a") == tree(tmp_path / "b")


def test_whole_numbers_and_single_floats_are_numbers_too(tmp_path: Path) -> None:
    bars = GOOD.with_columns(volume=pl.lit(3, pl.Int32), close=pl.col("close").cast(pl.Float32), low=pl.lit(None))
    assert export_all(bars, KNOWN, tmp_path / "qlib").n_unrepresentable == 0
    for unit in ("ms", "ns"):
        times = bars.with_columns(pl.col("event_time").cast(pl.Datetime(unit, "UTC")))
        assert not export_all(times, KNOWN, tmp_path / "qlib").is_written


def test_a_spec_that_makes_no_sense_is_refused() -> None:
    for wrong in (
        {"freq": "7min"}, {"fields": ()}, {"fields": ("Close",)}, {"fields": ("a/b",)}, {"fields": ("a", "a")},
        {"fields": ("close", "instrument")}, {"fields": ("event_time",)}, {"factor": float("nan")},
        {"calendar_start": datetime(2020, 1, 1)},  # noqa: DTZ001 - the point
        {"calendar_start": datetime(2020, 1, 1, 0, 30, tzinfo=UTC)},
    ):  # fmt: skip
        with pytest.raises(UsageError):
            BinsSpec(**wrong)


def test_a_fix_touches_nothing_but_what_is_there(tmp_path: Path) -> None:
    export_all(GOOD, KNOWN, tmp_path / "qlib")
    before = tree(tmp_path)
    first, last = (
        GOOD.filter(pl.col("pool") == "0xAbC").select(pl.col("event_time").min(), l=pl.col("event_time").max()).row(0)
    )
    new = made_bars(("0xNew",), 5)
    refused: list[tuple[pl.DataFrame, type[PoolcastError], str]] = [
        (at(first - timedelta(hours=1)), InputError, "outside of what is there"),
        (at(last + timedelta(hours=1)), InputError, "outside of what is there"),
        (new, InputError, "not there"),
    ]
    for bars, kind, words in refused:
        with pytest.raises(kind, match=words):
            fix(bars, KNOWN | identities(new), tmp_path / "qlib")
    with pytest.raises(UsageError, match="no day bars to fix"):
        fix(at(START.replace(hour=0)), KNOWN, tmp_path / "qlib", BinsSpec(freq="day"))
    with pytest.raises(UsageError, match="to fix: export them first"):
        fix(GOOD, KNOWN, tmp_path / "nothing")
    assert tree(tmp_path) == before
    done = fix(at(first, last, close=3.0), KNOWN, tmp_path / "qlib")
    assert (done.mode, done.n_instruments_changed) == ("fix", 1)
    changed = {path for path, content in tree(tmp_path / "qlib").items() if path.endswith(".bin")
               and content != before.get(f"qlib.exports/{path}")}  # fmt: skip
    assert {path.split("/")[1] for path in changed if "eth-0xabc-5" in path} == {"eth-0xabc-5"}


NAMES_WITHIN = (
    "code", "place", "is_off", "names", "times", "name", "first", "last", "n", "length", "sha256", "index",
    "len", "literal", "count", "values", "chunk", "null", "column_0", "all",
)  # fmt: skip


def test_a_field_may_be_called_like_anything_that_goes_on_inside(tmp_path: Path) -> None:
    """Each has values of its own, so that none can be taken for another."""
    spec = BinsSpec(fields=("close", *NAMES_WITHIN))
    bars = GOOD.with_columns(pl.int_range(pl.len()).cast(pl.Float32).add(1000.0 * k).alias(f)
                             for k, f in enumerate(spec.fields))  # fmt: skip
    export_all(bars, KNOWN, tmp_path / "qlib", spec)
    for (name,), rows in bars.sort("event_time").group_by("instrument"):
        for field in spec.fields:
            found = np.fromfile(tmp_path / f"qlib/features/{name}/{field}.60min.bin", "<f4")[1:]
            assert found[~np.isnan(found)].tolist() == rows[field].to_list(), (name, field)


@pytest.mark.parametrize("field", NAMES_WITHIN)
def test_an_infinite_value_of_such_a_field_is_named(tmp_path: Path, field: str) -> None:
    bars = GOOD.with_columns(pl.lit(float("inf")).alias(field))
    with pytest.raises(InputError, match=f"infinite values, counted by field: .'{field}'"):
        export_all(bars, KNOWN, tmp_path / "qlib", BinsSpec(fields=("close", field)))


def test_an_update_where_nothing_is_held_yet_is_a_full_export_whatever_it_says_of_spans(tmp_path: Path) -> None:
    bars = GOOD.with_columns(pl.when(pl.col("pool") != "nan").then(pl.col(*VALUES)), factor=pl.lit(float("nan")))
    export_all(bars, KNOWN, tmp_path / "all")
    update(bars, KNOWN, tmp_path / "update", within=[Span(START, START + timedelta(days=9))])
    assert tree(tmp_path / "all") == tree(tmp_path / "update")
