"""A code location of two jobs that want the same pool slot, for tests that start real servers."""

import time
from pathlib import Path

import dagster as dg

from resources.settings import Settings


@dg.op(pool="the_only_slot")
def sleep_the_first_time() -> None:
    marker: Path = Settings.from_environment().data_dir / "has_slept"
    if not marker.exists():
        marker.touch()
        time.sleep(600)


@dg.op(pool="the_only_slot")
def do_nothing() -> None:
    """It only has to get its slot."""


@dg.job(executor_def=dg.in_process_executor)
def sleeper() -> None:
    sleep_the_first_time()


@dg.job(executor_def=dg.in_process_executor)
def quick() -> None:
    do_nothing()


defs = dg.Definitions(jobs=[sleeper, quick])
