"""Asking the API: politely, patiently, and with no trust in what comes back.

Belongs here: what may be sent, and when (address, key, breaker, budget, pauses). Every answer that arrived is kept
before it is judged, unless our clock is wrong. Stays out: the wire (`transfer`), the verdict on an answer (`judging`)
and on our clock (`clock_check`), which calls there are (`answer`).
"""

import random
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from ipaddress import ip_address
from typing import Final, Self
from urllib.parse import quote, urlencode, urlsplit

import httpx2
from tenacity import RetryCallState, Retrying, retry_if_result

from pipeline.calendars import Timer
from pipeline.errors import PoolcastError, RefusedError, SourceError, UsageError
from pipeline.pools.answer import Answer, Call
from pipeline.pools.breaker import Breaker
from pipeline.pools.budget import Budget
from pipeline.pools.clock_check import require_right_clock
from pipeline.pools.collecting_spec import ClientSpec
from pipeline.pools.judging import Told, judged
from pipeline.pools.transfer import Transferred, Wire

REAL: Final = "geckoterminal"
_REAL_HOSTS: Final = ("geckoterminal.com", "coingecko.com")
_SANDBOX: Final = re.compile(r"recording:[a-z0-9_-]{1,64}|simulation:\d{1,19}", re.ASCII)
_HEADER_NAME: Final = re.compile(r"[A-Za-z0-9-]{1,64}")
_HEADER_VALUE: Final = re.compile(r"[!-~]{1,512}")
_LONGEST_URL: Final = 8_000
_LONGEST_QUOTE: Final = 200


@dataclass(frozen=True)
class Asked:
    """What became of a call: the usable `answer`, or the `error` why there is none; `n_calls` requests were sent.

    `is_absent`: there is none because the API knows no such thing.
    """

    call: Call
    answer: Answer | None
    n_calls: int
    error: PoolcastError | None
    is_absent: bool = False


class Source:
    """One API, asked by any number of threads; a context manager.

    Args:
        base_url: what the calls' paths are appended to; a prefix such as `/api/v2` is part of it.
        timer: the market's clock; pauses are waited for on it.
        budget: of the host, shared with whoever else asks it.
        spec: how patiently.
        seed: of the pauses.
        keep: given each answer that arrived on a right clock, before it is judged; what it raises, `ask` raises.
        api_key: sent in the header `api_key_header` and shown nowhere.

    Raises:
        UsageError: the address or the key makes no sense, or the key would be sent in the clear.
    """

    def __init__(
        self,
        base_url: str,
        *,
        timer: Timer,
        budget: Budget,
        spec: ClientSpec,
        seed: int,
        keep: Callable[[Answer], None],
        api_key: str | None = None,
        api_key_header: str = "x-cg-pro-api-key",
    ) -> None:
        self._base_url, self._host = _checked_address(base_url, has_key=api_key is not None)
        self._timer, self._budget, self._spec, self._keep, self._api_key = timer, budget, spec, keep, api_key
        self._dice = random.Random(seed)  # noqa: S311
        self._breaker = Breaker(spec.breaker_failures, spec.breaker_rest_s)
        headers = {"Accept": "application/json", "User-Agent": f"poolcast/{_version()}"}
        self._wire = Wire(headers | _key_header(api_key_header, api_key), spec)
        self._is_closed = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._is_closed = True
        self._wire.close()

    def ask(self, call: Call, plan: Mapping[str, tuple[float, int]] = {}) -> Asked:
        """Send a call, again where that may help, until there is a usable answer or none is to be had.

        Trouble with the API is not raised but told in the result. `plan` goes into the answer.

        Raises:
            UsageError: the source is closed.
            InputError: an answer's date says that the timer is wrong; it was not kept.
            StorageError: the budget's file is damaged.
        """
        if self._is_closed:
            raise UsageError("cannot ask a source that is closed: ask inside its `with` block")
        try:
            url = self._url(call)
        except RefusedError as error:
            return Asked(call, None, 0, error)
        course = _Course(self._spec, self._timer, self._dice)
        # tenacity, rather than its wrapper stamina, because it lets us wait on another clock than the machine's.
        retrying = Retrying(
            sleep=self._timer.sleep,
            wait=course.pause,
            stop=course.is_over,
            retry=retry_if_result(_is_worth_repeating),
            retry_error_callback=_last,
        )
        told = retrying(self._once, call, url, plan, course)
        return Asked(call, told.answer, course.n_calls, self._error(url, told, course), told.is_absent)

    def _once(self, call: Call, url: str, plan: Mapping[str, tuple[float, int]], course: "_Course") -> Told:
        held_until = self._breaker.held_until(self._timer.now())
        if held_until is not None:
            cause = f" (here: {course.trouble})" if course.trouble else ""
            return Told(f"not asked until {held_until.isoformat()}: too many calls in a row have failed{cause}")
        self._budget.acquire(self._timer)
        asked_at = self._timer.now()
        course.sends(asked_at)
        try:
            got = self._wire.get(url)
        except SourceError as error:
            told = Told(str(error), is_worth_repeating=True)
        else:
            answer = self._answer(call, url, plan, asked_at, got)
            require_right_clock(answer, got.headers, self._spec.clock_tolerance_s, self._shown(url))
            self._keep(answer)
            told = judged(answer, got)
        if told.answer is not None or told.is_refused:
            self._breaker.succeeded()
        else:
            self._breaker.failed(self._timer.now())
        course.trouble = told.trouble
        return told

    def _answer(
        self, call: Call, url: str, plan: Mapping[str, tuple[float, int]], asked_at: datetime, got: Transferred
    ) -> Answer:
        content_type = got.headers.get("content-type")
        return Answer(
            source=who_answered(got.headers.get("x-poolcast-source", ""), self._host),
            call=call,
            url=url,
            asked_at=asked_at,
            answered_at=self._timer.now(),
            status=got.status,
            content_type=None if content_type is None else content_type[:_LONGEST_QUOTE],
            body=got.body,
            plan=dict(plan),
        )

    def _url(self, call: Call) -> str:
        """The address of a call. Its path holds what a chain called itself, so nothing of it may leave its segment."""
        segments = call.path.split("/")
        try:
            path = "/".join(quote(segment, safe=":,") for segment in segments)
            query = urlencode(call.params, quote_via=quote)
        except UnicodeEncodeError:
            path = query = ""
        url = f"{self._base_url}/{path}" + (f"?{query}" if query else "")
        if not path or any(segment in {"", ".", ".."} for segment in segments) or len(url) > _LONGEST_URL:
            raise RefusedError(f"cannot ask for {self._shown(call.path)}: no such address can exist; leave it out")
        return url

    def _error(self, url: str, told: Told, course: "_Course") -> PoolcastError | None:
        if told.answer is not None:
            return None
        asked = f"asked for {self._shown(url)}, {course.n_calls} request(s): {self._shown(told.trouble)}"
        if told.is_refused:
            return RefusedError(f"{asked}; check what is asked for, and the key")
        return SourceError(f"{asked}; {course.gave_up or 'it may be tried again later'}")

    def _shown(self, text: str) -> str:
        """What a server, or a chain, told us, as a message may show it: quoted, cut, and without the key."""
        told = text.replace(self._api_key, "***") if self._api_key else text
        return repr(told if len(told) <= _LONGEST_QUOTE else f"{told[:_LONGEST_QUOTE]}...")


def who_answered(told: str, host: str) -> str:
    """The `source` of an answer, by what it told of itself. The real API cannot pass for a sandbox.

    >>> who_answered("simulation:7", "127.0.0.1"), who_answered("simulation:7", "api.geckoterminal.com")
    ('simulation:7', 'geckoterminal')
    >>> who_answered("a sandbox, honestly", "127.0.0.1")
    'geckoterminal'
    """
    is_real = any(f".{host}".endswith(f".{real}") for real in _REAL_HOSTS)
    return told if _SANDBOX.fullmatch(told) and not is_real else REAL


class _Course:
    """The course of one call: how long it may go on."""

    def __init__(self, spec: ClientSpec, timer: Timer, dice: random.Random) -> None:
        self._spec, self._timer, self._dice = spec, timer, dice
        self._began: datetime | None = None
        self.n_calls = 0
        self.trouble = ""
        self.gave_up = ""

    def sends(self, now: datetime) -> None:
        """A request goes out. Patience begins with the first: waiting for the budget is no trouble of the API's."""
        self.n_calls += 1
        self._began = self._began or now

    def pause(self, state: RetryCallState) -> float:
        """Seconds until the next request: up to a bound that doubles, and no less than the server asks for."""
        bound = min(self._spec.longest_pause_s, self._spec.first_pause_s * 2.0 ** (state.attempt_number - 1))
        return max(_last(state).wait_s, self._dice.uniform(0.0, bound))

    def is_over(self, state: RetryCallState) -> bool:
        """Whether the last request was the last one, because of their number or of the time the next would be sent."""
        if state.attempt_number >= self._spec.attempts:
            self.gave_up = f"gave up after {state.attempt_number} attempts"
            return True
        now = self._timer.now()
        passed = (now - (self._began or now)).total_seconds()
        if passed + state.upcoming_sleep <= self._spec.patience_s:
            return False
        asked = " as the server asks" if _last(state).wait_s else ""
        self.gave_up = (
            f"gave up {passed:.1f} s after the first: waiting another {state.upcoming_sleep:.1f} s{asked} is longer "
            f"than its patience of {self._spec.patience_s} s"
        )
        return True


def _last(state: RetryCallState) -> Told:
    assert state.outcome is not None  # noqa: S101  it is asked for after a request
    told = state.outcome.result()
    assert isinstance(told, Told)  # noqa: S101
    return told


def _is_worth_repeating(told: Told) -> bool:
    return told.is_worth_repeating


def _checked_address(base_url: str, *, has_key: bool) -> tuple[str, str]:
    """The base URL without its last slash, and its host. What is wrong with it is said without showing a secret."""
    try:
        parts, host = urlsplit(base_url), httpx2.URL(base_url).host
        is_whole = parts.scheme in {"http", "https"} and bool(host.encode("idna")) and parts.port != 0
    except (ValueError, httpx2.InvalidURL):
        is_whole = False
    if not is_whole:
        raise UsageError("the base URL is not the address of a web server; give one such as https://HOST/api/v2")
    if "@" in base_url or parts.query or parts.fragment:
        # The host is not named: of 'USER:a@b/c@HOST' it is 'b'.
        raise UsageError("the base URL holds a user, a query or a fragment; give the key as the key")
    if has_key and parts.scheme == "http" and not _is_loopback(host):
        raise UsageError(f"the key would be sent to {host!r} in the clear; give an https address, or no key")
    return base_url.rstrip("/"), host.rstrip(".").lower()


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _key_header(name: str, key: str | None) -> dict[str, str]:
    if not _HEADER_NAME.fullmatch(name):
        raise UsageError(f"the key cannot be sent in a header {name!r}; give letters, digits and hyphens")
    if key is None:
        return {}
    if not _HEADER_VALUE.fullmatch(key):
        raise UsageError("the API key is empty, too long or holds what no header can; check how it was copied")
    return {name: key}


@cache
def _version() -> str:
    try:
        return version("poolcast")
    except PackageNotFoundError:
        return "0"
