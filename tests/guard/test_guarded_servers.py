"""Attacks on the real servers: what a page of another site, a forged name or a rude client can send."""

import json
import socket
import time
import urllib.parse

import pytest
from guarded_servers import COUNT, LAUNCH, Guarded

JSON = "Content-Type: application/json"
LAUNCHING = json.dumps({"query": LAUNCH}).encode()
UPGRADE = (
    "Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", "Sec-WebSocket-Protocol: graphql-ws",
)  # fmt: skip
FOREIGN = (
    "http://evil.example", "null", "http://127.0.0.1:1", "http://localhost:PORT", "https://127.0.0.1:PORT",
    "http://127.0.0.1:PORT.evil.example", "http://127.0.0.1:PORT@evil.example", "file://", "",
)  # fmt: skip
pytestmark = pytest.mark.slow


def test_the_ordinary_ways_are_open(dagster_server: Guarded, mlflow_server: Guarded) -> None:
    page = dagster_server.ask("GET /", "Accept: text/html")
    assert page.status == 200
    assert b"<title>Dagster" in page.body or b"Dagster" in page.body
    before = dagster_server.n_runs()
    same = f"Origin: http://127.0.0.1:{dagster_server.port}"
    answer = dagster_server.ask("POST /graphql", JSON, same, "Sec-Fetch-Site: same-origin", body=LAUNCHING)
    assert answer.status == 200
    assert dagster_server.n_runs() == before + 1
    assert mlflow_server.ask("GET /").status == 200
    assert mlflow_server.ask("GET /api/2.0/mlflow/experiments/search?max_results=5").status == 200
    for host in ("localhost:PORT", "LOCALHOST:PORT", "[::1]:PORT", "127.0.0.1", "localhost:8080"):
        assert dagster_server.ask("GET /server_info", host=host).status == 200


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "OPTIONS"])
@pytest.mark.parametrize(
    "path",
    ["/graphql", "/graphql/", "//graphql", "/%67raphql", "/./graphql", "/GraphQL", "/x/../graphql", "/graphql;a=b"],
)
def test_no_graphql_but_by_post(dagster_server: Guarded, method: str, path: str) -> None:
    query = urllib.parse.urlencode({"query": LAUNCH})
    before = dagster_server.n_runs()
    answer = dagster_server.ask(f"{method} {path}?{query}")
    assert answer.status == 405, answer
    assert dagster_server.ask(f"{method} {path}?{query}", "Accept: text/html").status == 405
    assert dagster_server.n_runs() == before


@pytest.mark.parametrize("content", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""])
def test_no_graphql_by_a_form_even_without_a_word_on_where_it_comes_from(dagster_server: Guarded, content: str) -> None:
    query = urllib.parse.urlencode({"query": LAUNCH})
    before = dagster_server.n_runs()
    answer = dagster_server.ask(f"POST /graphql?{query}", f"Content-Type: {content}", body=LAUNCHING)
    assert answer.status == 415
    assert dagster_server.n_runs() == before


@pytest.mark.parametrize("origin", FOREIGN)
@pytest.mark.parametrize("content", ["application/json", "text/plain"])
def test_no_page_of_another_origin_posts(dagster_server: Guarded, origin: str, content: str) -> None:
    before = dagster_server.n_runs()
    told = f"Origin: {origin.replace('PORT', str(dagster_server.port))}"
    answer = dagster_server.ask("POST /graphql", f"Content-Type: {content}", told, body=LAUNCHING)
    assert answer.status == 403, answer
    assert not [name for name in answer.headers if name.startswith("access-control-")]
    assert dagster_server.n_runs() == before


@pytest.mark.parametrize("site", ["cross-site", "same-site", "none", "strange"])
def test_a_browser_that_names_no_origin_is_believed_its_site(dagster_server: Guarded, site: str) -> None:
    told = (f"Sec-Fetch-Site: {site}", "Sec-Fetch-Mode: no-cors", "Sec-Fetch-Dest: empty")
    assert dagster_server.ask("POST /graphql", JSON, *told, body=LAUNCHING).status == 403
    assert dagster_server.ask("GET /server_info", *told).status == (200 if site == "none" else 403)
    link = ("Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: navigate")
    assert dagster_server.ask("GET /runs", *link, "Sec-Fetch-Dest: document").status == 200
    assert dagster_server.ask("GET /runs", *link, "Sec-Fetch-Dest: iframe").status == 403


@pytest.mark.parametrize("origin", FOREIGN)
def test_no_websocket_for_a_page_of_another_origin(dagster_server: Guarded, origin: str) -> None:
    told = f"Origin: {origin.replace('PORT', str(dagster_server.port))}"
    head = "\n".join(("GET /graphql HTTP/1.1", "Host: 127.0.0.1:PORT", *UPGRADE, told))
    assert dagster_server.send(head).status == 403


def test_a_websocket_of_our_own_page_or_of_a_program_is_let_in(dagster_server: Guarded) -> None:
    for told in ("X-Nothing: 1", f"Origin: http://127.0.0.1:{dagster_server.port}"):
        head = "\n".join(("GET /graphql HTTP/1.1", "Host: 127.0.0.1:PORT", *UPGRADE, told))
        assert dagster_server.send(head).status == 101
    head = "\n".join(("GET /graphql HTTP/1.1", "Host: evil.example:PORT", *UPGRADE))
    assert dagster_server.send(head).status == 403
    for site in ("cross-site", "same-site", "none"):
        head = "\n".join(("GET /graphql HTTP/1.1", "Host: 127.0.0.1:PORT", *UPGRADE, f"Sec-Fetch-Site: {site}"))
        assert dagster_server.send(head).status == 403


@pytest.mark.parametrize("start", ["/", "/static/", "/static-files/", "/logs/", "/get-artifact?path="])
def test_no_path_leads_out_of_what_is_served(dagster_server: Guarded, mlflow_server: Guarded, start: str) -> None:
    up = ("../", "..%2f", "%2e%2e/", "..%5c", "..%252f", "....//", "%c0%ae%c0%ae/")
    for server in (dagster_server, mlflow_server):
        for path in (f"{start}{step * 12}etc/passwd" for step in up):
            answer = server.ask(f"GET {path}")
            assert answer.status
            assert b"root:" not in answer.body, path


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("evil.example:PORT", 403), ("127.0.0.1.evil.example:PORT", 403), ("0.0.0.0:PORT", 403),
        ("10.evil.example", 403), ("127.1:PORT", 403), ("2130706433:PORT", 403), ("foo.localhost:PORT", 403),
        ("localhost.:PORT", 400), ("localhost:PORT:1", 400), ("user@localhost:PORT", 400),
        ("localhost:99999", 400), ("[::ffff:7f00:1]", 403), ("", 400), ("localhost/evil.example", 400),
    ],
)  # fmt: skip
def test_a_forged_name_is_refused_by_every_server(
    dagster_server: Guarded, mlflow_server: Guarded, host: str, status: int
) -> None:
    for server, path in ((dagster_server, "/server_info"), (mlflow_server, "/health"), (mlflow_server, "/")):
        assert server.ask(f"GET {path}", host=host).status == status


@pytest.mark.parametrize(
    "head",
    [
        "GET /server_info HTTP/1.1",
        "GET /server_info HTTP/1.0",
        "GET /server_info HTTP/1.1\nHost: 127.0.0.1:PORT\nHost: evil.example",
        "GET http://evil.example/graphql HTTP/1.1\nHost: 127.0.0.1:PORT",
        "GET evil HTTP/1.1\nHost: 127.0.0.1:PORT",
        "GET /server_info%00 HTTP/1.1\nHost: 127.0.0.1:PORT",
        "GET /server_info%0d%0aX:%201 HTTP/1.1\nHost: 127.0.0.1:PORT",
        "TRACE / HTTP/1.1\nHost: 127.0.0.1:PORT",
        "CONNECT 127.0.0.1:22 HTTP/1.1\nHost: 127.0.0.1:PORT",
        "PRI * HTTP/2.0\nHost: 127.0.0.1:PORT",
        "GET /server_info HTTP/1.1\nHost: [::1%25lo]:PORT",
        "POST /graphql HTTP/1.1\nHost: 127.0.0.1:PORT\nContent-Type: text/plain\nTransfer-Encoding: chunked"
        "\nTrailer: Content-Type",
        "POST /graphql HTTP/1.1\nHost: 127.0.0.1:PORT\nContent-Length: 4\nTransfer-Encoding: chunked",
        "POST /graphql HTTP/1.1\nHost: 127.0.0.1:PORT\nContent-Length: 4\nContent-Length: 40",
        "POST /graphql HTTP/1.1\nHost: 127.0.0.1:PORT\nTransfer-Encoding: chunked\nTransfer-Encoding: identity",
        "POST /graphql HTTP/1.1\nHost: 127.0.0.1:PORT\nTransfer-Encoding: xchunked",
        "POST /graphql HTTP/1.1\nHost: 127.0.0.1:PORT\nContent-Length : 4",
        "POST /graphql HTTP/1.1\nHost: 127.0.0.1:PORT\nContent-Length: -4",
        "POST /graphql HTTP/1.1\nHost: 127.0.0.1:PORT\nX: 1\n Content-Length: 4\nContent-Length: 5x",
        "POST /graphql HTTP/1.1\nHost: 127.0.0.1:PORT\nContent-Length: 4\nContent-Encoding: gzip",
        "POST /graphql HTTP/1.1\nHost: 127.0.0.1:PORT\nOrigin: http://127.0.0.1:PORT\nOrigin: http://evil.example"
        "\nContent-Length: 0",
        "GET /" + "a" * 70_000 + " HTTP/1.1\nHost: 127.0.0.1:PORT",
        "GET / HTTP/1.1\nHost: 127.0.0.1:PORT\nX: " + "a" * 70_000,
    ],
)
def test_what_two_readers_could_take_for_two_things_is_refused(dagster_server: Guarded, head: str) -> None:
    answer = dagster_server.send(head, b"0\r\n\r\n" if "chunked" in head else b"abcd")
    assert 400 <= answer.status < 500, answer
    assert answer.status != 404


def test_a_request_behind_a_refused_one_is_not_answered(dagster_server: Guarded) -> None:
    inner = f"POST /graphql HTTP/1.1\r\nHost: 127.0.0.1:{dagster_server.port}\r\n{JSON}\r\n".encode()
    inner += b"Content-Length: %d\r\n\r\n" % len(LAUNCHING) + LAUNCHING
    head = f"POST /graphql HTTP/1.1\nHost: evil.example\n{JSON}\nContent-Length: {len(inner)}"
    before = dagster_server.n_runs()
    assert dagster_server.send(head, inner * 3).status == 403
    assert dagster_server.n_runs() == before


def test_a_huge_body_is_refused_by_its_length_or_when_it_has_become_one(dagster_server: Guarded) -> None:
    head = f"POST /graphql HTTP/1.1\nHost: 127.0.0.1:PORT\n{JSON}"
    assert dagster_server.send(f"{head}\nContent-Length: 9999999999").status == 413
    assert dagster_server.send(f"{head}\nContent-Length: {'9' * 4000}").status in {400, 413}
    with socket.create_connection(("127.0.0.1", dagster_server.port), timeout=30) as connection:
        text = f"{head}\nTransfer-Encoding: chunked".replace("PORT", str(dagster_server.port)).replace("\n", "\r\n")
        connection.sendall(text.encode() + b"\r\n\r\n")
        chunk = b"100000\r\n" + b"a" * 0x100000 + b"\r\n"
        sent = 0
        try:
            while sent < 64:
                connection.sendall(chunk)
                sent += 1
        except OSError:
            pass
    assert sent < 64
    assert dagster_server.n_runs() >= 0


def test_a_slow_client_holds_up_nobody(dagster_server: Guarded) -> None:
    slow = [socket.create_connection(("127.0.0.1", dagster_server.port), timeout=30) for _ in range(100)]
    try:
        for number, connection in enumerate(slow):
            head = (
                f"POST /graphql HTTP/1.1\r\nHost: 127.0.0.1:{dagster_server.port}\r\n{JSON}\r\nContent-Length: 99\r\n"
            )
            connection.sendall(head.encode() + (b"\r\n{" if number % 2 else b""))
        started = time.monotonic()
        assert dagster_server.graphql(COUNT)
        assert time.monotonic() - started < 10
    finally:
        for connection in slow:
            connection.close()


def test_mlflow_is_deaf_to_other_pages_where_its_own_middleware_is_not(mlflow_server: Guarded) -> None:
    body = json.dumps({"name": "planted"}).encode()
    create = "POST /api/2.0/mlflow/experiments/create"
    for origin in ("http://evil.example", "http://localhost:8888", "null"):
        assert mlflow_server.ask(create, JSON, f"Origin: {origin}", body=body).status == 403
        answer = mlflow_server.ask("GET /ajax-api/2.0/mlflow/experiments/search?max_results=5", f"Origin: {origin}")
        assert answer.status == 403
        preflight = mlflow_server.ask(create.replace("POST", "OPTIONS"), f"Origin: {origin}")
        assert preflight.status == 403
        assert "access-control-allow-origin" not in preflight.headers
    site = ("Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: no-cors", "Sec-Fetch-Dest: image")
    assert mlflow_server.ask("GET /ajax-api/2.0/mlflow/experiments/search?max_results=5", *site).status == 403
    assert mlflow_server.ask("GET /graphql?query={__typename}").status == 405
    assert mlflow_server.ask("POST /ajax-api/3.0/mlflow/assistant/x", *site[:1], body=b"{}").status == 403
    named = mlflow_server.ask("GET /api/2.0/mlflow/experiments/get-by-name?experiment_name=planted")
    assert named.status == 404
    assert mlflow_server.ask(create, JSON, body=body).status == 200


def test_every_answer_says_that_nothing_is_framed_guessed_or_loaded_from_elsewhere(
    dagster_server: Guarded, mlflow_server: Guarded
) -> None:
    for server, line in (
        (dagster_server, "GET /"), (dagster_server, "GET /server_info"), (dagster_server, "GET /graphql"),
        (mlflow_server, "GET /"), (mlflow_server, "GET /health"), (mlflow_server, "GET /nowhere"),
    ):  # fmt: skip
        told = server.ask(line).headers
        assert told["x-frame-options"] == "DENY"
        assert told["x-content-type-options"] == "nosniff"
        assert told["referrer-policy"] == "same-origin"
        assert "frame-ancestors 'none'" in told["content-security-policy"]
        assert "server" not in told


def test_who_is_refused_does_not_write_the_log(dagster_server: Guarded) -> None:
    dagster_server.ask("GET /x%1b[31m%0aINFO:%20all%20is%20well" + "y" * 5000)
    lines = dagster_server.log.read_text().splitlines()
    assert not [line for line in lines if line.startswith("INFO: all is well")]
    assert not [line for line in lines if ("GET" in line and "\x1b" in line) or len(line) > 600]
