"""Told records that break a rule, and values that cannot be true, as rows of the quarantine.

Belongs here: applying rules to records of answers, finding repeated ones, and the quarantine's form for them. Stays
out: the rules themselves (the `parse_*` modules).
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from hashlib import sha256
from typing import Any, Final

import polars as pl

from pipeline.calendars import EPOCH, MINUTE
from pipeline.pools.spec import PoolsSpec
from pipeline.pools.text import clean_text, is_address, is_identifier, shown_pool
from pipeline.pools.wire import Records, as_json
from pipeline.pools.wire_values import Strange
from pipeline.tables import QUARANTINE, UTC, Column

NOT_CREDIBLE: Final = "value_not_credible"
"""The reason under which a record is kept in the quarantine while its row, with a null in that place, stays."""
CLOCK_SLACK: Final = 5 * MINUTE
"""So far may a chain's clock be ahead of ours."""
FIRST_BLOCKS: Final = EPOCH.replace(year=2015)
"""Ethereum's first block is of July 2015, and no exchange of ours is older."""

Rule = tuple[str, pl.Expr]
"""A reason, and what must be true of a record for it not to apply; null is not true."""


def is_network(column: pl.Expr, spec: PoolsSpec) -> pl.Expr:
    """Whether the text can name a network. The lake calls the folder of a null by a name with leading underscores."""
    return is_identifier(column, spec) & ~column.str.starts_with("__")


def with_identity(rows: pl.DataFrame, name: str) -> pl.DataFrame:
    """The records with their address under `name` and the `network` that their id sets before it; null where it is not.

    An id is the network, an underscore and the address; networks have underscores of their own.
    """
    suffix = pl.format("_{}", "address")
    before = pl.when(pl.col("id").str.ends_with(suffix)).then(pl.col("id").str.strip_suffix(suffix))
    return rows.with_columns(before.alias("network"), pl.col("address").alias(name))


def identity_rules(spec: PoolsSpec) -> tuple[Rule, ...]:
    """The rules of what has an id: of its address, of a network, and of the one that was asked about."""
    network, told, asked = pl.col("network"), pl.col("told_network"), pl.col("asked_network")
    return (
        ("address_not_credible", is_address(pl.col("address"), spec)),
        ("id_not_of_its_address", network.is_not_null()),
        ("network_not_credible", is_network(network, spec) & (told.is_null() | (told == network))),
        ("wrong_network", asked.is_null() | (asked == network)),
    )


def asked_rules(spec: PoolsSpec) -> tuple[Rule, ...]:
    """The rules of what has no id of its own: it belongs to the pool whose address was asked for."""
    network, asked = pl.col("network"), pl.col("asked_network")
    return (
        ("network_not_credible", is_network(network, spec)),
        ("pool_not_credible", is_address(pl.col("pool"), spec)),
        ("wrong_network", asked.is_null() | (asked == network)),
    )


def times_between(column: str) -> tuple[Rule, ...]:
    """The rules of a time that must be there, not before there were chains and not after it was told."""
    time = pl.col(column)
    return (
        (f"{column}_not_credible", time.is_not_null()),
        ("before_there_were_chains", time >= pl.lit(FIRST_BLOCKS, UTC)),
        ("in_the_future", time <= pl.col("event_time") + CLOCK_SLACK),
    )


def judge(rows: pl.DataFrame, rules: Iterable[Rule]) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Records split into (accepted, refused); the refused have `reason`, the first rule they break."""
    reason = pl.coalesce(
        pl.when(holds.fill_null(value=False)).then(None).otherwise(pl.lit(name)) for name, holds in rules
    )
    judged = rows.with_columns(reason.alias("reason"))
    is_refused = judged["reason"].is_not_null()
    return rows.filter(~is_refused), judged.filter(is_refused)


def without_copies(rows: pl.DataFrame, key: Sequence[str], told: Sequence[Any]) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Records split into (the first of its key in its answer, the others); the others have `reason`."""
    is_first = rows.select(pl.struct("answer", *key).is_first_distinct()).to_series()
    if is_first.all():
        return rows, rows.clear().with_columns(reason=pl.lit(None, pl.String))
    repeated = rows.with_columns(first=pl.col("row").first().over("answer", *key)).filter(~is_first)
    reasons = [
        "duplicate" if as_json(told[row]) == as_json(told[first]) else "conflicting_duplicate"
        for row, first in repeated.select("row", "first").iter_rows()
    ]
    return rows.filter(is_first), repeated.drop("first").with_columns(reason=pl.Series(reasons, dtype=pl.String))


def with_detail(refused: pl.DataFrame, columns: Sequence[str], spec: PoolsSpec) -> pl.DataFrame:
    """The refused records with `detail`: what they told in these columns, cleaned, and when."""
    words = [pl.format(f"{name} {{}}", _shown(pl.col(name), spec)) for name in columns]
    answered = pl.format("told at {}", pl.col("event_time").dt.to_string("iso:strict"))
    return refused.with_columns(detail=pl.concat_str([*words, answered], separator=", "))


def value_notes(
    rows: pl.DataFrame, numbers: pl.DataFrame, columns: Iterable[Column], strange: Iterable[Strange], spec: PoolsSpec
) -> pl.DataFrame:
    """Records of which single values were not taken, one row each, with `reason` and `detail`.

    `rows` holds what was told, as text, `numbers` what was taken, row by row.
    """
    found: dict[int, list[tuple[str, str]]] = defaultdict(list)
    for name in (column.name for column in columns):
        is_lost = rows[name].is_not_null() & numbers[name].is_null()
        if is_lost.any():
            for row, text in rows.filter(is_lost).select("row", name).iter_rows():
                found[row].append((name, text))
    kept = set(rows["row"]) if strange else set()
    for one in strange:
        if one.row in kept:
            found[one.row].append((".".join(one.path), as_json(one.value)))
    fields = [(row, name, text) for row, lost in found.items() for name, text in lost]
    words = pl.format("{} {}", pl.col("name"), _shown(pl.col("text"), spec))
    details = (
        pl.DataFrame(fields, schema={"row": pl.UInt32, "name": pl.String, "text": pl.String}, orient="row")
        .group_by("row")
        .agg(words.sort().str.join(", ").alias("detail"))
    )
    return rows.join(details, on="row", maintain_order="left").with_columns(reason=pl.lit(NOT_CREDIBLE))


def quarantined(refused: pl.DataFrame, records: Records, table_name: str, spec: PoolsSpec) -> pl.DataFrame:
    """Refused or noted records as rows of QUARANTINE.

    `refused` has `row`, `place`, `source`, `answer_id`, `event_time`, `reason`, `detail`, `network` and `pool`.
    """
    if refused.is_empty():
        return QUARANTINE.empty()
    texts = [told if isinstance(told, str) else as_json(told) for told in (records.told[row] for row in refused["row"])]
    ids = [
        sha256(f"{table_name}\n{answer_id}\n{place}\n{reason}\n{text}".encode()).hexdigest()
        for (answer_id, place, reason), text in zip(
            refused.select("answer_id", "place", "reason").iter_rows(), texts, strict=True
        )
    ]
    return refused.select(
        "source",
        pl.lit(table_name).alias("table_name"),
        "reason",
        pl.col("detail").str.replace_all(r"\p{C}", "").str.slice(0, spec.max_record_length),
        clean_text(pl.col("network"), spec).alias("network"),
        shown_pool(pl.col("pool"), spec).alias("pool"),
        "event_time",
        pl.Series("record", [text[: spec.max_record_length] for text in texts], pl.String),
        pl.Series("record_id", ids, pl.String),
    ).cast(QUARANTINE.schema)


def together(quarantine: Iterable[pl.DataFrame]) -> pl.DataFrame:
    """Rows of QUARANTINE in an order that does not depend on how the answers were cut into batches."""
    return pl.concat(quarantine).sort("event_time", "source", "table_name", "record_id")


def answers_quarantined(refusals: Iterable[Records], spec: PoolsSpec) -> list[pl.DataFrame]:
    """Answers that told nothing usable, as rows of QUARANTINE."""
    frames = []
    for refused in refusals:
        frame = refused.frame
        pool = pl.col("pool") if "pool" in frame.columns else pl.lit(None, pl.String)
        frames.append(quarantined(frame.with_columns(pool.alias("pool")), refused, "answers", spec))
    return frames


def _shown(text: pl.Expr, spec: PoolsSpec) -> pl.Expr:
    shown = pl.format("'{}'", clean_text(text, spec).fill_null(""))
    return pl.when(text.is_not_null()).then(shown).otherwise(pl.lit("null"))
