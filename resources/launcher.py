"""How Dagster starts a run: one process of its own, known by more than its number.

Belongs here: starting, ending and looking after run workers. Stays out: runs whose whole machine went down (`orphans`).
"""

import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, Self, cast

from dagster import DagsterRun, StringSource
from dagster._config.config_schema import UserConfigSchema
from dagster._core.launcher.base import CheckRunHealthResult, LaunchRunContext, RunLauncher, WorkerStatus
from dagster._grpc.types import ExecuteRunArgs
from dagster._serdes import ConfigurableClass, ConfigurableClassData

from pipeline.errors import ServiceError
from resources.processes import ProcessIdentity, end
from resources.settings import PATIENCE, inherited_environment

_GRACE_SECONDS = 15
_LOG_TAIL_BYTES = 4_000

# The process waits for a word before it becomes the worker, so that no worker runs that its run does not name. Should
# whoever starts it die first, or the database be away, the word never comes and there is no worker.
_GATE = ("/bin/sh", "-c", 'read -r word && exec "$@" </dev/null', "sh")


class ProcessRunLauncher(RunLauncher[Any], ConfigurableClass):
    """Runs each run in its own process and session, and writes that process's identity into the run's tags.

    So whoever looks after the run later, in whichever process, can tell whether it is still being worked on. Runs of
    other machines, and runs that carry no identity, are left to those who started them.
    """

    def __init__(self, log_dir: str, inst_data: ConfigurableClassData | None = None) -> None:
        self._log_dir = Path(log_dir)
        self._inst_data = inst_data
        self._workers: list[subprocess.Popen[bytes]] = []
        super().__init__()  # type: ignore[no-untyped-call]  # Dagster's base has no annotations

    @property
    def inst_data(self) -> ConfigurableClassData | None:
        """The section of `dagster.yaml` this was built from."""
        return self._inst_data

    @classmethod
    def config_type(cls) -> UserConfigSchema:
        """One setting: the folder of the workers' output, one file a run."""
        return {"log_dir": StringSource}

    @classmethod
    def from_config_value(cls, inst_data: ConfigurableClassData | None, config_value: Mapping[str, Any]) -> Self:
        """Build the launcher from its section of `dagster.yaml`."""
        return cls(inst_data=inst_data, **config_value)

    def launch_run(self, context: LaunchRunContext) -> None:
        """Start the run's process and tag the run with it.

        Raises:
            ServiceError: the run does not say where its code is, or its process died at once.
        """
        run = context.dagster_run
        if run.job_code_origin is None:
            raise ServiceError(f"run {run.run_id} cannot be launched: it does not say where the code of its job is")
        arguments = ExecuteRunArgs(run.job_code_origin, run.run_id, self._instance.get_ref()).get_command_args()
        worker = self._start(run.run_id, arguments)
        with suppress(BrokenPipeError), cast("IO[bytes]", worker.stdin) as gate:
            identity = ProcessIdentity.of(worker.pid)
            if identity is None:
                raise ServiceError(f"the process of run {run.run_id} died at once: see {str(self._log(run.run_id))!r}")
            self._instance.add_run_tags(run.run_id, identity.tags())
            self._instance.report_engine_event(
                f"Started a process for the run (pid {worker.pid}).", run, cls=type(self)
            )
            gate.write(b"go\n")

    def terminate(self, run_id: str) -> bool:
        """Stop the run's process: asked first, killed 15 seconds later; the run ends as canceled.

        Returns:
            False where there is nothing of ours to stop.
        """
        run = self._instance.get_run_by_id(run_id)
        identity = None if run is None else ProcessIdentity.from_tags(run.tags)
        if run is None or run.is_finished or identity is None or not identity.is_here():
            return False
        self._instance.report_run_canceling(run)
        killed = end([identity.pid], _GRACE_SECONDS) if identity.is_alive() else []
        left = self._instance.get_run_by_id(run_id)
        if left is not None and not left.is_finished:
            how = "was killed: it did not stop when asked" if identity.pid in killed else "is gone"
            self._instance.report_run_canceled(left, f"The process of the run {how}.")
        return True

    @property
    def supports_check_run_worker_health(self) -> bool:
        """Dagster's run monitoring may ask."""
        return True

    def check_run_worker_health(self, run: DagsterRun) -> CheckRunHealthResult:
        """Tell whether the run's process is alive, as far as this machine can know."""
        self._reap()
        identity = ProcessIdentity.from_tags(run.tags)
        if identity is None or not identity.is_here():
            return CheckRunHealthResult(WorkerStatus.RUNNING, "not a process of this machine: it cannot be looked at")
        if identity.is_alive():
            return CheckRunHealthResult(WorkerStatus.RUNNING, run_worker_id=str(identity.pid))
        return CheckRunHealthResult(WorkerStatus.FAILED, f"process {identity.pid} is gone")

    def get_run_worker_debug_info(self, run: DagsterRun, include_container_logs: bool | None = True) -> str | None:  # noqa: ARG002 - Dagster's signature
        """Return the end of what the run's process wrote."""
        log = self._log(run.run_id)
        return log.read_bytes()[-_LOG_TAIL_BYTES:].decode(errors="replace") or None if log.exists() else None

    def _start(self, run_id: str, arguments: Any) -> subprocess.Popen[bytes]:
        self._log_dir.mkdir(parents=True, exist_ok=True)
        # An origin without an interpreter means "the usual one"; ours is the one that runs us.
        command = [sys.executable, "-m", *arguments] if arguments[0] == "dagster" else list(arguments)
        with self._log(run_id).open("ab") as log:
            worker = subprocess.Popen(  # noqa: S603 - Dagster's own command; the shell is given it word by word
                [*_GATE, *command],
                env=inherited_environment(PATIENCE),
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._reap()
        self._workers.append(worker)
        return worker

    def _reap(self) -> None:
        # A child nobody waits for stays as a zombie.
        self._workers = [worker for worker in self._workers if worker.poll() is None]

    def _log(self, run_id: str) -> Path:
        return self._log_dir / f"{run_id}.log"
