"""The queue of runs: every run is told which lane it goes in, so that collection never waits for anything else.

Belongs here: the lane of a run. Stays out: how many runs each lane holds (`dagster.yaml`), and which run goes first
within one (`assets.jobs`).
"""

from typing import Final

from dagster import DagsterRun, QueuedRunCoordinator
from dagster._core.run_coordinator.base import SubmitRunContext

LANE: Final = "poolcast/lane"
COLLECTION: Final = "collection"
OTHER: Final = "other"
COLLECTING: Final = ("collect",)
"""Jobs that ask the API: what they do not see now, nobody can see later."""


def lane_tags(job: str) -> dict[str, str]:
    """The tag that tells a run of a job which lane it goes in.

    >>> lane_tags("collect"), lane_tags("train")
    ({'poolcast/lane': 'collection'}, {'poolcast/lane': 'other'})
    """
    return {LANE: COLLECTION if job in COLLECTING else OTHER}


class LaneRunCoordinator(QueuedRunCoordinator):
    """Dagster's queue, whose runs carry the tag `poolcast/lane`.

    Dagster can limit runs by a tag they carry, not by one they lack; and a backfill, or a run that somebody launches
    from an asset's page, carries none of a job's tags. So the lane is written here, through which every run passes.
    """

    def submit_run(self, context: SubmitRunContext) -> DagsterRun:
        """Put a run into the queue, in its lane."""
        run = context.dagster_run
        self._instance.add_run_tags(run.run_id, lane_tags(run.job_name))
        return super().submit_run(context)
