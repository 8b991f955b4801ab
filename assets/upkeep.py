"""The nightly upkeep of the lake, as a job: what is past its retention goes, small files are merged.

Belongs here: the order of upkeep. Stays out: how long what is kept (`pipeline.retention`), how files are merged
(`pipeline.lake`).
"""

from datetime import timedelta

import dagster as dg

from assets.metadata import table_value
from pipeline.calendars import Clock
from pipeline.lake import Lake
from pipeline.retention import RetentionSpec, expire, pinned_versions
from pipeline.tables import TABLES

SPEC = RetentionSpec()
READERS = timedelta(hours=24)
"""No reader holds a version of a table for longer than this."""


@dg.op(description="Expires rows past their retention, merges small files, deletes files that no version needs.")
def tidy(context: dg.OpExecutionContext, lake: dg.ResourceParam[Lake], wall_clock: dg.ResourceParam[Clock]) -> None:
    """Retention first, so that what goes is not merged before."""
    now = wall_clock.now()
    expired = expire(lake, now, SPEC)
    n_deleted = 0
    for target in TABLES.values():
        lake.compact(target)
        kept = pinned_versions(lake, target)
        n_deleted += len(lake.vacuum(target, now=now, retention=READERS, keep_versions=kept))
        context.log.info(f"{target.name}: merged")
    context.add_output_metadata({"files_deleted": n_deleted, "expired": table_value(expired)})


@dg.job(description="Expires rows past their retention, merges small files, deletes files that no version needs.")
def maintain() -> None:
    """One step."""
    tidy()
