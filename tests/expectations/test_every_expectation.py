"""Each expectation of each table is broken once, on purpose, and is told; the quarantine judges by the same rules."""

from dataclasses import replace
from datetime import timedelta

import polars as pl
import pytest

from pipeline.expectations.bands import BANDS, OutcomeBands
from pipeline.expectations.meaning import column_rules, frame_rules, key_words, rules_of
from pipeline.expectations.rule import broken_rules, holds
from pipeline.expectations.suites import suite_for
from pipeline.expectations.triage import row_rules, triage
from pipeline.expectations.verdict import validate
from pipeline.labels.spec import LabelsSpec
from pipeline.tables import (
    COLLECTIONS,
    DEPLOYMENTS,
    FAMILY_TABLES,
    FEATURES,
    PREDICTION_OUTCOMES,
    RESERVES,
    TABLES,
    TRADES,
    Table,
)
from tests.builders import START, valid_frame
from tests.expectations.broken_rows import broken_frame, planted

BY_NAME = pytest.mark.parametrize("table", TABLES.values(), ids=TABLES)


@BY_NAME
def test_every_expectation_of_rows_is_told_when_it_is_broken(table: Table) -> None:
    frame, rules = broken_frame(table)
    frame = pl.concat([frame, frame.tail(1)])
    verdict = validate(table, frame, chunk_rows=frame.height // 2 + 1)
    told = {(f.column, f.expectation): f for f in verdict.failures}
    missed = {rule.in_words for rule in rules if (", ".join(rule.columns), rule.words) not in told}
    assert not missed
    assert told[", ".join(table.key), key_words(table)].n_unexpected >= 2
    for rule in rules:
        n_broken = frame.select((~holds(rule)).sum()).item()
        failure = told[", ".join(rule.columns), rule.words]
        # Great Expectations takes NaN for missing: it is one of two ways to break a column that must not be so.
        assert failure.n_unexpected >= n_broken
        assert failure.severity == rule.severity


@BY_NAME
def test_rows_are_put_aside_by_the_very_rules_of_the_suite(table: Table) -> None:
    """Whatever blocks in the suite and speaks of one row puts a row aside, and nothing else does."""
    asked = {
        ((e.meta or {})["words"], tuple((e.meta or {})["columns"]))
        for e in suite_for(table).expectations
        if (e.meta or {})["batch"] == "rows" and (e.meta or {})["severity"] == "blocking"
    }
    of_frames = {(key_words(table), table.key), *((r.words, r.columns) for r in frame_rules(table))}
    assert asked - of_frames == {(rule.words, rule.columns) for rule in row_rules(table)}


@BY_NAME
def test_a_valid_frame_breaks_no_rule_and_is_given_back_as_it_is(table: Table) -> None:
    frame = valid_frame(table, n_rows=40)
    rules = (*column_rules(table), *rules_of(table), *frame_rules(table))
    assert broken_rules(frame, rules) == ()
    if table.time and "source" in table.schema:
        assert triage(table, frame).sound is frame


@BY_NAME
def test_reasons_are_sentences_so_that_they_are_told_from_the_words_of_parsers(table: Table) -> None:
    assert all(" " in rule.in_words for rule in row_rules(table))


def broken_words(table: Table, frame: pl.DataFrame) -> set[str]:
    return {rule.words for rule in broken_rules(frame, frame_rules(table))}


def test_a_gap_in_the_ledger_is_told() -> None:
    ledger = valid_frame(DEPLOYMENTS, n_rows=6)
    assert broken_words(DEPLOYMENTS, ledger.filter(pl.col("sequence") != 3)) == {
        "sequence counts from 1 without a gap",
        "previous_hash is the row_hash of the row before",
    }


def test_a_changed_row_of_the_ledger_is_told() -> None:
    ledger = planted(valid_frame(DEPLOYMENTS, n_rows=6), {"row_hash": "another"}, 2)
    assert broken_words(DEPLOYMENTS, ledger) == {"previous_hash is the row_hash of the row before"}


def test_a_clock_of_the_ledger_that_goes_back_is_told_and_only_warned_of() -> None:
    ledger = valid_frame(DEPLOYMENTS, n_rows=6).with_columns(model_name=pl.lit("outcomes"))
    ledger = planted(ledger, {"known_at": START - timedelta(days=9)}, 3)
    (rule,) = broken_rules(ledger, frame_rules(DEPLOYMENTS))
    assert (rule.words, rule.severity) == ("known_at does not go back along sequence", "warning")


@pytest.mark.parametrize(
    ("table", "words"),
    [
        (RESERVES, "event_time does not go back along block, tx_index, log_index"),
        (TRADES, "event_time does not go back along block"),
    ],
    ids=["reserves", "trades"],
)
def test_a_time_that_goes_back_along_the_chain_is_told(table: Table, words: str) -> None:
    rows = valid_frame(table, n_rows=6).with_columns(block=pl.int_range(6, dtype=pl.Int64))
    swapped = planted(rows, {"event_time": START - timedelta(hours=1), "known_at": START}, 4)
    assert broken_words(table, rows) == set()
    assert broken_words(table, swapped) == {words}


def test_births_that_go_back_from_one_cycle_to_the_next_are_told() -> None:
    cycles = valid_frame(COLLECTIONS, n_rows=6).with_columns(collector=pl.lit("one"))
    back = planted(cycles, {"births_until": START - timedelta(days=2), "births_from": START - timedelta(days=3)}, 3)
    assert broken_words(COLLECTIONS, back) == {"births_until does not go back along event_time"}


def test_the_bands_that_labels_are_held_to_are_those_of_their_spec() -> None:
    assert OutcomeBands.of(LabelsSpec()) == BANDS


def test_labels_are_held_to_the_bands_that_are_handed_in() -> None:
    frame = valid_frame(TABLES["labels"], n_rows=10)
    bands = OutcomeBands.of(LabelsSpec(stable_pct=15.0))
    broken = {rule.words for rule in broken_rules(frame, rules_of(TABLES["labels"], bands))}
    assert "RISE means return_end_pct from 15 to 30" in broken


def test_what_was_judged_by_thresholds_of_before_is_warned_of_and_stops_nothing() -> None:
    """Labels are computed again when their thresholds change; what a prediction was judged by is history."""
    judged = valid_frame(PREDICTION_OUTCOMES, n_rows=4).filter(pl.col("outcome").is_not_null())
    fallen = judged.with_columns(
        outcome=pl.lit("DECLINE"), return_trough_pct=-70.0, return_end_pct=-65.0, return_peak_pct=0.0
    )
    assert validate(PREDICTION_OUTCOMES, fallen).is_passed
    verdict = validate(PREDICTION_OUTCOMES, fallen, bands=replace(BANDS, rug_price_pct=-60.0))
    assert [(f.expectation, f.severity) for f in verdict.failures] == [("what fell more than 60 % is a RUG", "warning")]
    assert not verdict.is_blocked


@pytest.mark.parametrize("table", [FEATURES, *FAMILY_TABLES.values()], ids=lambda table: table.name)
def test_every_feature_keeps_the_range_that_its_column_states(table: Table) -> None:
    """A table of features carries each feature's range, so that its suite asks for it."""
    bounded = {c.name for c in table.columns if c.minimum is not None or c.maximum is not None}
    assert bounded == {rule.columns[0] for rule in column_rules(table) if rule.kind == "bounds"}
