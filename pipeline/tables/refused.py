"""What was put aside instead of being written, and a person's word that lets it in."""

import polars as pl

from pipeline.tables.columns import EVENT_TIME, KNOWN_AT, NETWORK, POOL, SOURCE, Column, Table, text_column, time_column

QUARANTINE = Table(
    "quarantine",
    "pools",
    "one record that was refused, with its reason",
    (
        SOURCE,
        text_column("table_name", "the table it was meant for"),
        text_column("reason", "the rule it broke, one short name"),
        text_column("detail", "what was found, in words"),
        Column("network", pl.String(), NETWORK.meaning, nullable=True),
        Column("pool", pl.String(), POOL.meaning, nullable=True),
        time_column("event_time", EVENT_TIME.meaning, nullable=True),
        text_column("record", "the record as told, as JSON, cut at 2,000 characters"),
        text_column("record_id", "SHA-256 of the whole record and its place in the file"),
    ),
    key=("source", "table_name", "record_id"),
    time=None,
    as_of="event_time",
    partition_by=(),
)

RELEASES = Table(
    "releases",
    "pools",
    "one record that a person let out of the quarantine; append-only",
    (
        text_column("table_name", "the table it is let into, when its hour is computed again"),
        text_column("record_id", "SHA-256 of the whole record, as in `quarantine`"),
        EVENT_TIME, KNOWN_AT,
        text_column("actor", "who let it out"),
        text_column("reason", "why, in words"),
    ),
    key=("table_name", "record_id"),
    time=None,
    partition_by=(),
)  # fmt: skip
