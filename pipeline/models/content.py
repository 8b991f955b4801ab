"""The id of a frame: a hash of what it holds, the same on every machine and with every version of Polars.

Belongs here: values as bytes. Stays out: which rows are hashed, and what stands beside them.
"""

import hashlib
from typing import Any

import polars as pl


def content_id(frame: pl.DataFrame, *beside: str) -> str:
    """SHA-256 over the texts `beside`, then over the rows as they are ordered, column by column.

    A null and a value are told apart, whatever the value; so are columns by name and dtype.

    Args:
        frame: columns of text, numbers, flags or times.
        beside: whatever says what the rows mean: their source, the spec they were made under.

    >>> one = content_id(pl.DataFrame({"a": [1, None]}), "spec")
    >>> one == content_id(pl.DataFrame({"a": [1, 0]}), "spec"), one == content_id(pl.DataFrame({"a": [1, None]}), "")
    (False, False)
    """
    digest = hashlib.sha256()
    for text in (*beside, str(frame.height)):
        _feed(digest, text.encode())
    for column in frame:
        _feed(digest, f"{column.name}:{column.dtype}".encode())
        _feed(digest, column.is_null().to_numpy().astype("u1").tobytes())
        _feed(digest, _canonical(column))
    return digest.hexdigest()


def _canonical(column: pl.Series) -> bytes:
    """A column's values as little-endian bytes; text as lengths and UTF-8; a null as zero (its mask is apart)."""
    if column.dtype == pl.String:
        text = column.fill_null("")
        return text.str.len_bytes().to_numpy().astype("<i8").tobytes() + "".join(text.to_list()).encode()
    if column.dtype.is_float():
        return column.fill_null(0.0).to_numpy().astype("<f8").tobytes()
    return column.to_physical().cast(pl.Int64).fill_null(0).to_numpy().astype("<i8").tobytes()


def _feed(digest: Any, part: bytes) -> None:
    """Each part with its length before it, so that no two lists of parts read the same."""
    digest.update(len(part).to_bytes(8, "little"))
    digest.update(part)
