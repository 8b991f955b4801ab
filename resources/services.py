"""What `poolcast up` starts, watches and stops: PostgreSQL, MLflow, Dagster's webserver and daemon.

Belongs here: the order of things, readiness, and leaving nothing behind. Stays out: the pieces themselves (`postgres`,
`dagster_home`, `ports`, `processes`, `orphans`).
"""

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from rich.console import Console

from pipeline.errors import ServiceError, UsageError
from resources.dagster_home import dagster_instance
from resources.locks import FileLock
from resources.orphans import fail_orphans, living_workers
from resources.ports import answers, check_port
from resources.postgres import Databases, postgres
from resources.processes import ProcessIdentity, end
from resources.roster import Roster
from resources.settings import HOST, Settings, inherited_environment

_READY_SECONDS = 180
_GRACE_SECONDS = 20
_POLL_SECONDS = 0.25
_LOG_LINES = 15
_REGISTRY = "MLflow"


@dataclass(frozen=True)
class Service:
    """One server of ours.

    Attributes:
        name: what people call it.
        command: the arguments after the Python interpreter.
        log: where its output goes.
        port: where it answers, or None if it serves nobody.
        ready_path: the path that answers 200 once it is ready.
    """

    name: str
    command: Sequence[str]
    log: Path
    port: int | None = None
    ready_path: str = "/"


def up(settings: Settings, console: Console) -> int:
    """Run everything people use until Ctrl-C or SIGTERM; what a crashed earlier `up` left behind is ended first.

    Returns:
        The exit status: 0 when it was stopped, 1 when a server died (the console says which, with its last words).

    Raises:
        ServiceError: a port is taken, another `up` holds the folder, or a server did not become ready.
        UsageError: both servers were given one port.
    """
    with _stop_signals() as stop, _sole_holder(settings) as roster:
        _end_leftovers(roster, console)
        _check_ports(settings)
        with postgres(settings) as databases, ExitStack() as running:
            if stop:
                return 0
            instance = running.enter_context(dagster_instance(settings, databases, settings.mlflow_url))
            orphans = fail_orphans(instance, is_embedded=databases.is_embedded)
            if orphans:
                console.print(f"Ended {len(orphans)} run(s) whose process is gone.", highlight=False)
            services = _Services(settings, databases, roster)
            running.callback(lambda: services.stop(lambda: living_workers(instance)))
            services.start()
            services.wait_until_ready(stop)
            if not stop:
                services.reconcile()
                _announce(settings, console)
            died = services.watch(stop)
            if died is not None:
                console.print(_obituary(died), style="bold red", highlight=False, markup=False)
                return 1
            console.print("Stopping.")
        console.print("Stopped.")
        return 0


class _Services:
    """The started servers, in the order in which they were started."""

    def __init__(self, settings: Settings, databases: Databases, roster: Roster) -> None:
        self._settings = settings
        self._roster = roster
        self._environment = inherited_environment(
            {
                **settings.environment(databases.dagster_url, settings.mlflow_url),
                # In the environment, where other users cannot read the password, not on the command line.
                "MLFLOW_BACKEND_STORE_URI": databases.mlflow_url,
            }
        )
        self._running: list[tuple[Service, subprocess.Popen[bytes]]] = []
        self._beside: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self._settings.logs.mkdir(parents=True, exist_ok=True)
        self._settings.mlflow_artifacts.mkdir(parents=True, exist_ok=True)
        for service in _catalogue(self._settings):
            process = _start(service, self._environment)
            self._running.append((service, process))
            self._roster.add(service.name, process.pid)

    def wait_until_ready(self, stop: list[int]) -> None:
        deadline = time.monotonic() + _READY_SECONDS
        waiting = [service for service, _ in self._running if service.port is not None]
        while waiting and not stop:
            died = self._died()
            if died is not None:
                raise ServiceError(_obituary(died))
            waiting = [each for each in waiting if each.port and not answers(each.port, each.ready_path)]
            if time.monotonic() > deadline:
                raise ServiceError(
                    f"{waiting[0].name} did not answer within {_READY_SECONDS} s: {_tail(waiting[0].log)}"
                )
            time.sleep(_POLL_SECONDS)

    def reconcile(self) -> None:
        """Let the registry catch up with the ledger, beside everything else: a move may have been killed half way.

        Its own process, as MLflow is slow to import; what it says is in `reconcile.log`. Nothing depends on it here:
        every training and every look at a trial does the same.
        """
        command = ("-m", "pipeline.cli", "promotion", "reconcile")
        beside = {**self._environment, "MLFLOW_TRACKING_URI": self._settings.mlflow_url}
        self._beside = _start(Service("Reconciliation", command, self._settings.logs / "reconcile.log"), beside)

    def watch(self, stop: list[int]) -> Service | None:
        """Wait for a signal or a death, and return the server that died."""
        while not stop:
            died = self._died()
            if died is not None:
                return died
            time.sleep(_POLL_SECONDS)
        return None

    def stop(self, workers: Callable[[], Sequence[ProcessIdentity]]) -> None:
        """Stop who starts runs, then the runs, then the registry that they write to."""
        if self._beside is not None and self._beside.poll() is None:
            end([self._beside.pid], _GRACE_SECONDS)
            self._beside.wait()
        registry = [process.pid for service, process in self._running if service.name == _REGISTRY]
        end({process.pid for _, process in self._running} - set(registry), _GRACE_SECONDS)
        # Asked only now: until the daemon was gone it could start another.
        end([worker.pid for worker in workers()], _GRACE_SECONDS)
        end(registry, _GRACE_SECONDS)
        for _, process in self._running:
            process.wait()
        self._roster.clear()

    def _died(self) -> Service | None:
        return next((service for service, process in self._running if process.poll() is not None), None)


def _catalogue(settings: Settings) -> list[Service]:
    workspace = ("-w", str(settings.workspace))
    mlflow = ("-m", "mlflow", "server", "--host", HOST, "--port", str(settings.mlflow_port), "--workers", "1")
    # Clients are on this machine: they write artifacts where the server reads them, with or without a server.
    artifacts = ("--default-artifact-root", settings.mlflow_artifacts.as_uri(), "--no-serve-artifacts")
    dagster = ("-m", "dagster_webserver", "-h", HOST, "-p", str(settings.dagster_port), *workspace)
    logs = settings.logs
    return [
        Service(_REGISTRY, (*mlflow, *artifacts), logs / "mlflow.log", settings.mlflow_port, "/health"),
        Service("Dagster's webserver", dagster, logs / "webserver.log", settings.dagster_port, "/server_info"),
        Service("Dagster's daemon", ("-m", "dagster._daemon", "run", *workspace), logs / "daemon.log"),
    ]


def _start(service: Service, environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
    with service.log.open("wb") as log:
        return subprocess.Popen(  # noqa: S603 - our own command, no shell
            [sys.executable, *service.command],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            # Its own session: Ctrl-C reaches us alone, and we stop it in its turn.
            start_new_session=True,
        )


def _check_ports(settings: Settings) -> None:
    if settings.dagster_port == settings.mlflow_port:
        raise UsageError(f"Dagster and MLflow were both given port {settings.dagster_port}: give them different ones")
    check_port(settings.dagster_port, "Dagster", "choose another with --dagster-port or POOLCAST_DAGSTER_PORT")
    check_port(settings.mlflow_port, "MLflow", "choose another with --mlflow-port or POOLCAST_MLFLOW_PORT")


def _end_leftovers(roster: Roster, console: Console) -> None:
    left = roster.left_behind()
    if left:
        console.print(f"Ending what an earlier run left behind: {', '.join(sorted(left))}.", highlight=False)
        end([identity.pid for identity in left.values()], _GRACE_SECONDS)
    roster.clear()


def _announce(settings: Settings, console: Console) -> None:
    console.print(f"Dagster  {settings.dagster_url}", highlight=False)
    console.print(f"MLflow   {settings.mlflow_url}", highlight=False)
    console.print(f"Output in {settings.logs}. Ctrl-C stops everything.", highlight=False, markup=False)


def _obituary(service: Service) -> str:
    return f"{service.name} died. The end of {str(service.log)!r}:\n{_tail(service.log)}"


def _tail(log: Path) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-_LOG_LINES:]) if log.exists() else "(no output)"


@contextmanager
def _sole_holder(settings: Settings) -> Iterator[Roster]:
    roster = Roster(settings.data_dir / "up.json")
    try:
        lock = FileLock(settings.data_dir / "up.lock")
    except OSError as error:
        raise ServiceError(f"nothing can be kept under {str(settings.data_dir)!r}: {error.strerror}") from error
    try:
        if not lock.try_acquire("exclusive"):
            raise ServiceError(
                f"another `poolcast up` runs on {str(settings.data_dir)!r} ({roster.holder()}): "
                "stop it, or choose another folder with --data-dir"
            )
        yield roster
    finally:
        lock.close()


@contextmanager
def _stop_signals() -> Iterator[list[int]]:
    """Collect SIGINT and SIGTERM instead of dying of them: a start half done is undone in order, too."""
    received: list[int] = []

    def note(number: int, _frame: FrameType | None) -> None:
        received.append(number)

    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
