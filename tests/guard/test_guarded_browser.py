"""A real browser: a page of another site gets nothing done, and Dagster's and MLflow's own pages work as ever."""

import base64
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from guarded_servers import LAUNCH, PASSWORD, Guarded

from tests.chromium import chromium

FLAGS = (
    # Its owner points a name at loopback: what "DNS rebinding" comes down to.
    "--host-resolver-rules=MAP evil.example 127.0.0.1, MAP other.localhost 127.0.0.1",
    # Chromium's own wall between the net and loopback asks a person; ours has to hold without it.
    "--disable-features=LocalNetworkAccessChecks,BlockInsecurePrivateNetworkRequests",
)
ATTACK = """async ([target, launch]) => {
  const said = {};
  const json = JSON.stringify({query: launch});
  const get = target + "/graphql?query=" + encodeURIComponent(launch);
  const attempt = async (name, what) => { try { said[name] = await what(); } catch (error) { said[name] = "failed"; } };
  const types = ["application/json", "text/plain", "application/x-www-form-urlencoded"];
  for (const mode of ["cors", "no-cors"]) for (const type of types) {
    await attempt(`${mode} ${type}`, async () => {
      const answer = await fetch(target + "/graphql", {
        method: "POST", mode, body: json, headers: {"Content-Type": type}, credentials: "include"});
      return answer.status;
    });
    await attempt(`${mode} query`, async () => (await fetch(get, {method: "POST", mode})).status);
    await attempt(`${mode} get`, async () => (await fetch(get, {mode})).status);
  }
  await attempt("image", () => new Promise((resolve, reject) => {
    const image = new Image(); image.onload = () => resolve("loaded"); image.onerror = reject; image.src = get; }));
  await attempt("socket", () => new Promise((resolve, reject) => {
    const socket = new WebSocket(target.replace("http", "ws") + "/graphql", "graphql-ws");
    socket.onopen = () => resolve("open"); socket.onerror = reject; }));
  await attempt("beacon", async () => { navigator.sendBeacon(target + "/graphql", json); return "sent"; });
  for (const method of ["get", "post"]) await attempt("form " + method, () => new Promise((resolve) => {
    const frame = document.createElement("iframe"); frame.name = "in-" + method; document.body.append(frame);
    const form = document.createElement("form");
    form.method = method; form.action = get; form.target = frame.name; form.enctype = "text/plain";
    const field = document.createElement("input"); field.name = "query"; field.value = launch; form.append(field);
    document.body.append(form); frame.onload = () => resolve("answered"); form.submit(); setTimeout(resolve, 3000);
  }));
  return said;
}"""
pytestmark = pytest.mark.slow


class _Page(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(b"<!doctype html><title>kittens</title><body>kittens")

    def log_message(self, *_: object) -> None:
        """It says nothing."""


@pytest.fixture(scope="module")
def other_site() -> Iterator[int]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Page)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_address[1]
    server.shutdown()
    server.server_close()


@contextmanager
def tab(**context: Any) -> Iterator[Any]:
    with chromium(*FLAGS) as browser:
        yield browser.new_context(**context).new_page()


@pytest.mark.parametrize("name", ["evil.example", "127.0.0.1", "localhost", "other.localhost"])
def test_a_page_of_another_site_starts_no_run_and_learns_nothing(
    dagster_server: Guarded, other_site: int, name: str
) -> None:
    before = dagster_server.n_runs()
    with tab() as page:
        page.goto(f"http://{name}:{other_site}/")
        said = page.evaluate(ATTACK, [dagster_server.url, LAUNCH])
        learned = {what: told for what, told in said.items() if told not in ("failed", 0, "sent", "answered", None)}
        assert not learned
        # And as if it were a page of ours, by a name that leads here.
        answer = page.goto(f"http://evil.example:{dagster_server.port}/")
        assert answer.status == 403
        assert "POOLCAST_ALLOWED_HOSTS" in page.inner_text("body")
        again = page.evaluate(ATTACK, [f"http://evil.example:{dagster_server.port}", LAUNCH])
        assert set(again.values()) <= {"failed", 403, 0, "sent", "answered", None}
    assert dagster_server.n_runs() == before


def watched(page: Any) -> dict[str, list[Any]]:
    seen: dict[str, list[Any]] = {"said": [], "answers": [], "sockets": []}
    page.on("console", lambda message: seen["said"].append(message.text))
    page.on("pageerror", lambda error: seen["said"].append(str(error)))
    page.on("response", lambda answer: seen["answers"].append((answer.request.method, answer.url, answer.status)))

    def note(socket: Any) -> None:
        socket.on("framereceived", lambda frame: seen["sockets"].append(frame))  # noqa: PLW0108 - it marks what it calls

    page.on("websocket", note)
    return seen


@pytest.mark.parametrize("is_signed", [False, True])
def test_dagsters_own_pages_work_and_its_subscriptions_too(servers: dict[str, Guarded], is_signed: bool) -> None:
    server = servers["signed" if is_signed else "dagster"]
    context: dict[str, Any] = {"http_credentials": {"username": "ann", "password": PASSWORD}} if is_signed else {}
    shown = base64.b64encode(f"ann:{PASSWORD}".encode()).decode()
    run = server.graphql(
        LAUNCH.replace("{ __typename }", "{ ... on LaunchRunSuccess { run { runId } } }"),
        *([f"Authorization: Basic {shown}"] if is_signed else []),
    )["launchRun"]["run"]["runId"]
    with tab(**context) as page:
        seen = watched(page)
        page.goto(f"{server.url}/runs/{run}")
        page.get_by_text("This run is queued").first.wait_for(timeout=60_000)
        for _ in range(300):
            if not any('"data"' in str(frame) for frame in seen["sockets"]):
                page.wait_for_timeout(100)
        page.goto(f"{server.url}/jobs")
        page.get_by_text("quick").first.wait_for(timeout=60_000)
        page.goto(f"{server.url}/deployment/daemons")
        page.get_by_text("Scheduler").first.wait_for(timeout=60_000)
    assert [frame for frame in seen["sockets"] if '"data"' in str(frame)], "nothing came through a websocket"
    assert [url for method, url, status in seen["answers"] if method == "POST" and "/graphql" in url and status == 200]
    assert not [each for each in seen["said"] if "Content Security Policy" in each or "Refused to" in each]
    assert not [answer for answer in seen["answers"] if answer[2] >= 400 and not (is_signed and answer[2] == 401)]
    assert {url.split("/")[2] for _, url, _ in seen["answers"] if url.startswith("http")} == {server.url[7:]}


def test_mlflows_own_pages_work_and_speak_to_nobody_else(mlflow_server: Guarded) -> None:
    body = json.dumps({"name": "seen in a browser"}).encode()
    mlflow_server.ask("POST /api/2.0/mlflow/experiments/create", "Content-Type: application/json", body=body)
    with tab() as page:
        seen = watched(page)
        page.goto(f"{mlflow_server.url}/#/experiments")
        page.get_by_text("seen in a browser").first.wait_for(timeout=60_000)
        page.goto(f"{mlflow_server.url}/#/models")
        page.get_by_text("Model Registry").first.wait_for(timeout=60_000)
    assert not [each for each in seen["said"] if "Content Security Policy" in each or "Refused to" in each]
    assert {url.split("/")[2] for _, url, _ in seen["answers"] if url.startswith("http")} == {mlflow_server.url[7:]}
