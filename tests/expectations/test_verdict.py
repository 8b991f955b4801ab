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
from pipeline.expectations.meaning import key_words, rules_of
from pipeline.expectations.suites import suite_for
from pipeline.expectations.verdict import LONGEST_EXAMPLE, Verdict, clean, validate
from pipeline.tables import CANDLES, LABELS, POOLS, RAW_POOLS, SNAPSHOTS, TABLES, Table
from tests.builders import START, valid_frame

BY_NAME = pytest.mark.parametrize("table", TABLES.values(), ids=TABLES)
LONG_AGO = START - timedelta(days=400)


def planted(frame: pl.DataFrame, faults: dict[str, object], row: int = 1) -> pl.DataFrame:
    """The frame with values replaced in one row."""
    at = pl.int_range(pl.len()) == row
    return frame.with_columns(
        pl.when(at).then(pl.lit(value, frame.schema[name])).otherwise(pl.col(name)).alias(name)
        for name, value in faults.items()
    )


def broken(verdict: Verdict) -> dict[tuple[str, str], int]:
    return {(f.column, f.expectation): f.n_unexpected for f in verdict.failures}


def said_of(verdict: Verdict, beginning: str) -> set[str]:
    """The columns of which an expectation that begins so is broken, once each."""
    return {f.column for f in verdict.failures if f.expectation.startswith(beginning) and f.n_unexpected == 1}


@BY_NAME
def test_a_valid_frame_passes_and_every_expectation_was_asked(table: Table) -> None:
    verdict = validate(table, valid_frame(table), chunk_rows=6)
    assert verdict.in_words() == f"{table.name}: 10 rows, all {len(suite_for(table).expectations)} expectations hold"
    assert verdict.is_passed


@BY_NAME
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
def test_a_null_is_found_in_every_column_that_must_not_hold_one_and_in_no_other(table: Table) -> None:
    never = {c.name for c in table.columns if not c.nullable}
    verdict = validate(table, planted(valid_frame(table), dict.fromkeys(never)))
    assert said_of(verdict, "is never missing") == never


@BY_NAME
def test_a_value_below_the_minimum_is_found_in_every_bounded_column(table: Table) -> None:
    low = {c.name: c.minimum - 1 for c in table.columns if c.minimum is not None}
    verdict = validate(table, planted(valid_frame(table), low))
    assert said_of(verdict, "is at least") | said_of(verdict, "is between") == set(low)


@BY_NAME
def test_a_value_above_the_maximum_is_found_in_every_bounded_column(table: Table) -> None:
    high = {c.name: c.maximum + 1 for c in table.columns if c.maximum is not None}
    verdict = validate(table, planted(valid_frame(table), high))
    assert said_of(verdict, "is at most") | said_of(verdict, "is between") == set(high)


@BY_NAME
def test_the_bounds_themselves_are_allowed(table: Table) -> None:
    for bound in ("minimum", "maximum"):
        ends = {c.name: getattr(c, bound) for c in table.columns if getattr(c, bound) is not None}
        if ends:
            verdict = validate(table, planted(valid_frame(table), ends))
            assert not any(f.expectation.startswith(("is at", "is between")) for f in verdict.failures)


@BY_NAME
def test_an_unknown_value_is_found_in_every_closed_column_and_shown_without_markup(table: Table) -> None:
    closed = {c.name: "<b>?" for c in table.columns if c.values is not None}
    verdict = validate(table, planted(valid_frame(table), closed))
    assert said_of(verdict, "is one of") == set(closed)
    assert all(f.examples == ("(b)?",) for f in verdict.failures if f.expectation.startswith("is one of"))


@BY_NAME
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_number_that_is_none_is_found_in_every_real_column(table: Table, value: float) -> None:
    real = {c.name: value for c in table.columns if c.dtype.is_float()}
    if real:
        verdict = validate(table, planted(valid_frame(table), real))
        assert {f.column for f in verdict.failures if f.expectation.endswith("finite number or missing")} == set(real)


@BY_NAME
def test_a_key_that_is_there_twice_is_found_across_chunks(table: Table) -> None:
    frame = valid_frame(table)
    twice = pl.concat([frame, frame.head(1)])
    assert broken(validate(table, twice, chunk_rows=6)) == {(", ".join(table.key), key_words(table)): 2}


# For each rule between columns that one table has: the row, the column and the value that break it.
NEXT_LARGER = {
    f"{p}_{a}{s} <= {p}_{b}{s}": (f"{p}_{b}{s}", -1)
    for p, s in (("volume", "_usd"), ("n_buys", ""), ("n_sells", ""))
    for a, b in (("m5", "h1"), ("h1", "h6"), ("h6", "h24"))
}
PROBABILITIES = {"the probabilities sum to one within 1e-6": ("p_RUG", 1.0)}
BAR = {
    "low <= high": ("low", 1e9),
    "open <= high": ("open", 1e9),
    "close <= high": ("close", 1e9),
    "low <= open": ("open", -1.0),
    "low <= close": ("close", -1.0),
}
LATE = START + timedelta(days=400)
BREAKS: dict[str, dict[str, tuple[str, object]]] = {
    "reserves": {"base_reserve_before is set if and only if quote_reserve_before is": ("quote_reserve_before", None)},
    "answers": {"asked_at <= event_time": ("event_time", LONG_AGO)},
    "raw_pools": {"created_at <= event_time + 5 min": ("event_time", LONG_AGO)},
    "raw_candles": {"low <= high": BAR["low <= high"]},
    "collections": {
        "births_from <= births_until": ("births_until", LONG_AGO),
        "n_found_late <= n_found": ("n_found_late", 10**9),
        "n_observed_late <= n_observed": ("n_observed_late", 10**9),
    },
    "candles": {
        **BAR,
        "n_buys is set if and only if n_sells is": ("n_sells", None),
        "quote_reserve_low <= quote_reserve_close": ("quote_reserve_low", 1e9),
    },
    "snapshots": {
        "created_at <= event_time": ("created_at", START + timedelta(days=400)),
        "observed_at <= event_time": ("observed_at", START + timedelta(days=400)),
        **NEXT_LARGER,
    },
    "labels": {
        "outcome is set if and only if status is labelled": ("status", "pending"),
        "censor_reason is set if and only if status is censored": ("status", "pending"),
        "return_trough_pct <= return_peak_pct": ("return_trough_pct", 1e9),
        "rug_kind is set if and only if the outcome is RUG": ("rug_kind", "both"),
        "event_time <= executable_entry_at": ("executable_entry_at", LONG_AGO),
        "label_known_at is set if and only if status is labelled": ("label_known_at", LATE),
        "executable_entry_at is set if and only if return_executable_pct is": ("executable_entry_at", None),
        "path_known_at is set if and only if return_end_pct is": ("path_known_at", None),
        "label_known_at <= path_known_at": ("path_known_at", LONG_AGO),
    },
    "market_labels": {
        "value is set if and only if status is labelled": ("status", "pending"),
        "censor_reason is set if and only if status is censored": ("status", "labelled"),
        "label_known_at is set if and only if status is labelled": ("label_known_at", LATE),
        "a regime is bull, bear or sideways, a rotation into_base, into_pools or none": ("value", "bull"),
    },
    "bin_exports": {"first_time <= last_time": ("last_time", LONG_AGO)},
    "training_sets": {"first_time <= last_time": ("last_time", LONG_AGO)},
    "evaluations": PROBABILITIES,
    "predictions": PROBABILITIES,
    "outcomes": {
        "outcome is set only where status is labelled": ("status", "censored"),
        "censor_reason is set only where status is censored": ("status", "labelled"),
        "label_known_at is set if and only if outcome is": ("label_known_at", None),
        "log_loss is set if and only if outcome is": ("log_loss", 1.0),
        "evidence was said before its outcome was known": ("predicted_at", LATE),
        "event_time <= predicted_at": ("predicted_at", LONG_AGO),
    },
    "figures": {"low <= high": ("low", 1e9)},
    "comparisons": {"gain_low_pct <= gain_high_pct": ("gain_low_pct", 1e9)},
}


def breaks_of(table: Table) -> dict[str, tuple[str, object]]:
    known_after = [r for r in rules_of(table) if len(r.columns) == 2 and r.columns[1] == table.as_of]
    return BREAKS.get(table.name, {}) | {rule.words: (table.as_of, LONG_AGO) for rule in known_after}


@BY_NAME
def test_every_rule_between_columns_is_found_broken_once(table: Table) -> None:
    breaks = breaks_of(table)
    assert set(breaks) == {r.words for r in rules_of(table) if len(r.columns) > 1}
    frame = valid_frame(table, n_rows=len(breaks) + 2)
    for row, fault in enumerate(breaks.values()):
        frame = planted(frame, dict([fault]), row)
    found = {f.expectation for f in validate(table, frame).failures}
    assert set(breaks) <= found if breaks else not found


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
    assert len(shown) <= LONGEST_EXAMPLE
    assert shown.isprintable()
    assert not set(shown) & set('<>&`"')
    assert clean(shown) == shown


def test_great_expectations_is_not_imported_before_it_is_used() -> None:
    code = "import sys, pipeline.expectations.verdict; sys.exit('great_expectations' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[2], check=True)
