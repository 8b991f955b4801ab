"""The documented reverse proxy, tried with a real nginx and a real browser: `deploy/nginx/poolcast.conf`."""

import os
import shutil
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from guarded_servers import COUNT, Guarded

from tests.chromium import chromium
from tests.ports import free_port

ROOT = Path(__file__).parents[2]
NGINX = shutil.which("nginx", path="/usr/sbin:/usr/bin")
PASSWORD = "behind the proxy"  # noqa: S105 - of a proxy that lives for seconds
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(NGINX is None, reason="there is no nginx: apt-get install nginx-light"),
    pytest.mark.skipif(shutil.which("openssl") is None, reason="there is no openssl to make a certificate with"),
]


@dataclass(frozen=True)
class Proxy:
    port: int

    def ask(self, name: str, *headers: str, body: str | None = None, path: str = "/") -> int:
        """The status of an answer, 0 where there was not even a handshake."""
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        lines = [
            f"{'GET' if body is None else 'POST'} {path} HTTP/1.1",
            f"Host: {name}:{self.port}",
            "Connection: close",
        ]
        lines += [*headers, *([] if body is None else [f"Content-Length: {len(body)}"])]
        try:
            with (
                socket.create_connection(("127.0.0.1", self.port), timeout=30) as plain,
                context.wrap_socket(plain, server_hostname=name) as connection,
            ):
                connection.sendall("\r\n".join([*lines, "", body or ""]).encode())
                return int(connection.recv(4096).split()[1])
        except ssl.SSLError:
            return 0


def basic(password: str) -> str:
    import base64

    return "Authorization: Basic " + base64.b64encode(f"ann:{password}".encode()).decode()


@pytest.fixture(scope="module")
def proxy(tmp_path_factory: pytest.TempPathFactory, servers: dict[str, Guarded]) -> Iterator[Proxy]:
    folder, port = tmp_path_factory.mktemp("nginx"), free_port()
    openssl = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-days",
        "2",
        "-subj",
        "/CN=poolcast.example.org",
    ]
    subprocess.run([*openssl, "-keyout", folder / "key", "-out", folder / "crt"], check=True, capture_output=True)
    hashed = subprocess.run(["openssl", "passwd", "-6", PASSWORD], check=True, capture_output=True, text=True).stdout
    (folder / "htpasswd").write_text(f"ann:{hashed}")
    told = (ROOT / "deploy/nginx/poolcast.conf").read_text()
    for written, here in (
        ("listen 443", f"listen 127.0.0.1:{port}"),
        ("127.0.0.1:3000", f"127.0.0.1:{servers['dagster'].port}"),
        ("127.0.0.1:5000", f"127.0.0.1:{servers['mlflow'].port}"),
        ("/etc/nginx/poolcast.crt", str(folder / "crt")),
        ("/etc/nginx/poolcast.key", str(folder / "key")),
        ("/etc/nginx/poolcast.htpasswd", str(folder / "htpasswd")),
    ):
        assert written in told
        told = told.replace(written, here)
    temporary = " ".join(
        f"{kind}_temp_path {folder}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    user = "user root;" if os.geteuid() == 0 else ""
    (folder / "nginx.conf").write_text(
        f"{user} daemon off; pid {folder}/pid; error_log {folder}/error.log; events {{}}\n"
        f"http {{ access_log {folder}/access.log; {temporary}\n{told}\n}}\n"
    )
    process = subprocess.Popen([NGINX, "-p", str(folder), "-c", str(folder / "nginx.conf")], stderr=subprocess.DEVNULL)
    try:
        found = Proxy(port)
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            try:
                found.ask("poolcast.example.org")
                break
            except ConnectionRefusedError:
                time.sleep(0.1)
        yield found
    finally:
        process.terminate()
        process.wait(20)


def test_only_who_signs_in_under_one_of_its_names_gets_through(proxy: Proxy) -> None:
    for name in ("poolcast.example.org", "mlflow.example.org"):
        assert proxy.ask(name) == 401
        assert proxy.ask(name, basic("wrong")) == 401
        assert proxy.ask(name, basic(PASSWORD)) == 200
    assert proxy.ask("evil.example", basic(PASSWORD)) == 0


def test_the_guard_still_looks_at_who_asks(proxy: Proxy) -> None:
    name, json = "poolcast.example.org", "Content-Type: application/json"
    query = f'{{"query": "{COUNT}"}}'

    def post(*headers: str) -> int:
        return proxy.ask(name, basic(PASSWORD), json, *headers, body=query, path="/graphql")

    assert post(f"Origin: https://{name}:{proxy.port}") == 200
    assert post(f"Origin: http://{name}:{proxy.port}") == 403
    assert post("Origin: https://evil.example") == 403
    assert post(f"Origin: https://mlflow.example.org:{proxy.port}") == 403
    assert post("X-Forwarded-Host: evil.example", "X-Forwarded-Proto: http") == 200
    assert proxy.ask(name, basic(PASSWORD), path="/graphql?query=%7B__typename%7D") == 405
    upgrade = ("Upgrade: websocket", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==")
    assert proxy.ask(name, basic(PASSWORD), *upgrade, f"Origin: https://{name}:{proxy.port}", path="/graphql") == 101
    assert proxy.ask(name, basic(PASSWORD), *upgrade, "Origin: https://evil.example", path="/graphql") == 403


def test_a_browser_works_through_it(proxy: Proxy) -> None:
    rules = "--host-resolver-rules=MAP poolcast.example.org 127.0.0.1"
    with chromium(rules) as browser:
        page = browser.new_page(http_credentials={"username": "ann", "password": PASSWORD}, ignore_https_errors=True)
        said: list[str] = []
        page.on("console", lambda message: said.append(message.text))
        with page.expect_websocket(lambda socket: "/graphql" in socket.url, timeout=60_000):
            page.goto(f"https://poolcast.example.org:{proxy.port}/jobs")
        page.get_by_text("quick").first.wait_for(timeout=60_000)
    assert not [each for each in said if "Content Security Policy" in each or "WebSocket" in each]
