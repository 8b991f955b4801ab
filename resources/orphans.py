"""Runs that nobody works on any more, after a crash of everything.

Belongs here: which unfinished runs are ours and dead, ending them, and freeing what they hold. Stays out: a single
worker that died while Dagster's daemon lives: its run monitoring sees that (`launcher`).
"""

import os
from collections.abc import Iterable

from dagster import DagsterInstance, DagsterRun, DagsterRunStatus, RunsFilter

from pipeline.errors import ServiceError
from resources.processes import ProcessIdentity

# QUEUED is not among them: a queued run waits for the daemon, and carries on when there is one again.
_UNFINISHED = (
    DagsterRunStatus.NOT_STARTED,
    DagsterRunStatus.STARTING,
    DagsterRunStatus.STARTED,
    DagsterRunStatus.CANCELING,
)


def process_tags() -> dict[str, str]:
    """Return the tags of a run that this very process executes (`poolcast demo`).

    Such a run is not started again by the daemon: its command is, by whoever typed it.
    """
    identity = ProcessIdentity.of(os.getpid())
    if identity is None:
        raise ServiceError("this process cannot look itself up: is /proc mounted?")
    return {**identity.tags(), "dagster/max_retries": "0"}


def fail_orphans(instance: DagsterInstance, *, is_embedded: bool, has_launcher: bool) -> list[str]:
    """End every unfinished run of this machine whose process is gone, and free the pool slots of all ended runs.

    Args:
        instance: the Dagster instance.
        is_embedded: its database can be reached from this machine only. Then a run without a process here has none
            anywhere, whatever host its tags name (a container's name changes with each start).
        has_launcher: a daemon may be starting a run at this moment. Then a run that names no process of its own yet
            is left to the daemon's monitoring.

    Returns:
        The ids of the runs that were ended.
    """
    runs = instance.get_runs(RunsFilter(statuses=list(_UNFINISHED)))
    orphans = [run for run in runs if _is_orphan(instance, run, is_embedded=is_embedded, has_launcher=has_launcher)]
    for run in orphans:
        if run.status is DagsterRunStatus.CANCELING:
            instance.report_run_canceled(run, "The process of the run is gone; it was being canceled.")
        else:
            instance.report_run_failed(run, "The process of the run is gone: it died with the machine or was killed.")
    _free_slots(instance)
    return [run.run_id for run in orphans]


def living_workers(instance: DagsterInstance) -> list[ProcessIdentity]:
    """Return the processes on this machine that work on runs of their own session, as the launcher starts them."""
    runs = instance.get_runs(RunsFilter(statuses=list(_UNFINISHED)))
    identities = (ProcessIdentity.from_tags(run.tags) for run in runs)
    return list({each.pid: each for each in _alive(identities) if _leads_session(each.pid)}.values())


def _is_orphan(instance: DagsterInstance, run: DagsterRun, *, is_embedded: bool, has_launcher: bool) -> bool:
    identity = ProcessIdentity.from_tags(run.tags)
    if run.status is DagsterRunStatus.NOT_STARTED and (identity is None or run.parent_run_id is not None):
        # Nobody has it yet: it may be submitted at any moment (a retry carries its parent's tags until then).
        return False
    if has_launcher and (identity is None or _is_inherited(instance, run, identity)):
        return False
    is_gone = is_embedded if identity is None else not identity.is_alive() and (is_embedded or identity.is_here())
    # Looked at again: a process that has just ended said before that how its run ended.
    now = instance.get_run_by_id(run.run_id) if is_gone else None
    return now is not None and not now.is_finished


def _is_inherited(instance: DagsterInstance, run: DagsterRun, identity: ProcessIdentity) -> bool:
    """A retry carries its parent's tags until it has a process of its own."""
    parent = None if run.parent_run_id is None else instance.get_run_by_id(run.parent_run_id)
    return parent is not None and ProcessIdentity.from_tags(parent.tags) == identity


def _free_slots(instance: DagsterInstance) -> None:
    storage = instance.event_log_storage
    if not storage.supports_global_concurrency_limits:
        return
    for run_id in storage.get_concurrency_run_ids():
        run = instance.get_run_by_id(run_id)
        if run is None or run.is_finished:
            storage.free_concurrency_slots_for_run(run_id)


def _alive(identities: Iterable[ProcessIdentity | None]) -> Iterable[ProcessIdentity]:
    return (identity for identity in identities if identity is not None and identity.is_alive())


def _leads_session(pid: int) -> bool:
    try:
        return os.getsid(pid) == pid
    except ProcessLookupError:
        return False
