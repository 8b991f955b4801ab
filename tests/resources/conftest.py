"""What tests of servers share."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.resources.external_postgres import ExternalPostgres
from tests.resources.running_up import Up


@pytest.fixture
def up(server_folder: Path) -> Iterator[Up]:
    """An `up` of the throwaway graph, not yet started."""
    running = Up(server_folder / "a data folder")
    try:
        yield running
    finally:
        running.kill_everything()


@pytest.fixture
def external(server_folder: Path) -> Iterator[ExternalPostgres]:
    """The system's PostgreSQL 15, running, with a password that needs encoding."""
    server = ExternalPostgres(server_folder)
    try:
        yield server
    finally:
        server.end()
