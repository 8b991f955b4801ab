"""How the steps of a run are made by Dask workers, each step in a process of its own on a worker's machine.

Belongs here: handing a step to the cluster, looking after it, taking it back. Stays out: what the steps compute and
the parts that they in turn give to the same workers (`cluster`); why this is not `dagster-dask`
(`docs/decisions/0015-steps-on-dask.md`: there, what depends on a failed step or a failed blocking check runs anyway).

The order of steps, retries, pools and skips are Dagster's own (`StepDelegatingExecutor`, which its Kubernetes executor
is made of). A worker that dies takes its step with it, and the scheduler gives the step to another worker: it begins
anew, and finds what it had committed. A step holds no place on its worker while it waits for its parts.
"""

import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from typing import Any, Final

import dagster as dg
from dagster._core.events import DagsterEvent, EngineEventData
from dagster._core.execution.retries import RetryMode
from dagster._core.executor.init import InitExecutorContext
from dagster._core.executor.step_delegating import (
    CheckStepHealthResult,
    StepDelegatingExecutor,
    StepHandler,
    StepHandlerContext,
)
from dagster._core.storage.tags import RETRY_ON_ASSET_OR_OP_FAILURE_TAG

from resources.cluster import connect
from resources.processes import end

MOST_STEPS: Final = 4
"""Steps of one run at a time, unless the run's configuration says otherwise."""
_HEALTH_SECONDS: Final = 5
_GRACE_SECONDS: Final = 15
_POLL_SECONDS: Final = 0.5


class DaskSteps(StepHandler):
    """Hands steps to the workers of the scheduler at an address."""

    def __init__(self, address: str) -> None:
        self._address = address
        self._client: Any = None
        self._futures: dict[str, Any] = {}

    @property
    def name(self) -> str:
        """What the run's log calls it."""
        return "DaskSteps"

    def launch_step(self, step_handler_context: StepHandlerContext) -> Iterator[DagsterEvent]:
        """Give the step to the cluster.

        Raises:
            ClusterError: nobody answers at the address; the run fails as a whole, and is retried as such.
        """
        step = _step(step_handler_context)
        if self._client is None or self._client.status != "running":
            self._client = connect(self._address)
        arguments = step_handler_context.execute_step_args.get_command_args()
        # Named by the run and the moment: a name that was used before would get the earlier step's answer.
        key = f"{step}-{step_handler_context.execute_step_args.run_id}-{time.time_ns()}"
        self._futures[step] = self._client.submit(run_step, list(arguments), key, key=key, pure=False)
        yield DagsterEvent.step_worker_starting(
            step_handler_context.get_step_context(step), f"Given to the Dask cluster at {self._address}.", metadata={}
        )

    def check_step_health(self, step_handler_context: StepHandlerContext) -> CheckStepHealthResult:
        """Whether the step may still end by itself; where the cluster lost it, the run may be tried again."""
        step = _step(step_handler_context)
        future: Any = self._futures.get(step)
        status = "lost" if future is None else future.status
        if status == "pending" or (status == "finished" and future.result() == 0):
            return CheckStepHealthResult.healthy()
        if status == "finished":
            return CheckStepHealthResult.unhealthy(f"its process ended with status {future.result()!r}")
        # What the cluster lost is nobody's fault: Dagster retries runs whose steps failed only where it is told to.
        tags = {RETRY_ON_ASSET_OR_OP_FAILURE_TAG: "true"}
        step_handler_context.instance.add_run_tags(step_handler_context.dagster_run.run_id, tags)
        return CheckStepHealthResult.unhealthy(f"the Dask cluster at {self._address} lost it ({status})")

    def terminate_step(self, step_handler_context: StepHandlerContext) -> Iterator[DagsterEvent]:
        """Take the step back: its worker ends the process."""
        step = _step(step_handler_context)
        yield DagsterEvent.engine_event(
            step_handler_context.get_step_context(step),
            f"Taking {step} back from the Dask cluster.",
            EngineEventData(),
        )
        if step in self._futures:
            self._futures[step].cancel()


def _step(context: StepHandlerContext) -> str:
    """The key of the one step that is spoken of."""
    (step,) = context.execute_step_args.step_keys_to_execute or ()
    return step


def run_step(arguments: Sequence[str], key: str) -> int:
    """Run a step's process on this worker to its end, or until the step is taken back; the exit status.

    Args:
        arguments: Dagster's own command.
        key: the name of this task, to see whether it is still wanted.
    """
    from distributed import get_worker, secede  # noqa: PLC0415  the extra `dask`

    worker = get_worker()
    # The step may wait for parts that this very worker is to compute.
    secede()  # type: ignore[no-untyped-call]
    module = arguments[arguments.index("-m") + 1 :] if "-m" in arguments else arguments
    command = [sys.executable, "-m", "resources.tied", str(os.getpid()), *module]
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL)  # noqa: S603 - Dagster's own command, no shell
    while process.poll() is None:
        task = worker.state.tasks.get(key)
        if task is None or task.state == "cancelled":
            end([process.pid], _GRACE_SECONDS)
        time.sleep(_POLL_SECONDS)
    return process.returncode


@dg.executor(
    name="dask_steps",
    requirements=dg.multiple_process_executor_requirements(),
    config_schema={
        "address": dg.Field(dg.StringSource, description="The Dask scheduler's, like tcp://HOST:8786."),
        "max_concurrent": dg.Field(int, default_value=MOST_STEPS, description="Steps of a run at a time."),
    },
)
def dask_steps(init_context: InitExecutorContext) -> StepDelegatingExecutor:
    """Each step in a process of its own, on the workers of a Dask cluster."""
    config = init_context.executor_config
    return StepDelegatingExecutor(
        DaskSteps(str(config["address"])),
        retries=RetryMode.ENABLED,
        check_step_health_interval_seconds=_HEALTH_SECONDS,
        max_concurrent=int(str(config["max_concurrent"])),
    )


def steps_executor(address: str | None) -> dg.ExecutorDefinition:
    """Who runs the steps of what takes long: the cluster at `address`; without one, the run's own process."""
    if address is None:
        return dg.in_process_executor
    return dask_steps.configured({"address": address}, name="dask_steps")
