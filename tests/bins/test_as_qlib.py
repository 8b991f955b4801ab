"""QLib's own installed code as the oracle: it writes the same bytes, and reads back exactly what went in."""

from datetime import timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from pipeline.bins.export import export_all, update
from pipeline.bins.instruments import is_safe_name, read_instruments, symbol_name
from pipeline.bins.spec import FREQS, BinsSpec
from tests.bins.bins_history import BEGIN, tree
from tests.bins.bins_market import identities, made_bars, recorded_bars
from tests.bins.qlib_process import call, read_by_qlib

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
RECORDING = ROOT / "../shared/data/recordings/uniswap_v2_2020"
FIELDS = list(BinsSpec().fields)
N_HISTORIES = 130


def random_history(rng: np.random.Generator, freq: str) -> pl.DataFrame:
    """Up to five instruments: gaps, single bars, rows without any value, births and deaths at any time."""
    spec, parts = BinsSpec(freq=freq, fields=("close", "depth")), []
    for at in range(rng.integers(1, 6)):
        places = np.flatnonzero(rng.random(rng.integers(1, 90)) < rng.uniform(0.1, 1))
        places = (places if places.size else np.array([0])) + rng.integers(0, 40)
        values = rng.normal(size=(2, places.size)) * 10.0 ** rng.integers(-12, 12, size=(2, places.size))
        values[rng.random(values.shape) < rng.choice([0.0, 0.2, 1.0], p=[0.6, 0.3, 0.1])] = np.nan
        times = [BEGIN + int(place) * spec.step for place in places]
        columns = {"event_time": times, "close": values[0], "depth": values[1]}
        parts.append(pl.DataFrame(columns).with_columns(instrument=pl.lit(f"i{at}")))
    return pl.concat(parts).with_columns(pl.col("event_time").cast(pl.Datetime("us", "UTC")))


def test_every_feature_file_has_the_bytes_that_qlib_writes(tmp_path: Path) -> None:
    rng = np.random.default_rng(7)
    histories = {f"{freq}-{at}": (freq, random_history(rng, freq)) for freq in FREQS for at in range(N_HISTORIES)}
    naive = pl.col("event_time").dt.replace_time_zone(None).alias("date")
    pl.concat(
        bars.select(pl.lit(freq).alias("freq"), pl.lit(name).alias("history"), "instrument", naive, "close", "depth")
        for name, (freq, bars) in histories.items()
    ).write_parquet(tmp_path / "bars.parquet")
    call("qlib_writer.py", tmp_path / "bars.parquet", tmp_path / "theirs")
    for name, (freq, bars) in histories.items():
        known = {instrument: (instrument,) for instrument in bars["instrument"].unique()}
        shuffled = bars.sample(fraction=1.0, shuffle=True, seed=1)
        export_all(shuffled, known, tmp_path / name, BinsSpec(freq=freq, fields=("close", "depth")))
        ours, theirs = tree(tmp_path / name / "features"), tree(tmp_path / "theirs" / name / "features")
        assert len(ours) == 2 * len(known)
        assert ours == theirs


def assert_reads_back_exactly(bars: pl.DataFrame, found: pl.DataFrame) -> None:
    naive = pl.col("event_time").dt.replace_time_zone(None).alias("datetime")
    ours = bars.with_columns(factor=pl.lit(1.0)).select("instrument", naive, *FIELDS)
    spans = ours.group_by("instrument").agg(first=pl.col("datetime").min(), last=pl.col("datetime").max())
    n_hours = spans.select((pl.col("last") - pl.col("first")).dt.total_hours() + 1).sum().item()
    found = found.with_columns(pl.col("datetime").cast(pl.Datetime("us")))
    both = found.join(ours, on=["instrument", "datetime"], how="full", suffix="_ours", coalesce=True)
    assert found.height == both.height == n_hours
    for field in FIELDS:
        assert found[field].dtype == pl.Float32
        told = both[f"{field}_ours"].fill_null(float("nan")).to_numpy()
        expected = told.astype(np.float32)
        expected[(expected == 0) & (told != 0)] = np.nan  # too small for a float32
        read = both[field].fill_null(float("nan")).to_numpy()
        np.testing.assert_array_equal(read.view("u4")[~np.isnan(read)], expected.view("u4")[~np.isnan(read)])
        np.testing.assert_array_equal(np.isnan(read), np.isnan(expected))


def test_qlib_reads_back_exactly_what_was_exported_in_batches(tmp_path: Path) -> None:
    bars, directory = made_bars(), tmp_path / "qlib"
    half = bars["event_time"].min() + timedelta(hours=40)
    for part in (bars.filter(pl.col("event_time") >= half), bars.filter(pl.col("event_time") < half)):
        update(part, identities(part), directory)
    found = read_by_qlib(directory, tmp_path / "found.parquet")
    assert_reads_back_exactly(bars, found)
    assert set(found["instrument"]) == set(read_instruments(directory))
    assert found["close"].is_null().any()  # parquet keeps the NaN of a gap as a null


@pytest.mark.skipif(not RECORDING.is_dir(), reason="the recorded data is not beside the project")
def test_qlib_reads_back_recorded_pools_exactly(tmp_path: Path) -> None:
    bars = recorded_bars(RECORDING, 300)
    export_all(bars, identities(bars), tmp_path / "qlib")
    assert_reads_back_exactly(bars, read_by_qlib(tmp_path / "qlib", tmp_path / "found.parquet"))


ODD_SYMBOLS = (
    "nan", "NaN", "NULL", "null", "None", "none", "NA", "n/a", "<NA>", "#N/A", "1e5", "007", "7", "inf", "-inf", "true",
    "True", "2020-09-08", "20200908", "sh600000", "SH600000", "#hash", "'quoted'", '"', '"a', "a,b", "a\tb", "a\nb", "",
    " ", "con", "NUL", "com1", "con.txt", ".", "..", "../up", "a/b", "_qlib_con", "BRK.B", "btc-usd", "BTC-USD", "s--a",
    "c--a--1", "x--1", "Ünïcode", "a" * 300, "A" * 300, "0x1F", "1_000", "aapl--f", "AAPL",
)  # fmt: skip


def test_qlib_reads_back_every_name_that_a_symbol_may_get(tmp_path: Path) -> None:
    known = {symbol_name(symbol): (symbol,) for symbol in ODD_SYMBOLS}
    assert len(known) == len(set(ODD_SYMBOLS))
    assert all(is_safe_name(name) for name in known)
    close = {name: float(at) for at, name in enumerate(known)}
    bars = pl.DataFrame({"instrument": list(close), "close": list(close.values())})
    bars = bars.with_columns(pl.lit(BEGIN).cast(pl.Datetime("us", "UTC")).alias("event_time"))
    export_all(bars, known, tmp_path / "qlib", BinsSpec(fields=("close",)))
    call("qlib_reader.py", tmp_path / "qlib", tmp_path / "found.parquet", "60min", "close")
    found = pl.read_parquet(tmp_path / "found.parquet")
    assert dict(found.select("instrument", "close").iter_rows()) == close
