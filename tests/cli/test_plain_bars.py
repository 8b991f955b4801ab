"""One file of bars serves every command, whether it calls the bar's start `time` or `date`."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal
from typer.testing import CliRunner

from pipeline.cli import app

START = datetime(2026, 3, 1, tzinfo=UTC)
N = 60


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    close = np.exp(np.cumsum(np.random.default_rng(1).normal(0, 0.01, N)))
    bars = pl.DataFrame(
        {
            "symbol": ["MINE"] * N,
            "time": [START + timedelta(minutes=5 * i) for i in range(N)],
            "open": close,
            "high": close * 1.01,
            "low": close * 0.99,
            "close": close,
            "volume": [1.0] * N,
        }
    )
    paths = {name: tmp_path / f"{name}.parquet" for name in ("time", "date")}
    for name, path in paths.items():
        bars.rename({"time": name}).write_parquet(path)
    return paths


@pytest.mark.parametrize("command", [("features", "compute", "--families", "market"), ("labels", "compute")])
def test_features_and_labels_are_the_same_under_either_name(
    files: dict[str, Path], command: tuple[str, ...], tmp_path: Path
) -> None:
    made = []
    for name, path in files.items():
        target = tmp_path / f"{name}.out"
        done = CliRunner().invoke(app, [*command, str(path), "-o", str(target)])
        assert done.exit_code == 0, done.exception
        made.append(pl.read_parquet(target))
    assert_frame_equal(*made)


def test_bins_are_the_same_under_either_name(files: dict[str, Path], tmp_path: Path) -> None:
    made = []
    for name, path in files.items():
        target = tmp_path / f"{name}.bins"
        done = CliRunner().invoke(app, ["bins", "export", str(path), "--qlib-dir", str(target), "--freq", "5min"])
        assert done.exit_code == 0, done.exception
        made.append({str(p.relative_to(target)): p.read_bytes() for p in target.rglob("*.bin")})
    assert made[0] == made[1]
    assert len(made[0]) == 5


def test_bars_without_a_start_are_told_both_names(files: dict[str, Path], tmp_path: Path) -> None:
    pl.read_parquet(files["time"]).drop("time").write_parquet(files["time"])
    done = CliRunner().invoke(app, ["bins", "export", str(files["time"]), "--qlib-dir", str(tmp_path / "q")])
    assert "the bar's start 'date' or 'time'" in str(done.exception)
