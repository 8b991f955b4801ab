"""The moments at which a replay in steps stops."""

from datetime import UTC, datetime, timedelta

import pytest

from pipeline.calendars import Span
from pipeline.errors import UsageError
from pipeline.replay import moments_of

BEGIN = datetime(2020, 9, 8, 17, tzinfo=UTC)
SPAN = Span(BEGIN, BEGIN + timedelta(days=10))


def test_moments_are_whole_hours_rise_and_end_with_the_recording() -> None:
    found = moments_of(SPAN, timedelta(days=1.01), timedelta(days=2.03))
    assert found == sorted(set(found))
    assert found[-1] == SPAN.end
    assert all(moment.minute == 0 for moment in found)
    assert found[0] == BEGIN + timedelta(hours=25)


@pytest.mark.parametrize(("first", "every"), [(0.01, 1), (1, 0.01), (11, 1)])
def test_steps_that_lead_nowhere_are_refused(first: float, every: float) -> None:
    with pytest.raises(UsageError, match="cannot step"):
        moments_of(SPAN, timedelta(days=first), timedelta(days=every))
