"""Windows of pools nobody vouches for, judged by observations of their reserve."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from label_oracle import expected
from labelled_paths import BAR, START, Bar, Case, Sight, label
from polars.testing import assert_frame_equal

from pipeline.expectations.bands import OutcomeBands
from pipeline.expectations.verdict import validate
from pipeline.labels.spec import LabelsSpec
from pipeline.tables import LABELS

SPEC = LabelsSpec(horizons_hours=(1, 3), patience_hours=6)
PRICES = st.sampled_from([1, 19, 20, 49, 50, 70, 95, 100, 100, 100, 106, 130, 201])
RESERVES = st.sampled_from([0, 9, 10, 11, 100, 100, 100, 100, 500])
HOUR = timedelta(hours=1)


@st.composite
def sights(draw: st.DrawFn) -> list[Sight]:
    step = draw(st.sampled_from([1, 3, 6, 7]))
    slots = [s for s in range(step, 60, step) if draw(st.integers(0, 9)) > 0]
    calm = draw(st.booleans())
    price, reserve = (st.just(100), st.just(100)) if calm else (st.none() | PRICES, st.none() | RESERVES)
    return [Sight(s, draw(price), draw(reserve), draw(st.sampled_from([None, True, False]))) for s in slots]


@st.composite
def cases(draw: st.DrawFn) -> Case:
    drawn = []
    for slot in draw(st.lists(st.integers(0, 50), unique=True, max_size=10)):
        low, close, high = sorted(draw(st.tuples(PRICES, PRICES, PRICES)))
        reserve = draw(st.none() | st.none() | RESERVES)
        drawn.append(Bar(slot, low, high, close, reserve, draw(st.sampled_from([0, 0, 90, 4000]))))
    return Case(
        bars=drawn,
        slot=draw(st.integers(0, 20)),
        watched_until=draw(st.sampled_from([None, None, None, START + 3 * HOUR])),
        now=START + draw(st.integers(0, 180)) * BAR,
        stills=draw(st.sampled_from([(), (), (5000,)])),
        sights=draw(sights()),
        asks=draw(st.sampled_from([5, 5, 15, 60])),
        quote_usd=draw(st.sampled_from([0.5, 2.0, 300.0])),
        unit=draw(st.sampled_from([1.0, 0.1, 1e-7, 1e6])),
        spec=draw(st.sampled_from([SPEC, replace(SPEC, rug_drained_pct=-95)])),
    )


def assert_as_expected(case: Case) -> None:
    rows = pl.DataFrame(expected(case), schema=LABELS.schema)
    assert_frame_equal(label(case), rows.sort(LABELS.key), rel_tol=1e-9, abs_tol=1e-7)


@settings(max_examples=200, deadline=None)
@given(case=cases())
def test_a_slow_watcher_in_plain_python_says_the_same(case: Case) -> None:
    assert_as_expected(case)


@settings(max_examples=200, deadline=None)
@given(case=cases())
def test_no_label_breaks_what_its_table_promises_however_late_its_bars_were_told(case: Case) -> None:
    verdict = validate(LABELS, label(case), bands=OutcomeBands.of(case.spec))
    assert verdict.is_passed, verdict.in_words()


def test_a_peak_and_a_touch_are_dated_by_when_they_were_and_not_by_when_they_were_told() -> None:
    told_late = Bar(4, 100, 140, 104, reserve_low=None, late_s=4000)
    found = row_of(watched(every(1), [told_late]))
    assert found["peak_at"] == found["first_touch_at"] == START + 5 * BAR
    assert found["path_known_at"] == told_late.known_at


def every(step: int, *, until: int = 12, **state: object) -> list[Sight]:
    return [Sight(s, **state) for s in range(step, until + 1, step)]  # type: ignore[arg-type]


def watched(seen: Sequence[Sight], bars: Sequence[Bar] = (), **more: object) -> Case:
    return Case(sights=seen, bars=bars, watched_until=None, **more)  # type: ignore[arg-type]


def row_of(case: Case) -> dict[str, object]:
    assert_as_expected(case)
    return label(case).row(0, named=True)


def test_a_quiet_pool_that_was_seen_all_the_time_is_stable_and_known_at_the_horizon() -> None:
    found = row_of(watched(every(1)))
    assert (found["outcome"], found["label_known_at"]) == ("STABLE", START + HOUR)
    blind = Bar(4, 100, 120, 104, reserve_low=None)
    assert row_of(watched(every(1), [blind]))["return_peak_pct"] == pytest.approx(20)


def test_a_drain_with_the_price_down_by_half_is_a_rug_since_its_observation() -> None:
    drained = [*every(1, until=5), *[Sight(s, 49, 9) for s in range(6, 13)]]
    found = row_of(watched(drained))
    assert (found["outcome"], found["rug_kind"]) == ("RUG", "drained")
    assert found["rug_at"] == found["label_known_at"] == START + 6 * BAR


def test_a_drain_is_judged_with_the_price_of_the_bar_it_falls_into() -> None:
    drained = [*every(1, until=5), Sight(6, 51, 9), *every(1, until=12)[6:]]
    assert row_of(watched(drained))["outcome"] == "STABLE"
    bar = Bar(5, 49, 60, 51, reserve_low=None, late_s=70)
    assert row_of(watched(drained, [bar]))["rug_at"] == bar.known_at


def test_a_reserve_told_in_usd_is_a_drain_as_one_told_in_tokens_is_and_a_dead_pool_holds_nothing() -> None:
    dead = [*every(1, until=5), *[Sight(s, None, 0) for s in range(6, 13)]]
    assert row_of(watched(dead))["censor_reason"] == "no_observation_at_horizon"
    assert row_of(watched(dead, [Bar(5, 49, 60, 51, reserve_low=None)]))["rug_kind"] == "drained"
    assert row_of(watched([*every(1, until=5), Sight(6, 20, 0)]))["rug_kind"] == "drained"


@pytest.mark.parametrize(("missing", "is_labelled"), [(5, True), (6, False)])
def test_a_longer_gap_than_half_the_horizon_hides_what_a_shorter_one_shows(missing: int, *, is_labelled: bool) -> None:
    gap = [s for s in every(1) if not 3 < s.slot <= 3 + missing]
    found = row_of(watched(gap))
    assert found["censor_reason"] == (None if is_labelled else "reserve_not_observed")
    rug_before, rug_after = ([replace(s, price=10) if s.slot == at else s for s in gap] for at in (3, 11))
    assert row_of(watched(rug_before))["outcome"] == "RUG"
    assert row_of(watched(rug_after))["outcome"] == ("RUG" if is_labelled else None)


def test_a_pool_that_the_sampler_would_not_look_at_often_enough_is_censored_rug_or_not() -> None:
    rug = [Sight(1, 1, 0)]
    for seen in (rug, every(1)):
        assert row_of(watched(seen, asks=15))["status"] == "labelled"
        assert row_of(watched(seen, asks=16))["censor_reason"] == "seen_too_rarely"
        assert row_of(watched([replace(s, slot=s.slot + 1) for s in seen], slot=2, asks=15))["censor_reason"] == (
            "seen_too_rarely"
        )


def test_a_pool_that_stopped_answering_is_a_rug_if_it_was_drained_once_patience_has_run_out() -> None:
    patience = START + 4 * BAR + 8 * HOUR
    drained = watched([*every(1, until=3), Sight(4, 90, 9)])
    assert row_of(replace(drained, now=patience))["status"] == "pending"
    found = row_of(replace(drained, now=patience + BAR))
    assert (found["outcome"], found["rug_kind"], found["label_known_at"]) == ("RUG", "drained", patience)
    assert (found["return_end_pct"], found["first_touch"]) == (None, None)
    sound, bars_are_told = watched(every(1, until=4)), START + timedelta(hours=27)
    assert row_of(replace(sound, now=bars_are_told))["status"] == "pending"
    assert row_of(replace(sound, now=bars_are_told + BAR))["censor_reason"] == "stopped_answering"
    assert row_of(sound)["censor_reason"] == "stopped_answering"
    answered = watched([*every(1, until=3), Sight(4, 90, 9), Sight(96, 90, 9)])
    assert row_of(answered)["censor_reason"] == "no_observation_at_horizon"


def test_the_resolution_is_that_of_the_coarsest_stretch_in_which_somebody_traded_between_bars() -> None:
    assert row_of(watched(every(3, is_quiet=False)))["touch_resolution_s"] == 900
    assert row_of(watched(every(1, is_quiet=None)))["touch_resolution_s"] == 300
    bars = [Bar(s, 100, 100, 100, reserve_low=None) for s in range(12)]
    assert row_of(watched(every(3), bars))["touch_resolution_s"] == 300
    assert row_of(watched(every(3), bars[1:]))["touch_resolution_s"] == 900


def test_a_source_that_vouches_is_judged_by_its_bars_alone() -> None:
    vouched = replace(watched(every(1), [Bar(2, 100, 100, 100, reserve_low=None)]), watched_until=START + 9 * HOUR)
    assert row_of(vouched)["censor_reason"] == "reserve_not_observed"
