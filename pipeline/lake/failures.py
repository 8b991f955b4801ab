"""What an object store says when it fails, in words that say what to do.

Belongs here: telling from the text of an error, which is all that deltalake and Polars hand on, what a person must
change and what only waiting helps. Stays out: errors of a local disk (`disk`).
Nothing of what the store said is repeated but the code of its error: its answers quote keys and signatures.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import polars as pl

from pipeline.errors import PoolcastError, StorageError, StorageFullError, StoreAwayError

_OF_A_STORE: Final = re.compile(r"Generic S3 error|object-store error|Error performing \w+ http", re.IGNORECASE)
_CODE: Final = re.compile(r"<Code>(\w{1,64})</Code>")
_STATUS: Final = re.compile(r"\b(4\d\d|5\d\d) [A-Z][A-Za-z ]{2,40}")
_MARK: Final = re.compile(r"\x1b\[[0-9;]*m|↳")
_INSTANCE: Final = ("/latest/api/token", "/latest/meta-data")
"""Where a machine of a cloud asks for its keys when there are none in the environment."""
_KEYS: Final = "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"

_IN_WORDS: Final[dict[str, str]] = {
    "NoSuchBucket": "there is no such bucket; make it, or correct POOLCAST_LAKE_URL",
    "PermanentRedirect": "the bucket is in another region; set AWS_REGION",
    "AccessDenied": f"the store denies it; correct {_KEYS}, or let them list, read, write and delete under the prefix",
    "InvalidAccessKeyId": f"the store does not know these keys; correct {_KEYS}",
    "SignatureDoesNotMatch": f"the store does not accept the signature; correct {_KEYS}",
    "ExpiredToken": "the keys have expired; renew AWS_SESSION_TOKEN and what belongs to it",
    "RequestTimeTooSkewed": "this machine's clock is minutes off the store's; set it",
    "NotImplemented": "the store cannot do it; it must know conditional writes (If-None-Match)",
}
_FULL: Final = ("QuotaExceeded", "XMinioStorageFull", "InsufficientStorage", "StorageFull")
_BY_STATUS: Final[dict[str, str]] = {
    "401": _IN_WORDS["AccessDenied"],
    "403": _IN_WORDS["AccessDenied"],
    "404": "a file that its log names is not there; either this version was vacuumed (read a newer one, or pin it next "
    "time) or the file was lost (restore it)",
}
_PASSING: Final = ("408", "409", "429")


def store_error(attempted: str, text: str) -> PoolcastError | None:
    """The error to raise for a failure of an object store; None where the text is of something else.

    >>> text = "Generic S3 error: 404 Not Found: <Error><Code>NoSuchBucket</Code></Error>"
    >>> str(store_error("open 'pools'", text))
    "could not open 'pools': there is no such bucket; make it, or correct POOLCAST_LAKE_URL"
    >>> type(store_error("x", "Generic S3 error: Connection refused (os error 111)")).__name__
    'StoreAwayError'
    >>> store_error("x", "No such file or directory (os error 2)")
    """
    if not _OF_A_STORE.search(text):
        return None
    kind, words = _verdict(text)
    return kind(f"could not {attempted}: {words}")


@contextmanager
def in_words(attempted: str) -> Iterator[None]:
    """Say in our words what a store did while rows were read: a scan is lazy, and fails where it is collected.

    Whatever else goes wrong inside is raised as it is.

    Raises:
        StoreAwayError: the store did not answer.
        StorageError: any other failure of the store.
    """
    try:
        yield
    except (OSError, pl.exceptions.PolarsError) as error:
        if (told := store_error(attempted, str(error))) is None:
            raise
        raise told from None  # its answers may quote keys


def _verdict(text: str) -> tuple[type[PoolcastError], str]:
    """Which error it is, and what to say of it."""
    code, status = (found.group(1) if (found := pattern.search(text)) else "" for pattern in (_CODE, _STATUS))
    if code in _FULL:
        return StorageFullError, f"the store has no room ({code}); what was committed is intact"
    if (words := _IN_WORDS.get(code) or _by_the_text(text) or _BY_STATUS.get(status)) is not None:
        return StorageError, words
    if status.startswith("4") and status not in _PASSING:
        return StorageError, f"the store refuses the request ({code or status!r})"
    return StoreAwayError, (
        f"the object store did not answer ({code or status or _why(text)!r}); is it up, and is AWS_ENDPOINT_URL right? "
        "What was committed is intact, and writes may be repeated"
    )


def _by_the_text(text: str) -> str | None:
    if any(place in text for place in _INSTANCE) or "credential" in text.lower():
        return f"there are no keys to the store; set {_KEYS}"
    return _IN_WORDS["PermanentRedirect"] if "incorrectly configured region" in text else None


def _why(text: str) -> str:
    """The innermost reason, which is the last line; only the system's own words, in which no key can be."""
    lines = [line.strip() for line in _MARK.sub("", text).splitlines() if line.strip()]
    last = lines[-1] if lines else ""
    found = re.search(r"[A-Z][a-z ]+ \(os error \d+\)|operation timed out|dns error|connection closed[a-z ]*", last)
    return found.group() if found else "no reason given"
