"""What `poolcast up` has looked after while it runs: whether its servers answer, orphaned runs, and the logs' size.

Belongs here: which checks and chores an installation has, and how often. Stays out: the thread that does them
(`caretaker`).
"""

import time
from collections.abc import Sequence
from functools import partial

import psutil
from dagster import DagsterInstance

from resources import postgres
from resources.caretaker import Caretaker, Check, Chore
from resources.log_files import prune, prune_folders, rotate
from resources.orphans import fail_orphans
from resources.parts import Service
from resources.ports import answers
from resources.postgres import Databases
from resources.processes import family
from resources.restarts import Patience
from resources.roster import Roster
from resources.settings import Settings
from resources.supervisor import DATABASE

DAEMON = "Dagster's daemon"
"""It serves nobody, so what it writes into the database tells of it."""

WEBSERVER = "Dagster's webserver"

_ASK_SECONDS = 5.0
_ANSWER_SECONDS = 10
_SILENT_THREAD_SECONDS = 480
_SWEEP_SECONDS = 15
_ROTATE_SECONDS = 60
_PRUNE_SECONDS = 3600
_MOST_LOG_BYTES = 10_000_000
_MOST_RUN_LOGS = 2_000
_RUN_LOG_SECONDS = 14 * 86_400


class Heartbeats:
    """A check of Dagster's daemon: false when one of its threads has not beaten for eight minutes.

    A thread beats each half minute, and a long look at the graph may hold it for minutes. Stamps are compared with each
    other and never with the clock: after a night's sleep a laptop's daemon would look dead.
    """

    def __init__(
        self, instance: DagsterInstance, is_database_there: Check, silent_seconds: float = _SILENT_THREAD_SECONDS
    ) -> None:
        self._instance = instance
        self._is_database_there = is_database_there
        self._silent_seconds = silent_seconds
        self._seen: dict[str, float] = {}
        self._complete_at = time.monotonic()

    def __call__(self) -> bool:
        """Look once; a database that cannot be asked proves nothing against the daemon."""
        # Asked first, as Dagster tries for seconds and fills the console.
        if not self._is_database_there():
            self._complete_at = time.monotonic()
            return True
        beats = {name: beat.timestamp for name, beat in self._instance.get_daemon_heartbeats().items()}
        if all(beats.get(name) != self._seen.get(name) for name in self._instance.get_required_daemon_types()):
            self._seen, self._complete_at = beats, time.monotonic()
        return time.monotonic() - self._complete_at < self._silent_seconds


class CodeServer:
    """A check of a server that loads our code in a process of its own: false when it has lost that process.

    Dagster's webserver goes on without: its pages come, and nothing can be launched until somebody reloads the code.
    One that never had it is left alone: the code does not load, and the pages say why.
    """

    def __init__(self, roster: Roster, name: str) -> None:
        self._roster, self._name = roster, name
        self._had: int | None = None

    def __call__(self) -> bool:
        """Look once."""
        pid = self._roster.pid(self._name)
        has = pid is not None and any(map(_serves_code, family([pid], is_own_session_only=True)))
        if has:
            self._had = pid
        return has or self._had != pid


def caretaker(
    settings: Settings,
    databases: Databases,
    instance: DagsterInstance,
    services: Sequence[Service],
    roster: Roster,
    patience: Patience,
) -> Caretaker:
    """Return the caretaker of an installation, not yet started."""
    is_database_there: Check = partial(postgres.answers, databases.dagster_url)
    checks = {DATABASE: is_database_there}
    for service in services:
        if service.port is not None:
            checks[service.name] = partial(answers, service.port, service.ready_path, _ANSWER_SECONDS)
        elif service.name == DAEMON:
            checks[service.name] = Heartbeats(instance, is_database_there)
    if _loads_code_itself(settings):
        checks[WEBSERVER] = partial(_both, checks[WEBSERVER], CodeServer(roster, WEBSERVER))

    def look_for_orphans() -> None:
        if is_database_there():
            fail_orphans(instance, is_embedded=databases.is_embedded, has_launcher=True)

    chores = [
        Chore(look_for_orphans, _SWEEP_SECONDS),
        Chore(partial(_rotate_logs, settings, databases), _ROTATE_SECONDS),
        Chore(partial(_prune_run_logs, settings), _PRUNE_SECONDS),
    ]
    return Caretaker(checks, chores, min(_ASK_SECONDS, patience.hung / 4))


def _both(first: Check, second: Check) -> bool:
    return first() and second()


def _loads_code_itself(settings: Settings) -> bool:
    """Tell whether Dagster starts the process with the code, or asks one that other people run."""
    return settings.workspace.exists() and "grpc_server" not in settings.workspace.read_text()


def _serves_code(process: psutil.Process) -> bool:
    try:
        return bool(process.cmdline()[1:5] == ["-m", "dagster", "api", "grpc"])
    except psutil.Error:
        return False


def _rotate_logs(settings: Settings, databases: Databases) -> None:
    own = [] if databases.server is None else [databases.server.log]
    for log in (*settings.logs.glob("*.log"), *own):
        rotate(log, _MOST_LOG_BYTES)


def _prune_run_logs(settings: Settings) -> None:
    oldest = time.time() - _RUN_LOG_SECONDS
    prune((settings.logs / "runs").glob("*.log"), oldest, _MOST_RUN_LOGS)
    # What Dagster captured of each step.
    prune_folders((settings.dagster_home / "storage").glob("*/compute_logs"), oldest)
