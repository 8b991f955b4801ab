"""Random small paths against the slow labeller, and what must not matter to a label."""

from dataclasses import replace
from datetime import timedelta

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from label_oracle import expected
from labelled_paths import (
    BAR,
    NETWORK,
    SOURCE,
    START,
    Bar,
    Case,
    candles_of,
    decisions_of,
    label,
    pools_of,
    stills_of,
)
from polars.testing import assert_frame_equal

from pipeline.labels.outcomes import label_outcomes
from pipeline.labels.spec import LabelsSpec
from pipeline.tables import LABELS

SPEC = LabelsSpec(horizons_hours=(1, 3), patience_hours=2)
PRICES = st.sampled_from([0, 1, 19, 20, 21, 49, 50, 51, 70, 71, 95, 96, 100, 105, 106, 130, 131, 200, 201, 10**9])
RESERVES = st.none() | st.sampled_from([0, 4, 5, 9, 10, 11, 100, 500])
MOMENTS = st.integers(0, 100).map(lambda n: START + n * BAR)


@st.composite
def bars(draw: st.DrawFn) -> list[Bar]:
    slots = draw(st.lists(st.integers(0, 60), unique=True, max_size=14))
    drawn = []
    for slot in slots:
        low, close, high = sorted(draw(st.tuples(PRICES, PRICES, PRICES)))
        drawn.append(Bar(slot, low, high, close, draw(RESERVES), draw(st.sampled_from([0, 0, 0, 90, 4000]))))
    return drawn


@st.composite
def cases(draw: st.DrawFn) -> Case:
    return Case(
        bars=draw(bars()),
        slot=draw(st.integers(0, 30)),
        price=draw(st.none() | PRICES),
        reserve=draw(RESERVES),
        watched_until=draw(st.none() | MOMENTS),
        now=draw(MOMENTS),
        stills=draw(st.lists(st.integers(0, 20_000), max_size=2)),
        unit=draw(st.sampled_from([1.0, 0.1, 1e-7, 3.3e18])),
        spec=draw(st.sampled_from([SPEC, replace(SPEC, rug_drained_pct=-95)])),
    )


def assert_as_expected(found: pl.DataFrame, case: Case) -> None:
    rows = pl.DataFrame(expected(case), schema=LABELS.schema)
    assert_frame_equal(found, rows.sort(LABELS.key), rel_tol=1e-9, abs_tol=1e-9)


@settings(max_examples=300, deadline=None)
@given(case=cases())
def test_a_slow_labeller_in_plain_python_says_the_same(case: Case) -> None:
    assert_as_expected(label(case), case)


@settings(max_examples=60, deadline=None)
@given(case=cases(), others=st.lists(cases(), max_size=3), seed=st.integers(0, 99))
def test_other_pools_row_order_and_chunking_change_no_label(case: Case, others: list[Case], seed: int) -> None:
    everyone = [case, *(replace(o, pool=f"0xb{i}") for i, o in enumerate(others))]
    found = label_outcomes(
        pl.concat([decisions_of(c) for c in everyone]).sample(fraction=1, shuffle=True, seed=seed),
        pl.concat([candles_of(c) for c in everyone]).sample(fraction=1, shuffle=True, seed=seed),
        pl.concat([pools_of(c) for c in everyone]).sample(fraction=1, shuffle=True, seed=seed),
        stills_of(case),
        case.now,
        replace(case.spec, decisions_at_once=1),
    )
    assert found.height == len(everyone) * 2
    assert_as_expected(found.filter(pl.col("pool") == case.pool), case)


@settings(max_examples=60, deadline=None)
@given(case=cases(), later=bars())
def test_a_label_does_not_change_when_what_follows_its_horizon_changes(case: Case, later: list[Bar]) -> None:
    stop = case.slot + 36
    before = [b for b in case.bars if b.slot < stop]
    after = [replace(b, slot=b.slot + stop) for b in later]
    assert_frame_equal(label(replace(case, bars=before)), label(replace(case, bars=[*before, *after])))


@settings(max_examples=60, deadline=None)
@given(case=cases(), wait=st.integers(0, 100))
def test_what_is_labelled_from_bars_on_time_stays_labelled_the_same(case: Case, wait: int) -> None:
    punctual = replace(case, bars=[replace(b, late_s=0) for b in case.bars])
    identity = ["pool", "horizon_hours", "outcome", "rug_at", "first_touch", "first_touch_at", "label_known_at"]
    early = label(punctual).filter(pl.col("status") == "labelled").select(identity)
    late = label(replace(punctual, now=case.now + wait * BAR)).select(identity)
    assert_frame_equal(early, late.join(early, on="horizon_hours", how="semi"))


@settings(max_examples=100, deadline=None)
@given(case=cases())
def test_every_row_is_exactly_one_of_labelled_censored_and_pending(case: Case) -> None:
    found = label(case)
    assert found.height == len(SPEC.horizons_hours)
    for row in found.iter_rows(named=True):
        is_labelled, is_censored = row["outcome"] is not None, row["censor_reason"] is not None
        counts = {"labelled": (True, False), "censored": (False, True), "pending": (False, False)}
        assert (is_labelled, is_censored) == counts[row["status"]]
        assert is_labelled == (row["label_known_at"] is not None)
        if is_labelled:
            assert row["label_known_at"] > row["event_time"]
            end = row["event_time"] + timedelta(hours=row["horizon_hours"])
            assert row["outcome"] == "RUG" or row["label_known_at"] >= end


@pytest.mark.parametrize("hours", [1, 6, 24])
def test_bars_of_a_whole_day_are_searched_to_the_last(hours: int) -> None:
    dense = [Bar(s, 100, 100, 100) for s in range(600)]
    last = 7 + hours * 12 - 1
    dense[last] = Bar(last, 10, 100, 100)
    case = Case(bars=dense, slot=7, spec=LabelsSpec(horizons_hours=(hours,)))
    assert_as_expected(label(case), case)
    assert label(case)["outcome"].to_list() == ["RUG"]


def test_sources_and_networks_are_not_confused() -> None:
    case = Case(bars=[Bar(3, 10, 100, 10)])
    elsewhere = candles_of(case).with_columns(network=pl.lit("base"))
    found = label_outcomes(decisions_of(case), elsewhere, pools_of(case), stills_of(case), case.now, case.spec)
    assert found["outcome"].to_list() == ["STABLE"]
    assert found.select("source", "network").row(0) == (SOURCE, NETWORK)
