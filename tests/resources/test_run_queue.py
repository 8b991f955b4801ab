"""The queue of runs as `dagster.yaml` lays it out: whatever waits, collection goes next."""

from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
import yaml
from dagster._core.code_pointer import ModuleCodePointer
from dagster._core.origin import JobPythonOrigin, RepositoryPythonOrigin
from dagster._core.remote_origin import RegisteredCodeLocationOrigin, RemoteJobOrigin, RemoteRepositoryOrigin
from dagster._core.run_coordinator.base import SubmitRunContext
from dagster._core.storage.dagster_run import DagsterRun
from dagster._core.test_utils import create_run_for_test, instance_for_test
from dagster._daemon.run_coordinator.queued_run_coordinator_daemon import QueuedRunCoordinatorDaemon

from assets.jobs import JOBS
from resources.run_queue import LANE

ROOT = Path(__file__).parents[2]
QUEUE = ("run_coordinator", "concurrency")
ASSET_JOB = "__ASSET_JOB"
"""What a run is called that somebody launches from an asset's page, and each run of a backfill."""
REPOSITORY = RemoteRepositoryOrigin(RegisteredCodeLocationOrigin("poolcast"), "__repository__")
TAGS = {job.name: dict(job.tags or {}) for job in JOBS}


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    told = yaml.safe_load((ROOT / "dagster.yaml").read_text())
    with instance_for_test(overrides={section: told[section] for section in QUEUE}) as made:
        yield made


def submit(instance: dg.DagsterInstance, job: str, **tags: str) -> DagsterRun:
    run = create_run_for_test(
        instance,
        job_name=job,
        status=dg.DagsterRunStatus.NOT_STARTED,
        tags={**TAGS.get(job, {}), **tags},
        remote_job_origin=RemoteJobOrigin(REPOSITORY, job),
        job_code_origin=JobPythonOrigin(job, RepositoryPythonOrigin("python", ModuleCodePointer("nowhere", "defs"))),
    )
    return instance.run_coordinator.submit_run(SubmitRunContext(run, workspace=None))  # type: ignore[arg-type]


def next_runs(instance: dg.DagsterInstance) -> list[DagsterRun]:
    """What the daemon takes from the queue now; they are under way afterwards."""
    with QueuedRunCoordinatorDaemon(interval_seconds=1) as daemon:
        taken = daemon._get_runs_to_dequeue(instance, instance.get_concurrency_config(), None)
    for run in taken:
        instance.report_dagster_event(
            dg.DagsterEvent(event_type_value="PIPELINE_START", job_name=run.job_name), run_id=run.run_id
        )
    return taken


def test_a_training_and_backfills_in_progress_leave_a_place_for_collection(instance: dg.DagsterInstance) -> None:
    for job in ("train", ASSET_JOB, ASSET_JOB, "train", "loop"):
        submit(instance, job, **({"dagster/backfill": "b"} if job == ASSET_JOB else {}))
    under_way = next_runs(instance)
    assert len(under_way) == 2
    assert next_runs(instance) == []
    collecting = submit(instance, "collect")
    assert [run.run_id for run in next_runs(instance)] == [collecting.run_id]


def test_of_what_waits_collection_goes_first_and_training_last(instance: dg.DagsterInstance) -> None:
    for job in ("train", ASSET_JOB, "serve", "collect"):
        submit(instance, job)
    assert [run.job_name for run in next_runs(instance)] == ["collect", "serve", ASSET_JOB]


def test_the_lane_is_written_anew_whatever_a_run_claims(instance: dg.DagsterInstance) -> None:
    claimed = submit(instance, ASSET_JOB, **{LANE: "collection"})
    assert claimed.tags[LANE] == "other"
    assert submit(instance, "collect", **{LANE: "other"}).tags[LANE] == "collection"
