"""The sandbox as a server: its address, its budget, its log, its beginning and its end."""

import gzip
import os
import signal
import socket
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from email.utils import parsedate_to_datetime
from pathlib import Path

import httpx2
import psutil
import pytest
from sandbox_market import SIMULATED, START, Update, market
from typer.testing import CliRunner

from pipeline.errors import ServiceError, UsageError
from pipeline.sandbox.control import ServedMarket
from pipeline.sandbox.faults import FaultPlan
from pipeline.sandbox.server import RunningSandbox, SandboxSpec, running, serve

NEW = f"networks/{SIMULATED.network}/new_pools"


def wait_for(happened: Callable[[], bool], patience_s: float = 20.0) -> bool:
    until = time.monotonic() + patience_s
    while not (done := happened()) and time.monotonic() < until:
        time.sleep(0.05)
    return done


@pytest.mark.slow
def test_answers_carry_virtual_time_their_source_and_the_recorded_headers(
    sandbox: RunningSandbox, client: httpx2.Client
) -> None:
    sandbox.control.advance(60.0)
    answer = client.get(NEW)
    assert parsedate_to_datetime(answer.headers["date"]) == sandbox.control.clock().now.replace(microsecond=0)
    assert answer.headers["x-poolcast-source"] == "simulation:7"
    assert answer.headers["content-type"] == "application/json; charset=utf-8"
    assert answer.headers["cache-control"] == "max-age=30,public,must-revalidate,s-maxage=60"
    assert len(answer.headers.get_list("date")) == 1
    assert "server" not in answer.headers


@pytest.mark.slow
def test_answers_are_compressed_for_clients_that_take_it(client: httpx2.Client) -> None:
    with client.stream("GET", NEW, headers={"accept-encoding": "gzip"}) as packed:
        raw = b"".join(packed.iter_raw())
    plain = client.get(NEW, headers={"accept-encoding": "identity"})
    assert packed.headers["content-encoding"] == "gzip"
    assert "content-encoding" not in plain.headers
    assert gzip.decompress(raw) == plain.content
    assert len(raw) < len(plain.content) / 2


@pytest.mark.slow
def test_the_log_tells_every_call_and_can_be_emptied(sandbox: RunningSandbox, client: httpx2.Client) -> None:
    client.get(NEW, params={"page": "2"})
    client.get("networks/nowhere/dexes")
    first, second = sandbox.control.calls()
    assert (first.path, first.query, first.status, first.user_agent) == (NEW, "page=2", 200, "test/1")
    assert first.now == sandbox.control.clock().now
    assert (second.status, second.fault, second.is_over_budget) == (404, None, False)
    assert second.number == first.number + 1
    sandbox.control.reset_calls()
    assert sandbox.control.calls() == []


@pytest.mark.slow
def test_the_budget_is_kept_to_the_call_and_refused_calls_do_not_use_it_up(spec: SandboxSpec) -> None:
    with running(replace(spec, calls_per_minute=5)) as sandbox, httpx2.Client(base_url=sandbox.api_url) as client:

        def ask(times: int) -> list[int]:
            return [client.get("networks").status_code for _ in range(times)]

        assert ask(8) == [200] * 5 + [429] * 3
        refused = client.get("networks")
        assert refused.headers["retry-after"] == "60"
        assert refused.json()["status"]["error_code"] == 429
        sandbox.control.advance(59.5)
        assert ask(1) == [429]
        sandbox.control.advance(0.5)
        assert ask(6) == [200] * 5 + [429]
        assert [call.is_over_budget for call in sandbox.control.calls()].count(True) == 6


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_cleanly_also_while_an_answer_is_stalled(spec: SandboxSpec, number: signal.Signals) -> None:
    plan = FaultPlan(probability={"stall": 1.0}, stall_s=60.0)
    with running(replace(spec, faults=plan)) as sandbox:
        process = psutil.Process(sandbox.pid)
        host, port = sandbox.url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port))) as connection:
            connection.sendall(b"GET /api/v2/networks HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
            assert connection.recv(1000).startswith(b"HTTP/1.1 200")
            process.send_signal(number)
            assert process.wait(20) == 0


@pytest.mark.slow
def test_it_does_not_outlive_whoever_started_it(spec: SandboxSpec, tmp_path: Path) -> None:
    script = tmp_path / "starter.py"
    script.write_text(
        textwrap.dedent(f"""
        import sys, time
        from pathlib import Path
        from pipeline.sandbox.server import SandboxSpec, running

        with running(SandboxSpec(Path({str(spec.reserves)!r}), Path({str(spec.pools)!r}), "simulation:7")) as sandbox:
            print(sandbox.pid, flush=True)
            time.sleep(600)
        """)
    )
    with subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, text=True) as starter:
        assert starter.stdout is not None
        pid = int(starter.stdout.readline())
        assert psutil.pid_exists(pid)
        starter.kill()
    assert wait_for(lambda: not psutil.pid_exists(pid))


@pytest.mark.slow
def test_every_start_takes_a_free_port_and_a_taken_one_is_refused(sandbox: RunningSandbox, spec: SandboxSpec) -> None:
    port = int(sandbox.url.rpartition(":")[2])
    with running(spec) as other:
        assert other.url != sandbox.url
    with pytest.raises(ServiceError, match="cannot listen on"), running(replace(spec, port=port)):
        pytest.fail("it started")


@pytest.mark.slow
def test_frames_that_cannot_be_read_end_it_with_their_reason(spec: SandboxSpec, tmp_path: Path) -> None:
    (tmp_path / "torn.parquet").write_bytes(b"PAR1")
    with (
        pytest.raises(ServiceError, match="frames of the sandbox cannot be read"),
        running(replace(spec, pools=tmp_path / "torn.parquet")),
    ):
        pytest.fail("it started")


@pytest.mark.parametrize("host", [".".join("0000"), "192.168.1.1", "::", "example.org", "", "127.0.0.1.example.org"])
def test_it_refuses_to_serve_beyond_loopback(host: str) -> None:
    with pytest.raises(UsageError, match="loopback only"):
        # A budget of nothing: should the host be let through, this must not begin to serve on it.
        serve(market({("eth", "0xaa"): [Update(0, 1, 1)]}), host=host, calls_per_minute=0)


def test_a_budget_of_nothing_is_refused() -> None:
    with pytest.raises(UsageError, match="budget"):
        serve(market({("eth", "0xaa"): [Update(0, 1, 1)]}), calls_per_minute=0)


@pytest.mark.slow
def test_it_answers_to_loopback_names_only(client: httpx2.Client) -> None:
    assert client.get(NEW, headers={"host": "attacker.example"}).status_code == 403
    assert client.get(NEW, headers={"host": "localhost"}).status_code == 200


@pytest.mark.slow
@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"advance_s": "x"}', b'{"until": "2024-03-01"}', b"\xff"])
def test_controls_that_make_no_sense_are_answered_with_400(sandbox: RunningSandbox, body: bytes) -> None:
    with httpx2.Client(base_url=sandbox.url) as client:
        before = sandbox.control.clock().now
        assert client.post("/sandbox/clock", content=body).status_code == 400
        assert sandbox.control.clock().now == before


@pytest.mark.slow
def test_hostile_paths_and_parameters_get_an_answer(client: httpx2.Client) -> None:
    multi = "networks/simulated/pools/multi/" + "," * 5000
    assert client.get("networks/%00/dexes").status_code == 400
    for path in (
        "networks/%F0%9F%9A%80/new_pools",
        "networks/simulated/pools/..%2fa",
        "x" * 4000,
    ):
        assert client.get(path).status_code == 404
    assert client.get(multi).json()["data"] == []
    for page in ("9" * 400, "\u0663", " 1", "1_0"):
        assert client.get(NEW, params={"page": page}).status_code == 400


@pytest.mark.slow
def test_the_command_serves_a_simulation_of_several_networks_and_ends_on_a_signal() -> None:
    command = [sys.executable, "-m", "pipeline.cli", "sandbox", "serve"]
    options = ["--simulate", "3", "--pools", "20", "--networks", "2", "--stepped", "--start", "2024-03-05T00:00:00Z"]
    environment = os.environ | {"COLUMNS": "200"}
    with subprocess.Popen([*command, *options], stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout is not None
        said, where = process.stdout.readline(), process.stdout.readline()
        assert said.startswith("simulation:3: 40 pools of simulated-1, simulated-2")
        url = where.split()[2].rstrip(",")
        told = httpx2.get(f"{url}/networks/new_pools", params={"page": "1"})
        assert told.headers["x-poolcast-source"] == "simulation:3"
        networks = {record["relationships"]["network"]["data"]["id"] for record in told.json()["data"]}
        assert networks == {"simulated-1", "simulated-2"}
        process.terminate()
        assert process.wait(20) == 0


@pytest.mark.parametrize("options", [[], ["somewhere", "--simulate", "1"], ["--simulate", "1", "--start", "yesterday"]])
def test_the_command_refuses_what_is_not_clear(options: list[str]) -> None:
    from pipeline.cli import app

    assert isinstance(CliRunner().invoke(app, ["sandbox", "serve", *options]).exception, UsageError)


@pytest.mark.slow
def test_the_controls_say_what_is_served(sandbox: RunningSandbox) -> None:
    assert sandbox.control.market() == ServedMarket("simulation:7", (SIMULATED.network,))


@pytest.mark.slow
def test_time_goes_on_between_two_calls(sandbox: RunningSandbox, client: httpx2.Client) -> None:
    first = client.get(NEW).json()["data"]
    sandbox.control.advance_to(START + timedelta(days=2, hours=12))
    assert client.get(NEW).json()["data"] != first
