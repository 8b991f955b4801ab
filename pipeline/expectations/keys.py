"""Whether the rows of a frame can be told apart by their key.

Belongs here: the one answer that verdict and triage share. Stays out: what follows from it.
"""

import polars as pl

from pipeline.expectations.meaning import key_words
from pipeline.tables import Table


def is_key_unique(table: Table, frame: pl.DataFrame) -> pl.Series:
    """Whether no other row of the whole frame has the row's key.

    Equal keys have equal hashes: only rows whose hash is there twice are compared, so memory is eight bytes a row.
    """
    key = pl.struct(table.key)
    is_suspect = frame.select(key.hash()).to_series().is_duplicated()
    is_unique = pl.Series(key_words(table), [True], dtype=pl.Boolean).new_from_index(0, frame.height)
    if is_suspect.any():
        is_unique = is_unique.scatter(
            is_suspect.arg_true(), frame.filter(is_suspect).select(key.is_unique()).to_series()
        )
    return is_unique
