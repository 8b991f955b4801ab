"""Dagster's storages on PostgreSQL, made for a server that may be restarted at any time.

Belongs here: what lets a run, and the page a person looks at, outlive that. The stock storages try for some six seconds
to connect and then fail the run. A worker has nothing better to do than to wait (`POOLCAST_DATABASE_PATIENCE_S`, set by
the launcher), asks again what it was asking when the server went, and keeps its connection, where the stock storages
open one for each question: a sixth of a collection run. The daemon has better to do, so for it everything stays as it
was. The webserver keeps a connection and notices only by failing with it that its other end is gone; here it asks
first. Stays out: the event log's other difference (`event_storage`), and the schema, which is the stock storages' own.
"""

import time
from collections.abc import Callable, Mapping
from functools import cache, wraps
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
_QUESTIONS = ("get_", "fetch_", "has_", "can_")
"""How the names of methods begin that change nothing."""


def asked_again[**P, R](method: Callable[P, R]) -> Callable[P, R]:
    """Ask once more, in a worker, where the server went away meanwhile."""

    @wraps(method)
    def asked(*args: P.args, **options: P.kwargs) -> R:
        try:
            return method(*args, **options)
        except sa.exc.OperationalError:
            if not database_patience():
                raise
            return method(*args, **options)

    return asked


class Patient:
    """What the three storages have in common; it stands before the stock storage among a class's bases."""

    postgres_url: str
    _engine: sa.Engine

    def __init_subclass__(cls) -> None:
        """See that every question is asked again in a worker, if the server went while it was asked."""
        super().__init_subclass__()
        for name in dir(cls):
            if name.startswith(_QUESTIONS) and callable(method := getattr(cls, name)):
                setattr(cls, name, asked_again(method))

    @classmethod
    def from_config_value(cls, inst_data: ConfigurableClassData | None, config_value: Mapping[str, Any]) -> Self:
        """Build the storage from its section of `dagster.yaml` (the stock method names its own class).

        In a worker, each of its connections waits for the server.
        """
        url, seconds = pg_url_from_config(config_value), database_patience()
        engine = worker_engine(url, seconds) if seconds else None
        if engine is not None:
            engine.connect().close()  # the stock constructor connects before its engine can be made patient
        build: Callable[..., Self] = cls
        storage = build(
            inst_data=inst_data,
            postgres_url=url,
            should_autocreate_tables=config_value.get("should_autocreate_tables", True),
            token_provider=get_token_provider_from_config(config_value),
        )
        if engine is not None:
            storage._engine = engine
        return storage

    def optimize_for_webserver(self, statement_timeout: int, pool_recycle: int, max_overflow: int) -> None:
        """Keep a connection, as the stock storage does, and see that it is whole before it is used."""
        self._engine = webserver_engine(self.postgres_url, statement_timeout, pool_recycle, max_overflow)


class PatientRunStorage(Patient, PostgresRunStorage):
    """The stock run storage, patient in a worker."""


class PatientScheduleStorage(Patient, PostgresScheduleStorage):
    """The stock schedule storage, patient in a worker."""


@cache
def worker_engine(url: str, seconds: float) -> sa.Engine:
    """Return the engine of a worker's storages: one connection is kept for them all, and waits for its server."""
    engine = create_pg_engine(url, isolation_level="AUTOCOMMIT", pool_size=1, max_overflow=9, pool_pre_ping=True)
    wait_for_server(engine, seconds)
    return engine


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
