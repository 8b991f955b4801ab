import io
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from rich.console import Console

from pipeline.calendars import SystemClock
from resources.caretaker import Caretaker, Chore
from resources.parts import Service, ServicePart
from resources.ports import answers
from resources.processes import ProcessIdentity
from resources.restarts import Patience
from resources.roster import Roster
from resources.supervisor import DATABASE, Supervisor, say
from tests.ports import free_port
from tests.resources.running_up import wait_for

SHORT = Patience(first=0.1, longest=1, well=60, most_deaths=3, window=60, hung=1)
SLEEPER = "import time; time.sleep(600)"
SERVER = "import sys, http.server as h; h.HTTPServer(('127.0.0.1', int(sys.argv[1])), h.SimpleHTTPRequestHandler)"


@dataclass
class Bench:
    """A supervisor of one part, in a thread, and what can be done to it."""

    folder: Path
    is_database_there: bool = True
    is_broken: bool = False
    stop: list[int] = field(default_factory=list)
    told: io.StringIO = field(default_factory=io.StringIO)
    before: list[bool] = field(default_factory=list)
    obituary: str | None = "still watching"

    def watch(self, program: str, port: int | None = None) -> None:
        self.roster = Roster(self.folder / "up.json")
        log = self.folder / "a part.log"
        self.part = ServicePart(Service("A part", ("-c", program, str(port)), log, port), os.environ, self.roster)
        checks = {DATABASE: self.asked}
        if port is not None:
            checks["A part"] = lambda: answers(port, "/", 0.2)
        self.caretaker = Caretaker(checks, [], 0.1)
        supervisor = Supervisor(
            [self.part], self.caretaker, self.roster, Console(file=self.told), SystemClock(), SHORT,
            before_restart={"A part": lambda: self.before.append(self.part.is_running())},
        )  # fmt: skip
        self.part.start()
        self.caretaker.start()
        self.thread = threading.Thread(target=self._work, args=(supervisor,))
        self.thread.start()

    def asked(self) -> bool:
        if self.is_broken:
            raise KeyError("a mistake of ours")
        return self.is_database_there

    def _work(self, supervisor: Supervisor) -> None:
        self.obituary = supervisor.watch(self.stop)

    def pid(self) -> int:
        assert self.part.process is not None
        return self.part.process.pid

    def end(self) -> None:
        self.stop.append(signal.SIGTERM)
        self.thread.join(20)
        self.caretaker.stop()
        self.part.halt()


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path)
    yield made
    made.end()


def test_a_part_that_dies_is_started_again_and_what_it_said_before_is_kept(bench: Bench) -> None:
    bench.watch(f"print('my last words', flush=True); {SLEEPER}")
    first = bench.pid()
    wait_for(lambda: bench.part.log.read_text().count("my last words") == 1, 20)
    os.kill(first, signal.SIGKILL)
    wait_for(lambda: bench.part.log.read_text().count("my last words") == 2, 20)
    assert bench.before == [False]
    assert bench.pid() != first
    assert "A part died (killed by signal 9). It is started again in 0.1 s" in bench.told.getvalue().replace("\n", "")
    seen = Roster(bench.folder / "up.json")
    assert [(each.name, each.why) for each in seen.restarts()] == [("A part", "A part died (killed by signal 9)")]
    assert seen.processes()["A part"] == ProcessIdentity.of(bench.pid())


def test_a_part_that_never_lives_is_given_up_with_its_last_words(bench: Bench) -> None:
    bench.watch("raise SystemExit('no such setting')")
    bench.thread.join(30)
    assert bench.obituary is not None
    assert bench.obituary.startswith("A part died (exit status 1), and did so too often.")
    assert bench.obituary.count("no such setting") == SHORT.most_deaths + 1


def test_a_part_that_lives_and_does_not_answer_is_ended_and_started_again(bench: Bench) -> None:
    bench.watch(f"{SERVER}.serve_forever()", free_port())
    port = bench.part.service.port
    assert port is not None
    wait_for(lambda: answers(port, "/"), 20)
    first = bench.pid()
    os.kill(first, signal.SIGSTOP)
    wait_for(lambda: bench.pid() != first and answers(port, "/"), 30)
    assert "A part was not well for" in bench.told.getvalue()
    assert ProcessIdentity.of(first) is None


def test_a_part_that_was_only_just_started_again_is_given_more_time(bench: Bench) -> None:
    bench.watch(SLEEPER, free_port())
    wait_for(lambda: "A part was started again." in bench.told.getvalue(), 30)
    second = bench.pid()
    time.sleep(2.5 * SHORT.hung)
    assert bench.pid() == second
    assert not bench.caretaker.has_answered("A part")


def test_nothing_is_started_again_while_the_database_is_away(bench: Bench) -> None:
    bench.watch(SLEEPER)
    first = bench.pid()
    bench.is_database_there = False
    wait_for(lambda: "The database does not answer." in bench.told.getvalue(), 20)
    os.kill(first, signal.SIGKILL)
    wait_for(lambda: "A part died" in bench.told.getvalue(), 20)
    time.sleep(1)
    assert bench.pid() == first
    bench.is_database_there = True
    wait_for(lambda: bench.pid() != first, 20)
    assert "The database answers again." in bench.told.getvalue()


def test_a_signal_is_heard_while_a_restart_is_pending(bench: Bench) -> None:
    bench.is_database_there = False
    bench.watch("raise SystemExit(0)")
    wait_for(lambda: "A part died (exit status 0)" in bench.told.getvalue(), 20)
    bench.stop.append(signal.SIGINT)
    bench.thread.join(5)
    assert bench.obituary is None


def test_a_terminal_that_is_gone_and_a_full_disk_behind_it_end_nothing() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    for gone in (os.fdopen(writer, "w"), Path("/dev/full").open("w")):  # noqa: SIM115 - closing it fails, too
        console = Console(file=gone)
        say(console, "It died.")
        say(console, "It died again.", "bold red")
        with suppress(OSError):
            gone.close()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_nobody_goes_on_without_whoever_asks_for_signs_of_life(bench: Bench) -> None:
    bench.is_broken = True
    bench.watch(SLEEPER)
    bench.thread.join(20)
    assert bench.obituary is not None
    assert "has died" in bench.obituary


def test_a_chore_that_fails_for_want_of_a_disk_is_done_again(tmp_path: Path) -> None:
    tried: list[float] = []

    def write() -> None:
        tried.append(time.monotonic())
        raise OSError("no space left on device")

    caretaker = Caretaker({}, [Chore(write, 0.05)], 0.01)
    caretaker.start()
    wait_for(lambda: len(tried) >= 3, 20)
    caretaker.stop()
