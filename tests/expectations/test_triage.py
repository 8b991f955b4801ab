"""Broken rows are put aside before anything is written, hours with too many of them stop, doubts can be released."""

import json
from datetime import timedelta

import polars as pl
import pytest

from pipeline.errors import UsageError
from pipeline.expectations.aside import STOPPED
from pipeline.expectations.releases import MAY, of_reason
from pipeline.expectations.tolerance import DERIVED, TOLD, WHOLE, Tolerance, tolerance_of
from pipeline.expectations.triage import is_let_in, triage
from pipeline.tables import FEATURES, MARKET_LABELS, QUARANTINE, RAW_POOLS, SNAPSHOTS, TABLES
from tests.builders import START, valid_frame
from tests.expectations.broken_rows import planted

NAN, NEGATIVE = {"price_usd": float("nan")}, {"reserve_usd": -5.0}
POOL = "0x" + "0" * 40


def snapshots(n_rows: int = 30) -> pl.DataFrame:
    """Rows of three hours, ten rows an hour."""
    frame = valid_frame(SNAPSHOTS, n_rows)
    times = [START + timedelta(minutes=60 * (i // 10) + 5 * (i % 10)) for i in range(n_rows)]
    columns = {name: pl.Series(times, dtype=frame.schema[name]) for name in ("event_time", "observed_at", "known_at")}
    return frame.with_columns(**columns)


def test_a_broken_row_is_put_aside_with_its_reason_and_the_others_pass_in_their_order() -> None:
    frame = planted(snapshots(), NEGATIVE, 3)
    found = triage(SNAPSHOTS, frame)
    assert found.sound.equals(frame.with_row_index().filter(pl.col("index") != 3).drop("index"))
    (row,) = found.aside.to_dicts()
    assert (row["table_name"], row["reason"]) == ("snapshots", "reserve_usd is at least 0 USD")
    assert row["detail"] == "reserve_usd is at least 0 USD: reserve_usd -5.0"
    assert (row["pool"], row["event_time"]) == (POOL, START + timedelta(minutes=15))
    assert json.loads(row["record"])["reserve_usd"] == "-5.0"
    assert found.stopped.is_empty()
    assert found.aside.schema == QUARANTINE.schema


def test_the_gravest_of_several_reasons_is_the_reason_and_all_are_told() -> None:
    (row,) = triage(SNAPSHOTS, planted(snapshots(), NEGATIVE | NAN, 3)).aside.to_dicts()
    assert row["reason"] == "price_usd is a finite number or missing"
    assert "reserve_usd is at least 0 USD: reserve_usd -5.0" in row["detail"]
    assert "price_usd NaN" in row["detail"]


def test_the_same_row_is_the_same_record_and_another_value_makes_another() -> None:
    one, again = (triage(SNAPSHOTS, planted(snapshots(), NEGATIVE, 3)).aside["record_id"][0] for _ in range(2))
    other = triage(SNAPSHOTS, planted(snapshots(), {"reserve_usd": -6.0}, 3)).aside["record_id"][0]
    assert one == again != other


def test_an_hour_with_more_broken_rows_than_its_table_tolerates_stops_and_the_other_hours_go_on() -> None:
    frame = pl.concat([snapshots(10), *(snapshots(10).with_columns(pool=pl.lit(f"0xa{i}")) for i in range(29))])
    hour = pl.col("event_time") + timedelta(hours=1)
    later = frame.with_columns(event_time=hour, observed_at=hour, known_at=hour).unique(SNAPSHOTS.key)
    first = frame.unique(SNAPSHOTS.key, maintain_order=True)
    bad = later.with_columns(reserve_usd=pl.when(pl.int_range(pl.len()) < 21).then(-5.0).otherwise("reserve_usd"))
    found = triage(SNAPSHOTS, pl.concat([first, bad]))
    assert found.sound.equals(first)
    assert found.aside.is_empty()
    (row,) = found.stopped.to_dicts()
    assert (row["reason"], row["event_time"]) == (STOPPED, START + timedelta(hours=1))
    assert row["detail"].startswith(f"21 of {bad.height} rows are broken, nothing of the hour was written.")
    assert "reserve_usd is at least 0 USD: not so for 21" in row["detail"]


def test_two_rows_of_one_key_stop_their_hour_whatever_their_share() -> None:
    frame = snapshots()
    found = triage(SNAPSHOTS, pl.concat([frame, frame.head(1).with_columns(reserve_usd=pl.lit(1.0))]))
    assert found.stopped["event_time"].to_list() == [START]
    assert found.sound.height == 20
    assert of_reason("snapshots", STOPPED).startswith("never")


def test_a_frame_of_another_schema_is_left_to_the_lake() -> None:
    frame = snapshots().with_columns(pl.col("reserve_usd").cast(pl.String))
    assert triage(SNAPSHOTS, frame).sound is frame


def test_a_released_row_passes_and_only_with_the_values_that_were_looked_at() -> None:
    frame = planted(snapshots(), NEGATIVE, 3)
    ids = set(triage(SNAPSHOTS, frame).aside["record_id"])
    assert triage(SNAPSHOTS, frame, ids).sound.equals(frame)
    assert is_let_in(SNAPSHOTS, frame, ids).arg_true().to_list() == [3]
    other = planted(snapshots(), {"reserve_usd": -6.0}, 3)
    assert triage(SNAPSHOTS, other, ids).sound.height == 29


@pytest.mark.parametrize("fault", [NAN, NEGATIVE | NAN, {"n_missed": None}], ids=["no number", "both", "missing"])
def test_what_has_no_reading_is_not_let_in_whoever_says_so(fault: dict[str, object]) -> None:
    frame = planted(snapshots(), fault, 3)
    aside = triage(SNAPSHOTS, frame).aside
    assert triage(SNAPSHOTS, frame, set(aside["record_id"])).sound.height == 29
    assert of_reason("snapshots", aside["reason"][0]).startswith("never")


def test_one_broken_label_of_the_whole_market_stops_its_hour() -> None:
    frame = valid_frame(MARKET_LABELS, 4).with_columns(return_pct=pl.lit(-200.0))
    assert not triage(MARKET_LABELS, frame.head(1)).stopped.is_empty()


def test_what_is_quoted_from_a_chain_is_shown_without_markup() -> None:
    frame = planted(snapshots(), {"pool": "<img src=x onerror=window.pwned=1>", "reserve_usd": -5.0}, 3)
    (row,) = triage(SNAPSHOTS, frame).aside.to_dicts()
    assert row["pool"] == "(img src=x onerror=window(.)pwned=1)"
    assert "<" not in row["detail"]


def test_a_long_address_stays_whole() -> None:
    frame = planted(snapshots(), {"pool": "0x" + "a" * 64, "reserve_usd": -5.0}, 3)
    assert triage(SNAPSHOTS, frame).aside["pool"][0] == "0x" + "a" * 64


def test_warnings_put_nothing_aside() -> None:
    told = valid_frame(RAW_POOLS, 20).with_columns(volume_m5_usd=pl.lit(1e9))
    assert triage(RAW_POOLS, told).is_clean


def test_every_table_has_a_tolerance_and_what_is_told_may_be_broken_more_often_than_what_we_derive() -> None:
    assert {tolerance_of(table) for table in TABLES.values()} == {TOLD, DERIVED, WHOLE}
    assert tolerance_of(RAW_POOLS) == TOLD
    assert tolerance_of(FEATURES) == DERIVED
    with pytest.raises(UsageError, match="share from 0 to 1"):
        Tolerance(1.5, 0)


@pytest.mark.parametrize(
    ("table", "reason", "answer"),
    [
        ("snapshots", "volume_m5_usd <= volume_h1_usd", MAY),
        ("labels", "MOON means return_end_pct > 100", MAY),
        ("labels", "outcome is one of RUG, MOON, PUMP, RISE, STABLE, DIP, DECLINE", "never: its form is broken"),
        ("reserves", "not_positive", "never: refused as it was read"),
        ("reserves", "clock_stood_still", "never: when it was true"),
        ("pools", "text_cleaned", "not needed: a note"),
        ("no table", "a reason of a table that is gone", "never"),
    ],
)
def test_of_each_reason_it_is_told_whether_it_can_be_released(table: str, reason: str, answer: str) -> None:
    assert of_reason(table, reason).startswith(answer)


def test_a_hundred_thousand_sound_rows_cost_little() -> None:
    from time import process_time

    frame = valid_frame(SNAPSHOTS, 100_000)
    started = process_time()
    assert triage(SNAPSHOTS, frame).is_clean
    assert process_time() - started < 2.0
