"""A small graph whose steps run on Dask workers: what they do, they write into a folder."""

import os
import sys
import time
from pathlib import Path

import dagster as dg

from resources.dask_steps import dask_steps

FOLDER = Path(os.environ.get("DASK_GRAPH_FOLDER", "/nonexistent"))


def begin(name: str) -> None:
    """Leave a trace; fail, or wait, where the folder says so."""
    (FOLDER / f"{name}.began.{os.getpid()}.{os.getppid()}").touch()
    while (FOLDER / f"{name}.hold").exists():
        time.sleep(0.05)
    if (FOLDER / f"{name}.dies").exists():
        os._exit(7)
    if (FOLDER / f"{name}.fails").exists():
        raise ValueError(f"{name} was told to fail")


@dg.asset
def first() -> None:
    begin("first")


@dg.asset(deps=[first])
def second() -> None:
    begin("second")


@dg.asset_check(asset=first, blocking=True)
def is_sound() -> dg.AssetCheckResult:
    return dg.AssetCheckResult(passed=not (FOLDER / "unsound").exists())


defs = dg.Definitions(
    assets=[first, second], asset_checks=[is_sound], jobs=[dg.define_asset_job("both", executor_def=dask_steps)]
)


def both() -> dg.JobDefinition:
    return defs.resolve_job_def("both")


if __name__ == "__main__":
    with dg.DagsterInstance.get() as instance:
        import dask_graph  # by the name under which the workers know it

        dg.execute_job(
            dg.reconstructable(dask_graph.both),
            instance,
            run_config={"execution": {"config": {"address": sys.argv[1]}}},
            raise_on_error=False,
        )
