"""Writers are killed, at random times and before every single touch of the disk, with a reader looking on."""

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.bins.bins_steps import N_STEPS, steps
from tests.bins.test_update import fresh_folder
from tests.bins.watching_reader import assert_whole

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
N_KILLS = 100
N_POOLS = 50
N_FEW = 3


@contextmanager
def process(script: str, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    child = subprocess.Popen(
        [sys.executable, "-m", f"tests.bins.{script}", *arguments],
        cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        yield child
    finally:
        child.kill()
        child.communicate()


def ask(child: subprocess.Popen[str], command: str) -> str:
    assert child.stdin is not None
    assert child.stdout is not None
    child.stdin.write(command + "\n")
    child.stdin.flush()
    return child.stdout.readline().strip()


def phase(directory: Path) -> str:
    """What a writer was at when it was killed, by what it left."""
    store = directory.with_name(directory.name + ".exports")
    names = {entry.name for entry in store.iterdir()} if store.exists() else set()
    exports = {name for name in names if len(name) == 64}
    staged = [name for name in names if name.startswith("tmp-next")]
    if staged:
        return "writing" if not (store / staged[0] / "instruments.json").exists() else "flushing"
    if "tmp-link" in names:
        return "switching"
    in_use = {link.readlink().name for link in (directory, store / "previous") if link.is_symlink()}
    return "sweeping" if any(name.startswith("tmp-gone") for name in names) or exports - in_use else "between"


def calm_ids(folder: Path, n_pools: int) -> list[str]:
    return [step(folder / "calm").export_id for step in steps(n_pools)]


@pytest.fixture
def folder() -> Iterator[Path]:
    made = fresh_folder()
    yield made
    shutil.rmtree(made)


def assert_repaired(directory: Path, ids: list[str], n_pools: int, n_pinned: int = 0) -> int:
    """What is in force is one of the states, and the next step ends right and leaves nothing; which step that was.

    The export that the next step makes is that of the state before and what the step brings: nothing was lost.
    """
    at = ids.index(directory.resolve().name) if directory.exists() else N_STEPS - 1
    if directory.exists():
        assert_whole(directory.resolve())
    following = (at + 1) % N_STEPS
    assert steps(n_pools)[following](directory).export_id == ids[following]
    assert_whole(directory.resolve())
    left = {entry.name for entry in directory.with_name(directory.name + ".exports").iterdir()} - {"lock", "previous"}
    assert len(left) <= 2 + n_pinned
    assert n_pinned or all(len(name) == 64 for name in left)
    return following


def test_killed_at_any_time_the_directory_is_whole_and_the_next_run_ends_right(folder: Path) -> None:
    directory, ids, rng = folder / "qlib", calm_ids(folder, N_POOLS), random.Random(0)
    steps(N_POOLS)[0](directory)
    before = time.perf_counter()
    for at in (1, 2, 3, 0):
        steps(N_POOLS)[at](directory)
    duration, done, phases, states = (time.perf_counter() - before) / N_STEPS, 0, Counter[str](), Counter[int]()
    with (
        process("watching_reader", str(directory), *ids) as reader,
        process("killed_writer", str(directory), str(N_POOLS)) as writer,
    ):
        for _ in range(N_KILLS):
            pid = int(ask(writer, f"run {(done + 1) % N_STEPS}"))
            time.sleep(rng.uniform(0, 2 * duration))
            os.kill(pid, signal.SIGKILL)
            assert ask(writer, "reap") == "reaped"
            phases[phase(directory)] += 1
            states[ids.index(directory.resolve().name)] += 1
            done = assert_repaired(directory, ids, N_POOLS, n_pinned=2)
        told = reader.communicate("", timeout=30)[0].split()
    assert reader.returncode == 0
    n_looks, n_overtaken = map(int, told)
    assert n_looks > N_KILLS
    assert n_overtaken > 0
    assert phases["writing"]
    assert phases.total() > phases["writing"] + phases["between"]
    assert len(states) == N_STEPS


@pytest.mark.parametrize("at", [0, 3])
def test_killed_before_any_touch_of_the_disk_the_directory_is_whole_and_the_next_run_ends_right(
    folder: Path, at: int
) -> None:
    directory, ids = folder / "qlib", calm_ids(folder, N_FEW)
    done, phases = -1, Counter[str]()
    with process("killed_writer", str(directory), str(N_FEW)) as writer:
        for n in range(1000):
            while (done + 1) % N_STEPS != at:
                done = (done + 1) % N_STEPS
                steps(N_FEW)[done](directory)
            is_killed = int(ask(writer, f"die {at} {n}")) == -signal.SIGKILL
            phases[phase(directory)] += 1
            done = assert_repaired(directory, ids, N_FEW)
            if not is_killed:
                break
    assert not is_killed
    assert phases.keys() >= {"writing", "flushing", "switching", "sweeping"}
