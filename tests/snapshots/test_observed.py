"""Snapshots of what the API told: which observation stands for which grid point, and what of it is believed."""

from datetime import UTC, datetime, timedelta

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal
from told_records import frame, record

from pipeline.calendars import DAY, HOUR, MINUTE, Span
from pipeline.expectations.verdict import validate
from pipeline.snapshots.observed import observed_snapshots
from pipeline.snapshots.spec import SnapshotsSpec
from pipeline.tables import RAW_POOLS, SNAPSHOTS

NOON = datetime(2026, 5, 28, 12, tzinfo=UTC)
SPEC = SnapshotsSpec()
SPAN = Span(NOON - DAY, NOON + 9 * DAY)
SECOND = timedelta(seconds=1)
LATER = NOON + 30 * DAY


def seen(*rows: dict[str, object], span: Span = SPAN, now: datetime = LATER) -> pl.DataFrame:
    return observed_snapshots(frame(*rows), span, now, SPEC)


def one(**told: object) -> dict[str, object]:
    """The only snapshot of a pool that was observed once, a day after its birth."""
    return seen(record(NOON, NOON - DAY, **told)).row(0, named=True)


@pytest.mark.parametrize(
    ("after_noon", "point"),
    [(0 * SECOND, 0), (timedelta(microseconds=1), 5), (299 * SECOND, 5), (300 * SECOND, 5), (301 * SECOND, 10)],
)
def test_an_observation_belongs_to_the_first_grid_point_at_or_after_it(after_noon: timedelta, point: int) -> None:
    (row,) = seen(record(NOON + after_noon, NOON - DAY)).to_dicts()
    assert (row["event_time"], row["known_at"]) == (NOON + point * MINUTE, NOON + point * MINUTE)
    assert row["observed_at"] == NOON + after_noon


def test_a_list_of_new_pools_does_not_hide_what_a_visit_told_before_it() -> None:
    visit = record(NOON + MINUTE, NOON - DAY, quote_reserve=1.0, inclusion_probability=0.5, n_missed=3)
    listed = record(NOON + 2 * MINUTE, NOON - DAY, endpoint="new_pools", price_usd=2.0)
    (row,) = seen(listed, visit).to_dicts()
    assert (row["observed_at"], row["quote_reserve"]) == (NOON + MINUTE, 1.0)
    # It was sure to be seen on the list, drawn for a visit or not.
    assert (row["inclusion_probability"], row["n_missed"]) == (1.0, 3)
    assert seen(visit)["inclusion_probability"].to_list() == [0.5]


def test_of_two_visits_for_one_grid_point_the_last_stands_and_no_silence_before_is_forgotten() -> None:
    early, late = (record(NOON + k * MINUTE, NOON - DAY, price_usd=float(k), n_missed=2 - k) for k in (1, 2))
    (row,) = seen(late, early).to_dicts()
    assert (row["price_usd"], row["n_missed"]) == (2.0, 1)


def test_of_two_observations_at_one_moment_the_one_that_tells_more_stands() -> None:
    more = record(NOON, NOON - DAY, endpoint="new_pools", answer_id="a", price_usd=1.0, reserve_usd=9.0)
    less = record(NOON, NOON - DAY, endpoint="pools_multi", answer_id="b", price_usd=2.0)
    assert seen(less, more)["price_usd"].to_list() == [1.0]
    same = record(NOON, NOON - DAY, endpoint="new_pools", answer_id="z", price_usd=3.0)
    assert seen(less, same)["price_usd"].to_list() == [2.0]


def test_a_pool_told_twice_in_one_answer_is_one_snapshot() -> None:
    told = record(NOON, NOON - DAY, price_usd=1.0)
    assert seen(told, told | {"place": 1}).height == 1


def test_a_pool_seen_before_its_told_birth_waits_for_the_grid_point_after_it() -> None:
    born = NOON + 4 * MINUTE
    early = record(NOON - MINUTE, born, price_usd=1.0)
    (row,) = seen(early).to_dicts()
    assert (row["event_time"], row["observed_at"]) == (NOON + 5 * MINUTE, NOON - MINUTE)
    (row,) = seen(early, record(NOON + 4.5 * MINUTE, born, price_usd=2.0)).to_dicts()
    assert row["price_usd"] == 2.0


def test_a_pool_is_seen_for_seven_days() -> None:
    born = NOON - 7 * DAY
    assert seen(record(NOON, born)).is_empty()
    assert seen(record(NOON, born + SECOND)).height == 1


def test_only_grid_points_of_the_span_that_are_over_are_given() -> None:
    rows = [record(NOON + n * MINUTE, NOON - DAY) for n in (-1, 1, 6, 11)]
    span = Span(NOON + 5 * MINUTE, NOON + 15 * MINUTE)
    assert seen(*rows, span=span)["event_time"].to_list() == [NOON + 5 * MINUTE, NOON + 10 * MINUTE]
    assert seen(*rows, span=span, now=NOON + 10 * MINUTE - SECOND)["event_time"].to_list() == [NOON + 5 * MINUTE]
    assert seen(*rows, span=span, now=NOON + 10 * MINUTE).height == 2


@pytest.mark.parametrize(
    ("reserve_usd", "minutes"), [(100_001.0, 5), (100_000.0, 15), (9_999.0, 60), (999.0, 240), (None, 240)]
)
def test_the_interval_is_the_tiers_and_a_newborns_is_the_grids(reserve_usd: float | None, minutes: int) -> None:
    assert one(reserve_usd=reserve_usd)["interval_minutes"] == minutes
    born = NOON - HOUR
    young = seen(record(NOON, born + SECOND, reserve_usd=reserve_usd), record(NOON, born, "q", reserve_usd=reserve_usd))
    assert young.sort("pool")["interval_minutes"].to_list() == [5, minutes]


def test_the_price_in_quote_tokens_is_the_exact_quotient_where_it_can_be() -> None:
    tiny = {"price_usd": 3e-11, "quote_price_usd": 300.0}
    assert one(price_quote=0.0, **tiny)["price_quote"] == 3e-11 / 300
    assert one(price_quote=7.0, price_usd=3e-11)["price_quote"] == 7.0
    assert one(price_quote=7.0, price_usd=0.0, quote_price_usd=300.0)["price_quote"] == 7.0
    assert one(price_quote=7.0, price_usd=1.0, quote_price_usd=0.0)["price_quote"] == 7.0
    assert one(price_quote=None, price_usd=1e300, quote_price_usd=1e-300)["price_quote"] is None
    assert one(price_usd=1.0)["price_quote"] is None


def test_what_was_not_told_is_null_and_never_zero() -> None:
    row = one()
    assert {row[c.name] for c in SNAPSHOTS.columns if c.nullable} == {None}
    row = one(n_buys_m5=0, volume_h24_usd=0.0, price_change_h1_pct=0.0)
    assert (row["n_buys_m5"], row["volume_h24_usd"], row["price_change_h1_pct"]) == (0, 0.0, 0.0)


def test_a_longer_window_that_saw_less_than_a_shorter_one_is_null() -> None:
    row = one(volume_m5_usd=5.0, volume_h1_usd=4.0, volume_h6_usd=4.5, volume_h24_usd=6.0)
    assert [row[f"volume_{w}_usd"] for w in ("m5", "h1", "h6", "h24")] == [5.0, None, None, 6.0]
    row = one(n_buys_m5=None, n_buys_h1=3, n_buys_h6=None, n_buys_h24=2, n_sells_h1=1, n_sells_h24=1)
    assert [row[f"n_buys_{w}"] for w in ("m5", "h1", "h6", "h24")] == [None, 3, None, None]
    assert [row[f"n_sells_{w}"] for w in ("m5", "h1", "h6", "h24")] == [None, 1, None, 1]
    row = one(volume_m5_usd=5.0, volume_h1_usd=5.0 * (1 - 1e-12))
    assert row["volume_h1_usd"] == 5.0 * (1 - 1e-12)


def test_pools_of_other_sources_and_networks_are_not_confused() -> None:
    here = record(NOON, NOON - DAY, price_usd=1.0)
    found = seen(here, here | {"network": "base", "price_usd": 2.0}, here | {"source": "recording:x"})
    assert found.height == 3


def test_no_records_give_an_empty_table() -> None:
    assert_frame_equal(observed_snapshots(RAW_POOLS.empty(), SPAN, LATER, SPEC), SNAPSHOTS.empty())


AMOUNTS = st.none() | st.sampled_from([0.0, 1.0, 2.0, 3.0, 1e4])
COUNTS = st.none() | st.integers(0, 4)
WINDOWS = ("m5", "h1", "h6", "h24")


@st.composite
def records(draw: st.DrawFn) -> dict[str, object]:
    at = NOON + draw(st.integers(0, 1500)) * SECOND
    born = at - draw(st.sampled_from([-299, -1, 0, 1, 3599, 3600, 604_799, 604_800])) * SECOND
    told = {f"volume_{w}_usd": draw(AMOUNTS) for w in WINDOWS} | {f"n_buys_{w}": draw(COUNTS) for w in WINDOWS}
    told |= {n: draw(AMOUNTS) for n in ("price_usd", "quote_price_usd", "price_quote", "reserve_usd", "quote_reserve")}
    endpoint = draw(st.sampled_from(["new_pools", "pools_multi", "pool"]))
    place, answer = draw(st.integers(0, 3)), draw(st.sampled_from(["a", "b"]))
    return record(at, born, draw(st.sampled_from(["p", "q"])), **told) | {
        "endpoint": endpoint, "place": place, "answer_id": f"{answer} {at}",
    }  # fmt: skip


@settings(max_examples=80, deadline=None)  # the machine may be busy; what counts is the answer
@given(st.lists(records(), max_size=12, unique_by=lambda r: (r["pool"], r["answer_id"], r["place"])), st.integers(0, 9))
def test_row_order_and_cutting_the_span_change_nothing_and_the_table_is_kept(rows: list, seed: int) -> None:
    told = frame(*rows)
    span, now = Span(NOON - HOUR, NOON + HOUR), NOON + 20 * MINUTE
    whole = observed_snapshots(told, span, now, SPEC)
    assert_frame_equal(observed_snapshots(told.sample(fraction=1, shuffle=True, seed=seed), span, now, SPEC), whole)
    pieces = []
    for piece in span.pieces(10 * MINUTE):
        needed = piece.widened(back=2 * SPEC.grid)
        given_to_it = told.filter(pl.col("event_time").is_between(needed.start, needed.end, closed="left"))
        pieces.append(observed_snapshots(given_to_it, piece, now, SPEC))
    assert_frame_equal(pl.concat(pieces).sort(SNAPSHOTS.key), whole)
    assert whole.select(SNAPSHOTS.key).is_unique().all()
    assert (whole["observed_at"] <= whole["event_time"]).all()
    assert (whole["created_at"] <= whole["event_time"]).all()


def test_contradicting_windows_pass_the_expectations_of_the_table() -> None:
    told = [record(NOON + n * 5 * MINUTE, NOON - DAY, **{
        f"{p}_{w}{s}": v for p, s in (("volume", "_usd"), ("n_buys", ""), ("n_sells", ""))
        for w, v in zip(WINDOWS, values, strict=True)
    }) for n, values in enumerate([(3, 2, 1, 0), (0, 2, 1, 2), (1, None, 0, 3), (None, 5, 4, None)])]  # fmt: skip
    verdict = validate(SNAPSHOTS, seen(*told))
    assert verdict.is_passed, verdict.in_words()
