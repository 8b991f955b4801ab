from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.errors import UsageError
from pipeline.promotion.alpha import alpha_of
from pipeline.promotion.spec import AlphaSpec


@given(st.floats(0.001, 0.5), st.integers(1, 400), st.floats(0.01, 0.5), st.integers(1, 1_000))
@settings(max_examples=60, deadline=None)
def test_the_shares_of_any_number_of_challengers_stay_within_the_budget(yearly, expected, tail, n):
    spec = AlphaSpec(yearly, expected, tail)
    shares = [alpha_of(k, spec) for k in range(1, n + 1)]
    assert sum(shares) <= yearly * (1 + 1e-12)
    assert all(share > 0 for share in shares)
    assert all(later <= share * (1 + 1e-12) for share, later in pairwise(shares))


def test_the_whole_budget_is_used_in_the_end():
    assert sum(alpha_of(k) for k in range(1, 200_000)) == pytest.approx(0.10, rel=1e-4)


def test_each_of_52_gets_the_same_and_the_next_one_still_something():
    assert [alpha_of(k) for k in range(1, 53)] == pytest.approx([0.09 / 52] * 52)
    assert alpha_of(53) == pytest.approx(0.01 * 52 / (52 * 53))


def test_what_has_no_number_is_refused():
    with pytest.raises(UsageError, match="first of a year is 1"):
        alpha_of(0)


@pytest.mark.parametrize("wrong", [{"yearly": 0.0}, {"yearly": 1.0}, {"n_expected": 0}, {"tail_share": 0.0}])
def test_a_budget_that_cannot_be_shared_is_refused(wrong):
    with pytest.raises(UsageError, match="cannot share"):
        AlphaSpec(**wrong)
