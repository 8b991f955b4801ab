"""Runs the graph on the market as it is: a collection cycle, or the hours that histories arrived for.

Belongs here: which hours a cycle asks for. Stays out: the run itself (`runs`), what the assets do.
"""

from datetime import datetime

import dagster as dg

from assets.behind import behind
from pipeline.calendars import Span
from pipeline.lake import Lake
from pipeline.pools.shelf import Shelf
from pipeline.runs import Finished, run_job
from sensors.clockwork import collected_span


def collect(defs: dg.Definitions, instance: dg.DagsterInstance, now: datetime, tags: dict[str, str]) -> Finished:
    """One cycle from `now` to the next grid point, and everything that is made from its answers.

    Raises:
        RunFailedError: a step or a blocking check failed; what was answered is kept all the same.
    """
    return run_job(defs, instance, "collect", collected_span(now), tags=tags)


def catch_up_behind(
    defs: dg.Definitions, instance: dg.DagsterInstance, lake: Lake, shelf: Shelf, now: datetime, tags: dict[str, str]
) -> Finished | None:
    """Bring up to date what a kill, an outage or a late history left behind; None where nothing is.

    Raises:
        RunFailedError: a step or a blocking check failed.
    """
    found = behind(lake, shelf, now)
    return None if found is None else catch_up(defs, instance, found[0], tags)


def catch_up(defs: dg.Definitions, instance: dg.DagsterInstance, span: Span, tags: dict[str, str]) -> Finished:
    """Bring hours up to date whose answers or bars arrived late.

    Raises:
        RunFailedError: a step or a blocking check failed.
    """
    return run_job(defs, instance, "catch_up", span, tags=tags)
