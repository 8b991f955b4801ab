"""The UTC grid, spans, and clocks."""

from datetime import UTC, datetime, timedelta, timezone
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.calendars import (
    DAY,
    EPOCH,
    HOUR,
    MINUTE,
    FixedClock,
    Span,
    SystemClock,
    ceil,
    floor,
    require_utc,
    spans_of,
)
from pipeline.errors import UsageError

MOMENTS = st.integers(-(2**32), 2**32).map(lambda s: EPOCH + timedelta(seconds=s, microseconds=s % 997))
STEPS = st.sampled_from([5 * MINUTE, 15 * MINUTE, HOUR, 4 * HOUR, DAY])


@given(MOMENTS, STEPS)
def test_floor_and_ceil_enclose_a_moment_within_one_step(moment: datetime, step: timedelta) -> None:
    low, high = floor(moment, step), ceil(moment, step)
    assert low <= moment <= high
    assert high - low in (timedelta(0), step)
    assert floor(low, step) == low
    assert ceil(high, step) == high


def test_a_naive_time_is_refused() -> None:
    with pytest.raises(UsageError, match="timezone-aware UTC"):
        require_utc(datetime(2024, 3, 1))  # noqa: DTZ001 - the point of the test


def test_a_time_of_another_zone_is_refused_although_it_names_the_same_instant() -> None:
    with pytest.raises(UsageError):
        floor(datetime(2024, 3, 1, tzinfo=timezone(HOUR)), HOUR)


def test_a_span_that_ends_before_it_starts_is_refused() -> None:
    with pytest.raises(UsageError, match="end after it starts"):
        Span(datetime(2024, 3, 2, tzinfo=UTC), datetime(2024, 3, 1, tzinfo=UTC))


@given(st.sets(st.integers(0, 60), max_size=40))
def test_spans_hold_exactly_the_hours_they_were_made_of(numbers: set[int]) -> None:
    start = datetime(2024, 3, 1, tzinfo=UTC)
    hours = [start + n * HOUR for n in numbers]
    spans = spans_of(hours)
    assert [hour for span in spans for hour in span.hours()] == sorted(hours)
    assert all(a.end < b.start for a, b in pairwise(spans))


@given(st.integers(0, 100), st.integers(1, 30))
def test_pieces_tile_a_span_without_gap_or_overlap(length: int, piece: int) -> None:
    start = datetime(2024, 3, 1, tzinfo=UTC)
    pieces = list(Span(start, start + length * HOUR).pieces(piece * HOUR))
    assert sum((p.end - p.start for p in pieces), timedelta(0)) == length * HOUR
    assert all(a.end == b.start for a, b in pairwise(pieces))
    assert all(p.end - p.start <= piece * HOUR for p in pieces)


def test_a_fixed_clock_stands_still_and_the_machines_moves_in_utc() -> None:
    moment = datetime(2020, 9, 8, tzinfo=UTC)
    assert FixedClock(moment).now() is moment
    assert SystemClock().now().utcoffset() == timedelta(0)
    assert SystemClock().now() > moment
