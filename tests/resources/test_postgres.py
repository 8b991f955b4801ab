import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import sqlalchemy as sa

from pipeline.errors import ServiceError
from resources.postgres import postgres
from resources.settings import ROOT, Settings

HOLD = """
import sys
from pathlib import Path
from resources.postgres import postgres
from resources.settings import Settings
with postgres(Settings(Path(sys.argv[1]))) as databases:
    print(databases.dagster_url, flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def settings(server_folder: Path) -> Iterator[Settings]:
    # A space, a per cent sign, and a path that no Unix socket can have.
    yield Settings(server_folder / f"a 100% {'long ' * 20}path")
    for process in servers(server_folder):
        process.kill()


def servers(folder: Path) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter():
        try:
            if process.name() == "postgres" and any(str(folder) in word for word in process.cmdline()):
                found.append(process)
        except psutil.Error:
            continue
    return found


def holder(settings: Settings) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(settings.data_dir)],
        cwd=ROOT,
        text=True,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stdout.readline().startswith("postgresql://")
    return process


def query(url: str, statement: str) -> object:
    engine = sa.create_engine(url, poolclass=sa.NullPool)
    with engine.begin() as connection:
        result = connection.execute(sa.text(statement))
        return result.scalar() if result.returns_rows else None


@pytest.mark.slow
def test_the_server_lives_as_long_as_its_last_user_and_no_longer(settings: Settings) -> None:
    other = holder(settings)
    with postgres(settings) as databases:
        assert len(servers(settings.data_dir)) == 1
        assert query(databases.mlflow_url, "SHOW fsync") == "on"
        other.communicate()
        assert query(databases.dagster_url, "SELECT current_database()") == "poolcast_dagster"
    assert servers(settings.data_dir) == []


@pytest.mark.slow
def test_what_was_committed_outlives_a_kill_of_everything_and_a_stale_lock_file(settings: Settings) -> None:
    killed = holder(settings)
    with postgres(settings) as databases:
        query(databases.dagster_url, "CREATE TABLE kept AS SELECT 42 AS answer")
        os.kill(killed.pid, signal.SIGKILL)
        killed.communicate()
        for server in servers(settings.data_dir):
            server.kill()
            server.wait(10)
    # The number in the stale lock file now is that of a living process which is no PostgreSQL.
    lock_file = settings.postgres_dir / "cluster" / "postmaster.pid"
    lines = lock_file.read_text().splitlines()
    lock_file.write_text("\n".join([str(os.getpid()), *lines[1:]]))
    with postgres(settings) as databases:
        assert query(databases.dagster_url, "SELECT answer FROM kept") == 42
    assert servers(settings.data_dir) == []


@pytest.mark.slow
def test_a_server_of_ones_own_is_used_and_where_no_database_may_be_made_a_schema_is(settings: Settings) -> None:
    with postgres(settings) as databases:
        server = databases.dagster_url
        query(server, "CREATE ROLE tenant LOGIN")
        admin = sa.create_engine(server, isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)
        with admin.connect() as connection:
            connection.execute(sa.text("CREATE DATABASE rented OWNER tenant"))
            connection.execute(sa.text("DROP DATABASE poolcast_mlflow"))
        rented = sa.make_url(server).set(username="tenant", database="rented").render_as_string(hide_password=False)
        given = postgres(Settings(settings.data_dir, postgres_url=rented))
        with given as theirs:
            assert not theirs.is_embedded
            assert query(theirs.mlflow_url, "SELECT current_database() || '.' || current_schema()") == (
                "rented.poolcast_mlflow"
            )


def test_an_unreachable_server_is_a_service_error_that_keeps_the_password(tmp_path: Path) -> None:
    given = Settings(tmp_path, postgres_url="postgres://me:secret@127.0.0.1:1/state")
    started = time.monotonic()
    with pytest.raises(ServiceError, match=r"127\.0\.0\.1:1/state.*refused") as raised, postgres(given):
        pass
    assert "secret" not in str(raised.value)
    assert time.monotonic() - started < 20


@pytest.mark.parametrize("url", ["mysql://somewhere/state", "not an address"])
def test_an_address_that_is_no_postgresql_is_refused(tmp_path: Path, url: str) -> None:
    with pytest.raises(ServiceError, match="POOLCAST_POSTGRES_URL"), postgres(Settings(tmp_path, postgres_url=url)):
        pass


def test_a_folder_that_cannot_be_made_is_a_service_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(ServiceError, match="cannot keep its data"), postgres(Settings(tmp_path / "file")):
        pass
