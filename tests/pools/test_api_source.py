"""What may be sent goes out in its time, what came is kept and judged, and no secret and no request goes astray."""

import json
import logging
from datetime import timedelta
from pathlib import Path

import pytest
from misbehaving_server import (
    GOOD,
    MisbehavingServer,
    echo,
    head,
    raw,
    reply,
    reset,
)
from source_bench import CALL, KEY, SPEC, Bench, usable
from timers import NOON, VirtualTimer

from pipeline.errors import RefusedError, SourceError, StorageError, UsageError
from pipeline.pools.answer import Answer, Call, pool
from pipeline.pools.budget import Budget
from pipeline.pools.collecting_spec import ClientSpec
from pipeline.pools.source import Source


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def test_an_answer_is_kept_and_given_as_it_came(bench: Bench) -> None:
    with MisbehavingServer(reply()) as server, bench.source(f"{server.url}/api/v2/") as source:
        asked = source.ask(CALL, {"0xaa": (0.5, 2)})
        assert usable(asked) == Answer(
            source="geckoterminal",
            call=CALL,
            url=f"{server.url}/api/v2/networks/eth/new_pools?include=base_token%2Cquote_token%2Cdex&page=1",
            asked_at=NOON,
            answered_at=NOON,
            status=200,
            content_type="application/json; charset=utf-8",
            body=GOOD,
            plan={"0xaa": (0.5, 2)},
        )
        assert bench.kept == [usable(asked)]
        assert (asked.n_calls, asked.error) == (1, None)
        told = server.requests[0].split("\r\n")
        assert told[0] == "GET /api/v2/networks/eth/new_pools?include=base_token%2Cquote_token%2Cdex&page=1 HTTP/1.1"
        assert {"Accept: application/json", "Accept-Encoding: gzip", f"Host: 127.0.0.1:{server.port}"} <= set(told)
        assert any(line.startswith("User-Agent: poolcast/") for line in told)


@pytest.mark.parametrize(
    ("told", "source"),
    [
        ("simulation:20200908", "simulation:20200908"),
        ("recording:uniswap_v2_2020", "recording:uniswap_v2_2020"),
        ("geckoterminal", "geckoterminal"),
        ("simulation:", "geckoterminal"),
        ("simulation:12345678901234567890", "geckoterminal"),
        ("recording:../lake", "geckoterminal"),
        ("Recording:a", "geckoterminal"),
        ("simulation:1, simulation:1", "geckoterminal"),
    ],
)
def test_only_a_well_formed_sandbox_is_believed_to_be_one(bench: Bench, told: str, source: str) -> None:
    asked, _ = bench.ask(reply(headers={"X-Poolcast-Source": told}))
    assert usable(asked).source == source


@pytest.mark.parametrize("status", [400, 401, 402, 403, 404, 405, 410, 422, 451])
def test_a_refusal_is_kept_and_final(bench: Bench, status: int) -> None:
    asked, server = bench.ask(reply(status, b'{"errors":[{"title":"Not Found"}]}'))
    assert isinstance(asked.error, RefusedError)
    assert f"status {status}" in str(asked.error)
    assert "Not Found" in str(asked.error)
    assert (asked.answer, asked.n_calls, len(server.requests)) == (None, 1, 1)
    assert [answer.status for answer in bench.kept] == [status]


def test_refusals_do_not_open_the_breaker(bench: Bench) -> None:
    with MisbehavingServer(*[reply(404)] * 20, reply()) as server, bench.source(server.url) as source:
        for _ in range(20):
            assert isinstance(source.ask(CALL).error, RefusedError)
        assert source.ask(CALL).error is None


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504, 520, 599])
def test_what_may_pass_is_asked_again_and_every_answer_is_kept(bench: Bench, status: int) -> None:
    asked, _ = bench.ask(reply(status), reply(status), reply())
    assert (usable(asked).status, asked.n_calls) == (200, 3)
    assert [answer.status for answer in bench.kept] == [status, status, 200]
    assert bench.kept[-1] is usable(asked)


def test_it_gives_up_after_its_attempts_and_says_what_it_found(bench: Bench) -> None:
    asked, server = bench.ask(reply(503))
    assert isinstance(asked.error, SourceError)
    assert "3 request(s): 'status 503'; gave up after 3 attempts" in str(asked.error)
    assert (asked.n_calls, len(server.requests), len(bench.kept)) == (3, 3, 3)


def test_pauses_are_drawn_from_the_seed_under_a_bound_that_doubles_and_waited_for_on_the_timer(tmp_path: Path) -> None:
    spec = ClientSpec(attempts=8, first_pause_s=1.0, longest_pause_s=4.0, patience_s=1000.0, breaker_failures=99)
    pauses = []
    for seed in (1, 1, 2):
        bench = Bench(tmp_path)
        with MisbehavingServer(reply(500)) as server, bench.source(server.url, spec, seed=seed) as source:
            source.ask(CALL)
        pauses.append(bench.timer.slept)
    assert pauses[0] == pauses[1] != pauses[2]
    for slept in pauses:
        assert len(slept) == 7
        assert all(0 <= pause <= bound for pause, bound in zip(slept, (1, 2, 4, 4, 4, 4, 4), strict=True))
        assert max(slept) > 1


def test_it_waits_as_long_as_the_server_asks(bench: Bench) -> None:
    asked, _ = bench.ask(reply(429, headers={"Retry-After": "40"}), reply())
    assert usable(asked).asked_at == NOON + timedelta(seconds=40)
    assert bench.timer.slept == [40.0]


def test_a_moment_to_wait_for_is_meant_on_the_servers_clock(bench: Bench) -> None:
    times = {"Date": "Fri, 01 Mar 2024 12:04:00 GMT", "Retry-After": "Fri, 01 Mar 2024 12:04:45 GMT"}
    bench.ask(reply(503, headers=times), reply())
    assert bench.timer.slept == [45.0]


@pytest.mark.parametrize("told", ["86400", "91"])
def test_it_gives_up_at_once_where_the_server_asks_for_more_than_its_patience(bench: Bench, told: str) -> None:
    asked, server = bench.ask(reply(429, headers={"Retry-After": told}), reply())
    assert isinstance(asked.error, SourceError)
    assert f"{told}.0 s as the server asks is longer than its patience of 90.0 s" in str(asked.error)
    assert (len(server.requests), bench.timer.slept) == (1, [])


def test_patience_bounds_all_pauses_together(bench: Bench) -> None:
    spec = ClientSpec(attempts=100, patience_s=90.0, breaker_failures=100)
    asked, _ = bench.ask(reply(429, headers={"Retry-After": "40"}), spec=spec)
    assert (asked.n_calls, bench.timer.slept) == (3, [40.0, 40.0])


@pytest.mark.parametrize("told", ["soon", "-5", "1e9", "NaN", "0x10", "٣", "Fri, 99 Foo 2024", "9" * 400, "", "1, 2"])
def test_nonsense_about_waiting_is_ignored(bench: Bench, told: str) -> None:
    asked, _ = bench.ask(
        raw(head(429, {"Retry-After": told.encode().decode("latin-1"), "Content-Length": "0", "Connection": "close"})),
        reply(),
    )
    assert asked.n_calls == 2
    assert bench.timer.slept[0] <= SPEC.first_pause_s


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308, 304])
def test_a_redirect_is_kept_and_not_followed(bench: Bench, status: int) -> None:
    with MisbehavingServer(reply()) as elsewhere:
        there = f"{elsewhere.url.replace('127.0.0.1', 'localhost')}/steal?{'x' * 1000}"
        asked, server = bench.ask(reply(status, b"", {"Location": there}))
        assert elsewhere.requests == []
    assert isinstance(asked.error, SourceError)
    assert "not followed" in str(asked.error)
    assert "http://localhost" in str(asked.error)
    assert len(str(asked.error)) < 600
    assert (asked.n_calls, len(server.requests), len(bench.kept)) == (1, 1, 1)


@pytest.mark.parametrize("place", ["http://[", "\xff\xfe", "javascript:alert(1)", "//", "http://a:b@c:99999/"])
def test_a_redirect_to_nowhere_is_kept_like_any_other(bench: Bench, place: str) -> None:
    asked, _ = bench.ask(reply(302, b"", {"Location": place}))
    assert isinstance(asked.error, SourceError)
    assert len(bench.kept) == 1


def test_cookies_are_not_taken(bench: Bench) -> None:
    with MisbehavingServer(reply(headers={"Set-Cookie": "who=you; Path=/"})) as server:
        with bench.source(server.url) as source:
            source.ask(CALL)
            source.ask(CALL)
        assert len(server.requests) == 2
        assert "ookie" not in "".join(server.requests)


def test_an_open_breaker_fails_at_once_and_sends_nothing_until_its_rest_is_over(bench: Bench) -> None:
    spec = ClientSpec(attempts=1, breaker_failures=2, breaker_rest_s=30.0)
    with MisbehavingServer(reply(500), reply(500), reply()) as server, bench.source(server.url, spec) as source:
        source.ask(CALL)
        source.ask(CALL)
        asked = source.ask(CALL)
        assert isinstance(asked.error, SourceError)
        assert "not asked until 2024-03-01T12:00:30+00:00" in str(asked.error)
        assert (asked.n_calls, len(server.requests)) == (0, 2)
        bench.timer.sleep(30)
        assert source.ask(CALL).error is None
        assert source.ask(CALL).error is None


def test_a_breaker_that_opens_in_the_middle_ends_the_call_and_says_why(bench: Bench) -> None:
    asked, server = bench.ask(reply(500), spec=ClientSpec(attempts=9, breaker_failures=2, breaker_rest_s=900.0))
    assert "not asked until" in str(asked.error)
    assert "here: status 500" in str(asked.error)
    assert (asked.n_calls, len(server.requests)) == (2, 2)


def test_repetitions_are_paid_for_from_the_budget(bench: Bench) -> None:
    spec = ClientSpec(attempts=3, budget_window_s=60.0, budget_slack_s=2.0)
    with MisbehavingServer(reply(500), reply()) as server, bench.source(server.url, spec, calls=1) as source:
        asked = source.ask(CALL)
    assert asked.n_calls == 2
    assert usable(asked).asked_at == NOON + timedelta(seconds=62)


def test_an_answer_that_cannot_be_kept_is_not_judged(tmp_path: Path) -> None:
    def full(_: Answer) -> None:
        raise StorageError("no room")

    with (
        MisbehavingServer(reply(500)) as server,
        Budget(tmp_path / "budget", calls=9, spec=SPEC, host="h") as budget,
        Source(server.url, timer=VirtualTimer(), budget=budget, spec=SPEC, seed=0, keep=full) as source,
        pytest.raises(StorageError, match="no room"),
    ):
        source.ask(CALL)


@pytest.mark.parametrize("address", ["..", ".", "", "a/../../steal", "a//b", "\ud800", "x" * 9000, "/steal", "0xaa/"])
def test_an_address_that_cannot_exist_is_refused_without_a_request(bench: Bench, address: str) -> None:
    asked, server = bench.ask(reply(), call=pool("eth", address))
    assert isinstance(asked.error, RefusedError)
    assert len(str(asked.error)) < 400
    assert (asked.n_calls, server.requests) == (0, [])


@pytest.mark.parametrize(
    ("address", "sent"),
    [
        ("0x2::sui::SUI", "0x2::sui::SUI"),
        ("0xaa,0xbb", "0xaa,0xbb"),
        ("a?page=2#top", "a%3Fpage%3D2%23top"),
        ("%2e%2e", "%252e%252e"),
        ("a b\r\nHost: evil", "a%20b%0D%0AHost%3A%20evil".replace("%3A", ":")),
        ("\u202e<b>", "%E2%80%AE%3Cb%3E"),
        ("a\\..\\b", "a%5C..%5Cb"),
        ("@evil.test", "%40evil.test"),
    ],
)
def test_a_hostile_address_stays_in_its_place_and_is_kept_as_sent(bench: Bench, address: str, sent: str) -> None:
    call = Call("pool", "eth", f"networks/eth/pools/{address}")
    asked, server = bench.ask(echo, call=call)
    assert json.loads(usable(asked).body) == {"data": f"/networks/eth/pools/{sent}"}
    assert usable(asked).url == f"{server.url}/networks/eth/pools/{sent}"


def test_the_key_goes_in_its_header_and_nowhere_else(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    behaviours = (reply(401, f"no such key: {KEY}".encode()), reply(302, b"", {"Location": f"/{KEY}"}), reset, reply())
    shown = []
    with MisbehavingServer(*behaviours) as server, bench.source(server.url, key=KEY) as source:
        for _ in behaviours:
            asked = source.ask(CALL)
            shown += [repr(asked), str(asked.error), repr(asked.error)]
        shown += [repr(source), *(answer.url for answer in bench.kept)]
        requests = server.requests
    assert len(requests) >= 4
    assert all(request.count(KEY) == 1 and f"x-cg-pro-api-key: {KEY}\r\n" in request for request in requests)
    assert not any(KEY in text for text in shown)
    # At DEBUG, httpcore2 logs the headers of an answer; what a server puts there is its own.
    ours = [record.getMessage() for record in caplog.records if "return_value" not in record.getMessage()]
    assert not any(KEY in text for text in ours)


@pytest.mark.parametrize("key", ["", "two\r\nlines", "späce", "a b", "x" * 600])
def test_a_key_that_no_header_can_hold_is_refused_without_showing_it(bench: Bench, key: str) -> None:
    with (
        pytest.raises(UsageError, match="check how it was copied") as caught,
        bench.source("http://127.0.0.1", key=key),
    ):
        pass
    assert not key or key not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "", "ftp://api.test", "//api.test", "api.test/api/v2", "http://", "http://[", "http://a:99999", "https://a..b",
        "file:///etc/passwd", "https://api.test/?key=SECRET", "https://you:SECRET@api.test", "https://api.test/#SECRET",
        "https://api.test\n.evil.test", "https://you:x@SECRET/y@api.test", "https://you/SECRET@api.test",
    ],
)  # fmt: skip
def test_an_address_that_makes_no_sense_is_refused_without_showing_secrets(bench: Bench, url: str) -> None:
    with pytest.raises(UsageError, match="base URL") as caught, bench.source(url):
        pass
    assert "SECRET" not in str(caught.value)


def test_a_key_is_sent_in_the_clear_on_loopback_alone(bench: Bench) -> None:
    for url in ("http://127.0.0.1:1", "http://localhost:1", "http://[::1]:1", "https://pro-api.test/api/v3/onchain"):
        with bench.source(url, key=KEY):
            pass
    with bench.source("http://api.test"):
        pass
    for url in ("http://api.test", "http://localhost.evil.test", "http://10.0.0.1", "http://0.0.0.0"):
        with pytest.raises(UsageError, match="in the clear") as caught, bench.source(url, key=KEY):
            pass
        assert KEY not in str(caught.value)


def test_a_closed_source_is_not_asked(bench: Bench) -> None:
    with bench.source("http://127.0.0.1:1") as source:
        pass
    with pytest.raises(UsageError, match="closed"):
        source.ask(CALL)
