"""What an answer is worth: usable, refused for good, or to be asked for again, and when.

Belongs here: reading statuses, types and `Retry-After`. Stays out: sending again (`source`), and what a usable answer
says (`parse`).
"""

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Final

import orjson

from pipeline.pools.answer import Answer

if TYPE_CHECKING:
    from pipeline.pools.transfer import Transferred  # the journal needs no HTTP client

_JSON: Final = re.compile(r"application/([a-z0-9.-]+\+)?json", re.ASCII)
_SECONDS: Final = re.compile(r"[0-9]{1,9}")
_MAY_PASS: Final = frozenset({408, 425, 429})
"""The statuses of 400 to 499 that say "not now" rather than "never"."""

_NOT_FOUND: Final = 404


@dataclass(frozen=True)
class Told:
    """What one request came to; one that is neither an answer nor refused is a failure.

    `is_absent`: it was refused because the API knows no such thing.
    """

    trouble: str = ""
    answer: Answer | None = None
    is_refused: bool = False
    is_absent: bool = False
    is_worth_repeating: bool = False
    wait_s: float = 0.0


def judged(answer: Answer, got: "Transferred") -> Told:
    """What `answer` is worth; `got` is what it was made of."""
    status = answer.status
    if 200 <= status < 300:
        trouble = got.trouble or _nonsense(answer.content_type, answer.body)
        return Told(answer=answer) if trouble is None else Told(f"status {status}, {trouble}", is_worth_repeating=True)
    if 300 <= status < 400:
        place = got.headers.get("location", "")
        return Told(f"status {status}, not followed, so check the base URL; it points to {place}")
    if 400 <= status < 500 and status not in _MAY_PASS:
        words = f"status {status}, {answer.body[:1000].decode(errors='replace')}"
        return Told(words, is_refused=True, is_absent=status == _NOT_FOUND)
    wait_s = asked_to_wait_s(got.headers.get("retry-after"), got.headers.get("date"), answer.answered_at)
    return Told(f"status {status}", is_worth_repeating=True, wait_s=wait_s)


def is_usable(status: int, content_type: str | None, body: bytes) -> bool:
    """Whether an answer that was kept is one, as `judged` has it of one that arrived.

    >>> is_usable(200, "application/json", b'{"data": []}'), is_usable(200, "application/json", b'{"data": [')
    (True, False)
    """
    return 200 <= status < 300 and _nonsense(content_type, body) is None


def _nonsense(content_type: str | None, body: bytes) -> str | None:
    """Why a whole body cannot be an answer of the API; None: it can."""
    kind = (content_type or "").split(";")[0].strip().lower()
    if not _JSON.fullmatch(kind):
        return f"of type {content_type} where JSON was asked for"
    try:
        told = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        return f"not JSON: {error}"
    return None if isinstance(told, dict) and "data" in told else "JSON without `data`"


def asked_to_wait_s(retry_after: str | None, date: str | None, now: datetime) -> float:
    """Seconds that `Retry-After` asks to wait; 0 where it says nothing we can read.

    A moment is meant on the server's clock, which `date` tells; `now` stands in for it.

    >>> asked_to_wait_s("30", None, datetime(2024, 3, 1, tzinfo=UTC))
    30.0
    >>> asked_to_wait_s("Fri, 01 Mar 2024 00:01:00 GMT", None, datetime(2024, 3, 1, tzinfo=UTC))
    60.0
    """
    told = (retry_after or "").strip()
    if _SECONDS.fullmatch(told):
        return float(told)
    until = _moment(told)
    return 0.0 if until is None else max(0.0, (until - (_moment(date or "") or now)).total_seconds())


def _moment(told: str) -> datetime | None:
    try:
        moment = parsedate_to_datetime(told)
        # A date without a zone is one in GMT: HTTP knows no other.
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, TypeError, OverflowError, IndexError):
        return None
