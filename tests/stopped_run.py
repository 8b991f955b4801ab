"""A run in front of a person, for the test that stops it: `python -m tests.stopped_run HOME`."""

import sys
import time
from datetime import UTC, datetime

import dagster as dg

from pipeline.calendars import HOUR, Span
from pipeline.runs import run_job
from resources.narrator import narrator

BEGIN = datetime(2024, 3, 1, tzinfo=UTC)


@dg.asset
def done_soon() -> None:
    """Over at once."""


@dg.asset(deps=[done_soon])
def takes_long(context: dg.AssetExecutionContext) -> None:
    """Gives time to press Ctrl-C."""
    context.log.info("it begins")
    time.sleep(60)


def main() -> None:
    defs = dg.Definitions(
        assets=[done_soon, takes_long], jobs=[dg.define_asset_job("loop")], loggers={"narrator": narrator},
        executor=dg.in_process_executor,
    )  # fmt: skip
    with dg.DagsterInstance.from_config(sys.argv[1]) as instance:
        try:
            run_job(defs, instance, "loop", Span(BEGIN, BEGIN + HOUR))
        except KeyboardInterrupt:
            sys.stderr.write("stopped\n")


if __name__ == "__main__":
    main()
