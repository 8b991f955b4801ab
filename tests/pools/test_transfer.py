"""Whatever the server does, a call ends in time and bounded memory with an answer or a reason, and all is kept."""

import gzip
import json
import socket
import ssl
import threading
import tracemalloc
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from misbehaving_server import (
    GOOD,
    JSON,
    Behaviour,
    MisbehavingServer,
    bomb,
    drip,
    echo,
    head,
    packed,
    raw,
    reply,
    reset,
    stall,
)
from source_bench import CALL, CAP, HASTY, KEY, SPEC, Bench, usable
from timers import NOON

from pipeline.errors import SourceError
from pipeline.pools import transfer
from pipeline.pools.answer import Call
from pipeline.pools.collecting_spec import ClientSpec


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def test_a_gzip_body_is_kept_as_what_it_holds(bench: Bench) -> None:
    asked, _ = bench.ask(packed(gzip.compress(GOOD)))
    assert usable(asked).body == GOOD


PACKED = gzip.compress(GOOD, mtime=0)
BAD_SUM = PACKED[:-8] + b"12345678"
NONSENSE: dict[str, tuple[Behaviour, bytes, str]] = {
    "JSON cut in the middle": (reply(body=GOOD[:-5]), GOOD[:-5], "not JSON"),
    "a body shorter than announced": (reply(body=GOOD, length=500), GOOD, "RemoteProtocolError"),
    "not a number": (reply(body=b'{"data": NaN}'), b'{"data": NaN}', "not JSON"),
    "text that is not UTF-8": (reply(body=b'{"data": "\xff"}'), b'{"data": "\xff"}', "not JSON"),
    "nesting without end": (reply(body=b"[" * 5000), b"[" * 5000, "not JSON"),
    "no data": (reply(body=b'{"errors": []}'), b'{"errors": []}', "JSON without `data`"),
    "not an object": (reply(body=b'["data"]'), b'["data"]', "JSON without `data`"),
    "nothing": (reply(body=b""), b"", "not JSON"),
    "a web page": (reply(headers={"Content-Type": "text/html"}), GOOD, "of type text/html where JSON was asked for"),
    "no type": (raw(head(200, {"Content-Length": "2", "Connection": "close"}) + b"{}"), b"{}", "of type None"),
    "too much": (reply(body=b"x" * (CAP + 1)), b"x" * CAP, f"more than {CAP} bytes"),
    "too much once it is unpacked": (packed(gzip.compress(bytes(CAP + 1))), bytes(CAP), f"more than {CAP} bytes"),
    "gzip cut short": (packed(gzip.compress(GOOD)[:-4]), GOOD, "ends too early"),
    "gzip with a wrong checksum": (packed(BAD_SUM), BAD_SUM, "not the gzip it claims to be"),
    "gzip with something behind": (packed(gzip.compress(GOOD) + b"!"), GOOD, "something behind its end"),
    "two gzip bodies": (packed(gzip.compress(GOOD) * 2), GOOD, "something behind its end"),
    "plain text said to be gzip": (packed(GOOD), GOOD, "not the gzip it claims to be"),
    "gzip of nothing at all": (packed(b""), b"", "ends too early"),
    "a packing nobody asked for": (reply(headers={"Content-Encoding": "br"}), GOOD, "content encoding br"),
    "packed twice": (packed(PACKED, {"Content-Encoding": "gzip, gzip"}), PACKED, "content encoding gzip, gzip"),
    "a status that does not exist": (reply(999), GOOD, "status 999"),
}


@pytest.mark.parametrize("case", NONSENSE)
def test_nonsense_is_kept_and_asked_for_again(bench: Bench, case: str) -> None:
    behaviour, body, trouble = NONSENSE[case]
    asked, _ = bench.ask(behaviour, reply())
    assert usable(asked).body == GOOD
    assert asked.n_calls == 2
    assert [answer.body for answer in bench.kept] == [body, GOOD]
    asked, _ = bench.ask(behaviour)
    assert isinstance(asked.error, SourceError)
    assert trouble in str(asked.error)


@pytest.mark.parametrize("kind", ["application/json", "Application/JSON ; charset=utf-8", "application/vnd.api+json"])
def test_json_is_known_by_its_type(bench: Bench, kind: str) -> None:
    assert usable(bench.ask(reply(headers={"Content-Type": kind}))[0]).content_type == kind


def test_a_body_of_exactly_the_cap_is_an_answer(bench: Bench) -> None:
    body = json.dumps({"data": "x" * (CAP - 12)}).encode()
    assert len(body) == CAP
    assert usable(bench.ask(reply(body=body))[0]).body == body
    assert usable(bench.ask(packed(gzip.compress(body)))[0]).body == body


def test_a_bomb_of_a_gigabyte_costs_no_more_memory_than_a_few_times_the_cap(bench: Bench) -> None:
    spec = ClientSpec(attempts=1, max_body_bytes=1_000_000)
    told = bomb(1000)
    assert len(told) < 2_000_000
    with MisbehavingServer(packed(told)) as server, bench.source(server.url, spec) as source:
        tracemalloc.start()
        asked = source.ask(CALL)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert "more than 1000000 bytes" in str(asked.error)
    assert bench.kept[0].body == bytes(1_000_000)
    assert peak < 5 * spec.max_body_bytes


ENDLESS: dict[str, Behaviour] = {
    "a body that drips": drip(head(200, JSON | {"Content-Length": "9999"}), b" ", 0.05),
    "a body that pours": drip(head(200, JSON | {"Transfer-Encoding": "chunked"}), b"1\r\n \r\n", 0.0),
    "headers that drip": drip(b"HTTP/1.1 200 OK\r\nX: ", b"x", 0.05),
    "a promise again and again": drip(b"", b"HTTP/1.1 103 Early Hints\r\n\r\n", 0.0),
    "silence": stall(b""),
    "silence after the headers": stall(head(200, JSON | {"Content-Length": "9999"})),
    "silence in the body": stall(head(200, JSON | {"Content-Length": "9999"}) + GOOD),
}


@pytest.mark.parametrize("case", ENDLESS)
def test_what_never_ends_is_ended(bench: Bench, case: str) -> None:
    asked, _ = bench.ask(ENDLESS[case], spec=HASTY)
    assert isinstance(asked.error, SourceError)
    assert "not finished within 0.6 s" in str(asked.error)
    assert len(bench.kept) == (0 if case in {"headers that drip", "a promise again and again", "silence"} else 1)


@pytest.mark.parametrize("case", ["silence", "silence after the headers", "silence in the body"])
def test_silence_is_not_listened_to_for_the_whole_time_a_call_may_take(bench: Bench, case: str) -> None:
    asked, _ = bench.ask(ENDLESS[case], spec=replace(SPEC, read_timeout_s=0.3, attempts=1))
    assert "ReadTimeout" in str(asked.error)


def test_what_arrived_before_the_silence_is_kept(bench: Bench) -> None:
    bench.ask(ENDLESS["silence in the body"], spec=HASTY)
    assert [answer.body for answer in bench.kept] == [GOOD]


@pytest.mark.parametrize(
    "behaviour",
    [
        reset,
        raw(b""),
        raw(b"\x16\x03\x01 what?\r\n\r\n"),
        raw(head(101, {"Upgrade": "x"})),
        raw(head(200, {"X": "x" * 300_000})),
    ],
)
def test_a_connection_that_breaks_is_tried_again(bench: Bench, behaviour: Behaviour) -> None:
    asked, _ = bench.ask(behaviour, behaviour, reply())
    assert (usable(asked).body, asked.n_calls, len(bench.kept)) == (GOOD, 3, 1)


def test_a_server_that_is_not_there_is_trouble_that_may_pass(bench: Bench) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with bench.source(f"http://127.0.0.1:{port}") as source:
        asked = source.ask(CALL)
    assert isinstance(asked.error, SourceError)
    assert "ConnectError" in str(asked.error)
    assert (asked.n_calls, bench.kept) == (3, [])


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate that 127.0.0.1 signed for itself, with its key."""
    key, name = ec.generate_private_key(ec.SECP256R1()), x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test")])
    address = x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))])
    unsigned = x509.CertificateBuilder(name, name, key.public_key(), 1).add_extension(address, critical=False)
    lasting = unsigned.not_valid_before(NOON - timedelta(days=9999)).not_valid_after(NOON + timedelta(days=9999))
    signed = lasting.sign(key, SHA256())
    path = tmp_path_factory.mktemp("tls") / "certificate.pem"
    plain = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    path.write_bytes(plain + signed.public_bytes(Encoding.PEM))
    return path


@pytest.fixture
def tls(certificate: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ssl.SSLContext]:
    """What a server needs to show the certificate; it is trusted while `SSL_CERT_FILE` names it."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    transfer._certificates.cache_clear()
    yield context
    transfer._certificates.cache_clear()


def test_a_server_with_a_trusted_certificate_is_asked_and_held_to_the_deadline(
    bench: Bench, tls: ssl.SSLContext
) -> None:
    dripping = ENDLESS["a body that drips"]
    spec = replace(HASTY, deadline_s=3.0)
    with MisbehavingServer(reply(), dripping, tls=tls) as server, bench.source(server.url, spec, key=KEY) as source:
        assert usable(source.ask(CALL)).body == GOOD
        assert "not finished within 3.0 s" in str(source.ask(CALL).error)


def test_a_server_that_cannot_show_a_certificate_gets_no_request(
    bench: Bench, tls: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SSL_CERT_FILE")
    transfer._certificates.cache_clear()
    with MisbehavingServer(reply(), tls=tls) as server, bench.source(server.url, key=KEY) as source:
        asked = source.ask(CALL)
        assert isinstance(asked.error, SourceError)
        assert "CERTIFICATE_VERIFY_FAILED" in str(asked.error)
        assert server.requests == []


def test_many_threads_each_get_their_own_answer_and_all_are_kept(bench: Bench) -> None:
    paths = [f"networks/eth/pools/0x{n:03}" for n in range(200)]
    calls = [Call("pool", "eth", path) for path in paths]
    with MisbehavingServer(echo) as server, bench.source(server.url) as source, ThreadPoolExecutor(8) as threads:
        asked = list(threads.map(source.ask, calls))
    assert [json.loads(usable(one).body)["data"] for one in asked] == [f"/{path}" for path in paths]
    assert sorted(answer.answer_id for answer in bench.kept) == sorted(usable(one).answer_id for one in asked)


def test_a_deadline_is_not_put_off_by_what_others_ask(bench: Bench) -> None:
    def drips_for_one(server: MisbehavingServer, connection: socket.socket, path: str) -> bool:
        behave = ENDLESS["a body that drips"] if path.endswith("slow") else echo
        return behave(server, connection, path)

    with (
        MisbehavingServer(drips_for_one) as server,
        bench.source(server.url, HASTY) as source,
        ThreadPoolExecutor(1) as threads,
    ):
        waiting = threads.submit(source.ask, Call("pool", "eth", "slow"))
        while not waiting.done():
            source.ask(Call("pool", "eth", "quick"))
        assert "not finished within 0.6 s" in str(waiting.result().error)


def test_a_thread_that_is_kept_waiting_does_not_keep_the_others(bench: Bench) -> None:
    slow, answered = threading.Event(), threading.Event()

    def first_one_hangs(server: MisbehavingServer, connection: socket.socket, path: str) -> bool:
        if path.endswith("slow"):
            slow.set()
            answered.wait(10)
        return echo(server, connection, path)

    with (
        MisbehavingServer(first_one_hangs) as server,
        bench.source(server.url) as source,
        ThreadPoolExecutor(1) as threads,
    ):
        waiting = threads.submit(source.ask, Call("pool", "eth", "slow"))
        assert slow.wait(10)
        assert source.ask(Call("pool", "eth", "quick")).error is None
        answered.set()
        assert waiting.result().error is None
