"""The guard around an application of three lines: any name, any origin, slow and broken clients."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.guard.body import Limits
from pipeline.guard.hosts import AllowedHosts, Authority
from pipeline.guard.judgement import Request, is_graphql, refusal
from pipeline.guard.middleware import Guard

LOOPBACK = {"127.0.0.1", "localhost", "[::1]"}
odd = st.text(st.sampled_from("localhost127.0.0.1[]:@/\\%#?evil.exampl \t\x00\uff0e\u212a"), max_size=30)


async def echo(scope: Any, receive: Any, send: Any) -> None:
    told = await receive()
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": told["body"]})


def answer(receive: Callable[[], Awaitable[dict[str, Any]]], *headers: tuple[bytes, bytes]) -> list[dict[str, Any]]:
    said: list[dict[str, Any]] = []

    async def send(message: Any) -> None:
        said.append(message)

    guard = Guard(echo, AllowedHosts(), limits=Limits(body_bytes=1000, body_seconds=0.2))
    told = [(b"host", b"localhost"), *headers]
    scope = {"type": "http", "method": "POST", "path": "/x", "headers": told}
    asyncio.run(guard(scope, receive, send))
    return said


def parts(*bodies: bytes, pause: float = 0.0, last: str = "http.request") -> Callable[[], Awaitable[dict[str, Any]]]:
    left = list(bodies)

    async def receive() -> dict[str, Any]:
        await asyncio.sleep(pause)
        body = left.pop(0)
        return {"type": "http.request" if left else last, "body": body, "more_body": bool(left)}

    return receive


def test_a_body_arrives_whole() -> None:
    start, body = answer(parts(b"ab", b"", b"c"))
    assert (start["status"], body["body"]) == (200, b"abc")


def test_a_body_that_drips_is_refused_in_time() -> None:
    assert answer(parts(*[b"a"] * 50, pause=0.05))[0]["status"] == 408


def test_a_body_that_is_too_long_is_refused_whatever_it_says() -> None:
    assert answer(parts(*[b"a" * 300] * 9))[0]["status"] == 413
    assert answer(parts(b""), (b"content-length", b"1001"))[0]["status"] == 413
    assert answer(parts(b""), (b"content-length", b"9" * 5000))[0]["status"] == 413


def test_a_client_that_goes_away_is_not_answered() -> None:
    assert answer(parts(b"a", b"", last="http.disconnect")) == []


@given(odd)
def test_whatever_is_let_in_is_one_of_loopbacks_names(host: str) -> None:
    asked = Request("http", "GET", "/", [("host", host)])
    if refusal(asked, AllowedHosts()) is None:
        authority = Authority.parse(host)
        assert authority is not None
        assert authority.host in LOOPBACK


@given(odd, st.sampled_from(["http", "https", "ws", "file", ""]))
def test_whatever_page_is_let_in_was_loaded_from_here(rest: str, scheme: str) -> None:
    asked = Request("http", "POST", "/", [("host", "localhost:3000"), ("origin", f"{scheme}://{rest}")])
    assert refusal(asked, AllowedHosts()) is not None or f"{scheme}://{rest.lower()}" == "http://localhost:3000"


@pytest.mark.parametrize("path", ["/graph", "/graphql/x", "/assets/graphql_table", "/", "", "/%", "/%%%67"])
def test_other_paths_are_not_graphqls(path: str) -> None:
    assert not is_graphql(path)


def test_a_name_over_tls_is_no_name_without() -> None:
    hosts = AllowedHosts.of(["https://a.example", "b.example:8080"])

    def asked(host: str, origin: str) -> bool:
        return refusal(Request("http", "POST", "/", [("host", host), ("origin", origin)]), hosts) is None

    assert asked("a.example", "https://a.example")
    assert asked("a.example:443", "https://a.example")
    assert not asked("a.example", "http://a.example")
    assert asked("b.example:8080", "http://b.example:8080")
    assert not asked("b.example", "http://b.example")
    assert not asked("a.example", "https://b.example:8080")
