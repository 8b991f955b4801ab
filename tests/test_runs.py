"""What a finished run tells of its checks, and what is left of one that was stopped."""

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
import psutil
import pytest
import yaml

from pipeline.calendars import HOUR, Span
from pipeline.runs import SHOWN_OF_WARNING, run_job
from resources.narrator import narrator
from resources.settings import ROOT
from tests.resources.running_up import wait_for

BEGIN = datetime(2024, 3, 1, tzinfo=UTC)
SLEPT = 0.05
N_MIRRORS = 4
"""Helpers that Dagster starts beside a run: one that copies and one that watches, for each of two streams."""


@dg.asset
def thing() -> None:
    """Nothing, for a moment."""
    time.sleep(SLEPT)


@dg.asset_check(asset=thing, blocking=True)
def doubtful() -> dg.AssetCheckResult:
    """Warns at length, and stops nothing."""
    words = "thing: 3 rows, 1 of 9 expectations are broken\n- warning: what fell is a RUG: not so for 2; " + "x " * 300
    return dg.AssetCheckResult(passed=False, severity=dg.AssetCheckSeverity.WARN, description=words)


@dg.asset_check(asset=thing)
def sound() -> dg.AssetCheckResult:
    """Passes."""
    return dg.AssetCheckResult(passed=True, description="all is well")


def test_a_check_that_warns_is_told_in_one_line_and_one_that_passes_is_not() -> None:
    jobs = [dg.define_asset_job("loop")]
    defs = dg.Definitions(assets=[thing], asset_checks=[doubtful, sound], jobs=jobs, loggers={"narrator": narrator})
    with dg.DagsterInstance.ephemeral() as instance:
        done = run_job(defs, instance, "loop", Span(BEGIN, BEGIN + HOUR))
    assert set(done.seconds) == {"thing", "thing_doubtful", "thing_sound"}
    assert done.seconds["thing"] >= SLEPT
    (told,) = done.warnings
    assert told.startswith("doubtful: thing: 3 rows, 1 of 9 expectations are broken - warning: what fell is a RUG")
    assert len(told) <= SHOWN_OF_WARNING
    assert "\n" not in told


@pytest.mark.slow
def test_ctrl_c_ends_a_run_as_canceled_and_nothing_on_the_screen_comes_from_elsewhere(tmp_path: Path) -> None:
    told = yaml.safe_load((ROOT / "dagster.yaml").read_text())
    (tmp_path / "dagster.yaml").write_text(yaml.safe_dump({name: told[name] for name in ("compute_logs", "telemetry")}))
    screen = tmp_path / "screen"
    with screen.open("wb") as shown:
        # A terminal sends Ctrl-C to every process of the group in front of it.
        run = subprocess.Popen(
            [sys.executable, "-m", "tests.stopped_run", str(tmp_path)], cwd=ROOT, start_new_session=True,
            env={**os.environ, "DAGSTER_HOME": str(tmp_path)}, stdout=shown, stderr=shown,
        )  # fmt: skip
    try:
        wait_for(lambda: "it begins" in screen.read_text(), 60)
        wait_for(lambda: len(psutil.Process(run.pid).children()) == N_MIRRORS, 10)
        time.sleep(1)  # the helpers' interpreters have started, too
        os.killpg(run.pid, signal.SIGINT)
        assert run.wait(30) == 0
    finally:
        with suppress(ProcessLookupError):
            os.killpg(run.pid, signal.SIGKILL)
    words = screen.read_text()
    assert "Traceback" not in words, words
    assert words.splitlines()[-1] == "stopped"
    with dg.DagsterInstance.from_config(str(tmp_path)) as instance:
        (record,) = instance.get_runs()
        assert record.status is dg.DagsterRunStatus.CANCELED
        (kept,) = (tmp_path / "storage" / record.run_id / "compute_logs").glob("*.err")
        assert "it begins" in kept.read_text()
