import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import dagster as dg
import pytest
from dagster import DagsterRunStatus as Status
from dagster._core.launcher.base import WorkerStatus

from resources.launcher import ProcessRunLauncher
from resources.orphans import fail_orphans, living_workers, process_tags
from resources.processes import ProcessIdentity


@dg.op(pool="a_slot")
def nothing() -> None: ...


@dg.job
def idle() -> None:
    nothing()


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    launcher = {"module": "resources.launcher", "class": "ProcessRunLauncher", "config": {"log_dir": str(tmp_path)}}
    with dg.instance_for_test(overrides={"run_launcher": launcher}) as found:
        yield found


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
    yield process
    process.kill()
    process.wait()


def identity(process: subprocess.Popen[bytes]) -> ProcessIdentity:
    found = ProcessIdentity.of(process.pid)
    assert found is not None
    return found


def started(instance: dg.DagsterInstance, tags: dict[str, str], status: Status = Status.STARTED) -> str:
    return instance.create_run_for_job(idle, status=status, tags=tags).run_id


def status(instance: dg.DagsterInstance, run_id: str) -> Status:
    run = instance.get_run_by_id(run_id)
    assert run is not None
    return run.status


def test_only_runs_of_this_machine_whose_process_is_gone_are_failed(
    instance: dg.DagsterInstance, sleeper: subprocess.Popen[bytes]
) -> None:
    alive, here = identity(sleeper), process_tags()
    kept = [
        started(instance, here),
        started(instance, alive.tags()),
        started(instance, replace(alive, host="elsewhere", started="1").tags()),
        started(instance, {}),
        started(instance, {}, Status.NOT_STARTED),
    ]
    orphans = [
        started(instance, replace(alive, started="1").tags()),
        started(instance, replace(alive, boot="before").tags(), Status.STARTING),
        started(instance, replace(alive, pid=2**22 + 1).tags(), Status.NOT_STARTED),
    ]
    before = [status(instance, run_id) for run_id in kept]
    assert sorted(fail_orphans(instance, is_embedded=False, has_launcher=False)) == sorted(orphans)
    assert {status(instance, run_id) for run_id in orphans} == {Status.FAILURE}
    assert [status(instance, run_id) for run_id in kept] == before


def test_where_no_other_machine_can_reach_the_database_a_run_without_a_process_here_is_an_orphan(
    instance: dg.DagsterInstance, sleeper: subprocess.Popen[bytes]
) -> None:
    other = started(instance, replace(identity(sleeper), host="the-container-before", started="1").tags())
    untagged = started(instance, {})
    alive = started(instance, identity(sleeper).tags())
    assert sorted(fail_orphans(instance, is_embedded=True, has_launcher=False)) == sorted([other, untagged])
    assert status(instance, alive) is Status.STARTED


def test_while_a_daemon_lives_a_run_that_names_no_process_of_its_own_is_left_to_it(
    instance: dg.DagsterInstance, sleeper: subprocess.Popen[bytes]
) -> None:
    dead = replace(identity(sleeper), started="1").tags()
    starting = started(instance, {}, Status.STARTING)
    parent = started(instance, dead, Status.FAILURE)
    retry = instance.create_run_for_job(
        idle, status=Status.STARTING, tags=dead, parent_run_id=parent, root_run_id=parent
    ).run_id
    orphan = started(instance, dead, Status.STARTING)
    assert fail_orphans(instance, is_embedded=True, has_launcher=True) == [orphan]
    # No daemon, nobody who could be about to start them.
    assert sorted(fail_orphans(instance, is_embedded=True, has_launcher=False)) == sorted([starting, retry])


def test_a_run_that_ended_while_it_was_looked_at_keeps_its_end(
    instance: dg.DagsterInstance, sleeper: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id = started(instance, replace(identity(sleeper), started="1").tags())
    seen_before = instance.get_runs()
    run = instance.get_run_by_id(run_id)
    assert run is not None
    instance.report_run_canceled(run)
    monkeypatch.setattr(instance, "get_runs", lambda *_: seen_before)
    assert fail_orphans(instance, is_embedded=True, has_launcher=True) == []
    assert status(instance, run_id) is Status.CANCELED


def test_an_orphan_that_was_being_canceled_ends_as_canceled_and_its_slot_comes_free(
    instance: dg.DagsterInstance, sleeper: subprocess.Popen[bytes]
) -> None:
    storage = instance.event_log_storage
    storage.set_concurrency_slots("a_slot", 1)
    orphan = started(instance, replace(identity(sleeper), started="1").tags(), Status.CANCELING)
    assert storage.claim_concurrency_slot("a_slot", orphan, "nothing").is_claimed
    assert fail_orphans(instance, is_embedded=False, has_launcher=False) == [orphan]
    assert status(instance, orphan) is Status.CANCELED
    assert storage.get_concurrency_info("a_slot").active_slot_count == 0


def test_a_run_is_healthy_exactly_as_long_as_its_own_process_lives(
    instance: dg.DagsterInstance, sleeper: subprocess.Popen[bytes]
) -> None:
    alive = identity(sleeper)
    run = instance.get_run_by_id(started(instance, alive.tags()))
    assert run is not None
    launcher = instance.run_launcher
    assert isinstance(launcher, ProcessRunLauncher)
    assert launcher.supports_check_run_worker_health
    assert not launcher.supports_resume_run
    assert launcher.check_run_worker_health(run).status is WorkerStatus.RUNNING
    reused = run.with_tags({**run.tags, **replace(alive, started="1").tags()})
    assert launcher.check_run_worker_health(reused).status is WorkerStatus.FAILED
    elsewhere = run.with_tags({**run.tags, **replace(alive, host="elsewhere").tags()})
    assert launcher.check_run_worker_health(elsewhere).status is WorkerStatus.RUNNING
    # Not waited for: a zombie holds its number and its start time, and works on nothing.
    sleeper.kill()
    os.waitid(os.P_PID, sleeper.pid, os.WEXITED | os.WNOWAIT)
    assert launcher.check_run_worker_health(run).status is WorkerStatus.FAILED


def test_terminate_ends_the_process_and_cancels_the_run(
    instance: dg.DagsterInstance, sleeper: subprocess.Popen[bytes]
) -> None:
    run_id = started(instance, identity(sleeper).tags())
    assert [worker.pid for worker in living_workers(instance)] == [sleeper.pid]
    assert instance.run_launcher.terminate(run_id)
    assert ProcessIdentity.of(sleeper.pid) is None
    assert status(instance, run_id) is Status.CANCELED
    assert not instance.run_launcher.terminate(run_id)


def test_the_tags_of_this_process_name_it_and_forbid_a_retry_by_the_daemon() -> None:
    found = ProcessIdentity.from_tags(process_tags())
    assert found is not None
    assert found.pid == os.getpid()
    assert found.is_alive()
    assert process_tags()["dagster/max_retries"] == "0"
