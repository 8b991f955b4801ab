"""The sandbox as an ASGI application: the API under /api/v2, its controls under /sandbox.

Belongs here: what happens to one request, from the budget to the log. Stays out: sockets and processes (`server`).
"""

import json
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from itertools import count
from typing import Final

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from pipeline.calendars import EPOCH
from pipeline.errors import UsageError
from pipeline.guard.hosts import AllowedHosts
from pipeline.guard.middleware import Guard
from pipeline.sandbox.clock import CLOCK_PATH, VirtualClock
from pipeline.sandbox.faults import RECORD_FAULTS, FaultPlan, Faults
from pipeline.sandbox.limits import SlidingWindow
from pipeline.sandbox.market import MICROSECOND, Market
from pipeline.sandbox.planting import Planted, plant, render
from pipeline.sandbox.responses import TRAP_PATH, headers, rate_limited, sound, spoilt
from pipeline.sandbox.wire import Asked, Told, tell

API_PREFIX: Final = "/api/v2"
FAULTS_PATH: Final = "/sandbox/faults"
CALLS_PATH: Final = "/sandbox/calls"
PLANTED_PATH: Final = "/sandbox/planted"
RESET_PATH: Final = "/sandbox/reset-calls"
MARKET_PATH: Final = "/sandbox/market"

_Handler = Callable[[Request], Awaitable[Response]]


@dataclass(frozen=True)
class LoggedCall:
    """One call of the API: its number, virtual time, path under the prefix, status, and the fault it met.

    `is_over_budget`: it was refused because the calls of the last minute had used the budget up.
    """

    number: int
    now: datetime
    path: str
    query: str
    status: int
    user_agent: str | None
    fault: str | None
    is_over_budget: bool


@dataclass(frozen=True)
class PlantedRecord:
    """What was done to one record, in which call's answer."""

    call: int
    now: datetime
    path: str
    planted: Planted


class Sandbox:
    """One market, its clock, its budget, its faults and its log, behind HTTP.

    Args:
        market: what is served.
        clock: the time it is served at.
        plan: what goes wrong.
        calls_per_minute: the budget, on the virtual clock; calls refused because of it do not use it up.

    Raises:
        UsageError: the budget is below one call.
    """

    def __init__(self, market: Market, clock: VirtualClock, plan: FaultPlan, calls_per_minute: int) -> None:
        if calls_per_minute < 1:
            raise UsageError(f"a budget is 1 call a minute or more, found {calls_per_minute!r}")
        self._market, self._clock, self._faults = market, clock, Faults(plan)
        self._budget = SlidingWindow(calls_per_minute)
        self._calls: list[LoggedCall] = []
        self._planted: list[PlantedRecord] = []
        self._numbers = count(1)

    def app(self) -> Starlette:
        """The application. It answers to loopback names only, so that no page of another site can speak to it."""
        routes = [
            Route(API_PREFIX + "/{path:path}", self._answer),
            Route(CLOCK_PATH, self._tell_clock),
            Route(CLOCK_PATH, _safely(self._set_clock), methods=["POST"]),
            Route(FAULTS_PATH, self._tell_faults),
            Route(FAULTS_PATH, _safely(self._set_faults), methods=["POST"]),
            Route(CALLS_PATH, self._tell_calls),
            Route(PLANTED_PATH, self._tell_planted),
            Route(RESET_PATH, self._reset_calls, methods=["POST"]),
            Route(MARKET_PATH, self._tell_market),
            Route(TRAP_PATH, self._spring),
        ]
        return Starlette(routes=routes, middleware=[Middleware(Guard, hosts=AllowedHosts())])

    async def _answer(self, request: Request) -> Response:
        now, number = self._clock.read().now, next(self._numbers)
        moment_us = (now - EPOCH) // MICROSECOND
        head = headers(self._market.source, now)
        wait_s = self._budget.admit(moment_us)
        if wait_s is not None:
            self._log(number, now, request, 429, None, is_over_budget=True)
            return rate_limited(head, wait_s)
        path = request.path_params["path"].strip("/")
        asked = Asked(path, dict(request.query_params), f"{request.url.scheme}://{request.url.netloc}{API_PREFIX}")
        kind, planted, told = self._told(asked, request.url.query, moment_us)
        self._planted += [PlantedRecord(number, now, path, record) for record in planted]
        body = render(told.document)
        if kind is None or kind in RECORD_FAULTS:
            response = sound(told.status, body, head, "gzip" in request.headers.get("accept-encoding", ""))
        else:
            response = spoilt(kind, body, head, self._faults.plan, _elsewhere(request))
        self._log(number, now, request, response.status_code, kind)
        return response

    def _told(self, asked: Asked, query: str, moment_us: int) -> tuple[str | None, list[Planted], Told]:
        """The fault, what it planted, and the answer; a fault that found nothing to spoil was none."""
        told = tell(self._market, moment_us, asked, self._faults.plan.gone)
        kind, rng = self._faults.draw(asked.path, query, told.endpoint)
        if kind not in RECORD_FAULTS:
            return kind, [], told
        if told.status != 200 or told.endpoint is None:
            return None, [], told
        if kind == "swapped_page":
            return self._swapped(asked, told, moment_us)
        planted = plant(kind, told.endpoint, told.document, rng)
        return (kind if planted else None), planted, told

    def _swapped(self, asked: Asked, told: Told, moment_us: int) -> tuple[str | None, list[Planted], Told]:
        page = int(asked.params.get("page", "1"))
        other = page - 1 if page > 1 else page + 1
        instead = replace(asked, params={**asked.params, "page": str(other)})
        answer = tell(self._market, moment_us, instead, self._faults.plan.gone)
        if answer.document["data"] == told.document["data"]:
            return None, [], told
        return "swapped_page", [Planted("swapped_page", "", "", f"page {other}", f"page {page}", "keep")], answer

    def _log(
        self,
        number: int,
        now: datetime,
        request: Request,
        status: int,
        fault: str | None,
        *,
        is_over_budget: bool = False,
    ) -> None:
        path = request.url.path.removeprefix(API_PREFIX + "/")
        agent = request.headers.get("user-agent")
        self._calls.append(LoggedCall(number, now, path, request.url.query, status, agent, fault, is_over_budget))

    async def _tell_clock(self, _request: Request) -> Response:
        return JSONResponse(self._clock.read().as_json())

    async def _set_clock(self, request: Request) -> Response:
        told = json.loads(await request.body())
        if "until" in told:
            self._clock.advance_to(datetime.fromisoformat(told["until"]))
        else:
            self._clock.advance_to(self._clock.read().now + timedelta(seconds=float(told["advance_s"])))
        return await self._tell_clock(request)

    async def _tell_faults(self, _request: Request) -> Response:
        return JSONResponse(self._faults.plan.as_json())

    async def _set_faults(self, request: Request) -> Response:
        self._faults = Faults(FaultPlan.from_json(json.loads(await request.body())))
        return await self._tell_faults(request)

    async def _tell_market(self, _request: Request) -> Response:
        return JSONResponse({"source": self._market.source, "networks": list(self._market.networks)})

    async def _tell_calls(self, _request: Request) -> Response:
        return JSONResponse([asdict(call) | {"now": call.now.isoformat()} for call in self._calls])

    async def _tell_planted(self, _request: Request) -> Response:
        return JSONResponse([asdict(record) | {"now": record.now.isoformat()} for record in self._planted])

    async def _reset_calls(self, _request: Request) -> Response:
        self._calls.clear()
        return JSONResponse([])

    async def _spring(self, request: Request) -> Response:
        """Where a redirect leads: who comes here follows redirects to hosts it was never told of."""
        self._log(next(self._numbers), self._clock.read().now, request, 200, "trap")
        return JSONResponse({"data": []})


def _elsewhere(request: Request) -> str:
    host = "localhost" if request.url.hostname == "127.0.0.1" else "127.0.0.1"
    return f"http://{host}:{request.url.port}{TRAP_PATH}"


def _safely(handler: _Handler) -> _Handler:
    """The handler, with what it cannot understand answered as 400."""

    async def handle(request: Request) -> Response:
        try:
            return await handler(request)
        except (UsageError, ValueError, KeyError, TypeError, OverflowError) as error:
            return JSONResponse({"error": f"{type(error).__name__}: {error}"}, 400)

    return handle
