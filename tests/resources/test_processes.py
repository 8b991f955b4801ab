import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil

from resources.processes import ProcessIdentity, end
from resources.roster import Roster

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


def test_a_torn_roster_names_nobody(tmp_path: Path) -> None:
    for text in ("", '{"up": {"pid": 1', "[]", '{"up": 3}', '{"up": {"pid": 1}}'):
        (tmp_path / "up.json").write_text(text)
        roster = Roster(tmp_path / "up.json")
        assert roster.left_behind() == {}
        assert roster.holder() == "pid unknown"
