import subprocess
import sys
import tempfile
from datetime import timedelta
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import UsageError
from pipeline.expectations.meaning import column_rules
from pipeline.expectations.rule import broken_rules
from pipeline.expectations.suites import suite_for
from pipeline.expectations.verdict import Verdict, validate
from pipeline.tables import (
    CANDLES,
    DEPLOYMENTS,
    LABELS,
    POOLS,
    PREDICTION_OUTCOMES,
    RAW_POOLS,
    SNAPSHOTS,
    TABLES,
    Table,
)
from pipeline.text import LONGEST, clean
from tests.builders import valid_frame
from tests.expectations.broken_rows import planted

ASKED = (CANDLES, LABELS, SNAPSHOTS, DEPLOYMENTS, PREDICTION_OUTCOMES)
SOME = pytest.mark.parametrize("table", ASKED, ids=[table.name for table in ASKED])
"""Great Expectations takes seconds a table: these have every kind of rule; the rules of all are broken elsewhere."""
BY_NAME = pytest.mark.parametrize("table", TABLES.values(), ids=TABLES)


def said_of(verdict: Verdict, beginning: str) -> set[str]:
    """The columns of which an expectation that begins so is broken, once each."""
    return {f.column for f in verdict.failures if f.expectation.startswith(beginning) and f.n_unexpected == 1}


@SOME
def test_a_valid_frame_passes_and_every_expectation_was_asked(table: Table) -> None:
    verdict = validate(table, valid_frame(table), chunk_rows=6)
    assert verdict.in_words() == f"{table.name}: 10 rows, all {len(suite_for(table).expectations)} expectations hold"
    assert verdict.is_passed


@SOME
def test_a_frame_without_rows_passes_by_its_columns_alone(table: Table) -> None:
    verdict = validate(table, table.empty())
    assert (verdict.is_passed, verdict.n_rows, verdict.failures) == (True, 0, ())


@BY_NAME
def test_a_column_too_few_is_named(table: Table) -> None:
    (failure,) = validate(table, valid_frame(table).drop(table.columns[-1].name)).failures
    assert failure.expectation.startswith("the columns are exactly")
    assert failure.examples == (table.columns[-1].name,)


@BY_NAME
def test_a_column_too_many_is_named_without_its_markup(table: Table) -> None:
    (failure,) = validate(table, valid_frame(table).with_columns(pl.lit(1).alias("<i>extra</i>"))).failures
    assert failure.expectation.startswith("the columns are exactly")
    assert failure.examples == ("(i)extra(/i)",)


@BY_NAME
def test_another_dtype_is_found_in_every_column(table: Table) -> None:
    other = {c.name: pl.String() if c.dtype != pl.String else pl.Int64() for c in table.columns}
    verdict = validate(table, pl.DataFrame(schema=other))
    assert said_of(verdict, "is of dtype") == set(other)
    assert len(verdict.failures) == len(other)


def test_a_time_without_its_zone_is_another_dtype() -> None:
    (failure,) = validate(
        POOLS, valid_frame(POOLS).with_columns(pl.col("known_at").dt.replace_time_zone(None))
    ).failures
    assert failure.column == "known_at"
    assert failure.examples == ("Datetime(time_unit='us', time_zone=None)",)


@BY_NAME
def test_the_bounds_themselves_are_allowed(table: Table) -> None:
    for bound in ("minimum", "maximum"):
        ends = {c.name: getattr(c, bound) for c in table.columns if getattr(c, bound) is not None}
        rules = tuple(rule for rule in column_rules(table) if rule.kind == "bounds")
        if ends:
            assert broken_rules(planted(valid_frame(table), ends), rules) == ()


def test_rows_beyond_the_first_chunk_are_counted_and_few_are_shown() -> None:
    frame = valid_frame(CANDLES, n_rows=30).with_columns(n_buys=-1 - pl.int_range(30), n_sells=pl.lit(0, pl.Int64))
    (failure,) = validate(CANDLES, frame, chunk_rows=4).failures
    assert (failure.column, failure.n_unexpected) == ("n_buys", 30)
    assert failure.examples == ("-1", "-2", "-3", "-4", "-5")


def test_sums_made_in_another_order_are_no_fault() -> None:
    frame = valid_frame(SNAPSHOTS).with_columns(volume_h6_usd=pl.col("volume_h24_usd") * (1 + 1e-12))
    assert validate(SNAPSHOTS, frame).is_passed


def test_a_pool_may_be_told_of_a_little_before_the_chain_dates_its_birth() -> None:
    told = valid_frame(RAW_POOLS).with_columns(created_at=pl.col("event_time") + timedelta(minutes=5))
    assert validate(RAW_POOLS, told).is_passed
    (failure,) = validate(RAW_POOLS, told.with_columns(pl.col("created_at") + timedelta(seconds=1))).failures
    assert (failure.expectation, failure.n_unexpected) == ("created_at <= event_time + 5 min", 10)


def test_a_null_is_shown_by_the_key_of_its_row() -> None:
    (failure,) = validate(LABELS, planted(valid_frame(LABELS), {"horizon_hours": None})).failures
    assert failure.examples[0].startswith("source=recording:test network=eth pool=0x")


def test_a_verdict_says_in_words_what_is_broken() -> None:
    words = validate(CANDLES, planted(valid_frame(CANDLES), {"low": 2_000.0, "timeframe": "<u>"})).in_words()
    lines = words.split("\n")
    assert lines[0].startswith("candles: 10 rows, 4 of ")
    assert "- timeframe is one of 5min: not so for 1; such as (u)" in lines
    assert any(line.startswith("- low <= high: not so for 1; such as low=2000.0 high=") for line in lines)


def test_a_chunk_without_rows_is_refused() -> None:
    with pytest.raises(UsageError, match="at least one row"):
        validate(CANDLES, CANDLES.empty(), chunk_rows=0)


def test_a_verdict_leaves_no_temporary_file_and_draws_no_bars(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    validate(CANDLES, valid_frame(CANDLES))
    assert list(tmp_path.iterdir()) == []
    assert capfd.readouterr() == ("", "")


@given(st.text(max_size=300))
def test_what_is_shown_is_short_and_holds_neither_markup_nor_invisible_characters(text: str) -> None:
    shown = clean(text)
    assert len(shown) <= LONGEST
    assert shown.isprintable()
    assert not set(shown) & set('<>&`"')
    assert clean(shown) == shown


def test_great_expectations_is_not_imported_for_a_frame_that_breaks_nothing() -> None:
    """It takes seconds, and every run that checks a table would pay them."""
    code = (
        "import sys; from pipeline.expectations.verdict import validate; from pipeline.tables import CANDLES\n"
        "from tests.builders import valid_frame\n"
        "assert validate(CANDLES, valid_frame(CANDLES)).is_passed\n"
        "sys.exit('great_expectations' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[2], check=True)
