"""Being alone in a data folder, for work that changes what everybody else relies on.

Belongs here: finding out whether anybody works in the folder or is connected to its databases, and keeping others from
beginning meanwhile; and working or looking beside others. Stays out: what is done then (`migrations`, `backups`).
"""

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

import sqlalchemy as sa
from sqlalchemy.engine import make_url

from pipeline.errors import ServiceError, UsageError
from resources import backups
from resources.locks import FileLock
from resources.postgres import Databases, postgres
from resources.roster import Roster
from resources.settings import Settings

_UP: Final = "up.lock"
_REPLAY: Final = "replay.lock"
_WORK: Final = "work.lock"
_WAIT_SECONDS: Final = 3.0
_OTHERS: Final = """
    SELECT datname, pid, application_name FROM pg_stat_activity
    WHERE datname IN (:dagster, :mlflow) AND usename = current_user AND pid <> pg_backend_pid()
      AND coalesce(backend_type, 'client backend') = 'client backend'
    ORDER BY pid
"""


@contextmanager
def alone(settings: Settings) -> Iterator[Databases]:
    """Hold the databases, and make sure that nobody else works in the data folder for the length of the block.

    Raises:
        ServiceError: somebody does.
        UsageError: there is no such folder.
    """
    _require_data(settings)
    with ExitStack() as held:
        for name, who in ((_UP, "`poolcast up`"), (_REPLAY, "a demo or an import"), (_WORK, "a command")):
            _hold(held, settings.data_dir / name, f"{who} works in {str(settings.data_dir)!r}: stop it")
        if left := Roster(settings.data_dir / "up.json").left_behind():
            raise ServiceError(
                f"{', '.join(sorted(left))} of a `poolcast up` that was killed still run(s) in "
                f"{str(settings.data_dir)!r}: start and stop `poolcast up` with the version of before, which ends them"
            )
        if (users := settings.postgres_dir / "users.lock").exists() and settings.postgres_url is None:
            with ExitStack() as briefly:
                _hold(briefly, users, f"a command or a run works in {str(settings.data_dir)!r}: wait until it is done")
        databases = held.enter_context(postgres(settings))
        _require_no_others(databases)
        yield databases


@contextmanager
def looking(settings: Settings) -> Iterator[Databases]:
    """Hold the databases beside whoever works with them, to read what is there and change nothing.

    Raises:
        ServiceError: somebody changes everything just now, or a restore was cut short.
        UsageError: there is no such folder, or no database in it: to look would make one.
    """
    _require_data(settings)
    if settings.postgres_url is None and not settings.postgres_dir.exists():
        raise UsageError(f"there is no database in {str(settings.data_dir)!r}: name poolcast's folder with --data-dir")
    with beside(settings), postgres(settings) as databases:
        yield databases


@contextmanager
def beside(settings: Settings) -> Iterator[None]:
    """Work in the data folder beside others, none of whom is `alone` meanwhile; what a restore left half is refused.

    Raises:
        ServiceError: somebody is, or one was cut short.
    """
    lock = FileLock(settings.data_dir / _WORK)
    try:
        if not lock.try_acquire("shared"):
            raise ServiceError(
                f"{str(settings.data_dir)!r} is just migrated, copied or restored: wait until that is done"
            )
        backups.require_whole(backups.folder_of(settings))
        yield
    finally:
        lock.close()


def _require_data(settings: Settings) -> None:
    if not settings.data_dir.exists():
        raise UsageError(f"there is no data in {str(settings.data_dir)!r}: name its folder with --data-dir")


def _hold(held: ExitStack, path: Path, busy: str) -> None:
    lock = FileLock(path)
    held.callback(lock.close)
    if not lock.try_acquire("exclusive"):
        raise ServiceError(f"nothing may work while the data is changed, but {busy}")


def _require_no_others(databases: Databases) -> None:
    """Give what just hung up a moment to be gone; whoever stays is named. Where databases are shared, others may."""
    names = {
        "dagster": make_url(databases.dagster_url).database,
        "mlflow": make_url(databases.mlflow_url).database,
    }
    engine = sa.create_engine(databases.mlflow_url, poolclass=sa.NullPool)
    deadline = time.monotonic() + _WAIT_SECONDS
    while True:
        with engine.connect() as connection:
            others = connection.execute(sa.text(_OTHERS), names).all()
        if not others:
            return
        if time.monotonic() > deadline:
            told = ", ".join(f"{name} (PostgreSQL's process {pid}, {by or 'unnamed'!r})" for name, pid, by in others)
            raise ServiceError(f"nothing may work while the data is changed, but there are connections to {told}")
        time.sleep(0.1)
