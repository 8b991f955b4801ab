"""The budget of calls."""

from itertools import accumulate

from hypothesis import given
from hypothesis import strategies as st

from pipeline.sandbox.limits import SECOND_US, SlidingWindow

# Whole seconds, so that calls often fall on the very edge of the window; and not only.
gap = st.one_of(st.sampled_from([0, 1, 5, 10, 30, 59, 60]).map(lambda s: s * SECOND_US), st.integers(0, 70 * SECOND_US))
gaps = st.lists(gap, min_size=1, max_size=60)


@given(gaps=gaps, calls=st.integers(1, 6))
def test_a_call_is_refused_exactly_when_the_last_minute_admitted_as_many_as_it_may(gaps: list[int], calls: int) -> None:
    window, admitted = SlidingWindow(calls), list[int]()
    for moment in accumulate(gaps):
        n_recent = sum(moment - 60 * SECOND_US < earlier <= moment for earlier in admitted)
        wait_s = window.admit(moment)
        assert (wait_s is None) == (n_recent < calls)
        if wait_s is None:
            admitted.append(moment)
        else:
            later = moment + wait_s * SECOND_US
            assert sum(later - 60 * SECOND_US < earlier for earlier in admitted) < calls, "waiting is enough"
            sooner = later - SECOND_US
            assert wait_s == 1 or sum(sooner - 60 * SECOND_US < earlier for earlier in admitted) >= calls
