"""The sandbox's time: the server's clock, and the client's timer that keeps to it.

Belongs here: how virtual time follows from real time, or from nobody but the test. Stays out: everything that happens
in that time.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import httpx2

from pipeline.calendars import require_utc
from pipeline.errors import ServiceError, UsageError

CLOCK_PATH = "/sandbox/clock"


@dataclass(frozen=True)
class Reading:
    """A clock as read: its moment, the machine's monotonic seconds then, its speed (None: it is stepped)."""

    now: datetime
    monotonic: float
    speed: float | None

    def as_json(self) -> dict[str, Any]:
        """The reading for the wire."""
        return {"now": self.now.isoformat(), "monotonic": self.monotonic, "speed": self.speed}

    @classmethod
    def from_json(cls, told: dict[str, Any]) -> "Reading":
        """The reading that `as_json` wrote."""
        return cls(datetime.fromisoformat(told["now"]), told["monotonic"], told["speed"])


def loopback_client() -> httpx2.Client:
    """A client for the sandbox's controls: it asks no proxy, and holds no connection between two calls."""
    return httpx2.Client(timeout=10.0, trust_env=False, limits=httpx2.Limits(max_keepalive_connections=0))


class VirtualClock:
    """The server's clock: it starts at `start` and runs `speed` times as fast as `real`, or only when told to.

    Args:
        start: the first moment, UTC.
        speed: virtual seconds a real second; None: stepped, it stands until it is advanced.
        real: seconds of a clock that never goes back.

    Raises:
        UsageError: the speed is not above zero.
    """

    def __init__(self, start: datetime, speed: float | None, real: Callable[[], float]) -> None:
        if speed is not None and not 0 < speed <= 1e6:
            raise UsageError(f"a clock's speed lies above 0 and up to 1,000,000, found {speed!r}: choose another")
        self._now, self.speed, self._real, self._began = require_utc(start), speed, real, real()

    def read(self) -> Reading:
        """The clock's moment, and the real one beside it."""
        real = self._real()
        if self.speed is None:
            return Reading(self._now, real, None)
        return Reading(self._now + timedelta(seconds=(real - self._began) * self.speed), real, self.speed)

    def advance_to(self, moment: datetime) -> None:
        """Move a stepped clock forward to `moment`; it stays where it is if it is later already.

        Raises:
            UsageError: the clock runs by itself.
        """
        if self.speed is not None:
            raise UsageError(f"the clock runs by itself, {self.speed!r} times as fast: start the sandbox stepped")
        self._now = max(self._now, require_utc(moment))


class SandboxTimer:
    """A sandbox's time, to be waited on: a `pipeline.calendars.Timer` for whoever talks to the sandbox at `url`.

    Of a running clock one reading is fetched, and everything else is computed from the machine's monotonic clock,
    which all its processes share. A stepped clock is asked each time; to sleep is to advance it, so that several
    sleepers who began together end together.

    Raises:
        ServiceError: no sandbox answers at `url`.
    """

    def __init__(self, url: str) -> None:
        self._url = url.rstrip("/") + CLOCK_PATH
        self._client = loopback_client()
        self._anchor = self._ask("GET")

    def now(self) -> datetime:
        """The sandbox's present moment."""
        if self._anchor.speed is None:
            return self._ask("GET").now
        passed = (time.monotonic() - self._anchor.monotonic) * self._anchor.speed
        return self._anchor.now + timedelta(seconds=passed)

    def sleep(self, seconds: float) -> None:
        """Come back when `seconds` have passed in the sandbox."""
        if self._anchor.speed is None:
            until = self.now() + timedelta(seconds=max(0.0, seconds))
            self._ask("POST", {"until": until.isoformat()})
        else:
            time.sleep(max(0.0, seconds) / self._anchor.speed)

    def _ask(self, method: str, told: dict[str, str] | None = None) -> Reading:
        try:
            answer = self._client.request(method, self._url, json=told).raise_for_status()
            return Reading.from_json(answer.json())
        except (httpx2.HTTPError, ValueError, KeyError) as error:
            raise ServiceError(f"no sandbox tells its time at {self._url!r} ({error!r}): start one") from error
