"""A code location of one job that does nothing, for tests of who may start it."""

import dagster as dg


@dg.op
def do_nothing() -> None:
    """It is only to be started, or not."""


@dg.job(executor_def=dg.in_process_executor)
def quick() -> None:
    do_nothing()


@dg.asset(check_specs=[dg.AssetCheckSpec("named_as_specified", asset="named")])
def named() -> dg.MaterializeResult:
    """Others report what is in it."""
    return dg.MaterializeResult()


defs = dg.Definitions(jobs=[quick], assets=[named])
