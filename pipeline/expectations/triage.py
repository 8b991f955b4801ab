"""Which rows of a frame may be written, which are put aside, and which hours stop: in Polars, before any is written.

Belongs here: applying the table's rules to a frame, and broken rows as rows of the quarantine. Stays out: the rules
(`meaning`), how much is too much (`tolerance`), and who reads and writes the quarantine.

It judges by the rules that the suite is made of, all that block and speak of one row; whoever changes a rule changes
both. A frame in which nothing is broken is given back as it is.
"""

from collections.abc import Collection
from dataclasses import dataclass

import polars as pl

from pipeline.expectations.aside import N_BROKEN, quarantined, record_ids, stopped_hour
from pipeline.expectations.bands import BANDS, OutcomeBands
from pipeline.expectations.keys import is_key_unique
from pipeline.expectations.meaning import column_rules, rules_of
from pipeline.expectations.rule import Rule, broken_rules, holds
from pipeline.expectations.tolerance import tolerance_of
from pipeline.tables import QUARANTINE, Table


@dataclass(frozen=True)
class Triage:
    """What became of a frame's rows; `aside` and `stopped` are rows of QUARANTINE, one a row and one an hour."""

    sound: pl.DataFrame
    aside: pl.DataFrame
    stopped: pl.DataFrame

    @property
    def is_clean(self) -> bool:
        """Whether every row may be written."""
        return self.aside.is_empty() and self.stopped.is_empty()


def triage(table: Table, frame: pl.DataFrame, released: Collection[str] = (), bands: OutcomeBands = BANDS) -> Triage:
    """Part the rows that hold to every rule from those that do not, and stop the hours that hold too many of these.

    A frame of other columns or dtypes than the spec's is not judged: the lake takes it whole, or refuses it.

    Args:
        table: a table that follows time.
        frame: its rows.
        released: `record_id` of rows that a person let in; only a doubt can be let in (`Rule.may_be_released`).
        bands: the thresholds that an outcome and its return must agree on.
    """
    nothing = Triage(frame, QUARANTINE.empty(), QUARANTINE.empty())
    if dict(frame.schema) != dict(table.schema):
        return nothing
    broken = broken_rules(frame, row_rules(table, bands))
    is_alone = is_key_unique(table, frame)
    if not broken and is_alone.all():
        return nothing
    all_hold = pl.all_horizontal(holds(rule) for rule in broken) if broken else pl.lit(value=True)
    is_let_in = _is_let_in(table, frame, broken, released)
    is_sound = frame.select(all_hold.alias("sound")).to_series() | is_let_in
    hour = frame[str(table.time)].dt.truncate("1h").alias("hour")
    stopped = _stopped(table, frame, hour, is_sound, is_alone, broken)
    goes_on = ~hour.is_in(stopped["event_time"].implode(), nulls_equal=True)
    aside = quarantined(table, frame.filter(~is_sound & goes_on), broken)
    return Triage(frame.filter(is_sound & goes_on), aside, stopped)


def row_rules(table: Table, bands: OutcomeBands = BANDS) -> tuple[Rule, ...]:
    """The rules that put a row aside: those that block and speak of one row. What cannot be released comes first."""
    rules = [rule for rule in (*column_rules(table), *rules_of(table, bands)) if rule.severity == "blocking"]
    return tuple(sorted(rules, key=lambda rule: rule.may_be_released))


def is_releasable(table: Table, reason: str, bands: OutcomeBands = BANDS) -> bool:
    """Whether a row that was put aside for this reason may be let in: the reason is the gravest of its rules."""
    return any(rule.in_words == reason and rule.may_be_released for rule in row_rules(table, bands))


def is_let_in(table: Table, frame: pl.DataFrame, released: Collection[str], bands: OutcomeBands = BANDS) -> pl.Series:
    """Whether a row is broken and lies in the table all the same, for a person let it in."""
    return _is_let_in(table, frame, broken_rules(frame, row_rules(table, bands)), released)


def _is_let_in(table: Table, frame: pl.DataFrame, broken: tuple[Rule, ...], released: Collection[str]) -> pl.Series:
    nobody = pl.Series("let in", [False]).new_from_index(0, frame.height)
    if not released or not broken:
        return nobody
    doubts = [rule for rule in broken if rule.may_be_released]
    grave = [rule for rule in broken if not rule.may_be_released]
    is_doubt = pl.any_horizontal(~holds(rule) for rule in doubts) if doubts else pl.lit(value=False)
    is_grave = pl.any_horizontal(~holds(rule) for rule in grave) if grave else pl.lit(value=False)
    places = frame.select((is_doubt & ~is_grave).arg_true()).to_series()
    ids = record_ids(table, frame[places])
    return nobody.scatter(places.filter(ids.is_in(list(released))), True)


def _stopped(
    table: Table,
    frame: pl.DataFrame,
    hour: pl.Series,
    is_sound: pl.Series,
    is_alone: pl.Series,
    broken: tuple[Rule, ...],
) -> pl.DataFrame:
    """One row of QUARANTINE for each hour with too many broken rows, or with two rows of one key."""
    counted = (
        frame.select(
            hour,
            pl.Series("is_sound", is_sound),
            pl.Series("is_alone", is_alone),
            pl.col("source"),
            *((~holds(rule)).alias(f"{N_BROKEN} {i}") for i, rule in enumerate(broken)),
        )
        .group_by("hour")
        .agg(
            pl.len().alias("n_rows"),
            (~pl.col("is_sound")).sum().alias("n_broken"),
            (~pl.col("is_alone")).sum().alias("n_twice"),
            pl.col("source").first(),
            pl.col(f"^{N_BROKEN} .*$").sum(),
        )
        .sort("hour")
    )
    tolerance = tolerance_of(table)
    rows = [
        stopped_hour(table, row, broken)
        for row in counted.iter_rows(named=True)
        if row["n_twice"] or tolerance.is_exceeded(row["n_broken"], row["n_rows"])
    ]
    return pl.DataFrame(rows, schema=QUARANTINE.schema) if rows else QUARANTINE.empty()
