"""However many share a budget, and however they die, no more calls go out in any window than it allows."""

import os
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest
from budget_spender import ALLOWED, HOST, SPEC
from hypothesis import given
from hypothesis import strategies as st
from timers import NOON, FastTimer, VirtualTimer

from pipeline.errors import StorageError, UsageError
from pipeline.pools.budget import Budget

SCRIPT = Path(__file__).with_name("budget_spender.py")
PROJECT = Path(__file__).parents[2]
WINDOW = SPEC.budget_window_s + SPEC.budget_slack_s
SPEED = 60.0


def opened(path: Path, calls: int = 3, host: str = HOST) -> Budget:
    return Budget(path, calls=calls, spec=SPEC, host=host)


def most_in_a_window(moments: list[float]) -> int:
    """The most moments in any stretch shorter than the window."""
    ordered, first, most = sorted(moments), 0, 0
    for last, moment in enumerate(ordered):
        while moment - ordered[first] >= WINDOW - 1e-6:
            first += 1
        most = max(most, last - first + 1)
    return most


def start(path: Path, began: float, n_threads: int, n_calls: int, *more: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, str(SCRIPT), str(path), str(began), str(SPEED), str(n_threads), str(n_calls), *more],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": str(PROJECT), "POLARS_MAX_THREADS": "1"},
    )


def let_go(*processes: subprocess.Popen[str]) -> None:
    """Wait until all are ready, then let all begin at once."""
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()


def reported(process: subprocess.Popen[str]) -> list[float]:
    return [float(line) for line in process.communicate()[0].splitlines()]


def test_calls_go_out_at_once_until_the_budget_is_spent_and_then_one_by_one_as_they_leave_the_window(
    tmp_path: Path,
) -> None:
    timer = VirtualTimer()
    with opened(tmp_path / "budget") as budget:
        for pause in (1, 2, 4):
            budget.acquire(timer)
            timer.sleep(pause)
        timer.slept.clear()
        for _ in range(3):
            budget.acquire(timer)
    assert timer.slept == [WINDOW - 7, 1, 2]


def test_what_is_left_counts_the_calls_of_the_window(tmp_path: Path) -> None:
    timer = VirtualTimer()
    with opened(tmp_path / "budget") as budget:
        assert budget.left(NOON) == 3
        budget.acquire(timer)
        budget.acquire(timer)
        assert budget.left(NOON) == 1
        assert budget.left(NOON + timedelta(seconds=WINDOW - 0.001)) == 1
        assert budget.left(NOON + timedelta(seconds=WINDOW)) == 3
        assert budget.left(NOON - timedelta(days=1)) == 1, "calls of a future that never came are spent"
    with opened(tmp_path / "budget", calls=1) as smaller:
        assert smaller.left(NOON) == 0


def test_hosts_have_budgets_of_their_own_in_one_file(tmp_path: Path) -> None:
    with opened(tmp_path / "budget", 1) as one, opened(tmp_path / "budget", 1, "other.test") as other:
        one.acquire(VirtualTimer())
        assert one.left(NOON) == 0
        assert other.left(NOON) == 1


def test_two_that_share_a_file_share_its_budget(tmp_path: Path) -> None:
    timer = VirtualTimer()
    with opened(tmp_path / "budget") as one, opened(tmp_path / "budget") as other:
        one.acquire(timer)
        other.acquire(timer)
        one.acquire(timer)
        assert (one.left(NOON), other.left(NOON)) == (0, 0)
        other.acquire(timer)
    assert timer.slept == [WINDOW]


@pytest.mark.parametrize("jump", [timedelta(seconds=1), timedelta(hours=1), timedelta(days=400)])
def test_a_clock_that_jumps_back_holds_calls_up_for_a_window_and_not_for_the_jump(
    tmp_path: Path, jump: timedelta
) -> None:
    timer = VirtualTimer()
    with opened(tmp_path / "budget") as budget:
        for _ in range(3):
            budget.acquire(timer)
        timer.moment -= jump
        for _ in range(3):
            budget.acquire(timer)
    assert sum(timer.slept) == WINDOW


class InterruptedTimer(VirtualTimer):
    """Lets something else happen once, after a sleep and before the sleeper wakes."""

    def __init__(self, meanwhile: Callable[[], None]) -> None:
        super().__init__()
        self.meanwhile: Callable[[], None] | None = meanwhile

    def sleep(self, seconds: float) -> None:
        super().sleep(seconds)
        meanwhile, self.meanwhile = self.meanwhile, None
        if meanwhile is not None:
            meanwhile()


def test_whoever_waits_is_not_overtaken_unless_there_is_room_for_both(tmp_path: Path) -> None:
    went: dict[str, float] = {}

    def go(name: str) -> None:
        with opened(tmp_path / "budget", 2) as budget:
            budget.acquire(timer)
            went[name] = (timer.now() - NOON).total_seconds()

    def others_come() -> None:
        with opened(tmp_path / "budget", 2) as budget:
            assert budget.left(timer.now()) == 1
        go("the second")
        go("the third")

    timer = InterruptedTimer(others_come)
    go("early")
    go("early too")
    go("the first")
    assert went == {"early": 0, "early too": 0, "the second": WINDOW, "the third": 2 * WINDOW, "the first": 2 * WINDOW}


def test_one_who_never_comes_back_from_waiting_holds_nobody_up_for_long(tmp_path: Path) -> None:
    def die() -> None:
        raise SystemExit

    timer = InterruptedTimer(die)
    with opened(tmp_path / "budget", 1) as budget:
        budget.acquire(timer)
        with pytest.raises(SystemExit):
            budget.acquire(timer)
        assert budget.left(timer.now()) == 0, "its turn is still kept for it"
        assert budget.left(timer.now() + timedelta(seconds=10)) == 1
        budget.acquire(timer)
    assert WINDOW < (timer.now() - NOON).total_seconds() < WINDOW + 10
    with closing(sqlite3.connect(tmp_path / "budget")) as db:
        assert db.execute("SELECT count(*) FROM queue").fetchone() == (0,), "nothing of it is left"
        assert db.execute("SELECT count(*) FROM spent").fetchone() == (1,), "nor of calls that left the window"


def test_a_new_file_may_be_opened_by_many_at_once(tmp_path: Path) -> None:
    barrier = threading.Barrier(8, timeout=20)

    def open_all(_: int) -> None:
        for n in range(30):
            barrier.wait()
            opened(tmp_path / str(n)).close()

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(open_all, range(8)))


@given(pauses=st.lists(st.floats(0, 2 * WINDOW), max_size=30), calls=st.integers(1, 4))
def test_no_window_holds_more_than_the_budget_and_nobody_waits_without_need(pauses: list[float], calls: int) -> None:
    timer, moments = VirtualTimer(), list[float]()
    with tempfile.TemporaryDirectory() as folder, opened(Path(folder) / "budget", calls) as budget:
        for pause in pauses:
            timer.sleep(pause)
            timer.slept.clear()
            n_left = budget.left(timer.now())
            budget.acquire(timer)
            assert bool(timer.slept) == (n_left == 0)
            moments.append((timer.now() - NOON).total_seconds())
    assert most_in_a_window(moments) <= calls


def test_a_budget_of_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="at least one call a window, found 0"):
        opened(tmp_path / "budget", 0)


def test_a_file_that_is_no_database_is_refused_with_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "budget").write_text("not a database, but long enough to be looked at" * 100)
    with pytest.raises(StorageError, match="remove it"):
        opened(tmp_path / "budget")


@pytest.mark.slow
def test_three_processes_of_four_threads_never_send_more_in_any_window_than_the_budget(tmp_path: Path) -> None:
    began = time.time()
    processes = [start(tmp_path / "budget", began, 4, 8) for _ in range(3)]
    let_go(*processes)
    moments = [moment for process in processes for moment in reported(process)]
    assert len(moments) == 3 * 4 * 8, "everybody got through"
    assert most_in_a_window(moments) == ALLOWED, "no more, and the budget is used to the full"


@pytest.mark.slow
def test_a_process_killed_inside_its_transaction_leaves_no_lock_and_has_not_spent(tmp_path: Path) -> None:
    began = time.time()
    process = start(tmp_path / "budget", began, 1, 0, "die")
    let_go(process)
    assert len(reported(process)) == 2
    assert process.returncode == -9
    timer = FastTimer(began, SPEED)
    with opened(tmp_path / "budget", ALLOWED) as budget:
        assert budget.left(NOON) == ALLOWED - 2
        budget.acquire(timer)
        assert budget.left(NOON) == ALLOWED - 3


@pytest.mark.slow
def test_processes_killed_again_and_again_take_nothing_from_the_others_but_what_they_spent(tmp_path: Path) -> None:
    began = time.time()
    steady = start(tmp_path / "budget", began, 2, 16)
    doomed = [start(tmp_path / "budget", began, 4, 0) for _ in range(6)]
    let_go(steady, *doomed)
    moments = []
    for process in doomed:
        time.sleep(0.15)
        process.kill()
        moments += reported(process)
        assert process.returncode == -9
    survived = reported(steady)
    assert len(survived) == 2 * 16, "the one that was left alone got through"
    assert most_in_a_window(moments + survived) <= ALLOWED
