"""Dagster's daemon, which keeps its process with our code as long as the code stays.

    python -m resources.daemon WORKSPACE

Dagster's own command starts a new process each minute, in case the code has changed. That is five processor seconds a
minute for imports alone, more than all that is computed in it.

Belongs here: building the daemon as `dagster-daemon run` does, and when the code is loaded again. Stays out: what the
daemon does, and who starts it (`services`).
"""

import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, suppress
from itertools import chain
from pathlib import Path
from typing import Any, Final

from dagster import DagsterInstance
from dagster._core.errors import DagsterUserCodeUnreachableError
from dagster._core.remote_representation.grpc_server_registry import GrpcServerRegistry, ServerRegistryEntry
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._core.workspace.load_target import WorkspaceFileTarget
from dagster._daemon.controller import (
    DAEMON_GRPC_SERVER_HEARTBEAT_TTL,
    DagsterDaemonController,
    create_daemons_from_instance,
)
from dagster._grpc.__generated__.dagster_api_pb2 import ListRepositoriesRequest
from dagster._grpc.constants import GrpcServerCommand
from dagster._grpc.server import GrpcServerProcess
from dagster._grpc.types import ListRepositoriesResponse
from dagster._serdes import deserialize_value
from dagster._utils.interrupts import capture_interrupts
from dagster._utils.log import configure_loggers

from resources.settings import ROOT

_PACKAGES: Final = tuple(ROOT / name for name in ("pipeline", "assets", "resources", "sensors"))
_LONGEST_SECONDS: Final = 3600.0
"""After an hour the code is loaded again anyway: what piled up in a process ends, and so does what was not noticed."""
_ANSWER_SECONDS: Final = 20
"""A process that takes longer to say what code it has is not waited for; a tick of a sensor may keep it for a while."""

type _State = frozenset[tuple[Path, int, int, int]]


class SteadyServers(GrpcServerRegistry):
    """The processes that serve our code to the daemon, replaced when there is a reason.

    The daemon tells them each minute to begin anew. They do where a file of the code changed, came or went, where one
    does not answer or answers that it could not load the code, and after an hour.
    """

    def __init__(self, workspace: Path, longest_seconds: float = _LONGEST_SECONDS, **of_dagster: Any) -> None:
        self._workspace, self._longest_seconds = workspace, longest_seconds
        self._loaded, self._since = _state(workspace), time.monotonic()
        super().__init__(**of_dagster)

    def clear_all_grpc_endpoints(self) -> None:
        """Begin anew where there is a reason; what is under way in the old processes is finished there."""
        found = _state(self._workspace)
        is_old = time.monotonic() - self._since > self._longest_seconds
        if found != self._loaded or is_old or not self._all_serve():
            self._loaded, self._since = found, time.monotonic()
            super().clear_all_grpc_endpoints()

    def _all_serve(self) -> bool:
        with self._lock:
            entries = list(self._active_entries.values())
        return all(isinstance(entry, ServerRegistryEntry) and _serves(entry.process) for entry in entries)


def _serves(process: GrpcServerProcess) -> bool:
    """Whether a process tells what code it has: one may be there and hang, or have been told why the code is broken."""
    if process.server_process.poll() is not None:
        return False
    try:
        # Its public calls wait for a minute.
        told = process.create_client()._query("ListRepositories", ListRepositoriesRequest, timeout=_ANSWER_SECONDS)
    except DagsterUserCodeUnreachableError:
        return False
    answer = deserialize_value(told.serialized_list_repositories_response_or_error)
    return isinstance(answer, ListRepositoriesResponse)


def _state(workspace: Path) -> _State:
    """Every file of our code and of the code beside the workspace file, and what tells it from another of its name."""
    here = workspace.parent
    beside = () if here == ROOT else (found.parent for found in here.glob("*/__init__.py"))
    return frozenset(_marks(chain([workspace], here.glob("*.py"), *(p.rglob("*.py") for p in (*_PACKAGES, *beside)))))


def _marks(files: Iterable[Path]) -> Iterator[tuple[Path, int, int, int]]:
    for file in files:
        with suppress(FileNotFoundError):  # saved just now, by an editor that puts a new file in its place
            told = file.stat()
            yield file, told.st_mtime_ns, told.st_size, told.st_ino  # a copy may have the time of what it is a copy of


def main(arguments: Sequence[str]) -> None:
    """Run the daemon until SIGTERM or SIGINT."""
    workspace = Path(arguments[0]).absolute()
    with suppress(KeyboardInterrupt), ExitStack() as stack:
        stack.enter_context(capture_interrupts())
        instance = stack.enter_context(DagsterInstance.get())
        servers = stack.enter_context(
            SteadyServers(
                workspace,
                instance_ref=instance.get_ref(),
                server_command=GrpcServerCommand.API_GRPC,
                heartbeat_ttl=DAEMON_GRPC_SERVER_HEARTBEAT_TTL,
                startup_timeout=instance.code_server_process_startup_timeout,
                log_level="warning",
                wait_for_processes_on_shutdown=instance.wait_for_local_code_server_processes_on_shutdown,
            )
        )
        daemons = [stack.enter_context(daemon) for daemon in create_daemons_from_instance(instance)]
        target = WorkspaceFileTarget(paths=[str(workspace)])
        context = stack.enter_context(WorkspaceProcessContext(instance, target, grpc_server_registry=servers))
        configure_loggers(log_level="INFO")
        controller = DagsterDaemonController(context, daemons, grpc_server_registry=servers)
        stack.enter_context(controller).check_daemon_loop()


if __name__ == "__main__":
    main(sys.argv[1:])
