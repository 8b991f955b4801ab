"""Collecting from the command line, against a sandbox: cycles through the whole graph, and what they left."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from market_under_test import Market, served, simulated

from pipeline.lake import Lake
from pipeline.sandbox.server import RunningSandbox
from pipeline.tables import CANDLES, POOLS, SNAPSHOTS
from tests.conftest import temporary_folder

ROOT = Path(__file__).parents[2]


class Shell:
    """The command line on a data folder, asking a sandbox."""

    def __init__(self, data: Path, sandbox: RunningSandbox, market: Market) -> None:
        self.data = data
        self.lake = Lake(data / "lake")
        self.options = ["--data-dir", str(data)]
        self.market_options = ["--sandbox", sandbox.url, *(f"--network={name}" for name in market.networks)]

    def run(self, *arguments: str, status: int = 0) -> str:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("POOLCAST_")}
        done = subprocess.run(
            [sys.executable, "-m", "pipeline.cli", *arguments, *self.options],
            cwd=ROOT, env=environment, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == status, done.stdout + done.stderr
        assert "Traceback" not in done.stderr
        return done.stdout if status == 0 else done.stderr

    def told(self, *arguments: str) -> dict[str, Any]:
        found = json.loads(self.run(*arguments, "--json"))
        assert isinstance(found, dict)
        return found


@pytest.fixture(scope="module")
def shell() -> Iterator[Shell]:
    with temporary_folder() as folder:
        market = simulated(folder, 150, n_networks=2)
        # A little after a grid point, so that the first cycle is nearly a whole one.
        start = market.start + timedelta(hours=20, minutes=1)
        with served(market, start=start, speed=None) as sandbox:
            yield Shell(folder / "data", sandbox, market)


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_a_cycle_from_the_command_line_fills_every_table_and_a_second_adds_to_them(shell: Shell) -> None:
    first = shell.told("pools", "collect", *shell.market_options)
    assert first["pools_found"] > 20
    assert first["snapshots"] >= first["pools_found"]
    assert (first["failed_calls"], first["gaps"], first["quarantined"]) == (0, 0, 0)
    assert first["answered_calls"] == first["calls"] > 0
    second = shell.told("pools", "collect", *shell.market_options)
    assert second["snapshots"] > first["snapshots"]
    snapshots = shell.lake.scan(SNAPSHOTS).collect()
    assert snapshots["event_time"].n_unique() == 2
    assert not snapshots.select(SNAPSHOTS.key).is_duplicated().any()
    assert shell.lake.scan(POOLS).collect().height == first["pools_found"] + second["pools_found"]
    assert set(shell.lake.scan(CANDLES).collect()["built_from"]) <= {"ohlcv", "trades"}


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_a_pool_can_be_looked_at_and_its_bars_filled_in(shell: Shell) -> None:
    pool = shell.lake.scan(POOLS).sort("created_at").collect()["pool"][0]
    told = shell.told("pools", "show", pool)
    (facts,) = next(rows for title, rows in told.items() if title.endswith(": pool"))
    assert facts["pool"] == pool
    filled = shell.told("pools", "backfill", pool, *shell.market_options)
    assert (filled["pools"], filled["failed"]) == (1, 0)
    assert filled["bars"] > 0
    bars = shell.lake.scan(CANDLES).collect().filter(pl.col("pool") == pool)
    assert bars["is_backfilled"].any()


@pytest.mark.slow
def test_a_pool_nobody_knows_is_said_to_be_unknown(shell: Shell) -> None:
    assert "no pool is known at '0xnone'" in shell.run("pools", "show", "0xnone", status=2)


@pytest.mark.slow
def test_a_sandbox_that_is_not_there_is_said_to_be_absent(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pipeline.cli", "pools", "backfill", "--sandbox", "http://127.0.0.1:9", "--data-dir",
         str(tmp_path)],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert "no sandbox answers" in done.stderr
    assert "Traceback" not in done.stderr
