import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psutil

from resources.parts import Service, ServicePart, tail
from resources.processes import ProcessIdentity, end
from resources.roster import Restart, Roster

PARENT = """
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
print(child.pid, flush=True)
time.sleep(600)
"""
STUBBORN = """
import signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("deaf", flush=True)
time.sleep(600)
"""


def session(program: str) -> tuple[subprocess.Popen[str], str]:
    process = subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    assert process.stdout is not None
    return process, process.stdout.readline().strip()


def kill(process: subprocess.Popen[str]) -> None:
    os.kill(process.pid, signal.SIGKILL)
    process.wait()


def test_the_next_up_finds_the_child_of_a_server_that_was_killed(tmp_path: Path) -> None:
    parent, child = session(PARENT)
    roster = Roster(tmp_path / "up.json")
    roster.add("a server", parent.pid)
    kill(parent)
    left = Roster(tmp_path / "up.json").left_behind()
    assert list(left) == ["a server"]
    end([each.pid for each in left.values()], grace_seconds=10)
    assert ProcessIdentity.of(int(child)) is None
    assert Roster(tmp_path / "up.json").left_behind() == {}
    parent.communicate()


def test_a_process_that_does_not_listen_is_killed_with_its_children_after_the_grace() -> None:
    deaf, _ = session(STUBBORN)
    started = time.monotonic()
    assert end([deaf.pid], grace_seconds=0.5) == [deaf.pid]
    assert 0.5 <= time.monotonic() - started < 10
    assert not psutil.pid_exists(deaf.pid)
    deaf.communicate()


def test_a_child_that_its_parent_forgot_is_asked_too_and_not_killed(tmp_path: Path) -> None:
    polite = f"""import signal, sys, time
from pathlib import Path
signal.signal(signal.SIGTERM, lambda *_: (Path({str(tmp_path / "asked")!r}).touch(), sys.exit()))
print("ready", flush=True)
time.sleep(600)"""
    parent, _ = session(f"""import subprocess, sys, time
subprocess.Popen([sys.executable, "-c", {polite!r}])
time.sleep(600)""")
    started = time.monotonic()
    assert end([parent.pid], grace_seconds=20) == []
    assert time.monotonic() - started < 15
    assert (tmp_path / "asked").exists()
    parent.communicate()


def test_a_session_of_its_own_is_spared_where_only_its_parents_is_meant() -> None:
    parent, child = session(PARENT.replace('time.sleep(600)"]', 'time.sleep(600)"], start_new_session=True'))
    end([parent.pid], grace_seconds=10, is_own_session_only=True)
    assert ProcessIdentity.of(int(child)) is not None
    end([int(child)], grace_seconds=10)
    assert ProcessIdentity.of(int(child)) is None
    parent.communicate()


def test_the_roster_tells_of_the_last_restarts_and_of_parts_that_do_not_run(tmp_path: Path) -> None:
    roster = Roster(tmp_path / "up.json")
    roster.clear()
    parent, _ = session(PARENT)
    roster.add("a server", parent.pid)
    for n in range(101):
        roster.note(Restart(datetime(2024, 3, 1, tzinfo=UTC) + timedelta(hours=n), "a server", "it died"))
    seen = Roster(tmp_path / "up.json")
    assert len(seen.restarts()) == 100
    assert seen.restarts()[-1] == Restart(datetime(2024, 3, 5, 4, tzinfo=UTC), "a server", "it died")
    assert seen.dead() == []
    assert seen.running() == ProcessIdentity.of(os.getpid())
    end([parent.pid], grace_seconds=10)
    assert seen.dead() == ["a server"]
    parent.communicate()


def test_the_roster_tells_whether_everything_answered_since_it_was_started(tmp_path: Path) -> None:
    roster, seen = Roster(tmp_path / "up.json"), Roster(tmp_path / "up.json")
    assert not seen.is_starting()  # nobody runs
    roster.clear()
    assert seen.is_starting()
    roster.note_ready()
    roster.note(Restart(datetime(2024, 3, 1, tzinfo=UTC), "a server", "it died"))
    assert not seen.is_starting()
    roster.clear()
    assert seen.is_starting()


def test_a_tag_that_is_no_number_of_a_process_names_nobody() -> None:
    own = ProcessIdentity.of(os.getpid())
    assert own is not None
    for told in ("9" * 5000, "99999999999999999999", "-1", "\u0663"):
        assert ProcessIdentity.from_tags(replace(own, pid=told).tags()) is None  # type: ignore[arg-type]


def test_a_part_whose_number_was_given_to_somebody_else_is_left_alone(tmp_path: Path) -> None:
    part = ServicePart(Service("A part", ("-c", "pass"), tmp_path / "a.log"), os.environ, None)
    part.start()
    assert part.process is not None
    part.process.wait()
    stranger, _ = session(PARENT)
    part.process.pid = stranger.pid
    assert part.halt() == "exit status 0"
    assert ProcessIdentity.of(stranger.pid) is not None
    end([stranger.pid], grace_seconds=10)
    stranger.communicate()


def test_the_last_words_of_a_log_are_shown_so_that_no_terminal_obeys_them(tmp_path: Path) -> None:
    log = tmp_path / "a.log"
    assert tail(log) == "(no output)"
    log.write_bytes(b"x" * 100_000 + b"\nfirst\r\n\x1b[2Jsecond \xff\x9b\xe2\x80\xae\n")
    assert tail(log, 2) == "first\n\\x1b[2Jsecond \ufffd\ufffd\\u202e"


def test_a_torn_roster_names_nobody(tmp_path: Path) -> None:
    for text in (
        "",
        '{"up": {"pid": 1',
        "[]",
        '{"processes": 3}',
        '{"processes": {"up": {"pid": 1}}, "restarts": [1]}',
    ):
        (tmp_path / "up.json").write_text(text)
        roster = Roster(tmp_path / "up.json")
        assert roster.left_behind() == {}
        assert roster.holder() == "pid unknown"
        assert roster.restarts() == []
