"""The sandbox's controls, for a test: its clock, its faults, its log.

Belongs here: the client of the paths under /sandbox. Stays out: the client of the API, which is another stage's, and
the timer (`clock`).
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import httpx2

from pipeline.calendars import require_utc
from pipeline.errors import ServiceError
from pipeline.sandbox.app import (
    CALLS_PATH,
    FAULTS_PATH,
    MARKET_PATH,
    PLANTED_PATH,
    RESET_PATH,
    LoggedCall,
    PlantedRecord,
)
from pipeline.sandbox.clock import CLOCK_PATH, Reading, loopback_client
from pipeline.sandbox.faults import FaultPlan
from pipeline.sandbox.planting import Planted


@dataclass(frozen=True)
class ServedMarket:
    """What a sandbox serves: what its rows say of where they come from, and its networks."""

    source: str
    networks: tuple[str, ...]


class SandboxControl:
    """The controls of the sandbox at `url`.

    Every method raises ServiceError where the sandbox does not answer, or refuses.
    """

    def __init__(self, url: str) -> None:
        self._url = url.rstrip("/")
        self._client = loopback_client()

    def market(self) -> ServedMarket:
        """What is served there."""
        told = self._ask("GET", MARKET_PATH)
        return ServedMarket(str(told["source"]), tuple(told["networks"]))

    def clock(self) -> Reading:
        """What time it is there."""
        return Reading.from_json(self._ask("GET", CLOCK_PATH))

    def advance(self, seconds: float) -> Reading:
        """Move a stepped clock forward."""
        return Reading.from_json(self._ask("POST", CLOCK_PATH, {"advance_s": seconds}))

    def advance_to(self, moment: datetime) -> Reading:
        """Move a stepped clock forward to a moment; it stays where it is if it is later already."""
        return Reading.from_json(self._ask("POST", CLOCK_PATH, {"until": require_utc(moment).isoformat()}))

    def faults(self) -> FaultPlan:
        """The plan of what goes wrong."""
        return FaultPlan.from_json(self._ask("GET", FAULTS_PATH))

    def set_faults(self, plan: FaultPlan) -> None:
        """Replace the plan; its script and its draws begin anew."""
        self._ask("POST", FAULTS_PATH, plan.as_json())

    def calls(self) -> list[LoggedCall]:
        """All calls of the API since the start or the last reset, in the order in which they arrived."""
        told = self._ask("GET", CALLS_PATH)
        return [LoggedCall(**(call | {"now": datetime.fromisoformat(call["now"])})) for call in told]

    def reset_calls(self) -> None:
        """Empty the log of calls; their numbers go on, and what was planted stays told."""
        self._ask("POST", RESET_PATH)

    def planted(self) -> list[PlantedRecord]:
        """Everything that was ever done to a record."""
        return [
            PlantedRecord(told["call"], datetime.fromisoformat(told["now"]), told["path"], Planted(**told["planted"]))
            for told in self._ask("GET", PLANTED_PATH)
        ]

    def _ask(self, method: str, path: str, told: Any = None) -> Any:
        try:
            answer = self._client.request(method, self._url + path, json=told)
            if answer.status_code >= 400:
                raise ServiceError(f"the sandbox at {self._url!r} refused {method} {path!r}: {answer.text[:500]!r}")
            return answer.json()
        except (httpx2.HTTPError, ValueError) as error:
            raise ServiceError(f"no sandbox answers at {self._url + path!r} ({error!r}): start one") from error
