"""Sharing and drawing: the arithmetic under the sampler."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.pools.draws import draw_systematically, share_out

SIZES = st.lists(st.floats(1e-3, 1e6) | st.just(0.0), min_size=1, max_size=40)


@given(SIZES, st.data())
def test_shares_add_up_stay_under_their_caps_and_are_proportional_where_no_cap_holds(
    sizes: list[float], data: st.DataObject
) -> None:
    size = np.array(sizes)
    caps = np.array(data.draw(st.lists(st.integers(1, 9), min_size=len(sizes), max_size=len(sizes))), float)
    room = caps[size > 0].sum()
    total = data.draw(st.floats(0, 1.5 * float(room) + 1))
    shares = share_out(total, size, caps)
    assert shares.sum() == pytest.approx(min(total, room), rel=1e-9)
    assert (shares <= caps).all()
    assert (shares[size == 0] == 0).all()
    free = (shares < caps * (1 - 1e-9)) & (size > 0)
    if free.any() and total > 0:
        rate = shares[free] / size[free]
        assert rate == pytest.approx(np.full(rate.shape, rate[0]), rel=1e-6)
        full = ~free & (size > 0)
        assert (size[full] * rate[0] >= caps[full] * (1 - 1e-6)).all()


def test_when_everything_fits_each_share_is_exactly_its_cap() -> None:
    shares = share_out(12.0, np.array([230.62, 1.35, 14.6, 15.25]), np.full(4, 3.0))
    assert shares.tolist() == [3.0, 3.0, 3.0, 3.0]


@given(st.lists(st.floats(0, 3), min_size=1, max_size=30), st.floats(0, 1, exclude_max=True))
def test_a_draw_rounds_each_expectation_up_or_down_and_never_misses_the_total(
    expected: list[float], start: float
) -> None:
    whole = np.array(expected)
    whole = np.append(whole, np.ceil(whole.sum()) - whole.sum())
    counts = draw_systematically(whole, start)
    assert counts.sum() == np.rint(whole.sum())
    assert (counts >= np.floor(whole - 1e-9)).all()
    assert (counts <= np.ceil(whole + 1e-9)).all()


def test_over_all_starts_each_is_drawn_as_often_as_expected() -> None:
    expected = np.array([0.25, 1.7, 0.0, 0.05, 1.0])
    starts = (np.arange(10_000) + 0.5) / 10_000
    mean = np.mean([draw_systematically(expected, start) for start in starts], axis=0)
    assert mean == pytest.approx(expected, abs=1e-3)


def test_the_last_mark_is_drawn_even_where_the_sum_falls_short_by_rounding() -> None:
    assert draw_systematically(np.full(10, 0.1), float(np.nextafter(1, 0))).sum() == 1


def test_nothing_is_drawn_from_nothing() -> None:
    assert draw_systematically(np.empty(0), 0.3).size == 0
    assert share_out(5.0, np.empty(0), np.empty(0)).size == 0
