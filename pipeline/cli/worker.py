"""`poolcast worker`: this machine's workers for a Dask cluster.

Belongs here: the command. Stays out: what a worker needs (`resources.dask_worker`).
"""

import sys
from typing import Annotated

import typer

from pipeline.cli.screen import DataDir, settings_of


def worker(
    data_dir: DataDir = None,
    processes: Annotated[int, typer.Option(min=1, help="How many workers, each of one thread.")] = 1,
    host: Annotated[
        str | None,
        typer.Option(help="The address at which the scheduler reaches this machine; loopback unless set."),
    ] = None,
) -> None:
    """Work for the Dask scheduler that POOLCAST_DASK names, until stopped.

    Whoever reaches a scheduler or a worker can run code on it: see docs/scaling.md before giving --host.
    """
    from resources import dask_worker

    sys.exit(dask_worker.worker(settings_of(data_dir), processes, host))
