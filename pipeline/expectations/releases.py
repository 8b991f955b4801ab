"""What lies in the quarantine, and a person's word that lets a record out.

Belongs here: which records may be let in, why others never may, and the one way a release is written down. Stays out:
putting records aside (`triage`) and when the hour is computed again (the assets).

A release names a record with all its values. The next time its hour is computed, the row passes, as long as it is
made with the same values; a row with other values is another record, and nobody has looked at it.
"""

from collections.abc import Collection
from datetime import datetime
from typing import Final

import polars as pl

from pipeline.errors import UsageError
from pipeline.expectations.aside import STOPPED
from pipeline.expectations.triage import is_releasable
from pipeline.lake import Lake
from pipeline.tables import QUARANTINE, RELEASES, TABLES

MAY: Final = "may be released"
_NOTES: Final = ("decimals_not_credible", "text_cleaned", "value_not_credible")
_NEVER: Final = {
    STOPPED: "never: an hour is computed again once what broke it is mended",
    "withdrawn": "not needed: its hour was computed again and does not hold it any more",
    "released": "not needed: it was released and lies in its table",
    **dict.fromkeys(_NOTES, "not needed: a note; the row lies in its table, without what was not credible"),
    "duplicate": "not needed: the row it repeats lies in its table",
    "conflicting_duplicates": "never: of two records of one thing none is known to be right",
    "clock_stood_still": "never: when it was true is not known",
    "time_runs_backwards": "never: when it was true is not known",
    "null_field": "never: what is missing has no reading",
    "not_finite": "never: what is no number has no reading",
}
"""What is said of a reason; of every other single word, `_REFUSED`."""
_REFUSED: Final = "never: refused as it was read; mend the source, or the rule in `pipeline.pools`, and read it again"
_FORM: Final = "never: its form is broken, it has no reading"


def listed(
    lake: Lake, *, table: str | None = None, reason: str | None = None, since: datetime | None = None
) -> pl.DataFrame:
    """Records of the quarantine, the newest first, with `release`: whether each may be let in, and if not, why.

    Args:
        lake: where they lie.
        table: only those meant for this table.
        reason: only those whose reason holds this text.
        since: only those of this moment or later.
    """
    rows = lake.scan(QUARANTINE)
    if table is not None:
        rows = rows.filter(pl.col("table_name") == table)
    if reason is not None:
        rows = rows.filter(pl.col("reason").str.contains(reason, literal=True))
    if since is not None:
        rows = rows.filter(pl.col("event_time") >= since)
    found = rows.collect().sort("event_time", "table_name", "record_id", descending=[True, False, False])
    asked = lake.scan(RELEASES).select("table_name", "record_id", pl.lit(value=True).alias("asked")).collect()
    pairs = found.select("table_name", "reason").unique()
    words = pairs.with_columns(
        pl.Series("release", [of_reason(*pair) for pair in pairs.rows()], dtype=pl.String),
    )
    waits = pl.when(pl.col("asked") & (pl.col("release") == MAY)).then(pl.lit("waits until its hour is computed again"))
    return (
        found.join(words, on=["table_name", "reason"], how="left", maintain_order="left")
        .join(asked, on=["table_name", "record_id"], how="left", maintain_order="left")
        .with_columns(release=pl.coalesce(waits, "release"))
        .drop("asked")
    )


def of_reason(table: str, reason: str) -> str:
    """Whether a record that was put aside for this reason may be let in, in words.

    >>> of_reason("snapshots", "reserve_usd is at least 0 USD")
    'may be released'
    >>> of_reason("snapshots", "price_usd is a finite number or missing")
    'never: its form is broken, it has no reading'
    """
    if reason in _NEVER:
        return _NEVER[reason]
    if " " not in reason:
        return _REFUSED
    return MAY if table in TABLES and is_releasable(TABLES[table], reason) else _FORM


def release(lake: Lake, record_ids: Collection[str], *, reason: str, actor: str, now: datetime) -> pl.DataFrame:
    """Write down that records may pass, and give the releases; whole or not at all.

    A second time changes nothing: what is given then says who released it first, when and why.

    Raises:
        UsageError: no reason, an id that is not in the quarantine, or a record that may not be let in.
    """
    if not reason.strip() or not actor.strip():
        raise UsageError(f"a release needs who and why, found {actor!r} and {reason!r}: say both")
    found = listed(lake).filter(pl.col("record_id").is_in(list(record_ids)))
    if unknown := sorted(set(record_ids) - set(found["record_id"])):
        raise UsageError(f"cannot release {unknown!r}: the quarantine holds no such records; list them and copy the id")
    if not (refused := found.filter(pl.col("release").str.starts_with("never"))).is_empty():
        told = dict(refused.select("record_id", "release").iter_rows())
        raise UsageError(f"cannot release {told!r}; leave these out")
    waiting = found.filter(~pl.col("release").str.starts_with("not needed"))
    rows = waiting.select(
        "table_name",
        "record_id",
        "event_time",
        pl.lit(now).alias("known_at"),
        pl.lit(actor.strip()).alias("actor"),
        pl.lit(reason.strip()).alias("reason"),
    ).cast(RELEASES.schema)
    new = rows.join(lake.scan(RELEASES).collect(), on=RELEASES.key, how="anti")
    lake.append(RELEASES, new)
    return lake.scan(RELEASES).collect().join(rows, on=RELEASES.key, how="semi")
