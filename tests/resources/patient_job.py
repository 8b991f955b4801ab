"""A job that a worker finds by its module, for the test of the launcher."""

import os
from pathlib import Path

import dagster as dg


@dg.op
def say_how_patient() -> None:
    Path(os.environ["DAGSTER_HOME"], "patience").write_text(os.environ["POOLCAST_DATABASE_PATIENCE_S"])


@dg.job(executor_def=dg.in_process_executor)
def patience() -> None:
    say_how_patient()
