"""Real bins of somebody else, exported by us: QLib answers what their files hold, under names it can find."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from pipeline.bins.export import export_all
from pipeline.bins.instruments import read_identities, symbol_name
from pipeline.bins.spec import BinsSpec
from tests.bins.qlib_process import read_by_qlib

SAMPLE = Path(__file__).parents[2] / "../shared/data/qlib_bins_sample"
FIELDS = ("open", "high", "low", "close", "volume", "change", "factor")


def sample_bars() -> pl.DataFrame:
    """Every value of the sample: symbol, event_time, and the fields."""
    days = (SAMPLE / "calendars/day.txt").read_text().split()
    calendar = pl.Series("event_time", days).str.to_datetime("%Y-%m-%d", time_unit="us", time_zone="UTC")
    parts = []
    for folder in sorted((SAMPLE / "features").iterdir()):
        series = {field: np.fromfile(folder / f"{field}.day.bin", "<f4") for field in FIELDS}
        first = int(series["close"][0])
        times = calendar[first : first + len(series["close"]) - 1]
        parts.append(
            pl.DataFrame({"symbol": folder.name, "event_time": times, **{f: v[1:] for f, v in series.items()}})
        )
    return pl.concat(parts)


@pytest.mark.slow
@pytest.mark.skipif(not SAMPLE.is_dir(), reason="the sample bins are not beside the project")
def test_qlib_answers_what_the_sample_holds_also_of_folders_in_capitals(tmp_path: Path) -> None:
    sample = sample_bars()
    assert sample["symbol"].n_unique() == 7
    assert sample["symbol"].str.contains("[A-Z]").any()
    names = {symbol: symbol_name(symbol) for symbol in sample["symbol"].unique()}
    bars = sample.with_columns(pl.col("symbol").replace_strict(names).alias("instrument"))
    identities = {name: (symbol,) for symbol, name in names.items()}
    export_all(bars, identities, tmp_path / "qlib", BinsSpec(freq="day", fields=FIELDS))
    found = read_by_qlib(tmp_path / "qlib", tmp_path / "found.parquet", "day", *FIELDS)
    symbols = {name: identity[0] for name, identity in read_identities(tmp_path / "qlib").items()}
    # The calendar has every day: those on which nobody trades are NaN throughout.
    traded = found.filter(pl.any_horizontal(pl.col(FIELDS).is_not_null() & pl.col(FIELDS).is_not_nan()))
    told = traded.with_columns(
        pl.col("instrument").replace_strict(symbols).alias("symbol"),
        pl.col("datetime").cast(pl.Datetime("us")).dt.replace_time_zone("UTC").alias("event_time"),
    ).sort("symbol", "event_time")
    ours = sample.filter(pl.any_horizontal(pl.col(FIELDS).is_not_nan())).sort("symbol", "event_time")
    assert told.select("symbol", "event_time").equals(ours.select("symbol", "event_time"))
    for field in FIELDS:
        answered = told[field].fill_null(float("nan")).to_numpy()
        np.testing.assert_array_equal(answered, ours[field].to_numpy())
        assert answered.dtype == np.float32
