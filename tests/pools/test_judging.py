"""No text a server sends about waiting upsets whoever reads it."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st
from timers import NOON

from pipeline.pools.judging import asked_to_wait_s


@given(st.text(max_size=60), st.none() | st.text(max_size=60))
def test_no_text_about_waiting_upsets_it(told: str, date: str | None) -> None:
    assert 0 <= asked_to_wait_s(told, date, NOON) < 1e12


@given(st.integers(0, 4_000_000_000), st.integers(-1000, 1000))
def test_moments_are_read_relative_to_the_servers_date_or_to_now(unix: int, seconds: int) -> None:
    now = datetime.fromtimestamp(unix, UTC)
    form = "%a, %d %b %Y %H:%M:%S GMT"
    until = (now + timedelta(seconds=seconds)).strftime(form)
    assert asked_to_wait_s(until, now.strftime(form), NOON) == max(0, seconds)
    assert asked_to_wait_s(until, "sometime", now) == max(0, seconds)
