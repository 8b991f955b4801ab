"""Leaving a host alone that keeps failing.

Belongs here: when to stop asking, and when to try again. Stays out: what counts as a failure (`source`).
"""

import threading
from datetime import datetime, timedelta


class Breaker:
    """Of one host: closed (calls go out), open (none does), half-open (one goes out, to see).

    It opens at `failures` failures in a row, rests `rest_s`, and then lets one trial through: its success closes the
    breaker, its failure opens it for another rest, and where nothing is heard of it for a rest, another trial may go.
    Times are the caller's, UTC. Several threads may share one.

    >>> from datetime import UTC
    >>> noon = datetime(2024, 3, 1, 12, tzinfo=UTC)
    >>> breaker = Breaker(2, 30.0)
    >>> breaker.failed(noon)
    >>> breaker.held_until(noon)
    >>> breaker.failed(noon)
    >>> breaker.held_until(noon).isoformat()
    '2024-03-01T12:00:30+00:00'
    """

    def __init__(self, failures: int, rest_s: float) -> None:
        self._failures, self._rest = failures, timedelta(seconds=rest_s)
        self._lock = threading.Lock()
        self._n_failed = 0
        self._rests_since: datetime | None = None

    def held_until(self, now: datetime) -> datetime | None:
        """Until when a call is held back; None: it may go out, and after a rest it is the trial."""
        with self._lock:
            if self._rests_since is None:
                return None
            until = self._rests_since + self._rest
            # A rest that begins after now was begun before the clock jumped back: it is not waited for.
            if self._rests_since <= now < until:
                return until
            # The trial is out: the others are held for another rest, unless it succeeds before.
            self._rests_since = now
            return None

    def succeeded(self) -> None:
        """A call came back: the host is well."""
        with self._lock:
            self._n_failed, self._rests_since = 0, None

    def failed(self, now: datetime) -> None:
        """A call did not come back, or came back with nonsense."""
        with self._lock:
            self._n_failed += 1
            if self._n_failed >= self._failures:
                self._rests_since = now
