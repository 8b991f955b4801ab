"""A sandbox in a process of its own, stepped, with a budget nobody reaches."""

from collections.abc import Iterator
from datetime import timedelta

import httpx2
import pytest
from sandbox_market import START, simulated

from pipeline.sandbox.faults import FaultPlan
from pipeline.sandbox.server import RunningSandbox, SandboxSpec, running, write_frames


@pytest.fixture(scope="module")
def spec(tmp_path_factory: pytest.TempPathFactory) -> SandboxSpec:
    """The files of a simulated market, two days after its start."""
    folder = tmp_path_factory.mktemp("frames")
    frames = simulated(folder)
    files = write_frames(frames.reserves, frames.pools, folder)
    return SandboxSpec(*files, "simulation:7", start=START + timedelta(days=2), calls_per_minute=1_000_000)


@pytest.fixture(scope="module")
def started(spec: SandboxSpec) -> Iterator[RunningSandbox]:
    """One sandbox for all tests of a module."""
    with running(spec) as sandbox:
        yield sandbox


@pytest.fixture
def sandbox(started: RunningSandbox) -> Iterator[RunningSandbox]:
    """The module's sandbox without faults and with an empty log."""
    started.control.set_faults(FaultPlan())
    started.control.reset_calls()
    yield started
    started.control.set_faults(FaultPlan())


@pytest.fixture
def client(sandbox: RunningSandbox) -> Iterator[httpx2.Client]:
    """A client of its API that follows nothing."""
    with httpx2.Client(base_url=sandbox.api_url, headers={"user-agent": "test/1"}, timeout=10.0) as client:
        yield client
