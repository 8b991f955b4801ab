"""Dagster's storages on PostgreSQL, made for a server that may be restarted at any time.

Belongs here: what lets a run, and the page a person looks at, outlive that. The stock storages try for some six seconds
to connect and then fail the run. A worker has nothing better to do than to wait (`POOLCAST_DATABASE_PATIENCE_S`, set by
the launcher); the daemon has, so for it everything stays as it was. The webserver keeps a connection and notices only
by failing with it that its other end is gone; here it asks first. Stays out: the event log's other difference
(`event_storage`), and the schema, which is the stock storages' own.
"""

import time
from collections.abc import Mapping
from typing import Any, Self

import sqlalchemy as sa
from dagster._serdes import ConfigurableClassData
from dagster_postgres.run_storage.run_storage import PostgresRunStorage
from dagster_postgres.schedule_storage.schedule_storage import PostgresScheduleStorage
from dagster_postgres.utils import (
    create_pg_engine,
    get_token_provider_from_config,
    pg_url_from_config,
    set_pg_statement_timeout,
)

from resources.settings import database_patience

_PAUSE_SECONDS = 0.5


class PatientRunStorage(PostgresRunStorage):
    """The stock run storage, patient in a worker."""

    @classmethod
    def from_config_value(cls, inst_data: ConfigurableClassData | None, config_value: Mapping[str, Any]) -> Self:
        """Build the storage from its section of `dagster.yaml` (the stock method names its own class)."""
        return patient(cls, inst_data, config_value)

    def optimize_for_webserver(self, statement_timeout: int, pool_recycle: int, max_overflow: int) -> None:
        """Keep a connection, as the stock storage does, and see that it is whole before it is used."""
        self._engine = webserver_engine(self.postgres_url, statement_timeout, pool_recycle, max_overflow)


class PatientScheduleStorage(PostgresScheduleStorage):
    """The stock schedule storage, patient in a worker."""

    @classmethod
    def from_config_value(cls, inst_data: ConfigurableClassData | None, config_value: Mapping[str, Any]) -> Self:
        """Build the storage from its section of `dagster.yaml` (the stock method names its own class)."""
        return patient(cls, inst_data, config_value)

    def optimize_for_webserver(self, statement_timeout: int, pool_recycle: int, max_overflow: int) -> None:
        """Keep a connection, as the stock storage does, and see that it is whole before it is used."""
        self._engine = webserver_engine(self.postgres_url, statement_timeout, pool_recycle, max_overflow)


def webserver_engine(url: str, statement_timeout: int, pool_recycle: int, max_overflow: int) -> sa.Engine:
    """Return the engine of the stock `optimize_for_webserver`, which asks a kept connection whether it lives."""
    engine = create_pg_engine(
        url,
        isolation_level="AUTOCOMMIT",
        pool_size=1,
        pool_recycle=pool_recycle,
        max_overflow=max_overflow,
        pool_pre_ping=True,
    )
    sa.event.listen(engine, "connect", lambda connection, _: set_pg_statement_timeout(connection, statement_timeout))
    return engine


def patient(kind: Any, inst_data: ConfigurableClassData | None, config_value: Mapping[str, Any]) -> Any:
    """Build a stock storage or one of its children; in a worker, each of its connections waits for the server."""
    url, seconds = pg_url_from_config(config_value), database_patience()
    if seconds:
        # The stock constructor connects before its engine can be made patient.
        engine = sa.create_engine(url, poolclass=sa.NullPool)
        wait_for_server(engine, seconds)
        engine.connect().close()
    storage = kind(
        inst_data=inst_data,
        postgres_url=url,
        should_autocreate_tables=config_value.get("should_autocreate_tables", True),
        token_provider=get_token_provider_from_config(config_value),
    )
    if seconds:
        wait_for_server(storage._engine, seconds)
    return storage


def wait_for_server(engine: sa.Engine, seconds: float) -> None:
    """Make each connection of an engine try again, for as long as `seconds`, where the server cannot be reached."""

    def connect(dialect: Any, _record: Any, arguments: list[Any], options: dict[str, Any]) -> Any:
        deadline = time.monotonic() + seconds
        while True:
            try:
                return dialect.connect(*arguments, **options)
            except dialect.loaded_dbapi.OperationalError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(_PAUSE_SECONDS)

    sa.event.listen(engine, "do_connect", connect)
