"""What a migration may have to go back to: a copy of every table and of both databases, as one moment had them.

Belongs here: making a backup that is whole or none, finding it again, and putting it back. A database is copied within
its own server (`CREATE DATABASE ... TEMPLATE`), so no tool is needed and restoring is copying back; like the copies
of tables it guards against a migration or a mistake, not against the loss of the disk.
Stays out: when a backup is made (`migrations`), being alone meanwhile (`alone`); models' files, which never change.
"""

import json
import re
import shutil
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Final, NoReturn

import sqlalchemy as sa
from sqlalchemy.engine import make_url

from pipeline.errors import ServiceError, StorageError, UsageError
from pipeline.lake import Lake, fsync
from pipeline.lake import backup as tables
from pipeline.tables import TABLES
from resources.postgres import Databases
from resources.settings import Settings

_TOLD: Final = "backup.json"
_FINISHED: Final = "finished"
_RESTORING: Final = "restoring"
_STAMP: Final = re.compile(r"\d{8}T\d{6}Z")
_NOT_ALLOWED: Final = "42501"
_IN_USE: Final = "55006"


@dataclass(frozen=True)
class Backup:
    """One backup: the version each table was at (None: there was none), and each database with the name of its copy.

    `target` names what the code that made it was about to migrate to.
    """

    stamp: str
    target: str
    tables: Mapping[str, int | None]
    databases: Mapping[str, str]


def folder_of(settings: Settings) -> Path:
    """The folder of all backups."""
    return settings.data_dir / "backups"


def make(
    root: Path, lake: Lake, databases: Databases, *, now: datetime, target: str, said: Callable[[str], None]
) -> Backup:
    """Copy everything into a folder of `root` named by the moment; killed half way, there is no backup.

    Args:
        root: the folder of all backups.
        lake: whose tables are copied.
        databases: what is copied in their own server.
        now: UTC.
        target: what is about to be migrated to.
        said: told each step before it is done.

    Raises:
        ServiceError: the server does not let us copy a database.
        StorageError: a table is damaged, or the disk is full.
    """
    _forget_halves(root, databases)
    stamp = f"{now:%Y%m%dT%H%M%SZ}"
    folder = root / stamp
    if folder.exists():
        raise UsageError(f"there is a backup {stamp!r}, made within this second: try again")
    (folder / "lake").mkdir(parents=True)
    copies = {}
    for url, other in _both(databases):
        name = str(make_url(url).database)
        said(f"copy the database {name}")
        copies[name] = _copied_name(name, stamp)
        _copy_database(url, other, name, copies[name])
    versions = {}
    for name, each in TABLES.items():
        if lake.version(each) is not None:
            said(f"copy the table {name}")
        versions[name] = tables.copy(lake, each, folder / "lake")
    made = Backup(stamp, target, versions, copies)
    _write(folder / _TOLD, json.dumps(asdict(made), indent=1))
    return made


def unfinished(root: Path, target: str) -> Backup | None:
    """The backup that a migration to `target` made which was killed before its end."""
    whole = [folder for folder in reversed(_folders(root)) if (folder / _TOLD).exists()]
    found = (read(root, folder.name) for folder in whole if not (folder / _FINISHED).exists())
    return next((each for each in found if each.target == target), None)


def finish(root: Path, backup: Backup) -> None:
    """Note that what the backup was made for is done, so that a later migration makes its own."""
    _finish(root / backup.stamp)


def finish_all(root: Path) -> None:
    """As `finish`, for every backup: what somebody works on from here on is in none of them."""
    for folder in _folders(root):
        if (folder / _TOLD).exists() and not (folder / _FINISHED).exists():
            _finish(folder)


def read(root: Path, stamp: str) -> Backup:
    """The backup of a moment.

    Raises:
        UsageError: there is none.
        StorageError: what it says of itself cannot be read.
    """
    # A name is looked for among those that are there: it never leads elsewhere.
    known = {folder.name: folder for folder in _folders(root) if (folder / _TOLD).exists()}
    if stamp not in known:
        raise UsageError(f"there is no backup {stamp!r} in {str(root)!r}; there are {sorted(known)!r}")
    try:
        return Backup(**json.loads((known[stamp] / _TOLD).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise StorageError(
            f"could not read the backup {stamp!r} in {str(root)!r}: {str(error)!r}; restore {_TOLD!r} from a copy, or "
            "remove the backup's folder and drop its databases"
        ) from None


def restore(root: Path, backup: Backup, lake: Lake, databases: Databases, said: Callable[[str], None]) -> None:
    """Put everything back as the backup has it, which stays; killed half way, it can be repeated.

    Raises:
        ServiceError: a copy of a database is gone, or the server does not let us put it back.
        StorageError: a copy of a table is gone; or the lake is on an object store.
    """
    copies = _copies_there(root, backup, lake, databases)
    _write(root / _RESTORING, backup.stamp)
    for url, other in _both(databases):
        name = str(make_url(url).database)
        said(f"restore the database {name}")
        _execute(other, f'DROP DATABASE IF EXISTS "{name}"', f"replace the database {name!r}")
        _execute(other, f'CREATE DATABASE "{name}" TEMPLATE "{backup.databases[name]}"', f"restore {name!r}")
    for name, copied in copies.items():
        if copied is not None:
            said(f"restore the table {name}")
        tables.restore(lake, TABLES[name], copied)
    finish_all(root)
    (root / _RESTORING).unlink()


def keep_present(
    root: Path, backup: Backup, lake: Lake, databases: Databases, *, now: datetime, said: Callable[[str], None]
) -> Backup | None:
    """A backup of what restoring `backup` will replace; None where a restore was cut short, for that is of two moments.

    Raises:
        ServiceError, StorageError: there is nothing to restore, or what is there now cannot be copied.
    """
    if (root / _RESTORING).exists():
        return None
    _copies_there(root, backup, lake, databases)
    try:
        kept = make(root, lake, databases, now=now, target=f"a restore of {backup.stamp}", said=said)
    except (ServiceError, StorageError) as error:
        raise type(error)(
            f"could not keep what is there now before restoring {backup.stamp!r}, so nothing was replaced: {error}; "
            "where that is lost anyway, restore with --no-backup"
        ) from error
    finish(root, kept)
    return kept


def require_whole(root: Path) -> None:
    """Refuse to work on what a restore left that was killed half way.

    Raises:
        ServiceError: one was.
    """
    if (root / _RESTORING).exists():
        stamp = (root / _RESTORING).read_text(encoding="utf-8")
        raise ServiceError(f"a restore was cut short, so the data is of two moments: run `poolcast restore {stamp}`")


def _copies_there(root: Path, backup: Backup, lake: Lake, databases: Databases) -> dict[str, Path | None]:
    """Where a backup has each table, None where there was none; raises where a copy is gone."""
    copies = {
        target.name: root / backup.stamp / "lake" if backup.tables.get(target.name) is not None else None
        for target in TABLES.values()
    }
    for name, copied in copies.items():
        tables.require(lake, TABLES[name], copied)
    for url, other in _both(databases):
        _require_copy(other, str(make_url(url).database), backup)
    return copies


def _finish(folder: Path) -> None:
    (folder / _FINISHED).touch()
    fsync(folder)


def _both(databases: Databases) -> list[tuple[str, str]]:
    """Each database, and the other one: nobody may be connected to what is copied."""
    return [(databases.dagster_url, databases.mlflow_url), (databases.mlflow_url, databases.dagster_url)]


def _copied_name(name: str, stamp: str) -> str:
    return f"{name}_{stamp.lower()}"


def _copy_database(url: str, other: str, name: str, to: str) -> None:
    if make_url(url).database == make_url(other).database:
        raise ServiceError(
            f"could not copy {name!r}: the server gave us schemas in one database instead of databases, which it does "
            "not copy; back it up with pg_dump, then run again with --no-backup"
        )
    _execute(other, f'CREATE DATABASE "{to}" TEMPLATE "{name}"', f"copy the database {name!r}")


def _require_copy(other: str, name: str, backup: Backup) -> None:
    copied = backup.databases.get(name)
    with sa.create_engine(other, poolclass=sa.NullPool).connect() as connection:
        found = connection.scalar(sa.text("SELECT 1 FROM pg_database WHERE datname = :name"), {"name": copied})
    if not found:
        raise ServiceError(
            f"could not restore {name!r}: this server has not the copy {copied!r} that the backup {backup.stamp!r} "
            "names; set POOLCAST_POSTGRES_URL to the server that it was made on, or restore a dump of your own"
        )


def _execute(url: str, statement: str, attempted: str) -> None:
    engine = sa.create_engine(url, isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)
    try:
        with engine.connect() as connection:
            connection.execute(sa.text(statement))
    except sa.exc.DBAPIError as error:
        _refuse(attempted, error)


def _refuse(attempted: str, error: sa.exc.DBAPIError) -> NoReturn:
    todo = {
        _NOT_ALLOWED: "give our user CREATEDB, or back it up with pg_dump and run again with --no-backup",
        _IN_USE: "somebody is connected to it: stop whoever works with it",
    }.get(getattr(error.orig, "pgcode", None) or "", "see the server's own log")
    raise ServiceError(f"could not {attempted}: {str(error.orig).strip()}; {todo}") from None


def _forget_halves(root: Path, databases: Databases) -> None:
    """Remove what backups left that were killed before they were whole."""
    for folder in _folders(root):
        if not (folder / _TOLD).exists():
            for url, other in _both(databases):
                name = _copied_name(str(make_url(url).database), folder.name)
                _execute(other, f'DROP DATABASE IF EXISTS "{name}"', f"remove the half copy {name!r}")
            shutil.rmtree(folder)


def _folders(root: Path) -> list[Path]:
    return sorted(path for path in root.glob("*") if _STAMP.fullmatch(path.name)) if root.exists() else []


def _write(path: Path, text: str) -> None:
    """Write a small file that is whole or not there, whatever happens."""
    fresh = path.with_suffix(".new")
    fresh.write_text(text, encoding="utf-8")
    fsync(fresh)
    fresh.replace(path)
    fsync(path.parent)
