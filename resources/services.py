"""What `poolcast up` starts, keeps running and stops: PostgreSQL, MLflow, Dagster's webserver and daemon.

Belongs here: which servers there are, the order of things, and leaving nothing behind. Stays out: keeping them running
(`supervisor`, `caretaker`), and the pieces themselves (`postgres`, `dagster_home`, `ports`, `processes`, `orphans`).
"""

import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from types import FrameType

from dagster import DagsterInstance
from rich.console import Console

from pipeline.calendars import SystemClock
from pipeline.errors import ServiceError, UsageError
from resources.caretaker import DATABASE_ERRORS
from resources.dagster_home import dagster_instance
from resources.housekeeping import DAEMON, WEBSERVER, caretaker
from resources.locks import FileLock
from resources.migrations import require_migrated
from resources.orphans import fail_orphans, living_workers
from resources.parts import DatabasePart, Service, ServicePart, cause, tail
from resources.ports import answers, check_port
from resources.postgres import Databases, postgres, server_url
from resources.postgres import answers as answers_queries
from resources.processes import end
from resources.restarts import Patience
from resources.roster import Roster
from resources.serving import check_reach, own_credentials
from resources.settings import Settings, inherited_environment
from resources.supervisor import Supervisor, say

_GRACE_SECONDS = 20
_POLL_SECONDS = 0.25
_REGISTRY = "MLflow"


def up(settings: Settings, console: Console, patience: Patience | None = None) -> int:
    """Run everything people use until Ctrl-C or SIGTERM; what a crashed earlier `up` left behind is ended first.

    What dies or hangs meanwhile is started again.

    Returns:
        The exit status: 0 when it was stopped, 1 when a part died too often (the console says which, with its last
        words).

    Raises:
        ServiceError: a port is taken, another `up` holds the folder, an older version of poolcast wrote it, or a server
            did not become ready.
        UsageError: both servers were given one port, or PostgreSQL's address is none.
    """
    with _stop_signals() as stop, _sole_holder(settings) as roster:
        _end_leftovers(roster, console)
        check_reach(settings)
        _check_ports(settings)
        if settings.postgres_url is not None:
            server_url(settings.postgres_url)  # wrong use is told before anything starts
        say(console, "Starting PostgreSQL, MLflow and Dagster; this takes up to a minute.")
        with postgres(settings) as databases, ExitStack() as running:
            if stop:
                return 0
            with _failures_in_words(databases):
                require_migrated(settings, databases)
                instance = running.enter_context(dagster_instance(settings, databases, settings.mlflow_url))
                orphans = fail_orphans(instance, is_embedded=databases.is_embedded, has_launcher=False)
            if orphans:
                say(console, f"Ended {len(orphans)} run(s) whose process is gone.")
            everything = _Everything(settings, databases, roster, instance, console, patience or Patience())
            running.callback(everything.stop)
            everything.start()
            wait_until_ready(everything.parts, everything.patience.ready, stop)
            if not stop:
                roster.note_ready()
                everything.reconcile()
                _announce(settings, console)
            obituary = everything.watch(stop)
            if obituary is not None:
                say(console, obituary, "bold red")
                return 1
            say(console, "Stopping.")
        say(console, "Stopped.")
        return 0


class _Everything:
    """The started servers, in the order in which they were started, and who looks after them."""

    def __init__(
        self,
        settings: Settings,
        databases: Databases,
        roster: Roster,
        instance: DagsterInstance,
        console: Console,
        patience: Patience,
    ) -> None:
        self._settings, self._databases, self._roster, self._instance = settings, databases, roster, instance
        self._console, self.patience = console, patience
        self._environment = inherited_environment(
            {
                **settings.environment(databases.dagster_url, settings.mlflow_url),
                **own_credentials(settings),
                # In the environment, where other users cannot read the password, not on the command line.
                "MLFLOW_BACKEND_STORE_URI": databases.mlflow_url,
                # Ten connections at most where it would take fifteen; all but one are given back.
                "MLFLOW_SQLALCHEMYSTORE_POOL_SIZE": "1",
                "MLFLOW_SQLALCHEMYSTORE_MAX_OVERFLOW": "9",
            }
        )
        self.parts = [ServicePart(service, self._environment, roster) for service in _catalogue(settings)]
        self._beside: ServicePart | None = None
        services = [part.service for part in self.parts]
        self._caretaker = caretaker(settings, databases, instance, services, roster, self.patience)

    def start(self) -> None:
        self._settings.mlflow_artifacts.mkdir(parents=True, exist_ok=True)
        for part in self.parts:
            part.start()

    def reconcile(self) -> None:
        """Let the registry catch up with the ledger, beside everything else: a move may have been killed half way.

        Its own process, as MLflow is slow to import; what it says is in `reconcile.log`. Nothing depends on it here:
        every training and every look at a trial does the same.
        """
        command = ("-m", "pipeline.cli", "promotion", "reconcile")
        beside = {**self._environment, "MLFLOW_TRACKING_URI": self._settings.mlflow_url}
        service = Service("Reconciliation", command, self._settings.logs / "reconcile.log")
        self._beside = ServicePart(service, beside, None)
        self._beside.start()

    def watch(self, stop: list[int]) -> str | None:
        """Keep everything running until a signal, or until a part died too often (then, its obituary)."""
        server = self._databases.server
        database = [] if server is None else [DatabasePart(server)]
        self._caretaker.start()
        return Supervisor(
            [*database, *self.parts],
            self._caretaker,
            self._roster,
            self._console,
            SystemClock(),
            self.patience,
            before_restart={DAEMON: self._fail_orphans},
            needs_no_database=[part.name for part in database],
        ).watch(stop)

    def stop(self) -> None:
        """Stop who starts runs, then the runs, then the registry that they write to."""
        if self._beside is not None:
            self._beside.halt()
        registry = [part for part in self.parts if part.name == _REGISTRY]
        _end([part for part in self.parts if part not in registry])
        self._caretaker.stop()
        # Asked only now: until the daemon was gone it could start another. Where the database is away nobody knows
        # of any; they are found by the next `up`. Knocked at first, as Dagster waits for ever for one that hangs.
        if answers_queries(self._databases.dagster_url):
            with suppress(*DATABASE_ERRORS):
                end([worker.pid for worker in living_workers(self._instance)], _GRACE_SECONDS)
        _end(registry)
        self._roster.clear()

    def _fail_orphans(self) -> None:
        with suppress(*DATABASE_ERRORS):
            fail_orphans(self._instance, is_embedded=self._databases.is_embedded, has_launcher=False)


def wait_until_ready(parts: Sequence[ServicePart], patience_s: float, stop: Sequence[int]) -> None:
    """Wait until all that serve have answered, or a signal is noted in `stop`.

    Raises:
        ServiceError: one died, or was silent for too long; with what to do, and without the frames of a traceback.
    """
    deadline = time.monotonic() + patience_s
    waiting = [part.service for part in parts if part.service.port is not None]
    while waiting and not stop:
        died = next((part for part in parts if not part.is_running()), None)
        if died is not None:
            why = cause(died.log, died.n_bytes_before)
            raise ServiceError(
                f"{died.name} died while it started ({died.halt()}): {why}. Mend that and run `poolcast up` again; "
                f"all it said is in {str(died.log)!r}"
            )
        waiting = [each for each in waiting if each.port and not answers(each.port, each.ready_path)]
        if waiting and time.monotonic() > deadline:
            raise ServiceError(
                f"{waiting[0].name} was started and did not answer within {patience_s:g} s. A busy machine is slow to "
                "start it: let what else works end, and run `poolcast up` again; if it stays so, read "
                f"{str(waiting[0].log)!r}"
            )
        time.sleep(_POLL_SECONDS)


def _end(parts: Sequence[ServicePart]) -> None:
    """End parts together, each with its own session: runs are stopped in their turn."""
    running = [part.process for part in parts if part.process is not None]
    end([pid for part in parts for pid in part.left()], _GRACE_SECONDS, is_own_session_only=True)
    for process in running:
        process.wait()


def _catalogue(settings: Settings) -> list[Service]:
    # Clients are on this machine: they write artifacts where the server reads them, with or without a server.
    mlflow = ("-m", "resources.registry_server", str(settings.mlflow_port), settings.mlflow_artifacts.as_uri())
    dagster = ("-m", "resources.webserver", str(settings.dagster_port), str(settings.workspace))
    logs = settings.logs
    return [
        Service(_REGISTRY, mlflow, logs / "mlflow.log", settings.mlflow_port, "/health"),
        Service(WEBSERVER, dagster, logs / "webserver.log", settings.dagster_port, "/server_info"),
        Service(DAEMON, ("-m", "resources.daemon", str(settings.workspace)), logs / "daemon.log"),
    ]


def _check_ports(settings: Settings) -> None:
    if settings.dagster_port == settings.mlflow_port:
        raise UsageError(f"Dagster and MLflow were both given port {settings.dagster_port}: give them different ones")
    check_port(settings.dagster_port, "Dagster", "choose another with --dagster-port or POOLCAST_DAGSTER_PORT")
    check_port(settings.mlflow_port, "MLflow", "choose another with --mlflow-port or POOLCAST_MLFLOW_PORT")


def _end_leftovers(roster: Roster, console: Console) -> None:
    left = roster.left_behind()
    if left:
        say(console, f"Ending what an earlier run left behind: {', '.join(sorted(left))}.")
        # Runs that outlived the daemon that started them are nobody's leftovers: they go on, and are found by name.
        end([identity.pid for identity in left.values()], _GRACE_SECONDS, is_own_session_only=True)
    roster.clear()


def _announce(settings: Settings, console: Console) -> None:
    say(console, f"Dagster  {settings.dagster_url}")
    say(console, f"MLflow   {settings.mlflow_url}")
    say(console, f"Output in {settings.logs}. Ctrl-C stops everything.")


@contextmanager
def _failures_in_words(databases: Databases) -> Iterator[None]:
    """A database that fails while its state is opened (the disk is full) is said in its own words."""
    try:
        yield
    except DATABASE_ERRORS as error:
        said = " ".join(str(getattr(error, "orig", None) or error).split())
        server = databases.server
        words = "" if server is None else f". The end of {str(server.log)!r}:\n{tail(server.log, 5)}"
        raise ServiceError(f"Dagster's state could not be opened: {said}{words}") from error


@contextmanager
def _sole_holder(settings: Settings) -> Iterator[Roster]:
    roster = Roster(settings.data_dir / "up.json")
    try:
        lock = FileLock(settings.data_dir / "up.lock")
    except OSError as error:
        is_in_the_way = isinstance(error, FileExistsError | NotADirectoryError)
        why = "a file is in the way" if is_in_the_way else error.strerror
        raise ServiceError(
            f"nothing can be kept under {str(settings.data_dir)!r} ({why}): choose another folder with --data-dir or "
            "POOLCAST_DATA_DIR"
        ) from error
    try:
        if not lock.try_acquire("exclusive"):
            raise ServiceError(
                f"another `poolcast up` runs on {str(settings.data_dir)!r} ({roster.holder()}): "
                "stop it, or choose another folder with --data-dir or POOLCAST_DATA_DIR"
            )
        yield roster
    finally:
        lock.close()


@contextmanager
def _stop_signals() -> Iterator[list[int]]:
    """Collect SIGINT, SIGTERM and SIGHUP instead of dying of them: a start half done is undone in order, too."""
    received: list[int] = []

    def note(number: int, _frame: FrameType | None) -> None:
        received.append(number)

    heard = [signal.SIGINT, signal.SIGTERM]
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # nohup: whoever closes the terminal does not mean us
        heard.append(signal.SIGHUP)
    before = {number: signal.signal(number, note) for number in heard}
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
