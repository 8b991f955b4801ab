"""What tests of servers share."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.resources.running_up import Up


@pytest.fixture
def up(server_folder: Path) -> Iterator[Up]:
    """An `up` of the throwaway graph, not yet started."""
    running = Up(server_folder / "a data folder")
    try:
        yield running
    finally:
        running.kill_everything()
