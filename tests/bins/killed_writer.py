"""A process that starts writers which may be killed at any moment. It forks them, which is quick: Python starts slowly.

Usage: killed_writer.py DIRECTORY N_POOLS; commands on standard input, answers on standard output.
    run STEP        a writer does that step and all after it, for ever; answers its process id when it begins
    die STEP N      a writer does that step and is killed just before it touches the file system for the N-th time;
                    answers whether it was
    reap            wait for the writer of `run`
"""

import os
import signal
import sys
import warnings
from itertools import count
from pathlib import Path

from tests.bins.bins_steps import N_STEPS, steps

TOUCHES = frozenset({"open", "os.mkdir", "os.link", "os.rename", "os.symlink", "os.remove", "os.rmdir"})


def answer(word: object) -> None:
    sys.stdout.write(f"{word}\n")
    sys.stdout.flush()


def write_for_ever(directory: Path, n_pools: int, at: int) -> None:
    todo = steps(n_pools)
    answer(os.getpid())
    for n in count(at):
        todo[n % N_STEPS](directory)


def write_until(directory: Path, n_pools: int, at: int, n: int) -> None:
    left, todo = n, steps(n_pools)

    def hook(event: str, arguments: tuple[object, ...]) -> None:
        nonlocal left
        if event in TOUCHES and str(arguments[0]).startswith(str(directory)):
            left -= 1
            if left < 0:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)
    todo[at](directory)


def forked(work: object, *arguments: object) -> int:
    with warnings.catch_warnings():
        # Polars has idle threads, which do not live on in the child; none of them holds a lock.
        warnings.simplefilter("ignore", DeprecationWarning)
        pid = os.fork()
    if not pid:
        work(*arguments)  # type: ignore[operator]
        os._exit(0)
    return pid


if __name__ == "__main__":
    given, pid = (Path(sys.argv[1]), int(sys.argv[2])), 0
    for line in sys.stdin:
        word, *numbers = line.split()
        if word == "run":
            pid = forked(write_for_ever, *given, *map(int, numbers))
        elif word == "die":
            _, status = os.waitpid(forked(write_until, *given, *map(int, numbers)), 0)
            answer(os.waitstatus_to_exitcode(status))
        else:
            os.waitpid(pid, 0)
            answer("reaped")
