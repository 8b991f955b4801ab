"""Moments that a person types: ISO 8601, and UTC where they name no zone.

Belongs here: reading one, for every option that takes one. Stays out: which moments a command can use.
"""

from datetime import UTC, date, datetime

from pipeline.cli.screen import as_written, err
from pipeline.errors import UsageError


def moment(told: str, option: str) -> datetime:
    """The moment in UTC. An hour without a zone is read as UTC, and that is said: it may have been meant as local time.

    >>> moment("2026-01-31", "--at").isoformat(), moment("2026-01-31T08:00+01:00", "--at").isoformat()
    ('2026-01-31T00:00:00+00:00', '2026-01-31T07:00:00+00:00')

    Raises:
        UsageError: it is none, or in UTC it lies outside of the years 1 to 9999.
    """
    try:
        found = datetime.fromisoformat(told.strip())
        in_utc = found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise UsageError(
            f"{option} takes a day or a moment such as 2026-01-31 or 2026-01-31T08:00Z, found {told!r}"
        ) from error
    if found.tzinfo is None and not is_day(told):
        err.print(as_written(f"{option} {told} names no zone: read as UTC"))
    return in_utc


def is_day(told: str) -> bool:
    """Whether it names a whole day, which here is one of UTC."""
    try:
        date.fromisoformat(told.strip())
    except ValueError:
        return False
    return True
