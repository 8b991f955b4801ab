"""The databases that hold what Dagster and MLflow keep.

Belongs here: finding or making one database for each, on the server people name in `POOLCAST_POSTGRES_URL` or on the
embedded one. Stays out: running that embedded server (`embedded_postgres`), and our own tables (the lake).
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NoReturn

import sqlalchemy as sa
from sqlalchemy.engine import URL, make_url

from pipeline.errors import ServiceError
from resources.embedded_postgres import embedded_postgres
from resources.settings import Settings

_CONNECT_SECONDS = 10
_NOT_ALLOWED = "42501"
_EXISTS_ALREADY = frozenset({"42P04", "23505"})


@dataclass(frozen=True)
class Databases:
    """Where Dagster and MLflow keep their state.

    Attributes:
        dagster_url: SQLAlchemy URL of Dagster's database, its password included.
        mlflow_url: SQLAlchemy URL of MLflow's database.
        is_embedded: only processes of this machine can reach them.
    """

    dagster_url: str
    mlflow_url: str
    is_embedded: bool


@contextmanager
def postgres(settings: Settings) -> Iterator[Databases]:
    """Hold a PostgreSQL server with both databases for the length of the block.

    Raises:
        ServiceError: the server cannot be started or reached, or refuses to hold our databases.
    """
    if settings.postgres_url is not None:
        yield _databases(settings.postgres_url, is_embedded=False)
        return
    with embedded_postgres(settings.postgres_dir) as url:
        yield _databases(url, is_embedded=True)


def _databases(text: str, *, is_embedded: bool) -> Databases:
    try:
        url = make_url(text.replace("postgres://", "postgresql://", 1) if text.startswith("postgres://") else text)
    except sa.exc.ArgumentError as error:
        raise ServiceError(
            "POOLCAST_POSTGRES_URL is not an address: give postgresql://USER:PASSWORD@HOST/DATABASE"
        ) from error
    if url.get_backend_name() != "postgresql":
        raise ServiceError(f"POOLCAST_POSTGRES_URL names {url.get_backend_name()!r}: only PostgreSQL holds our state")
    dagster, mlflow = (_database(url, name) for name in ("poolcast_dagster", "poolcast_mlflow"))
    return Databases(_text(dagster), _text(mlflow), is_embedded)


def _database(server: URL, name: str) -> URL:
    """Return the URL of database `name`, made if it is missing; where we may not, of a schema of that name."""
    engine = sa.create_engine(
        server, isolation_level="AUTOCOMMIT", poolclass=sa.NullPool, connect_args={"connect_timeout": _CONNECT_SECONDS}
    )
    try:
        with engine.connect() as connection:
            if connection.scalar(sa.text("SELECT 1 FROM pg_database WHERE datname = :name"), {"name": name}):
                return server.set(database=name)
            try:
                connection.execute(sa.text(f"CREATE DATABASE {name} TEMPLATE template0 ENCODING 'UTF8'"))
            except sa.exc.DBAPIError as error:
                code = getattr(error.orig, "pgcode", None)
                if code == _NOT_ALLOWED:
                    connection.execute(sa.text(f"CREATE SCHEMA IF NOT EXISTS {name}"))
                    return server.update_query_dict({"options": f"-csearch_path={name}"})
                if code not in _EXISTS_ALREADY:
                    raise
            return server.set(database=name)
    except sa.exc.DBAPIError as error:
        _refuse(server, name, error)


def _refuse(server: URL, name: str, error: sa.exc.DBAPIError) -> NoReturn:
    # SQLAlchemy's own message carries a link and the statement; the server's words are enough.
    raise ServiceError(
        f"PostgreSQL at {server.render_as_string(hide_password=True)!r} gives no database {name!r}: "
        f"{str(error.orig).strip()}"
    ) from error


def _text(url: URL) -> str:
    return url.render_as_string(hide_password=False)
