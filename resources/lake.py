"""The lake of an installation: a folder under its data, or a prefix of an object store with locks that reach as far.

Belongs here: from an address and the environment to a `Lake`, refusing what could not work or would not be safe. Stays
out: Dagster's door to it (`doors`), and what a lake does (`pipeline.lake`).
"""

from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from pipeline.errors import StorageError, UsageError
from pipeline.lake import Lake
from pipeline.lake.bucket import Bucket
from pipeline.lake.locks import FileLocks, Locks, ServerLocks
from resources.addresses import is_address, require_lake
from resources.settings import Settings, StoreSettings

_LOOPBACK: Final = ("localhost", "127.0.0.1", "::1")


def lake_of(settings: Settings) -> Lake:
    """The lake of an installation.

    Raises:
        UsageError, StorageError: see `lake_at`.
    """
    return lake_at(settings.lake_url or str(settings.lake), settings)


def lake_at(where: str, settings: Settings) -> Lake:
    """The lake at a folder or an address. Nothing is opened before it is asked for something.

    Raises:
        UsageError: the address is none, or its store would be spoken to without encryption over a network.
        StorageError: there are no keys to the store.
    """
    if not is_address(require_lake(where)):
        return Lake(Path(where))
    return Lake(Bucket(where.rstrip("/"), _locks(settings), is_plain=_is_plain(settings.store)))


def _locks(settings: Settings) -> Locks:
    """Locks that reach as far as the lake is worked on: the server that several machines share, else this machine."""
    if settings.postgres_url is None:
        return FileLocks(settings.lake_locks)
    from resources.postgres import server_url  # noqa: PLC0415 - SQLAlchemy, which a lake in a folder does not need

    return ServerLocks(server_url(settings.postgres_url).render_as_string(hide_password=False))


def _is_plain(store: StoreSettings) -> bool:
    """Whether the store is to be spoken to without encryption; on this machine it may be."""
    try:
        endpoint = urlsplit(store.endpoint or "https://amazonaws.com")
        host = endpoint.hostname
    except ValueError:
        endpoint, host = urlsplit(""), None
    if endpoint.scheme not in ("http", "https") or host is None or "@" in (store.endpoint or ""):
        raise UsageError("AWS_ENDPOINT_URL is no address of a store: give https://HOST:PORT, without a name or a key")
    if endpoint.scheme == "http" and host not in _LOOPBACK and not store.may_be_plain:
        raise UsageError(
            f"AWS_ENDPOINT_URL names {host!r} without encryption: give https://, or set AWS_ALLOW_HTTP=true where the "
            "network is yours alone"
        )
    if store.endpoint is not None and not store.has_keys:
        raise StorageError(
            f"there are no keys to the object store at {host!r}: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
        )
    return endpoint.scheme == "http"
