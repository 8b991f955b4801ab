"""A data folder with a dozen of the demo's pools, made by the real assets: what the pages' commands are run on."""

from pathlib import Path

import dagster as dg
import polars as pl

from pipeline.calendars import SystemClock
from pipeline.definitions import build_defs
from pipeline.lake import Lake
from pipeline.pools.shelf import Shelf
from pipeline.pools.simulator import simulate, write_recording
from pipeline.pools.spec import PoolsSpec, SimulationSpec
from pipeline.replay import replay
from resources.settings import Settings

SEED, N_POOLS = 7, 12
MADE = ("reserves", "pools", "candles", "snapshots", "features_core", "labels")


def make(settings: Settings) -> None:
    """Replay the pools with the lowest addresses; the tutorial looks at one of them."""
    folder = settings.recordings / f"simulation-{SEED}"
    write_recording(simulate(SimulationSpec(), SEED), folder, SimulationSpec(), SEED)
    _keep(folder, pl.read_parquet(folder / "pools.parquet")["pool"].sort().head(N_POOLS))
    told = Shelf(settings.recordings).register(folder, PoolsSpec(), SystemClock().now())
    lake = Lake(settings.data_dir / "lake", sync=lambda path: None)
    with dg.DagsterInstance.ephemeral() as instance:
        replay(build_defs({"lake": lake}), instance, told, assets=MADE)


def _keep(folder: Path, pools: pl.Series) -> None:
    for name in ("pools", "reserves"):
        file = folder / f"{name}.parquet"
        pl.read_parquet(file).filter(pl.col("pool").is_in(pools.implode())).write_parquet(file)
