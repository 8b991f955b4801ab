"""Spends a shared budget: `python budget_spender.py PATH BEGAN SPEED THREADS CALLS [die]`; waits for a line first.

Each thread spends CALLS calls, or goes on until it is killed where CALLS is 0, and reports the moment of each. With
`die` the process kills itself inside the transaction of its third call.
"""

import os
import signal
import sys
import threading
from datetime import datetime
from itertools import count
from pathlib import Path

from timers import NOON, FastTimer

from pipeline.pools.budget import Budget
from pipeline.pools.collecting_spec import ClientSpec

ALLOWED = 20
SPEC = ClientSpec(budget_window_s=60.0, budget_slack_s=2.0)
HOST = "api.test"


class DyingTimer(FastTimer):
    """Kills its process when it is asked for the time the third time; the budget asks inside its transaction."""

    n_asked = 0

    def now(self) -> datetime:
        self.n_asked += 1
        if self.n_asked == 3:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().now()


def spend(budget: Budget, timer: FastTimer, n_calls: int) -> None:
    for n in count(1):
        budget.acquire(timer)
        sys.stdout.write(f"{(timer.last.moment - NOON).total_seconds():.6f}\n")
        sys.stdout.flush()
        if n == n_calls:
            return


def main() -> None:
    path, began, speed, n_threads, n_calls = sys.argv[1:6]
    timer = (DyingTimer if sys.argv[6:] == ["die"] else FastTimer)(float(began), float(speed))
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    sys.stdin.readline()
    with Budget(Path(path), calls=ALLOWED, spec=SPEC, host=HOST) as budget:
        threads = [threading.Thread(target=spend, args=(budget, timer, int(n_calls))) for _ in range(int(n_threads))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()


if __name__ == "__main__":
    main()
