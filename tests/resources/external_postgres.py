"""A PostgreSQL of other people's: the system's, on TCP, with passwords, as production has it."""

import os
import pwd
import shutil
import signal
import subprocess
from pathlib import Path
from urllib.parse import quote

import psutil
import pytest
import sqlalchemy as sa

from tests.ports import free_port
from tests.resources.running_up import wait_for

BINARIES = Path("/usr/lib/postgresql/15/bin")
PASSWORD = "p@ss w%rd:/?#&'\"é[]"  # noqa: S105 - everything that a careless hand would not encode


class ExternalPostgres:
    """One cluster in `folder`; under root it runs as nobody, as PostgreSQL refuses to be root."""

    def __init__(self, folder: Path) -> None:
        if not (BINARIES / "initdb").exists():
            pytest.skip(f"no PostgreSQL 15 in {BINARIES}")
        self.folder, self.port = folder / "external", free_port()
        self.cluster, self.log = self.folder / "cluster", self.folder / "server.log"
        self.folder.mkdir()
        (self.folder / "password").write_text(PASSWORD)
        if os.geteuid() == 0:
            folder.chmod(0o711)
            for path in (self.folder, self.folder / "password"):
                shutil.chown(path, pwd.getpwnam("nobody").pw_uid)
        options = ("--auth=scram-sha-256", "--encoding=UTF8", "--no-locale", "--username=the owner")
        self._run("initdb", *options, "--pwfile", self.folder / "password", "-D", self.cluster)
        with (self.cluster / "postgresql.conf").open("a") as configuration:
            configuration.write(
                f"listen_addresses = '127.0.0.1'\nport = {self.port}\nunix_socket_directories = ''\n"
                "max_connections = 60\nfsync = off\n"
            )
        self.start()

    @property
    def url(self) -> str:
        return f"postgresql://{quote('the owner')}:{quote(PASSWORD, safe='')}@127.0.0.1:{self.port}/postgres"

    def start(self) -> None:
        self._run("pg_ctl", "-D", self.cluster, "-l", self.log, "-w", "start")

    def stop(self, mode: str = "fast") -> None:
        self._run("pg_ctl", "-D", self.cluster, "-w", "-m", mode, "stop")

    def kill(self) -> None:
        """As the kernel does where memory is short."""
        postmaster = psutil.Process(int((self.cluster / "postmaster.pid").read_text().split()[0]))
        family = [postmaster, *postmaster.children()]
        for process in family:
            process.send_signal(signal.SIGKILL)
        wait_for(lambda: not any(process.is_running() for process in family), 30)

    def end(self) -> None:
        if (self.cluster / "postmaster.pid").exists():
            self.stop("immediate")

    def do(self, statement: str, url: str | None = None) -> object:
        engine = sa.create_engine(url or self.url, isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)
        with engine.connect() as connection:
            result = connection.execute(sa.text(statement))
            return result.scalar() if result.returns_rows else None

    def _run(self, command: str, *arguments: object) -> None:
        as_user = {"user": "nobody", "extra_groups": []} if os.geteuid() == 0 else {}
        subprocess.run(
            [BINARIES / command, *map(str, arguments)],
            cwd="/",
            check=True,
            timeout=90,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL if command == "pg_ctl" else None,  # it wonders at what a kill left behind
            start_new_session=True,
            **as_user,  # type: ignore[call-overload]
        )
