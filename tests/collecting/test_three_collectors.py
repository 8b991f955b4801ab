"""Three collectors at once keep to one budget and get into nobody's way."""

import os
import signal
import subprocess
import sys
import threading
from datetime import timedelta
from pathlib import Path

import pytest
from market_under_test import lake_of, served, simulated

from pipeline.tables import ANSWERS

HERE = Path(__file__).parent
CALLS_PER_MINUTE = 30
# A virtual second is a quarter of a real one: what the machine delays a call by stays below the budget's slack.
SPEED = 4.0
LONG = timedelta(minutes=4)


@pytest.mark.slow
def test_three_collectors_together_stay_within_the_budget_of_one(tmp_path: Path) -> None:
    told = simulated(tmp_path, 400, days=3, birth_days=1, n_networks=3)
    lake = lake_of(tmp_path)
    start = told.start + timedelta(hours=12, minutes=3)
    with served(told, start=start, speed=SPEED, calls_per_minute=CALLS_PER_MINUTE) as sandbox:
        command = [
            sys.executable, str(HERE / "collect_for_ever.py"), sandbox.api_url, sandbox.url, told.source,
            str(tmp_path / "collector"), str(lake.root), str(CALLS_PER_MINUTE), *told.networks,
        ]  # fmt: skip
        environment = {**os.environ, "PYTHONPATH": f"{HERE}{os.pathsep}{HERE.parents[1]}", "POLARS_MAX_THREADS": "1"}
        collectors = [subprocess.Popen(command, stdout=subprocess.DEVNULL, env=environment) for _ in range(3)]
        try:
            began = sandbox.control.clock().now
            while sandbox.control.clock().now < began + LONG:
                threading.Event().wait(0.5)
                assert all(collector.poll() is None for collector in collectors)
            calls = sandbox.control.calls()
        finally:
            for collector in collectors:
                collector.send_signal(signal.SIGKILL)
                collector.wait()
    assert not [call for call in calls if call.is_over_budget]
    assert len(calls) > 2 * CALLS_PER_MINUTE
    # No pool was asked for by two of them in the same grid point.
    visits = [
        (pool, call.now.replace(minute=call.now.minute // 5 * 5, second=0, microsecond=0))
        for call in calls
        if "/multi/" in call.path
        for pool in call.path.rpartition("/")[2].split(",")
    ]
    assert len(visits) == len(set(visits))
    assert lake.scan(ANSWERS).collect()["answer_id"].is_unique().all()
