"""Addresses as people give them: whole, and with a secret only where everybody looks for one and hides it.

Belongs here: refusing what can be read in two ways, before a library takes half a password for a host and shows it.
Stays out: which variables there are (`settings`), and whether anybody answers there. No message repeats a text that may
hold a secret.
"""

import re
from typing import Final

from pipeline.errors import UsageError

_SIGN_IN: Final = r"(?:[^:/?@]*(?::[^?@]*)?@)?"
"""A user and a password. No second '@' follows: one reader takes it for the password's, another for its end."""
_HOST: Final = r"(?:\[[^@/?\[\]]*\]|[^@:/?\[\]]*)(?::[0-9]{0,5})?"
_SERVER: Final = re.compile(
    rf"(?:postgres|postgresql(?:\+psycopg2)?)://{_SIGN_IN}{_HOST}(?:/[^?@]*)?(?:\?[^@]*)?", re.DOTALL
)
_REGISTRY: Final = re.compile(
    rf"(?:sqlite[^:]*|file):.*|https?://[^@]*|(?!https?:)[^:]+://{_SIGN_IN}[^@]*|[^:]*", re.DOTALL | re.IGNORECASE
)
"""A folder's path may hold an '@'. MLflow's client shows the address of its server, so that holds no sign-in."""
_WEB: Final = re.compile(
    r"https?://(?:\[[0-9A-Fa-f:.]+\]|[^@:/?#\[\]\s]+)(?::[0-9]{1,5})?(?:/[^@?#\s]*)?", re.IGNORECASE
)
_SCHEDULER: Final = re.compile(r"(?:[a-z]+://)?(?:\[[0-9A-Fa-f:.]+\]|[^@:/?#\[\]\s]+):[0-9]{1,5}/?")
_STORE: Final = re.compile(r"s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/[A-Za-z0-9][A-Za-z0-9._=-]*)*/?")
_SCHEME: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:/")
_HARMLESS: Final = re.compile(r"(?:\w{1,16}://)?[\w-]{0,15}(?:\.[\w-]{1,15}){0,8}(?::[0-9]{0,5})?/?")
"""What no key looks like: they are longer than the parts of a host's name."""
_ENCODE: Final = "with the special characters of both percent-encoded ('@' is %40, '/' is %2F, '?' is %3F)"


def require_server(text: str) -> str:
    """Return `POOLCAST_POSTGRES_URL` if it is the address of a PostgreSQL server that has one meaning.

    Raises:
        UsageError: it is not.
    """
    if not _SERVER.fullmatch(text) or "%00" in text:  # no end of a text, which is what C takes it for
        raise not_a_server()
    return text


def not_a_server() -> UsageError:
    """The error for a `POOLCAST_POSTGRES_URL` that is none; it does not repeat it."""
    return UsageError(
        f"POOLCAST_POSTGRES_URL is not an address: give postgresql://USER:PASSWORD@HOST/DATABASE, {_ENCODE}"
    )


def require_registry(text: str) -> str:
    """Return `MLFLOW_TRACKING_URI` if no reader can take a part of a password in it for something else.

    Raises:
        UsageError: one can, or MLflow would show it.
    """
    if not _REGISTRY.fullmatch(text):
        raise UsageError(
            "MLFLOW_TRACKING_URI is not an address with one meaning: give postgresql://USER:PASSWORD@HOST/DATABASE, "
            f"{_ENCODE}; or https://HOST, with the user and the password in MLFLOW_TRACKING_USERNAME and "
            "MLFLOW_TRACKING_PASSWORD"
        )
    return text


def require_web(variable: str, text: str) -> str:
    """Return the address of a web server, which holds no secret: it is shown among Dagster's resources.

    >>> require_web("POOLCAST_SANDBOX_URL", "foo")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    pipeline.errors.UsageError: POOLCAST_SANDBOX_URL is 'foo': give an address like http://HOST:PORT, ...

    Raises:
        UsageError: it is none, or holds more.
    """
    if not _WEB.fullmatch(text) or _port_of(text) > 65535:
        raise UsageError(
            f"{variable} is {shown(text)}: give an address like http://HOST:PORT, without a sign-in or a query"
        )
    return text


def require_scheduler(text: str) -> str:
    """Return `POOLCAST_DASK` if it is the address of a scheduler.

    Raises:
        UsageError: it is not.
    """
    if not _SCHEDULER.fullmatch(text) or _port_of(text) > 65535:
        raise UsageError(f"POOLCAST_DASK is {shown(text)}: give an address like 'tcp://HOST:8786'")
    return text


def is_address(where: str) -> bool:
    """Whether a lake's place is an address; else it is a folder."""
    return bool(_SCHEME.match(where))


def require_lake(where: str) -> str:
    """Return a lake's place if it is a folder or the prefix of an object store; it is shown among Dagster's resources.

    Raises:
        UsageError: it is another address.
    """
    if is_address(where) and not _STORE.fullmatch(where):
        # What was given may hold a key, so it is not repeated.
        raise UsageError(
            "POOLCAST_LAKE_URL is no address of an object store: give s3://BUCKET/PREFIX in plain letters, digits and "
            "'.-_='; keys belong into AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
        )
    return where


def _port_of(text: str) -> int:
    found = re.match(r"(?:\w+://)?(?:\[[^\]]*\]|[^:/]*):([0-9]+)", text)
    return int(found.group(1)) if found else 0


def shown(text: str) -> str:
    """Return what a variable holds as a message may repeat it; people paste a key into the wrong one.

    >>> shown("localhost:80800"), shown("0x1f90")
    ("'localhost:80800'", "'0x1f90'")
    >>> shown("CG-AbCdEf1234567890AbCd")
    'set (not shown: it may hold a secret)'
    """
    return repr(text) if _HARMLESS.fullmatch(text) else "set (not shown: it may hold a secret)"
