import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import psutil
import pytest
import sqlalchemy as sa

from pipeline.errors import ServiceError, UsageError
from resources import embedded_postgres
from resources.postgres import check_room, postgres
from resources.settings import ROOT, Settings
from tests.resources.external_postgres import PASSWORD, ExternalPostgres
from tests.resources.running_up import wait_for

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
def test_a_server_that_hangs_is_killed_in_the_end_and_keeps_what_was_committed(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedded_postgres, "_STOP_SECONDS", 1)
    monkeypatch.setattr(embedded_postgres, "_GONE_SECONDS", 1)
    with postgres(settings) as databases:
        query(databases.dagster_url, "CREATE TABLE kept AS SELECT 42 AS answer")
        (server,) = servers(settings.data_dir)
        server.suspend()
    wait_for(lambda: servers(settings.data_dir) == [], 20)
    with postgres(settings) as databases:
        assert query(databases.dagster_url, "SELECT answer FROM kept") == 42


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


@pytest.mark.slow
def test_the_systems_server_is_used_over_tcp_with_a_password_and_says_clearly_what_is_wrong(
    tmp_path: Path, external: ExternalPostgres
) -> None:
    def given(url: str) -> str:
        with postgres(Settings(tmp_path, postgres_url=url)) as databases:
            assert not databases.is_embedded
            return databases.dagster_url

    url = external.url
    for way in (url, f"{url}?sslmode=prefer&application_name=poolcast", url.replace("postgresql://", "postgres://")):
        assert query(given(way), "SELECT current_database() || current_setting('server_version_num')") == (
            f"poolcast_dagster{external.do('SHOW server_version_num')}"
        )
    plain = url.replace(f":{quote(PASSWORD, safe='')}", "")
    assert query(given(f"{plain}?password={quote(PASSWORD, safe='')}"), "SELECT 1") == 1
    wrong = {
        url.replace("%40", "wrong"): 'password authentication failed for user "the owner"',
        f"{url}?sslmode=require": "does not support SSL",
        url.replace("/postgres", "/nowhere"): 'database "nowhere" does not exist',
        f"{plain}?password=wrong%40ss": "password authentication failed",
    }
    for way, words in wrong.items():
        with pytest.raises(ServiceError, match=words) as raised:
            given(way)
        assert not [secret for secret in (PASSWORD, "ss w", "ss%20w", "wrong@ss") if secret in str(raised.value)]
        assert "Check that it runs" in str(raised.value)


@pytest.mark.slow
def test_a_tenant_of_a_full_house_is_told_and_keeps_its_schemas_when_it_may_do_more(
    tmp_path: Path, external: ExternalPostgres
) -> None:
    external.do("CREATE ROLE tenant LOGIN PASSWORD 'x' CONNECTION LIMIT 29")
    external.do("CREATE DATABASE rented OWNER tenant")
    url = f"postgresql://tenant:x@127.0.0.1:{external.port}/rented?options=-cstatement_timeout%3D9s"
    given = postgres(Settings(tmp_path, postgres_url=url))
    with pytest.raises(ServiceError, match="allows our user 29 connections and we need up to 30"), given:
        pass
    external.do("ALTER ROLE tenant CONNECTION LIMIT 30")
    for allow in ("NOCREATEDB", "CREATEDB"):
        external.do(f"ALTER ROLE tenant {allow}")
        with postgres(Settings(tmp_path, postgres_url=url)) as databases:
            told = "SELECT current_database() || '.' || current_schema() || current_setting('statement_timeout')"
            assert query(databases.mlflow_url, told) == "rented.poolcast_mlflow9s"


def test_a_server_that_is_too_old_is_refused() -> None:
    with pytest.raises(ServiceError, match="is PostgreSQL 12: use 13 or newer"):
        check_room(120_022, 100)
    check_room(130_000, 30)


def test_an_unreachable_server_is_a_service_error_that_keeps_the_password(tmp_path: Path) -> None:
    given = Settings(tmp_path, postgres_url="postgres://me:secret@127.0.0.1:1/state")
    started = time.monotonic()
    with pytest.raises(ServiceError, match=r"127\.0\.0\.1:1/state.*refused") as raised, postgres(given):
        pass
    assert "secret" not in str(raised.value)
    assert time.monotonic() - started < 20


@pytest.mark.parametrize(
    "url",
    ["mysql://somewhere/state", "not an address", "postgresql://u:sec@ret@h:x@y/db", "postgresql://u:p@sec@ret/db"],
)
def test_an_address_that_is_no_postgresql_is_refused(tmp_path: Path, url: str) -> None:
    given = postgres(Settings(tmp_path, postgres_url=url))
    with pytest.raises(UsageError, match="POOLCAST_POSTGRES_URL") as raised, given:
        pass
    assert "sec" not in str(raised.value)
    assert raised.value.__cause__ is None


def test_a_folder_that_cannot_be_made_is_a_service_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(ServiceError, match="cannot keep its data"), postgres(Settings(tmp_path / "file")):
        pass
