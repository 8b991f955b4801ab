"""Whether the clock that dates our rows can be right, by what an answer says of the time.

Belongs here: reading `Date` (RFC 9110, 6.6.1) and `Age` (RFC 9111, 5.1), and holding them against our clock. Stays out:
waiting as a server asks (`judging`), and what happens to a cycle whose clock is wrong (`collector`).
"""

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Final

from pipeline.errors import InputError
from pipeline.pools.answer import Answer

_MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_DATE: Final = re.compile(
    r"(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun), ([0-9]{2}) ([A-Z][a-z]{2}) ([0-9]{4}) ([0-9]{2}):([0-9]{2}):([0-9]{2}) GMT"
)
"""What a server must write. Who writes anything else, or two dates, may not know the time either."""

_SECONDS: Final = re.compile(r"[0-9]{1,9}")


def require_right_clock(answer: Answer, headers: Mapping[str, str], tolerance_s: float, asked_for: str) -> None:
    """Refuse an answer that says our clock is wrong: everything we know is filed by when we learned it.

    The server made the answer between our asking and its arrival, however long that took, or a cache gave us one that
    was made its `Age` before: so long may its date lie before our asking. An answer whose date is not there, or cannot
    be read, says nothing.

    Args:
        answer: when it was asked for and when it came, on our clock.
        headers: it came with; names in lower case.
        tolerance_s: how far the two may lie apart.
        asked_for: the address, as a message may show it.

    Raises:
        InputError: our clock and the date lie further apart.
    """
    dated = date_of(headers.get("date", ""))
    if dated is None:
        return
    told = headers.get("age", "").strip()
    age = timedelta(seconds=int(told)) if _SECONDS.fullmatch(told) else timedelta(0)
    apart = max(answer.asked_at - dated - age, dated - answer.answered_at)
    if apart <= timedelta(seconds=tolerance_s):
        return
    raise InputError(
        f"asked for {asked_for}: when it was answered, our clock said {_shown(answer.answered_at)!r}, the answer is "
        f"dated {_shown(dated)!r} (UTC), {timedelta(seconds=round(apart.total_seconds()))} apart where "
        f"{timedelta(seconds=tolerance_s)} are allowed. It was not kept, as it would be filed under a wrong time: "
        "set this machine's clock (NTP does) and collect again. If it is right, a proxy gives old answers; and a "
        "sandbox's own clock counts where it is named as one (--sandbox, POOLCAST_SANDBOX_URL)"
    )


def date_of(told: str) -> datetime | None:
    """The moment that a `Date` header tells, UTC; None where it tells none as it must be told.

    >>> date_of("Fri, 01 Mar 2024 12:00:00 GMT")
    datetime.datetime(2024, 3, 1, 12, 0, tzinfo=datetime.timezone.utc)
    >>> date_of("Fri, 31 Feb 2024 12:00:00 GMT")
    >>> date_of("Fri, 01 Mar 2024 12:00:00 +0100")
    """
    # Not `email.utils`, which reads much that is no such date, and takes the year 0 for 2000.
    found = _DATE.fullmatch(told.strip())
    if found is None:
        return None
    day, month, year, hour, minute, second = found.groups()
    try:
        place = _MONTHS.index(month) + 1
        return datetime(int(year), place, int(day), int(hour), int(minute), int(second), tzinfo=UTC)
    except ValueError:  # no such month, day or hour
        return None


def _shown(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S}"
