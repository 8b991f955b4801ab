"""Workers of this machine for a Dask scheduler: `poolcast worker`.

Belongs here: the environment a worker needs (the same lake, database and registry, one thread each), where it listens.
Stays out: what it is given to do (`cluster`, `dask_steps`), and the scheduler, which is Dask's own (`dask scheduler`).
"""

import ipaddress
import signal
import subprocess
import sys
from typing import Final
from urllib.parse import urlsplit

from pipeline.errors import UsageError
from resources.dagster_home import make_home
from resources.postgres import postgres
from resources.settings import HOST, Settings, inherited_environment

ONE_THREAD: Final = dict.fromkeys(
    ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS", "POLARS_MAX_THREADS"), "1"
)
"""A worker is one thread: sums over several differ in their last bits, and workers would fight for the cores."""
SCHEDULER_AWAY_SECONDS: Final = 300


def worker(settings: Settings, processes: int, host: str | None) -> int:
    """Run workers until they are stopped, or the scheduler has been away for five minutes.

    Args:
        settings: where the lake, the database and the registry are; `dask` is the scheduler.
        processes: how many workers, each of one thread.
        host: the address under which the scheduler and other workers reach this machine; None: loopback.

    Returns:
        The exit status.

    Raises:
        UsageError: no scheduler is named, or one elsewhere without an address of ours or a database it can reach.
    """
    if settings.dask is None:
        raise UsageError("no scheduler is named: set POOLCAST_DASK to its address, like tcp://HOST:8786")
    is_elsewhere = not _is_loopback(settings.dask)
    if is_elsewhere and host is None:
        raise UsageError(
            f"the scheduler at {settings.dask!r} is on another machine: give --host, the address under which it "
            "reaches this one. Whoever reaches it can run code here: close the network first (docs/scaling.md)"
        )
    if is_elsewhere and settings.postgres_url is None:
        raise UsageError("workers of several machines need one database: set POOLCAST_POSTGRES_URL")
    with postgres(settings) as databases:
        make_home(settings)
        (settings.data_dir / "dask").mkdir(parents=True, exist_ok=True)
        environment = inherited_environment(
            {
                **settings.environment(databases.dagster_url, settings.tracking_uri or databases.mlflow_url),
                **ONE_THREAD,
            }
        )
        return _run(command(settings, processes, host or HOST), environment)


def command(settings: Settings, processes: int, host: str) -> list[str]:
    """Dask's own command for workers; each has a nanny that starts it again should it die."""
    return [
        sys.executable, "-m", "distributed.cli.dask_worker", str(settings.dask),
        "--nworkers", str(processes), "--nthreads", "1", "--no-dashboard", "--host", host,
        "--death-timeout", str(SCHEDULER_AWAY_SECONDS), "--local-directory", str(settings.data_dir / "dask"),
    ]  # fmt: skip


def _run(arguments: list[str], environment: dict[str, str]) -> int:
    with subprocess.Popen(arguments, env=environment, stdin=subprocess.DEVNULL) as process:  # noqa: S603 - no shell
        before = signal.signal(signal.SIGTERM, lambda _number, _frame: process.terminate())
        try:
            return process.wait()
        except KeyboardInterrupt:
            return process.wait()  # the terminal told it, too
        finally:
            signal.signal(signal.SIGTERM, before)


def _is_loopback(address: str) -> bool:
    name = urlsplit(address).hostname or ""
    try:
        return name == "localhost" or ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False
