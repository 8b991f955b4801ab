"""Bringing everything that an older version of poolcast wrote to what this one reads.

Belongs here: what there is to do over both databases and all tables, and in which order. Stays out: how a database
(`revisions`) or a table (`Lake.migrate`) is changed, what a backup is (`backups`), being alone meanwhile (`alone`).

Killed at any moment, the same command goes on: a backup is whole or none, each database moves in one transaction, each
table in one commit, and what is done is not done again.
"""

import hashlib
import json
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import sqlalchemy as sa
from alembic.util import CommandError

from pipeline.errors import ServiceError
from pipeline.lake import Lake, migrate
from pipeline.tables import TABLES, table
from resources import backups, revisions
from resources.backups import Backup
from resources.dagster_home import dagster_instance
from resources.lake import lake_of
from resources.postgres import Databases
from resources.settings import Settings

_AT_ONCE: Final = 8


@dataclass(frozen=True)
class Plan:
    """What is behind: databases and tables, each with its steps."""

    databases: tuple[revisions.SchemaPlan, ...]
    tables: tuple[migrate.TablePlan, ...]

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to do."""
        return not self.databases and not self.tables


def plan(lake: Lake, databases: Databases) -> Plan:
    """What `run` would do. Changes nothing.

    Raises:
        ServiceError: a newer version of poolcast wrote a database, or one cannot be reached.
        StorageError: a newer version wrote a table, or one is damaged.
    """
    dagster = revisions.plan("Dagster", databases.dagster_url)
    mlflow = revisions.plan("MLflow", databases.mlflow_url)
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        found = list(pool.map(lambda each: migrate.plan(lake, each), TABLES.values()))
    return Plan(tuple(each for each in (dagster, mlflow) if each), tuple(each for each in found if each))


def require_migrated(settings: Settings, databases: Databases) -> None:
    """Refuse to start on what an older, or a newer, version of poolcast wrote, or a restore left half.

    Raises:
        ServiceError: something is behind; the message says what, and what to run.
        StorageError: a newer version wrote a table, or one is damaged.
    """
    backups.require_whole(backups.folder_of(settings))
    behind = plan(lake_of(settings), databases)
    if not behind.is_empty:
        names = [each.owner for each in behind.databases] + [each.table for each in behind.tables]
        raise ServiceError(
            f"an older version of poolcast wrote this data ({', '.join(names)}): run `poolcast migrate` "
            "(with --dry-run it only says what it would do)"
        )
    # A migration that was killed, and given up for the version of before, must not go on with a backup of back then.
    backups.finish_all(backups.folder_of(settings))


def run(
    settings: Settings,
    databases: Databases,
    *,
    now: datetime,
    is_backed_up: bool = True,
    said: Callable[[str], None] = lambda _words: None,
) -> Backup | None:
    """Do what `plan` says; gives the backup that was made first.

    Args:
        settings: of this installation.
        databases: held by `alone`.
        now: UTC.
        is_backed_up: whether everything is copied first.
        said: told each step before it is done.

    Raises:
        ServiceError: a database cannot be copied, or a newer version of poolcast wrote it.
        InputError: a row is none that the spec allows.
        StorageError: a value does not fit its new type, a newer version wrote a table, or the disk is full.
    """
    root, target = backups.folder_of(settings), _target()
    backups.require_whole(root)
    lake = lake_of(settings)
    todo = plan(lake, databases)
    kept = backups.unfinished(root, target)
    if todo.is_empty:
        if kept is not None:
            backups.finish(root, kept)
        return None
    if is_backed_up and kept is None:
        kept = backups.make(root, lake, databases, now=now, target=target, said=said)
    for each in todo.databases:
        said(f"upgrade {each.owner}'s database")
        _upgrade(settings, databases, each)
    _rewrite(lake, todo.tables, said)
    if not (left := plan(lake, databases)).is_empty:
        raise ServiceError(f"everything was migrated, and yet there is {left!r} left: the installed versions disagree")
    if kept is not None:
        backups.finish(root, kept)
    return kept


def _rewrite(lake: Lake, tables: Sequence[migrate.TablePlan], said: Callable[[str], None]) -> None:
    for each in tables:
        said(f"rewrite the table {each.table}")

        def progress(share: float, name: str = each.table) -> None:
            said(f"rewrite the table {name}: {share:.0%}")

        lake.migrate(table(each.table), progress=progress)


def _upgrade(settings: Settings, databases: Databases, each: revisions.SchemaPlan) -> None:
    try:
        if each.owner == "MLflow":
            revisions.upgrade_mlflow(databases.mlflow_url)
            return
        with dagster_instance(settings, databases) as instance:
            revisions.upgrade_dagster(databases.dagster_url, instance)
    except (sa.exc.SQLAlchemyError, CommandError) as error:
        # SQLAlchemy's own message carries a link and the statement; the server's words are enough.
        words = str(getattr(error, "orig", None) or error).strip().partition("\n")[0]
        raise ServiceError(
            f"could not upgrade {each.owner}'s database from revision {each.at!r}: {words!r}; its schema is as it was. "
            "Mend that and run `poolcast migrate` again"
        ) from error


def _target() -> str:
    """What this version of poolcast migrates to, as a hash."""
    heads = [revisions.head("Dagster"), revisions.head("MLflow")]
    specs = {name: [(column, str(dtype)) for column, dtype in spec.schema.items()] for name, spec in TABLES.items()}
    return hashlib.sha256(json.dumps([heads, specs]).encode()).hexdigest()
