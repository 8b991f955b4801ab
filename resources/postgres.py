"""The databases that hold what Dagster and MLflow keep.

Belongs here: finding or making one database for each, on the server people name in `POOLCAST_POSTGRES_URL` or on the
embedded one, and saying in clear words why a server cannot be used. Stays out: running that embedded server
(`embedded_postgres`), and our own tables (the lake).
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final, NoReturn

import psycopg2
import sqlalchemy as sa
from psycopg2.extensions import make_dsn
from sqlalchemy.engine import URL, Connection, make_url

from pipeline.errors import ServiceError, UsageError
from resources.addresses import not_a_server, require_server
from resources.embedded_postgres import EmbeddedServer, embedded_postgres
from resources.settings import Settings

OLDEST_VERSION: Final = 13
"""Older servers get no fixes any more."""

LEAST_CONNECTIONS: Final = 30
"""What `poolcast up` may need: 4 at rest, 12 seen with runs under way and pages open, of which MLflow may take 10."""

_CONNECT_SECONDS = 10
_NOT_ALLOWED = "42501"
_EXISTS_ALREADY = frozenset({"42P04", "23505"})
_ROOM = """
    SELECT current_setting('server_version_num')::int,
           least(current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int,
                 (SELECT nullif(rolconnlimit, -1) FROM pg_roles WHERE rolname = current_user))
"""


@dataclass(frozen=True)
class Databases:
    """Where Dagster and MLflow keep their state.

    Attributes:
        dagster_url: SQLAlchemy URL of Dagster's database, its password included.
        mlflow_url: SQLAlchemy URL of MLflow's database.
        is_embedded: only processes of this machine can reach them.
        server: the embedded server, to start it again should it die; None for a server of other people.
    """

    dagster_url: str
    mlflow_url: str
    is_embedded: bool
    server: EmbeddedServer | None = None


@contextmanager
def postgres(settings: Settings) -> Iterator[Databases]:
    """Hold a PostgreSQL server with both databases for the length of the block.

    Raises:
        UsageError: what was given is no address of a server.
        ServiceError: the server cannot be started or reached, or refuses to hold our databases.
    """
    if settings.postgres_url is not None:
        dagster, mlflow = _databases(server_url(settings.postgres_url))
        yield Databases(dagster, mlflow, is_embedded=False)
        return
    with embedded_postgres(settings.postgres_dir) as server:
        dagster, mlflow = _databases(make_url(server.url))
        yield Databases(dagster, mlflow, is_embedded=True, server=server)


def server_url(text: str) -> URL:
    """Read `POOLCAST_POSTGRES_URL`. What it holds may be a secret, so no message repeats it.

    Raises:
        UsageError: it is no address of a PostgreSQL server.
    """
    require_server(text)
    try:
        url = make_url("postgresql://" + text.removeprefix("postgres://") if text.startswith("postgres://") else text)
    except (sa.exc.ArgumentError, ValueError):
        # Without its cause: SQLAlchemy's and int()'s words quote parts of the address.
        raise not_a_server() from None
    _require_known(url.query)
    # Where everybody looks for a password, and hides it.
    in_query = url.query.get("password")
    if isinstance(in_query, str):
        url = url.difference_update_query(["password"]).set(password=in_query)
    return url.set(drivername="postgresql")


def _require_known(parameters: Iterable[str]) -> None:
    try:
        make_dsn(**dict.fromkeys(parameters, "x"))
    except psycopg2.ProgrammingError:
        # Without its cause: libpq quotes the name, and of '?password=a&b=c' one is 'b'.
        raise UsageError(
            "POOLCAST_POSTGRES_URL has a parameter that libpq does not know: correct what follows the '?', where an "
            "'&' of a password is %26"
        ) from None


def answers(url: str) -> bool:
    """Tell whether the server of a database answers now."""
    # Both: a machine that vanished from the network neither refuses a connection nor ends one.
    bounded = {"connect_timeout": _CONNECT_SECONDS, "tcp_user_timeout": 1000 * _CONNECT_SECONDS}
    engine = sa.create_engine(url, poolclass=sa.NullPool, connect_args=bounded)
    try:
        with engine.connect() as connection:
            return bool(connection.scalar(sa.text("SELECT 1")))
    except sa.exc.SQLAlchemyError:
        return False


def check_room(version: int, connections: int) -> None:
    """Make sure that a server is new enough and lets enough of us in.

    Args:
        version: what it calls `server_version_num`, like 150004.
        connections: how many connections our user may have at most.

    Raises:
        ServiceError: it is not, or does not.
    """
    if version < OLDEST_VERSION * 10_000:
        raise ServiceError(
            f"the server of POOLCAST_POSTGRES_URL is PostgreSQL {version // 10_000}: use {OLDEST_VERSION} or newer"
        )
    if connections < LEAST_CONNECTIONS:
        raise ServiceError(
            f"the server of POOLCAST_POSTGRES_URL allows our user {connections} connections and we need up to "
            f"{LEAST_CONNECTIONS}: raise max_connections, or the role's connection limit"
        )


def _databases(server: URL) -> tuple[str, str]:
    # No pool: every connection is given back at once.
    engine = sa.create_engine(
        server, isolation_level="AUTOCOMMIT", poolclass=sa.NullPool, connect_args={"connect_timeout": _CONNECT_SECONDS}
    )
    name = ""
    try:
        with engine.connect() as connection:
            check_room(*connection.execute(sa.text(_ROOM)).one())
            urls = [_database(connection, server, name := each) for each in ("poolcast_dagster", "poolcast_mlflow")]
    except sa.exc.DBAPIError as error:
        _refuse(server, name, error)
    dagster, mlflow = (url.render_as_string(hide_password=False) for url in urls)
    return dagster, mlflow


def _database(connection: Connection, server: URL, name: str) -> URL:
    """Return the URL of database `name`, made if it is missing; where we may not, of a schema of that name."""
    if connection.scalar(sa.text("SELECT 1 FROM pg_database WHERE datname = :name"), {"name": name}):
        return server.set(database=name)
    if connection.scalar(sa.text("SELECT 1 FROM pg_namespace WHERE nspname = :name"), {"name": name}):
        # Made when no database was allowed: the state stays where it is, whatever is allowed by now.
        return _schema(server, name)
    try:
        connection.execute(sa.text(f"CREATE DATABASE {name} TEMPLATE template0 ENCODING 'UTF8'"))
    except sa.exc.DBAPIError as error:
        code = getattr(error.orig, "pgcode", None)
        if code == _NOT_ALLOWED:
            connection.execute(sa.text(f"CREATE SCHEMA IF NOT EXISTS {name}"))
            return _schema(server, name)
        if code not in _EXISTS_ALREADY:
            raise
    return server.set(database=name)


def _schema(server: URL, name: str) -> URL:
    told = server.query.get("options", "")
    options = " ".join((told,) if isinstance(told, str) else told)
    return server.update_query_dict({"options": f"{options} -csearch_path={name}".strip()})


def _refuse(server: URL, name: str, error: sa.exc.DBAPIError) -> NoReturn:
    # SQLAlchemy's own message carries a link and the statement; the server's words are enough. Neither password nor
    # query is shown: a query may name the password of a key.
    where = server.set(query={}).render_as_string(hide_password=True)
    if server.host is None and "host" in server.query:
        where += f" on {server.query['host']}"
    said = " ".join(str(error.orig).split())
    if name:
        raise ServiceError(f"PostgreSQL at {where!r} gives no database {name!r}: {said}") from error
    said += "" if said.endswith(("?", ".")) else "."
    raise ServiceError(
        f"PostgreSQL at {where!r} cannot be used: {said} Check that it runs, and the user, the password and the "
        "database of POOLCAST_POSTGRES_URL"
    ) from error
