"""Dagster's webserver behind the guard: `python -m resources.webserver PORT WORKSPACE`.

Belongs here: building Dagster's application as `dagster-webserver` does. Stays out: the guard, and where it listens.
"""

import sys
from pathlib import Path

from dagster import DagsterInstance
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._core.workspace.load_target import WorkspaceFileTarget
from dagster._utils.log import configure_loggers
from dagster_webserver.app import create_app_from_workspace_process_context
from dagster_webserver.version import __version__

from resources.serving import port_argument, serve
from resources.settings import Settings

OPEN_PATHS = frozenset({"/server_info"})
_STATEMENT_TIMEOUT_MS, _POOL_RECYCLE_S, _POOL_OVERFLOW = 15_000, 3_600, 20
_POLL_MS = 2_000


def main(arguments: list[str]) -> None:
    """Serve Dagster's pages and its GraphQL until SIGTERM or SIGINT."""
    port, (workspace,) = port_argument(arguments)
    configure_loggers(log_level="INFO")
    target = WorkspaceFileTarget(paths=[str(Path(workspace).absolute())])
    with DagsterInstance.get() as instance:
        # Its own command line does the same: what takes longer is a mistake, and connections are kept for pages.
        instance.optimize_for_webserver(_STATEMENT_TIMEOUT_MS, _POOL_RECYCLE_S, _POOL_OVERFLOW)
        with WorkspaceProcessContext(instance, target, version=__version__) as context:
            app = create_app_from_workspace_process_context(context, live_data_poll_rate=_POLL_MS)
            serve(app, Settings.from_environment(), port, OPEN_PATHS)


if __name__ == "__main__":
    main(sys.argv[1:])
