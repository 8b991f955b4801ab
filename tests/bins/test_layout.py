import struct
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from pipeline.bins.instruments import instrument_name
from pipeline.bins.layout import lay_out
from pipeline.bins.spec import BinsSpec
from pipeline.errors import InputError, UsageError
from tests.bins.bins_market import START, made_bars

SPEC = BinsSpec()


def bars_at(*times: datetime, close: float | None = 1.0) -> pl.DataFrame:
    one = made_bars(("0xAbC",), 3).head(1)
    return pl.concat(
        [
            one.with_columns(
                pl.lit(t).cast(pl.Datetime("us", "UTC")).alias("event_time"), pl.lit(close, pl.Float64).alias("close")
            )
            for t in times
        ]
    )


def written_as_documented(bars: pl.DataFrame) -> dict[str, bytes]:
    """The documented format, value by value: '<f', the calendar place first, NaN for an hour without a bar."""
    calendar = [bars["event_time"].min() + timedelta(hours=h) for h in range(10_000)]
    files = {}
    for (network, pool), rows in bars.sort("event_time").group_by("network", "pool"):
        known = {row["event_time"]: row for row in rows.iter_rows(named=True)}
        begin, end = calendar.index(min(known)), calendar.index(max(known))
        for field in SPEC.fields:
            values = [float(begin)]
            for time in calendar[begin : end + 1]:
                value = 1.0 if field == "factor" else known[time][field] if time in known else None
                values.append(float("nan") if value is None or time not in known else value)
            path = f"features/{instrument_name(network, pool).lower()}/{field}.60min.bin"
            files[path] = struct.pack(f"<{len(values)}f", *values)
    return files


def test_every_feature_file_holds_the_bytes_of_the_documented_format() -> None:
    bars = made_bars()
    found = {path: bytes(content) for path, content in lay_out(bars, SPEC).files() if path.startswith("features/")}
    assert found == written_as_documented(bars)


def test_the_calendar_is_every_hour_and_the_instruments_say_their_first_and_last_bar() -> None:
    files = dict(lay_out(bars_at(START, START + timedelta(hours=3)), SPEC).files())
    assert files["calendars/60min.txt"].decode().split("\n") == [  # type: ignore[union-attr]
        "2020-09-08 17:00:00", "2020-09-08 18:00:00", "2020-09-08 19:00:00", "2020-09-08 20:00:00", "",
    ]  # fmt: skip
    assert files["instruments/all.txt"] == b"eth-0xabc-5\t2020-09-08 17:00:00\t2020-09-08 20:00:00\n"


def test_files_come_sorted_by_the_parts_of_their_paths() -> None:
    paths = [path.split("/") for path, _ in lay_out(made_bars(("0xa", "0xA", "0xa_b")), SPEC).files()]
    assert paths == sorted(paths)


def test_the_id_does_not_depend_on_the_order_of_rows_and_follows_every_value() -> None:
    bars = made_bars()
    same = lay_out(bars.sample(fraction=1.0, shuffle=True, seed=1), SPEC).export_id()
    other = bars.with_columns(pl.when(pl.int_range(pl.len()) == 5).then(7.0).otherwise(pl.col("close")).alias("close"))
    assert same == lay_out(bars, SPEC).export_id()
    assert lay_out(other, SPEC).export_id() != same


def test_a_missing_value_is_nan_and_is_no_loss() -> None:
    layout = lay_out(bars_at(START, close=None), SPEC)
    assert layout.n_unrepresentable == 0
    assert np.isnan(np.frombuffer(dict(layout.files())["features/eth-0xabc-5/close.60min.bin"], "<f4")[1])


@pytest.mark.parametrize("price", [1e39, 1e-60, float("inf")])
def test_a_price_that_float32_cannot_hold_is_nan_and_counted(price: float) -> None:
    layout = lay_out(bars_at(START, close=price), SPEC)
    assert layout.n_unrepresentable == 1
    assert np.isnan(np.frombuffer(dict(layout.files())["features/eth-0xabc-5/close.60min.bin"], "<f4")[1])


def test_a_span_no_bin_can_number_is_refused() -> None:
    with pytest.raises(InputError, match="a bin can number 16777216"):
        lay_out(bars_at(datetime(1, 1, 2, tzinfo=UTC), datetime(9998, 1, 1, tzinfo=UTC)), SPEC)


def test_the_largest_index_itself_is_still_written() -> None:
    at_limit = bars_at(START, START + timedelta(hours=4))
    assert lay_out(at_limit, BinsSpec(largest_index=4)).n_bars == 2
    with pytest.raises(InputError, match="a bin can number 3"):
        lay_out(at_limit, BinsSpec(largest_index=3))


def test_the_standard_limit_is_where_float32_stops_being_exact() -> None:
    assert int(np.float32(SPEC.largest_index)) == SPEC.largest_index
    assert int(np.float32(SPEC.largest_index + 1)) != SPEC.largest_index + 1


def test_bars_of_two_sources_are_refused() -> None:
    with pytest.raises(UsageError, match="several sources"):
        lay_out(pl.concat([made_bars(), made_bars().with_columns(source=pl.lit("simulation:1"))]), SPEC)


def test_two_bars_of_one_hour_are_refused() -> None:
    with pytest.raises(InputError, match="2 bars share"):
        lay_out(bars_at(START, START), SPEC)


def test_a_bar_off_the_grid_is_refused() -> None:
    with pytest.raises(InputError, match="do not start on the grid"):
        lay_out(bars_at(START + timedelta(minutes=5)), SPEC)


def test_a_missing_column_and_a_missing_key_are_refused() -> None:
    with pytest.raises(InputError, match="vwap"):
        lay_out(made_bars().drop("vwap"), SPEC)
    with pytest.raises(InputError, match="counted by column"):
        lay_out(made_bars().with_columns(pool=pl.lit(None, pl.String)), SPEC)


def test_no_bars_give_an_export_without_instruments() -> None:
    layout = lay_out(made_bars().clear(), SPEC)
    assert next((path, bytes(content)) for path, content in layout.files()) == ("calendars/60min.txt", b"")
    assert (layout.names, layout.n_bytes, layout.first_time) == ((), 0, None)
