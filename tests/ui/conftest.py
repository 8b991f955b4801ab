"""One `poolcast up` and one browser for all tests of the pages; what a failed test saw is kept as a trace."""

import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from pipeline.lake import Lake
from pipeline.pools.shelf import Shelf
from pipeline.pools.simulator import simulate, write_recording
from pipeline.pools.spec import PoolsSpec, SimulationSpec
from tests.chromium import chromium
from tests.conftest import temporary_folder
from tests.ui.served import HEIGHT, WIDTH, Served

MARKET = SimulationSpec(n_pools=25, days=3, birth_days=1)
PATIENCE_MS = 180_000
"""A run waits for its turn and starts a process: ten seconds, and on a crowded machine minutes."""
MLFLOW_AS_WE_USE_IT = """
localStorage.setItem("mlflow.workflowType_v1", '"machine_learning"');
localStorage.setItem("mlflow.assistant.fab.autoOpenedOnFirstLoad_v1", "true");
localStorage.setItem("mlflow.assistant.panelOpen_v1", "false");
"""
"""MLflow's pages open on language models and an assistant; a person chooses *Model training* and closes it, once."""
FAILED = pytest.StashKey[bool]()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    report = yield
    item.stash[FAILED] = item.stash.get(FAILED, False) or report.failed
    return report


@pytest.fixture(scope="module")
def served(browser: Browser) -> Iterator[Served]:
    """`poolcast up` over a small market that is registered and not imported yet; or over a folder that was made.

    Where there is no browser to look at it with, it is not started.
    """
    del browser
    with temporary_folder() as folder:
        made = os.environ.get("PICTURES_OF")
        data = Path(made).absolute() if made else folder / "data"
        if not made:
            write_recording(simulate(MARKET, 7), folder / "market", MARKET, 7)
            Shelf(data / "recordings").register(folder / "market", PoolsSpec(), datetime.now(UTC))
        running = Served(data)
        try:
            yield running
        finally:
            running.stop()


@pytest.fixture(scope="module")
def lake(served: Served) -> Lake:
    """The lake that the pages show."""
    return Lake(served.folder / "lake")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Debian's Chromium, without a window."""
    expect.set_options(timeout=PATIENCE_MS)
    with chromium() as running:
        yield running


@pytest.fixture
def page(request: pytest.FixtureRequest, browser: Browser) -> Iterator[Page]:
    """A tab of its own; a failed test leaves `playwright show-trace FILE` something to show."""
    context = browser.new_context(viewport={"width": WIDTH, "height": HEIGHT})
    context.add_init_script(MLFLOW_AS_WE_USE_IT)
    context.tracing.start(screenshots=True, snapshots=True)
    tab = context.new_page()
    tab.set_default_timeout(PATIENCE_MS)
    yield tab
    if request.node.stash.get(FAILED, False):
        trace = request.config.rootpath / ".pytest_cache" / "traces" / f"{request.node.name[:60]}.zip"
        context.tracing.stop(path=trace)
        print(f"what the browser saw: playwright show-trace {trace}")  # noqa: T201 - pytest shows it with the failure
    else:
        context.tracing.stop()
    context.close()
