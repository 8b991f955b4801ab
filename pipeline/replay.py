"""Runs the graph over a recording.

Belongs here: which hours a replay asks for, and with which clock. Stays out: the run itself (`runs`), what assets do,
and what a demo makes of the result (`demo`).
"""

from collections.abc import Sequence

import dagster as dg

from assets.hours import HOURS
from pipeline.errors import InputError
from pipeline.pools.shelf import Told
from pipeline.runs import Finished, run_job


def replay(
    defs: dg.Definitions,
    instance: dg.DagsterInstance,
    told: Told,
    *,
    assets: Sequence[str] | None = None,
    tags: dict[str, str] | None = None,
) -> Finished:
    """Materialise `assets` (None: the whole loop) over the hours of a recording, as of the recording's end.

    Its clock stands there, and it learns from that recording alone.

    Raises:
        InputError: the recording is older than the first partition.
        RunFailedError: a step or a blocking check failed; the message says which and why.
    """
    span, recording = told.span, told.recording
    if span.start < HOURS.start:
        raise InputError(
            f"recording {recording.name!r} begins {span.start:%Y-%m-%d %H:%M}, before the first hour there is a "
            f"partition for, {HOURS.start:%Y-%m-%d %H:%M}: leave out what is older"
        )
    return run_job(
        defs,
        instance,
        "loop",
        span,
        assets=assets,
        tags={"poolcast/recording": recording.name, **(tags or {})},
        resources={
            "clock": {"config": {"at": span.end.isoformat()}},
            "source": {"config": {"name": recording.source}},
        },
    )
