"""What the rules doubt and what Great Expectations breaks, asked of every row, are the same."""

import random

import polars as pl
import pytest

from pipeline.expectations.keys import is_key_unique
from pipeline.expectations.meaning import frame_rules, rules_of
from pipeline.expectations.rule import holds
from pipeline.expectations.suites import suite_for
from pipeline.expectations.verdict import _asked_of, _batch, _place, _results
from pipeline.expectations.verdict import doubts as doubts_of
from pipeline.tables import CANDLES, DEPLOYMENTS, LABELS, PREDICTION_OUTCOMES, SNAPSHOTS, Table
from tests.builders import valid_frame
from tests.expectations.broken_rows import broken_frame, candidates

TABLES = [CANDLES, LABELS, SNAPSHOTS, DEPLOYMENTS, PREDICTION_OUTCOMES]
SOME = pytest.mark.parametrize("table", TABLES, ids=[table.name for table in TABLES])


def doubts(table: Table, frame: pl.DataFrame) -> set[tuple[str, str]]:
    return doubts_of(table, frame, is_key_unique(table, frame))


def broken_to_great_expectations(table: Table, frame: pl.DataFrame) -> set[tuple[str, str]]:
    """Each expectation of the suite that Great Expectations finds broken, asked of all rows and of all expectations."""
    asked = _asked_of(suite_for(table), "rows")
    rules = (*rules_of(table), *frame_rules(table))
    whole = frame.with_columns(is_key_unique(table, frame), *(holds(rule).alias(rule.words) for rule in rules))
    return {_place(result.expectation_config) for result in _results(asked, _batch(whole, asked))}


@SOME
def test_nothing_is_doubted_of_a_valid_frame_and_nothing_of_it_is_broken(table: Table) -> None:
    frame = valid_frame(table, n_rows=12)
    assert doubts(table, frame) == broken_to_great_expectations(table, frame) == set()


@SOME
def test_where_everything_is_broken_everything_is_doubted(table: Table) -> None:
    frame, rules = broken_frame(table)
    frame = pl.concat([frame, frame.tail(1)])
    found = doubts(table, frame)
    assert found == broken_to_great_expectations(table, frame)
    assert len(found) > len(rules)


@SOME
@pytest.mark.parametrize("seed", range(3))
def test_of_rows_broken_at_random_the_same_is_doubted_as_is_broken(table: Table, seed: int) -> None:
    dice = random.Random(f"{table.name} {seed}")
    frame = valid_frame(table, n_rows=8)
    for name in dice.sample(frame.columns, 4):
        values = frame[name].to_list()
        values[dice.randrange(8)] = dice.choice(candidates(table, name))
        frame = frame.with_columns(pl.Series(name, values, frame.schema[name]))
    assert doubts(table, frame) == broken_to_great_expectations(table, frame)


def test_a_value_that_is_no_number_is_doubted_as_missing_too() -> None:
    """In the columns of the table: Great Expectations, over pandas, knows no other missing number."""
    name = next(c.name for c in CANDLES.columns if c.dtype.is_float() and not c.nullable)
    frame = valid_frame(CANDLES, n_rows=3).with_columns(
        pl.when(pl.int_range(3) == 1).then(float("nan")).otherwise(pl.col(name)).alias(name)
    )
    assert (name, "is never missing") in doubts(CANDLES, frame)
    assert doubts(CANDLES, frame) == broken_to_great_expectations(CANDLES, frame)
