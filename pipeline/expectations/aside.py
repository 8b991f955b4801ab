"""Broken rows and stopped hours as rows of the quarantine.

Belongs here: how a row is kept, named and told of. Stays out: which rows are broken (`triage`), and who reads and
writes the quarantine.
"""

from hashlib import sha256
from typing import Any, Final

import polars as pl

from pipeline.expectations.meaning import key_words
from pipeline.expectations.rule import Rule, holds
from pipeline.tables import QUARANTINE, Table
from pipeline.text import clean

STOPPED: Final = "the hour is stopped"
"""The reason under which an hour is kept of which nothing was written."""
LONGEST_RECORD: Final = 2_000
N_BROKEN: Final = "rows that break rule"
_ADDRESS: Final = r"^[A-Za-z0-9:_.\-]{1,128}$"


def stopped_hour(table: Table, row: dict[str, Any], broken: tuple[Rule, ...]) -> dict[str, Any]:
    """A row of QUARANTINE that says why nothing of an hour was written.

    `row` holds `hour`, `source`, `n_rows`, `n_broken`, `n_twice` (rows whose key is there twice), and under N_BROKEN
    and the rule's place how many rows break each rule.
    """
    counts = {rule.in_words: row[f"{N_BROKEN} {i}"] for i, rule in enumerate(broken)}
    counts[key_words(table)] = row["n_twice"]
    told = {words: n for words, n in sorted(counts.items(), key=lambda item: -item[1]) if n}
    detail = "; ".join(f"{words}: not so for {n:,}" for words, n in told.items())
    n_bad = max(row["n_broken"], row["n_twice"])
    said = f"{n_bad:,} of {row['n_rows']:,} rows are broken, nothing of the hour was written."
    return {
        "source": row["source"] or "unknown",
        "table_name": table.name,
        "reason": STOPPED,
        "detail": f"{said} {detail}"[:LONGEST_RECORD],
        "network": None,
        "pool": None,
        "event_time": row["hour"],
        "record": "{}",
        "record_id": sha256(f"{table.name}\n{STOPPED}\n{row['hour']}".encode()).hexdigest(),
    }


def quarantined(table: Table, rows: pl.DataFrame, broken: tuple[Rule, ...]) -> pl.DataFrame:
    """Broken rows as rows of QUARANTINE; the same row is the same record whenever it is put aside."""
    if rows.is_empty():
        return QUARANTINE.empty()
    reasons = [pl.when(~holds(rule)).then(pl.lit(rule.in_words)) for rule in broken]
    details = [pl.when(~holds(rule)).then(_found(rule, rows.schema)) for rule in broken]

    def shown(name: str) -> pl.Expr:
        if name not in rows.schema:
            return pl.lit(None, pl.String).alias(name)
        cleaned = pl.col(name).map_elements(clean, return_dtype=pl.String, skip_nulls=True)
        return pl.when(pl.col(name).str.contains(_ADDRESS)).then(pl.col(name)).otherwise(cleaned).alias(name)

    return rows.select(
        pl.col("source").fill_null("unknown"),
        pl.lit(table.name).alias("table_name"),
        pl.coalesce(reasons).alias("reason"),
        pl.concat_str(details, separator="; ", ignore_nulls=True).str.slice(0, LONGEST_RECORD).alias("detail"),
        shown("network"),
        shown("pool"),
        pl.col(str(table.time)).alias("event_time"),
        _records(rows).str.slice(0, LONGEST_RECORD).alias("record"),
        record_ids(table, rows),
    ).cast(QUARANTINE.schema)


def _found(rule: Rule, schema: pl.Schema) -> pl.Expr:
    """The rule and the values that break it, where these are no text."""
    values = [
        pl.concat_str(pl.lit(f"{name} "), pl.col(name).cast(pl.String).fill_null("missing"))
        for name in rule.columns[:4]
        if schema[name] != pl.String
    ]
    words = pl.lit(rule.in_words)
    return pl.concat_str(words, pl.lit(": "), pl.concat_str(values, separator=", ")) if values else words


def record_ids(table: Table, rows: pl.DataFrame) -> pl.Series:
    """What names a row with all its values: a row with another value is another record."""
    ids = [sha256(f"{table.name}\n{record}".encode()).hexdigest() for record in _records(rows)]
    return pl.Series("record_id", ids, pl.String)


def _records(rows: pl.DataFrame) -> pl.Series:
    """One JSON object a row. Reals and times go as text: JSON has no infinity and no NaN, and both must be seen."""
    told = rows.with_columns(pl.col(pl.Float64, pl.Datetime).cast(pl.String))
    return told.select(pl.struct(pl.all()).struct.json_encode().alias("record")).to_series()
