"""Locks that all who work on one lake share, where that lake is no folder whose files could be locked.

Belongs here: who waits for whom, on one machine (`FileLocks`) or on many (`ServerLocks`). Stays out: what a lock
guards. No lock here keeps rows right: the store itself refuses a second commit of a version. They save work, and keep
apart what a person would call one step: the move of an alias, the refresh of an hour.
"""

import hashlib
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol

from pipeline.errors import LockLostError
from pipeline.lake import disk

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection, Engine

_CONNECT_S: Final = 5
# Waiting is done in turns, so that a process that is told to end meanwhile hears it.
_TURN_MS: Final = 1000
_NOT_AVAILABLE: Final = "55P03"
# A machine that loses its power hangs up on nobody: both ends ask, so that a lock is free, or lost, within a minute.
_OURS_ASKS: Final = {
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 60_000,
}
_ITS_ASKS: Final = "SET tcp_keepalives_idle = 30; SET tcp_keepalives_interval = 10; SET tcp_keepalives_count = 3"


class Locks(Protocol):
    """A set of named locks; each is held by one at a time, and dies with its holder."""

    def held(self, name: str) -> AbstractContextManager[None]:
        """Hold the lock, waiting for whoever holds it.

        Raises:
            LockLostError: it cannot be had, or went while the block ran.
        """

    def courtesy(self, name: str) -> AbstractContextManager[None]:
        """Hold the lock if it can be had; go on without where it cannot."""


@dataclass(frozen=True)
class FileLocks:
    """Locks in files of one folder: enough where one machine works on the lake."""

    folder: Path

    def held(self, name: str) -> AbstractContextManager[None]:
        """As the kernel locks files."""
        return disk.locked(self.folder / f"{hashlib.sha256(name.encode()).hexdigest()}.lock")

    def courtesy(self, name: str) -> AbstractContextManager[None]:
        """The same."""
        return self.held(name)


@dataclass(frozen=True)
class ServerLocks:
    """Advisory locks of the PostgreSQL server that all machines share: a lock lives as long as its connection.

    Args:
        url: an SQLAlchemy URL of a database that all of them name; no pooler that shares connections may lie between.
    """

    url: str = field(repr=False)

    @contextmanager
    def held(self, name: str) -> Iterator[None]:
        """As PostgreSQL locks a number; after the block, it is made sure that it was held to its end."""
        from sqlalchemy.exc import DBAPIError  # noqa: PLC0415 - only a lake on a store needs it

        engine = _engine(self.url)
        try:
            connection = engine.connect()
        except DBAPIError as error:
            raise LockLostError(f"tried to lock {name!r}: {_why(error)}; is PostgreSQL running?") from None
        try:
            _take(connection, name)
            yield
            _require(connection, name)
        finally:
            connection.invalidate()
            connection.close()
            engine.dispose()

    @contextmanager
    def courtesy(self, name: str) -> Iterator[None]:
        """The same, and no failure of the server is one of the block."""
        from sqlalchemy.exc import DBAPIError  # noqa: PLC0415 - as above

        engine = _engine(self.url)
        connection = None
        try:
            connection = engine.connect()
            _take(connection, name)
        except (DBAPIError, LockLostError):
            pass
        try:
            yield
        finally:
            if connection is not None:
                connection.invalidate()
                connection.close()
            engine.dispose()


def _engine(url: str) -> "Engine":
    import sqlalchemy as sa  # noqa: PLC0415 - as above

    arguments = {**_OURS_ASKS, "connect_timeout": _CONNECT_S, "application_name": "poolcast lock"}
    return sa.create_engine(url, isolation_level="AUTOCOMMIT", poolclass=sa.NullPool, connect_args=arguments)


def _take(connection: "Connection", name: str) -> None:
    """Wait until the lock is ours."""
    import sqlalchemy as sa  # noqa: PLC0415 - as above

    number = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], signed=True)
    try:
        connection.execute(sa.text(f"SET lock_timeout = {_TURN_MS}; {_ITS_ASKS}"))
        while True:
            try:
                connection.execute(sa.text("SELECT pg_advisory_lock(:number)"), {"number": number})
            except sa.exc.OperationalError as error:
                if getattr(error.orig, "pgcode", None) != _NOT_AVAILABLE:
                    raise
            else:
                return
    except sa.exc.DBAPIError as error:
        raise LockLostError(f"tried to lock {name!r}: {_why(error)}; is PostgreSQL running?") from None


def _require(connection: "Connection", name: str) -> None:
    """Make sure that the connection lived, and with it the lock."""
    import sqlalchemy as sa  # noqa: PLC0415 - as above

    try:
        connection.execute(sa.text("SELECT 1"))
    except sa.exc.DBAPIError as error:
        raise LockLostError(
            f"held the lock {name!r} and lost it before the work was done: {_why(error)}; another may have worked "
            "meanwhile. What was written is whole: run it again"
        ) from None


def _why(error: Exception) -> str:
    """The first line of the server's words: they name a host and a user, never a password."""
    return repr(str(getattr(error, "orig", error)).strip().partition("\n")[0][:300])
