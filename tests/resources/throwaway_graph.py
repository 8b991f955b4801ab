"""A code location for tests that start real servers: jobs that want one slot, hours to fill, a sensor that counts."""

import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import dagster as dg

from resources.settings import Settings

HOURS = dg.HourlyPartitionsDefinition(start_date="2024-03-01-00:00", end_date="2024-03-02-00:00")


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


def of_all_hours(**options: Any) -> Callable[[Callable[..., Any]], dg.AssetsDefinition]:
    """An asset whose backfills are one run; Dagster calls that beta, and the version is pinned."""

    def decorate(compute: Callable[..., Any]) -> dg.AssetsDefinition:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", dg.BetaWarning)
            return dg.asset(partitions_def=HOURS, backfill_policy=dg.BackfillPolicy.single_run(), **options)(compute)

    return decorate


@of_all_hours(pool="hours")
def told(context: dg.AssetExecutionContext) -> None:
    """Each hour takes a second and says so, which Dagster writes into its database."""
    for hour in context.partition_keys:
        (Settings.from_environment().data_dir / "begun").touch()
        context.log.info(f"hour {hour}")
        time.sleep(1)


@of_all_hours(deps=[told])
def kept(context: dg.AssetExecutionContext) -> Iterator[dg.MaterializeResult[None]]:
    """One result for all hours of the run."""
    time.sleep(1)
    yield dg.MaterializeResult()


@dg.sensor(job=quick, minimum_interval_seconds=1, default_status=dg.DefaultSensorStatus.RUNNING)
def counter(context: dg.SensorEvaluationContext) -> dg.SensorResult:
    """Its cursor is how often it looked."""
    return dg.SensorResult(skip_reason="it only counts", cursor=str(int(context.cursor or 0) + 1))


hours_job = dg.define_asset_job("hours", [told, kept])
defs = dg.Definitions(assets=[told, kept], jobs=[sleeper, quick, hours_job], sensors=[counter])
