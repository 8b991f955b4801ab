"""The vectorised sampler against the slow one, and a span against its pieces."""

import math
from datetime import timedelta

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal
from snapshot_oracle import BIRTH, PRICE_USD, WINDOWS, chained, pool_frame, snapshots_of, update_frame

from pipeline.calendars import DAY, HOUR, MINUTE, Span
from pipeline.snapshots.recorded import take_snapshots
from pipeline.snapshots.spec import SnapshotsSpec

SPEC = SnapshotsSpec()
WHOLE = Span(BIRTH - DAY, BIRTH + 9 * DAY)

# Reserves around every tier's bounds, exactly on them too, and none at all.
AMOUNTS = st.sampled_from([0.0, 1e-18, 0.5, 1.0, 4 / 3, 2.0, 13.0, 40 / 3, 14.0, 133.0, 400 / 3, 134.0, 5e4])
GAPS = st.sampled_from([0.0, 0.1, 3.0, 5.0, 5.9, 47.0, 60.0, 241.0, 1440.0, 3000.0])
HISTORIES = st.lists(st.tuples(GAPS, AMOUNTS, AMOUNTS), min_size=0, max_size=12)
BIRTHS = st.sampled_from([0.0, 0.9, 10.9, 130.9, 250.0])


def told(history, born):
    when, states = born, []
    for gap, base, quote in history:
        when += gap * MINUTE
        states.append((when, base, quote))
    return chained(states)


def is_same(found, expected):
    if found is None or expected is None:
        return found is expected
    return math.isclose(found, expected, rel_tol=1e-9, abs_tol=1e-9)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(BIRTHS, HISTORIES), min_size=1, max_size=3), st.sampled_from([PRICE_USD, None]))
def test_snapshots_are_what_a_slow_sampler_sees(market, price):
    pools = {f"p{i}": BIRTH + minutes * MINUTE for i, (minutes, _) in enumerate(market)}
    updates = {f"p{i}": told(history, pools[f"p{i}"]) for i, (_, history) in enumerate(market)}
    found = take_snapshots(update_frame(updates), pool_frame(pools, price), WHOLE, SPEC)
    for pool, born in pools.items():
        expected = snapshots_of(updates[pool], born, price)
        rows = found.filter(pl.col("pool") == pool).to_dicts()
        assert [(r["event_time"], r["interval_minutes"]) for r in rows] == [
            (e["event_time"], e["interval_minutes"]) for e in expected
        ]
        for row, want in zip(rows, expected, strict=True):
            compare(row, want, price)


def compare(row, want, price):
    assert (row["base_reserve"], row["quote_reserve"]) == (want["base"], want["quote"])
    assert is_same(row["price_quote"], want["quote"] / want["base"] if want["base"] else None)
    assert is_same(row["reserve_usd"], None if price is None else 2 * want["quote"] * price)
    for name in WINDOWS:
        told_then = want[name]
        assert is_same(row[f"price_change_{name}_pct"], told_then["change"]), (row["event_time"], name)
        assert is_same(row[f"volume_{name}_usd"], None if price is None else told_then["volume"] * price)
        assert (row[f"n_buys_{name}"], row[f"n_sells_{name}"]) == (told_then["buys"], told_then["sells"])


@settings(max_examples=15, deadline=None)
@given(st.lists(st.tuples(BIRTHS, HISTORIES), min_size=1, max_size=3), st.sampled_from([1, 2, 5, 24]))
def test_a_span_cut_into_pieces_gives_the_rows_of_the_whole(market, hours):
    pools = {f"p{i}": BIRTH + minutes * MINUTE for i, (minutes, _) in enumerate(market)}
    updates = update_frame({f"p{i}": told(history, pools[f"p{i}"]) for i, (_, history) in enumerate(market)})
    span = Span(BIRTH, BIRTH + timedelta(hours=30))
    whole = take_snapshots(updates, pool_frame(pools), span, SPEC)
    pieces = []
    for piece in span.pieces(hours * HOUR):
        needed = piece.widened(back=SPEC.look_back)
        given_to_it = updates.filter(pl.col("event_time").is_between(needed.start, needed.end, closed="left"))
        pieces.append(take_snapshots(given_to_it, pool_frame(pools), piece, SPEC))
    assert_frame_equal(pl.concat(pieces).sort("pool", "event_time"), whole, check_exact=True)


@settings(max_examples=30, deadline=None)
@given(HISTORIES.filter(len), st.integers(0, 11), st.integers(0, 10_000))
def test_updates_later_than_a_snapshot_never_matter(history, kept, seed):
    updates = update_frame({"p0": told(history, BIRTH)})
    cut = updates["event_time"][min(kept, updates.height - 1)]
    known = updates.filter(pl.col("event_time") <= cut)
    now = pl.col("event_time") <= cut
    whole = take_snapshots(
        updates.sample(fraction=1.0, shuffle=True, seed=seed), pool_frame({"p0": BIRTH}), WHOLE, SPEC
    )
    early = take_snapshots(known, pool_frame({"p0": BIRTH}), WHOLE, SPEC)
    assert_frame_equal(whole.filter(now), early.filter(now), check_exact=True)


def test_the_oracle_itself_sees_something():
    updates = chained([(BIRTH, 100.0, 10.0), (BIRTH + MINUTE, 90.0, 11.0)])
    first = snapshots_of(updates, BIRTH, PRICE_USD)[1]
    assert first["h1"]["buys"] == 1
    assert first["h24"]["change"] == pytest.approx((11 / 90) / (10 / 100) * 100 - 100)
