"""A market served by the sandbox, and a collector that asks it."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl

from pipeline.labels.spec import LabelsSpec
from pipeline.lake import Lake
from pipeline.pools.collecting_spec import ClientSpec, CollectionSpec
from pipeline.pools.collector import Collector
from pipeline.pools.collector_setup import CollectorSetup
from pipeline.pools.recording import RecordedFrames, read_recording
from pipeline.pools.simulator import simulate, write_recording
from pipeline.pools.spec import PoolsSpec, SimulationSpec
from pipeline.sandbox.clock import SandboxTimer
from pipeline.sandbox.server import RunningSandbox, SandboxSpec, running, write_frames

SEED = 7
HURRIED = ClientSpec(
    connect_timeout_s=2.0, read_timeout_s=0.3, deadline_s=0.5, attempts=3, first_pause_s=0.5, longest_pause_s=2.0,
    max_body_bytes=2_000_000,
)  # fmt: skip
"""A client that loses patience soon: a stalled body costs a test a fraction of a second."""


@dataclass(frozen=True)
class Market:
    """Frames of RESERVES and POOLS, their files, their source, when to begin."""

    frames: RecordedFrames
    files: tuple[Path, Path]
    source: str
    start: datetime

    @property
    def networks(self) -> tuple[str, ...]:
        return tuple(self.frames.pools["network"].unique().sort())


def simulated(folder: Path, n_pools: int, *, days: int = 3, birth_days: int = 1, n_networks: int = 1) -> Market:
    """Simulated pools, `n_pools` on each network."""
    told = []
    for place in range(n_networks):
        spec = replace(
            SimulationSpec(), n_pools=n_pools, days=days, birth_days=birth_days, network=f"simulated-{place}"
        )
        written = write_recording(simulate(spec, SEED + place), folder / f"recording-{place}", spec, SEED)
        told.append(read_recording(written, PoolsSpec(), spec.end_at))
    frames = RecordedFrames(
        pl.concat([t.reserves for t in told]),
        pl.concat([t.pools for t in told]),
        pl.concat([t.quarantine for t in told]),
    )
    return market(frames, folder, f"simulation:{SEED}", SimulationSpec().start_at)


def market(frames: RecordedFrames, folder: Path, source: str, start: datetime) -> Market:
    return Market(frames, write_frames(frames.reserves, frames.pools, folder), source, start)


@contextmanager
def served(told: Market, **options: Any) -> Iterator[RunningSandbox]:
    """The market behind a sandbox, stepped unless a speed is given."""
    usual: dict[str, Any] = {"speed": None, "start": told.start}
    with running(SandboxSpec(*told.files, source=told.source, **usual | options)) as sandbox:
        yield sandbox


def setup_of(told: Market, sandbox: RunningSandbox, folder: Path, **options: Any) -> CollectorSetup:
    """A collector's setup for the sandbox; one call after the other, so that a test can be repeated."""
    usual: dict[str, Any] = {
        "base_url": sandbox.api_url, "source": told.source, "timer": SandboxTimer(sandbox.url), "folder": folder,
        "networks": told.networks, "bands": LabelsSpec(), "client": HURRIED,
        "collection": replace(CollectionSpec(), workers=1),
    }  # fmt: skip
    return CollectorSetup(**usual | options)


def cycles(desk: Collector, until: datetime) -> Iterator[Any]:
    """Cycle after cycle, each to the next grid point, until the market's clock says `until`."""
    while desk.timer.now() < until:
        yield desk.cycle(desk.next_slot())


def lake_of(folder: Path) -> Lake:
    return Lake(folder / "lake")


MINUTES_5 = timedelta(minutes=5)
