"""Refused and doubtful records, as rows of the quarantine table.

Belongs here: how a recorded one is kept as JSON, and named. Stays out: which rule it broke (`validation`), and
records of answers (`wire_judging`).
"""

from hashlib import sha256

import polars as pl

from pipeline.pools.spec import PoolsSpec
from pipeline.pools.text import clean_text, shown_pool
from pipeline.tables import QUARANTINE


def quarantine_rows(
    judged: pl.DataFrame, told: pl.DataFrame, *, source: str, table_name: str, spec: PoolsSpec
) -> pl.DataFrame:
    """The judged records as rows of QUARANTINE.

    `judged` has `place` (row of the file, from 0), `reason`, `detail`, `network`, `pool` and `event_time`; `told` is
    the file as it was read. The record is kept as told; `pool` and `network` are cleaned, since they are shown.
    """
    if judged.is_empty():
        return QUARANTINE.empty()
    records = _records(told[judged["place"]])
    ids = [
        _record_id(table_name, place, reason, record)
        for place, reason, record in zip(judged["place"], judged["reason"], records, strict=True)
    ]
    return judged.select(
        pl.lit(source).alias("source"),
        pl.lit(table_name).alias("table_name"),
        "reason",
        pl.col("detail").str.replace_all(r"\p{C}", "").str.slice(0, spec.max_record_length),
        clean_text(pl.col("network"), spec),
        shown_pool(pl.col("pool"), spec).alias("pool"),
        pl.col("event_time").cast(pl.Datetime("us", "UTC")),
        records.str.slice(0, spec.max_record_length).alias("record"),
        pl.Series("record_id", ids, pl.String()),
    ).cast(QUARANTINE.schema)


def _records(told: pl.DataFrame) -> pl.Series:
    """One JSON object a row. Reals and times go as text: JSON has no infinity and no NaN, and both must be seen."""
    told_exactly = told.with_columns(pl.col(pl.Float32, pl.Float64, pl.Datetime).cast(pl.String))
    return told_exactly.select(pl.struct(pl.all()).struct.json_encode().alias("record"))["record"]


def _record_id(table_name: str, place: int, reason: str, record: str) -> str:
    # The reason is part of it: one pool record may be noted for its decimals and for its text.
    return sha256(f"{table_name}\n{place}\n{reason}\n{record}".encode()).hexdigest()
