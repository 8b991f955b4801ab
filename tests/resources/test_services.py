import os
import signal
import socket
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import sqlalchemy as sa

from pipeline.errors import ServiceError
from resources.parts import Service, ServicePart
from resources.postgres import Databases
from resources.services import _failures_in_words, _stop_signals, wait_until_ready
from tests.ports import free_port
from tests.resources.running_up import Up, hour, wait_for

FRAMES = r"""print('Stack Trace:\n' + '  File "server.py", line 1, in f\n' * 20, flush=True)"""


@pytest.mark.slow
def test_after_a_crash_of_everything_orphans_are_failed_and_everything_that_was_asked_for_is_done(up: Up) -> None:
    up.start()
    said = up.wait_until_announced()
    assert f"http://127.0.0.1:{up.dagster_port}" in said
    assert f"http://127.0.0.1:{up.mlflow_port}" in said
    with urllib.request.urlopen(f"http://127.0.0.1:{up.mlflow_port}/health", timeout=10) as answer:
        assert answer.status == 200
    orphan = up.launch("sleeper")
    up.backfill([hour(n) for n in range(3)])
    wait_for((up.folder / "has_slept").exists, 150)
    queued = up.launch("quick")
    wait_for(lambda: up.status(queued) == "QUEUED", 60)
    wait_for(lambda: up.cursor() > 0, 150)
    seen = up.cursor()

    up.kill_everything()
    up.start()
    assert "Ended 1 run(s)" in up.wait_until_announced()
    # At once: nobody works on nothing and nothing is held, so whoever waits for the pool gets its slot.
    assert up.status(orphan) == "FAILURE"
    assert orphan not in up.holders("the_only_slot")
    fresh = up.launch("quick")
    wait_for(lambda: {up.status(queued), up.status(fresh)} == {"SUCCESS"}, 150)
    wait_for(lambda: any(run["rootRunId"] == orphan and run["status"] == "SUCCESS" for run in up.runs()), 150)
    # What was under way goes on from where it was.
    wait_for(lambda: up.cursor() > seen, 150)
    wait_for(lambda: up.backfills() == {"COMPLETED_SUCCESS"}, 150)
    assert up.hours_of("kept") == [hour(n) for n in range(3)]
    wait_for(lambda: up.holders("the_only_slot") == set(), 60)
    wait_for(lambda: "Nothing has moved yet" in (up.folder / "logs" / "reconcile.log").read_text(), 150)

    assert up.process is not None
    up.process.send_signal(signal.SIGINT)
    said = up.wait_until_stopped()
    assert up.process.returncode == 0, said
    assert said.endswith("Stopped.\n")
    assert up.processes() == []


@pytest.mark.parametrize("is_meant", [True, False])
def test_a_terminal_that_closes_stops_up_unless_it_was_started_by_nohup(is_meant: bool) -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL if is_meant else signal.SIG_IGN)
    try:
        with _stop_signals() as stop:
            os.kill(os.getpid(), signal.SIGHUP)
            assert stop == ([signal.SIGHUP] if is_meant else [])
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_database_that_fails_while_its_state_is_opened_is_told_in_its_own_words() -> None:
    url = "postgresql://me:secret@127.0.0.1:1/state"
    with pytest.raises(ServiceError, match=r"could not be opened: .*refused") as raised:  # noqa: SIM117 - one each
        with _failures_in_words(Databases(url, url, is_embedded=False)):
            sa.create_engine(url).connect()
    assert "secret" not in str(raised.value)


def test_a_taken_port_is_named_with_its_holder_before_anything_is_started(up: Up) -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", up.mlflow_port))
        holder.listen()
        said, _ = up.start().communicate(timeout=60)
    assert up.process is not None
    assert up.process.returncode == 1
    assert f"port {up.mlflow_port} for MLflow is taken by" in said
    assert f"(pid {os.getpid()})" in said
    assert "--mlflow-port" in said
    assert not (up.folder / "postgres").exists()


@contextmanager
def started(log: Path, program: str) -> Iterator[ServicePart]:
    """A server that has just been started, and never answers."""
    part = ServicePart(Service("A server", ("-c", program), log, free_port()), os.environ, None)
    part.start()
    try:
        yield part
    finally:
        part.halt()


def test_a_server_that_dies_while_it_starts_is_told_by_its_cause_and_not_by_its_frames(tmp_path: Path) -> None:
    log = tmp_path / "server.log"
    log.write_text("ValueError: what an earlier one died of\n")
    program = f"{FRAMES}; open('/no/such/\x1b[2Jfile')"
    with started(log, program) as part, pytest.raises(ServiceError) as raised:
        wait_until_ready([part], 60, [])
    words = str(raised.value)
    assert words.startswith("A server died while it started (exit status 1): FileNotFoundError: [Errno 2] No such file")
    assert words.endswith(f"Mend that and run `poolcast up` again; all it said is in {str(log)!r}")
    assert 'File "' not in words
    assert "earlier" not in words
    assert words.isprintable()


@pytest.mark.parametrize(("program", "said"), [("print('no port'); exit(3)", "no port"), ("exit(3)", "(no output)")])
def test_a_server_that_dies_without_an_error_is_told_by_its_last_line(tmp_path: Path, program: str, said: str) -> None:
    log = tmp_path / "server.log"
    log.write_text("what an earlier one said\n")
    with started(log, program) as part, pytest.raises(ServiceError) as raised:
        wait_until_ready([part], 60, [])
    assert f"(exit status 3): {said}. Mend that" in str(raised.value)


def test_a_server_that_does_not_answer_in_time_is_told_in_a_sentence_with_what_to_do(tmp_path: Path) -> None:
    log = tmp_path / "server.log"
    with started(log, f"{FRAMES}; import time; time.sleep(60)") as part, pytest.raises(ServiceError) as raised:
        wait_until_ready([part], 1, [])
    words = str(raised.value)
    assert words.startswith("A server was started and did not answer within 1 s. A busy machine is slow to start it")
    assert words.endswith(f"if it stays so, read {str(log)!r}")
    assert "\n" not in words
