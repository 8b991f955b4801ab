"""Runs one of the graph's jobs in this process, in front of a person.

Belongs here: the run itself, what it said of itself, and its failures in words. Stays out: which hours are asked for
(`replay`, `live`).
"""

import re
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import dagster as dg

from pipeline.calendars import Span
from pipeline.errors import PermanentError
from resources.run_queue import lane_tags
from sensors.asking import tags as told

INTERRUPTED = "DagsterExecutionInterruptedError"
CLASS_PATH = re.compile(r"^pipeline\.errors\.\w+: ")
CHECK_FAILED = "DagsterAssetCheckFailedError"
SHOWN_OF_WARNING = 200
"""Characters of a check's warning; the whole is in the UI."""


@dataclass(frozen=True)
class Finished:
    """A finished run: its id, how long each step took, what every asset said of itself, and what checks warned of."""

    run_id: str
    seconds: dict[str, float]
    metadata: dict[str, dict[str, Any]]
    warnings: tuple[str, ...] = ()


class RunFailedError(PermanentError):
    """A step or a blocking check failed; what was committed before stays, and the same command carries on."""


def run_job(
    defs: dg.Definitions,
    instance: dg.DagsterInstance,
    job: str,
    span: Span,
    *,
    assets: Sequence[str] | None = None,
    tags: Mapping[str, str] | None = None,
    resources: Mapping[str, Any] | None = None,
) -> Finished:
    """Run a job over the hours of `span`, narrated; `assets` (None: all of the job's) are materialised.

    Raises:
        RunFailedError: a step or a blocking check failed; the message says which and why.
        KeyboardInterrupt: somebody stopped it.
    """
    result = defs.resolve_job_def(job).execute_in_process(
        instance=instance,
        # It passes no queue, and takes one of the places all the same: of its lane.
        tags={**told("the command line", span), **lane_tags(job), **(tags or {})},
        run_config={"resources": dict(resources or {}), "loggers": {"narrator": {}}},
        asset_selection=None if assets is None else [dg.AssetKey(name) for name in assets],
        raise_on_error=False,
    )
    if not result.success:
        if any(_class_of(e.step_failure_data.error) == INTERRUPTED for e in result.all_events if e.is_step_failure):
            # Dagster calls a run failed that nobody asked it to cancel; here somebody asked the process itself.
            instance.report_run_canceled(result.dagster_run, "Stopped at the terminal: what was finished stays.")
            raise KeyboardInterrupt
        raise RunFailedError(_why(result))
    return Finished(result.run_id, _seconds(result), _metadata(result), _warnings(result))


def _why(result: dg.ExecuteInProcessResult) -> str:
    """The failed steps and checks in words, without a traceback."""
    errors = {e.step_key: e.step_failure_data.error for e in result.all_events if e.is_step_failure}
    told = [
        f"{step}: {CLASS_PATH.sub('', (error.cause or error).message.strip())}"
        for step, error in errors.items()
        if error is not None and _class_of(error) != CHECK_FAILED  # the check itself says it better
    ]
    told += [
        f"check {check.check_name} of {check.asset_key.to_user_string()}: {check.description or 'failed'}"
        for check in result.get_asset_check_evaluations()
        if not check.passed
    ]
    return "\n".join(told) or "the run failed without saying why; look at it in the Dagster UI (`make up`)"


def _warnings(result: dg.ExecuteInProcessResult) -> tuple[str, ...]:
    """A line for each check that did not pass and stopped nothing."""
    doubtful = [check for check in result.get_asset_check_evaluations() if not check.passed]
    told = (f"{check.check_name}: {check.description or 'no words'}" for check in doubtful)
    return tuple(sorted(textwrap.shorten(line, SHOWN_OF_WARNING, placeholder=" ...") for line in told))


def _class_of(error: Any) -> str | None:
    return None if error is None else error.cls_name


def _seconds(result: dg.ExecuteInProcessResult) -> dict[str, float]:
    """How long each step took; the instance would read every event of the run anew, pictures and all, to tell that."""
    done = (event for event in result.all_events if event.is_step_success)
    return {str(event.step_key): event.step_success_data.duration_ms / 1000 for event in done}


def _metadata(result: dg.ExecuteInProcessResult) -> dict[str, dict[str, Any]]:
    """What each asset said of itself; an hourly asset says the same of every hour, so the last word will do."""
    said: dict[str, dict[str, Any]] = {}
    for event in result.get_asset_materialization_events():
        materialization = event.step_materialization_data.materialization
        said[materialization.asset_key.to_user_string()] = {k: v.value for k, v in materialization.metadata.items()}
    return said
