"""The revisions of Dagster's and MLflow's databases: which one each is at, what lies ahead, and going there.

Belongs here: reading their alembic histories as files (importing MLflow's would cost three seconds at every start),
the revision a database says it is at, and the upgrade that each of the two brings along. Stays out: our own tables,
backups, and who may work meanwhile (`migrations`).
"""

import ast
import importlib
import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import sqlalchemy as sa
from dagster import DagsterInstance
from dagster._core.storage.event_log.migration import ASSET_DATA_MIGRATIONS, EVENT_LOG_DATA_MIGRATIONS
from dagster._core.storage.migration.utils import upgrading_instance
from dagster._core.storage.runs.migration import OPTIONAL_DATA_MIGRATIONS, REQUIRED_DATA_MIGRATIONS
from dagster._core.storage.schedules.migration import (
    OPTIONAL_SCHEDULE_DATA_MIGRATIONS,
    REQUIRED_SCHEDULE_DATA_MIGRATIONS,
)
from dagster._core.storage.sql import run_alembic_upgrade
from dagster_postgres.event_log import event_log
from dagster_postgres.utils import pg_alembic_config

from pipeline.errors import ServiceError
from pipeline.promotion.connection import mlflow

Owner = Literal["Dagster", "MLflow"]
_SCRIPTS: Final[Mapping[Owner, tuple[str, str]]] = {
    "Dagster": ("dagster", "_core/storage/alembic/versions"),
    "MLflow": ("mlflow", "store/db_migrations/versions"),
}
_DONE: Final = "SELECT name FROM secondary_indexes WHERE migration_completed IS NOT NULL"


@dataclass(frozen=True)
class SchemaPlan:
    """One database to be upgraded: from which revision, through which, each in words, and rows to fill in after."""

    owner: Owner
    at: str
    ahead: tuple[str, ...]
    fills: tuple[str, ...] = ()


def plan(owner: Owner, url: str) -> SchemaPlan | None:
    """What `upgrade` would do to a database; None where there is nothing to do, or nothing in it yet.

    Raises:
        ServiceError: the database cannot be reached, or a newer version of its owner wrote it.
    """
    at, done = _state(owner, url)
    if at is None:
        return None
    ahead = _ahead(owner, at)
    fills = tuple(name for name in _fills() if name not in done) if owner == "Dagster" else ()
    return SchemaPlan(owner, at, ahead, fills) if ahead or fills else None


def revision(owner: Owner, url: str) -> str | None:
    """The revision a database is at; None where its owner made nothing in it yet.

    Raises:
        ServiceError: the database cannot be reached.
    """
    return _state(owner, url)[0]


def head(owner: Owner) -> str:
    """The revision that the installed version of the owner works with."""
    history = _history(owner)
    before = {down for down, _ in history.values()}
    return next(name for name in history if name not in before)


def upgrade_mlflow(url: str) -> None:
    """Bring MLflow's database to its head, in one transaction; a kill leaves it as it was."""
    mlflow()
    engine = _engine(url)
    try:
        importlib.import_module("mlflow.store.db.utils")._upgrade_db(engine)
    finally:
        engine.dispose()


def upgrade_dagster(url: str, instance: DagsterInstance) -> None:
    """Bring Dagster's database to its head, then fill in what older rows lack.

    The schema moves in one transaction. Dagster's own upgrade commits each statement, and of one that was killed a
    later one need not make the whole: it takes a table that is there for one that has its indexes. What is filled in
    afterwards is marked as done when it is, so that is repeated.

    Args:
        url: the database.
        instance: the instance that keeps its state in it.
    """
    engine = _engine(url)
    sa.event.listen(engine, "before_cursor_execute", _in_transaction, retval=True)
    with upgrading_instance(instance), engine.begin() as connection:
        run_alembic_upgrade(pg_alembic_config(event_log.__file__), connection)
    instance.upgrade()
    instance.reindex()


def _in_transaction(
    _connection: Any, _cursor: Any, statement: str, parameters: Any, _context: Any, _executemany: bool
) -> tuple[str, Any]:
    """An index is made where nobody else works, so not concurrently: that could not be taken back."""
    return statement.replace(" INDEX CONCURRENTLY ", " INDEX ", 1), parameters


def _state(owner: Owner, url: str) -> tuple[str | None, set[str]]:
    """The revision, and the names of what is filled in."""
    try:
        with _engine(url).connect() as connection:
            tables = set(sa.inspect(connection).get_table_names())
            if "alembic_version" not in tables:
                return None, set()
            found = list(connection.scalars(sa.text("SELECT version_num FROM alembic_version")))
            done = set(connection.scalars(sa.text(_DONE))) if "secondary_indexes" in tables else set()
    except sa.exc.DBAPIError as error:
        raise ServiceError(f"could not read {owner}'s database: {str(error.orig).strip()}; is PostgreSQL up?") from None
    if len(found) > 1:
        raise ServiceError(f"{owner}'s database says it is at {found!r}, of which only one can be true: restore it")
    return (found[0] if found else None), done


def _ahead(owner: Owner, at: str) -> tuple[str, ...]:
    history = _history(owner)
    if at not in history:
        raise ServiceError(
            f"{owner}'s database is at revision {at!r}, which the installed version of {owner} does not know: "
            "a newer one wrote it. Go back to the version of poolcast that did, or `poolcast restore` a backup"
        )
    steps: list[str] = []
    here: str | None = head(owner)
    while here is not None and here != at:
        below, words = history[here]
        steps.append(f"{here} {words}".strip())
        here = below
    return tuple(reversed(steps))


def _history(owner: Owner) -> dict[str, tuple[str | None, str]]:
    """Every revision the owner brings along, with the one below it and its first words."""
    package, folder = _SCRIPTS[owner]
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        raise ServiceError(f"{owner} is not installed, so its revisions cannot be read: run `make up`")
    scripts = [_script(path) for path in sorted((Path(spec.origin).parent / folder).glob("*.py"))]
    return {name: (below, words) for name, below, words in scripts if name is not None}


def _script(path: Path) -> tuple[str | None, str | None, str]:
    """The revision of a script, the one below and the script's first words; nothing of it is run."""
    tree = ast.parse(path.read_bytes())
    told: dict[str, str] = {}
    for node in tree.body:
        target = node.targets[0] if isinstance(node, ast.Assign) else getattr(node, "target", None)
        value = getattr(node, "value", None)
        if isinstance(target, ast.Name) and isinstance(value, ast.Constant) and isinstance(value.value, str):
            told[target.id] = value.value
    words = (ast.get_docstring(tree) or "").partition("\n")[0].strip()
    return told.get("revision"), told.get("down_revision"), words


def _fills() -> list[str]:
    """What Dagster fills in after its schema moved, by the names it marks as done."""
    return [
        *EVENT_LOG_DATA_MIGRATIONS, *ASSET_DATA_MIGRATIONS, *REQUIRED_DATA_MIGRATIONS, *OPTIONAL_DATA_MIGRATIONS,
        *REQUIRED_SCHEDULE_DATA_MIGRATIONS, *OPTIONAL_SCHEDULE_DATA_MIGRATIONS,
    ]  # fmt: skip


def _engine(url: str) -> sa.Engine:
    return sa.create_engine(url, poolclass=sa.NullPool, connect_args={"connect_timeout": 10})
