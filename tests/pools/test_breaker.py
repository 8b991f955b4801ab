"""A host that keeps failing is left alone, and tried again by one call at a time."""

from datetime import timedelta

from timers import NOON

from pipeline.pools.breaker import Breaker

REST = timedelta(seconds=30)
SECOND = timedelta(seconds=1)


def opened(failures: int = 3) -> Breaker:
    breaker = Breaker(failures, REST.total_seconds())
    for _ in range(failures):
        breaker.failed(NOON)
    return breaker


def test_calls_go_out_until_so_many_in_a_row_have_failed() -> None:
    breaker = Breaker(3, 30.0)
    for _ in range(10):
        breaker.failed(NOON)
        breaker.failed(NOON)
        assert breaker.held_until(NOON) is None
        breaker.succeeded()
    breaker.failed(NOON)
    breaker.failed(NOON)
    breaker.failed(NOON)
    assert breaker.held_until(NOON) == NOON + REST


def test_after_the_rest_one_trial_goes_out_and_the_others_wait_for_it() -> None:
    breaker = opened()
    assert breaker.held_until(NOON + REST - SECOND) == NOON + REST
    assert breaker.held_until(NOON + REST) is None
    assert breaker.held_until(NOON + REST) == NOON + 2 * REST


def test_a_trial_that_succeeds_closes_it_and_one_that_fails_begins_another_rest() -> None:
    breaker = opened()
    assert breaker.held_until(NOON + REST) is None
    breaker.failed(NOON + REST + SECOND)
    assert breaker.held_until(NOON + 2 * REST) == NOON + 2 * REST + SECOND
    assert breaker.held_until(NOON + 3 * REST) is None
    breaker.succeeded()
    assert breaker.held_until(NOON + 3 * REST) is None
    assert breaker.held_until(NOON + 3 * REST) is None


def test_a_trial_that_is_never_heard_of_again_is_followed_by_another() -> None:
    breaker = opened()
    assert breaker.held_until(NOON + REST) is None
    assert breaker.held_until(NOON + 2 * REST) is None


def test_a_clock_that_jumps_back_does_not_prolong_the_rest() -> None:
    breaker = opened()
    assert breaker.held_until(NOON - timedelta(days=1)) is None
