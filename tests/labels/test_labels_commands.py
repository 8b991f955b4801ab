"""`poolcast labels compute`: labels of plain files, bars against a plain walk over them."""

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest
from typer.testing import CliRunner

from pipeline.cli import app
from pipeline.errors import InputError, UsageError
from pipeline.tables import LABELS

OPEN = datetime(2024, 1, 1, tzinfo=UTC)


def run(*arguments):
    return CliRunner().invoke(app, ["labels", "compute", *map(str, arguments)])


def bars(minutes, n=120, n_symbols=4):
    """Bars of a few symbols; some bars are missing, the last symbol crashes half way."""
    rng = np.random.default_rng(minutes)
    rows = []
    for i in range(n_symbols):
        close = np.exp(np.cumsum(rng.normal(0, 0.1, n)))
        if i == n_symbols - 1:
            close[n // 2 :] *= 0.05
        for j in range(n):
            if rng.random() < 0.8:
                time = OPEN + j * timedelta(minutes=minutes)
                rows.append((f"s{i}", time, close[j], close[j] * 1.02, close[j] * 0.97, close[j], 1.0))
    names = ["symbol", "time", "open", "high", "low", "close", "volume"]
    return pl.DataFrame(rows, schema=names, orient="row").with_columns(pl.col("time").cast(pl.Datetime("us", "UTC")))


def walked(told, symbol, start, minutes, hours):
    """Status, return at the end, and whether it was a rug: one bar after the other."""
    mine = told.filter(pl.col("symbol") == symbol).sort("time")
    length = timedelta(minutes=minutes)
    decided = start + length
    price = mine.filter(pl.col("time") == start)["close"].item()
    window = mine.filter(pl.col("time") >= decided, pl.col("time") + length <= decided + timedelta(hours=hours))
    until = mine["time"].max() + length
    is_rug = any(low < 0.2 * price * (1 - 1e-9) for low in window["low"])
    end = window["close"][-1] if window.height else price
    is_whole = until >= decided + timedelta(hours=hours)
    return is_rug, is_whole, (end / price - 1) * 100


@pytest.mark.parametrize("minutes", [5, 15, 60])
def test_bars_are_labelled_as_a_walk_over_them_says(tmp_path, minutes):
    told = bars(minutes)
    told.write_parquet(tmp_path / "in.parquet")
    done = run(tmp_path / "in.parquet", "-o", tmp_path / "out.parquet", "--horizons", "1,6")
    assert done.exit_code == 0, done.output
    found = pl.read_parquet(tmp_path / "out.parquet")
    assert found.height == 2 * told.height
    assert found.select("symbol", "time", "horizon_hours").is_unique().all()
    assert found["return_executable_pct"].null_count() == found.height
    n_rugs = 0
    for row in found.iter_rows(named=True):
        is_rug, is_whole, change = walked(told, row["symbol"], row["time"], minutes, row["horizon_hours"])
        n_rugs += is_rug
        if is_rug:
            assert row["outcome"] == "RUG"
        elif is_whole:
            assert row["status"] == "labelled"
            assert row["return_end_pct"] == pytest.approx(change)
        else:
            assert row["status"] in {"pending", "censored"}
    assert n_rugs > 0


def snapshots(minutes=(0, 5, 10, 15, 20, 30, 40, 50, 60, 75), **columns):
    times = [OPEN + timedelta(minutes=m) for m in minutes]
    n = len(times)
    told = {"network": ["eth"] * n, "pool": ["p"] * n, "event_time": times, "created_at": [OPEN] * n, **columns}
    return pl.DataFrame(told).with_columns(pl.col("event_time", "created_at").cast(pl.Datetime("us", "UTC")))


def test_snapshots_are_labelled_by_what_was_seen_of_their_pool(tmp_path):
    price = [1.0, 1.0, 1.0, *[1.5] * 13]
    rich = {"quote_reserve": [9.0] * 16, "reserve_usd": [2e5] * 16, "price_usd": price}
    frame = snapshots(minutes=range(0, 80, 5), price_quote=price, **rich)
    frame.write_parquet(tmp_path / "in.parquet")
    done = run(tmp_path / "in.parquet", "-o", tmp_path / "out.parquet", "--horizons", "1")
    assert done.exit_code == 0, done.output
    found = pl.read_parquet(tmp_path / "out.parquet").sort("event_time")
    assert found.columns == list(LABELS.schema)
    assert found["outcome"].to_list()[:3] == ["PUMP", "PUMP", "PUMP"]
    assert found["status"].to_list()[-1] == "pending"


@pytest.mark.parametrize("horizons", ["", "0", "1.5", "six", "-1", "1;6", "9999999"])
def test_horizons_that_are_no_whole_hours_are_refused(tmp_path, horizons):
    bars(5).write_parquet(tmp_path / "in.parquet")
    done = run(tmp_path / "in.parquet", "-o", tmp_path / "out.parquet", f"--horizons={horizons}")
    assert isinstance(done.exception, UsageError)
    assert not (tmp_path / "out.parquet").exists()


def test_snapshots_off_the_grid_are_refused_and_nothing_is_written(tmp_path):
    snapshots(minutes=(0, 7), price_quote=[1.0, 1.0]).write_parquet(tmp_path / "in.parquet")
    done = run(tmp_path / "in.parquet", "-o", tmp_path / "out.parquet")
    assert isinstance(done.exception, InputError)
    assert [p.name for p in tmp_path.iterdir()] == ["in.parquet"]
